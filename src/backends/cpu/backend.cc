// The cpu backend: ordinary host memory, weights used where the file is mapped or packed, kernels
// of the best instruction set (level.h), a team of one thread per physical core. A stream runs its
// ops at once.
#include "device/backend.h"

#include <sys/mman.h>

#include <cstdlib>

#include "backends/cpu/cpu_stream.h"
#include "device/host_memory.h"

namespace ferry {
namespace cpu {
namespace {

constexpr int kMaxThreads = 1024;
constexpr int64_t kHugePageFrom = int64_t{4} << 20;  // bytes of a buffer

class CpuBackend : public Backend {
 public:
  CpuBackend(Level level, int threads, bool f32_activations, const CpuInfo& info)
      : context_(std::make_shared<CpuContext>(level, threads, f32_activations)),
        spec_{.backend = "cpu",
              .name = info.model_name.empty() ? "unnamed processor" : info.model_name,
              .detail = describe_level(level, info.features, context_->int_kernels(),
                                       context_->bf16_tiles()),
              .memory_bytes = host_memory_info().total_bytes,
              .compute_units = threads,
              .host_memory = true,
              .weights_in_place = true,
              .weights_on_demand = true,
              .batch_invariant = true,
              .matmul_rounding = context_->int_kernels() == nullptr ? 0 : 1.0 / 254,
              .packed_layout = context_->packs() ? kPackedLayout : ""} {}

  const DeviceSpec& spec() const override { return spec_; }
  double weight_rounding(const quant::StorageFormat& format) const override {
    return context_->is_integer(format) ? spec_.matmul_rounding : 0;
  }
  double attention_rounding(Dtype pages) const override {
    const bool bf16 = context_->bf16_kernels() != nullptr;
    const bool int8 = context_->int8_kernels() != nullptr;
    if (pages == Dtype::kI8) return bf16 || int8 ? 1.0 / 254 : 0;
    return pages == Dtype::kBF16 && bf16 ? 1.0 / 254 : 0;
  }
  Result<MemoryInfo> memory_info() const override { return host_memory_info(); }
  Result<Buffer> allocate(int64_t bytes) override {
    FERRY_TRY(Buffer buffer, allocate_host_memory(bytes, shared_from_this()));
    // Only advice, for the cache above all: a token reads all of it, each small page once. (V2-Lite
    // behind 16384 tokens: attention 4 to 13 % quicker.)
    if (bytes >= kHugePageFrom) {
      static_cast<void>(madvise(buffer.data, static_cast<size_t>(bytes), MADV_HUGEPAGE));
    }
    return buffer;
  }
  Result<Buffer> allocate_host(int64_t bytes) override { return allocate(bytes); }
  Result<std::unique_ptr<Stream>> create_stream() override {
    return std::unique_ptr<Stream>(std::make_unique<CpuStream>(context_));
  }

  Result<Weight> import_weight(const HostWeight& weight) override {
    if (weight.format->decode == nullptr) {
      return unsupported("cpu: weights stored as {} can't be computed with", weight.format->name);
    }
    if (weight.source != nullptr) return context_->hot_set().add(weight);
    const PackedFormat* const packed = packed_format(weight);
    if (packed == nullptr) return weight_in_place(weight);
    if (!weight.packed.empty()) {
      FERRY_TRY(auto matrix, packed_before(weight, *packed));
      return weight_of(std::move(matrix));
    }
    FERRY_TRY(auto matrix, prepare_packed(weight, *packed, context_->packed_memory()));
    if (weight.when_packed) {
      context_->packing_queue().add(matrix, weight.when_packed);
    } else {
      pack(*matrix, context_->team());
    }
    return weight_of(std::move(matrix));
  }
  int64_t import_bytes(const HostWeight& weight) const override {
    const bool packs = packed_format(weight) != nullptr && weight.packed.empty();
    return packs ? packed_bytes(weight) : 0;
  }
  int64_t pack_more(double seconds) override {
    return context_->packing_queue().pack(seconds, context_->team());
  }
  const uint8_t* packed_form(const WeightView& weight) const override {
    return packed_strips(weight);
  }
  void set_on_demand_memory(int64_t bytes) override { context_->hot_set().set_limit(bytes); }
  OnDemandStats on_demand_stats() const override { return context_->hot_set().stats(); }

  bool supports(const OpQuery& query) const override {
    if (query.dtype == Dtype::kI8 && !is_cache_op(query.op)) return false;
    const bool half =
        query.dtype == Dtype::kF16 || query.dtype == Dtype::kBF16 || query.dtype == Dtype::kI8;
    switch (query.op) {
      case Op::kEmbed:
      case Op::kMatmul:
      case Op::kPerHeadMatmul:
      case Op::kGroupedMatmul:
      case Op::kMoeExperts: return query.dtype == Dtype::kF32 && can_compute(query);
      case Op::kKvWrite:
      case Op::kGqaAttention:
      case Op::kMlaDecodeAttention:
      case Op::kIndexScores:
      case Op::kMlaSparseAttention:
      case Op::kCompress:
      case Op::kEntryScores:
      case Op::kWindowAttention:
      case Op::kCopy: return query.dtype == Dtype::kF32 || half;
      case Op::kMlaPrefillAttention:
        return (query.dtype == Dtype::kF32 || half) &&
               (query.format == nullptr || query.format->decode != nullptr);  // cols: of q
      default: return query.dtype == Dtype::kF32;
    }
  }

 private:
  // How this weight will be packed; nullptr: it is used where it lies.
  const PackedFormat* packed_format(const HostWeight& weight) const {
    const bool may = weight.pack && weight.source == nullptr && weight.scale.empty();
    return may ? context_->packed_format(*weight.format) : nullptr;
  }
  static bool can_compute(const OpQuery& query) {
    return query.format != nullptr && query.format->decode != nullptr &&
           query.cols % query.format->block_elements == 0;
  }

  std::shared_ptr<CpuContext> context_;
  const DeviceSpec spec_;
};

int count_devices(std::string*) { return 1; }

Result<std::shared_ptr<Backend>> open(const BackendOptions& options) {
  if (options.device != 0) {
    return not_found("cpu: device {}: there is only device 0", options.device);
  }
  if (options.threads < 0 || options.threads > kMaxThreads) {
    return invalid_input("cpu: {} threads: expected 1 to {}, or 0 for one per core",
                         options.threads, kMaxThreads);
  }
  const CpuInfo info = read_cpu_info();
  FERRY_TRY(const Level level, choose_level(std::getenv("FERRY_CPU"), info.features));
  const int threads =
      options.threads > 0 ? options.threads : std::min(info.usable_cores, kMaxThreads);
  return std::shared_ptr<Backend>(
      std::make_shared<CpuBackend>(level, threads, options.f32_activations, info));
}

}  // namespace
}  // namespace cpu

extern const BackendEntry backend_cpu;  // listed in the generated table
const BackendEntry backend_cpu{
    .name = "cpu", .count_devices = cpu::count_devices, .open = cpu::open};

}  // namespace ferry
