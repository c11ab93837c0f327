// The backend of Cambricon's MLU chips: CNRT and CNNL, found at run time. See device/composed for
// how it computes, calls.h for the primitives, paths.h for what runs where, vendor.h for what is
// known of the libraries.
#include "device/backend.h"

#include "backends/cambricon/calls.h"
#include "backends/cambricon/collectives.h"
#include "backends/cambricon/paths.h"
#include "device/composed/plan.h"
#include "device/composed/self_check.h"
#include "device/composed/stream.h"
#include "device/composed/weights.h"
#include "device/op_paths.h"

namespace ferry {
namespace cambricon {
namespace {

class CambriconBackend : public Backend, public OpPaths {
 public:
  CambriconBackend(std::shared_ptr<Device> device, std::shared_ptr<Backend> reference,
                   const composed::ComposedPaths& paths, bool f32_weights)
      : device_(std::move(device)),
        reference_(std::move(reference)),
        paths_(paths),
        packing_{.narrow = f32_weights ? Dtype::kF32 : Dtype::kBF16,
                 .int8 = !f32_weights && paths.int8_weights},
        spec_{.backend = "cambricon",
              .name = device_->name(),
              .detail = fmt::format("CNRT {}, CNNL {}, driver {}; only ever run on an emulator",
                                    version_text(device_->vendor().cnrt),
                                    version_text(device_->vendor().cnnl),
                                    version_text(device_->vendor().driver)),
              .memory_bytes = device_->total_bytes(),
              .compute_units = device_->cores(),
              .matmul_rounding = f32_weights ? 0 : kMostRounding} {}

  const DeviceSpec& spec() const override { return spec_; }
  double weight_rounding(const quant::StorageFormat& format) const override {
    const Dtype dtype = composed::device_dtype(format, packing_);
    if (dtype == Dtype::kF32) return 0;
    if (dtype == Dtype::kI8) return kMostRounding;
    return (composed::is_exact(format, packing_) ? 1 : 2) * kBf16 + kBf16 * kBf16;
  }
  // Queries, probabilities and cached rows are multiplied in f32.
  double attention_rounding(Dtype) const override { return 0; }

  Result<MemoryInfo> memory_info() const override { return device_->pool().info(); }
  Result<Buffer> allocate(int64_t bytes) override {
    return device_->pool().allocate(bytes, shared_from_this());
  }
  int64_t allocation_bytes(int64_t bytes) const override { return MemoryPool::piece_bytes(bytes); }
  Result<Buffer> allocate_host(int64_t bytes) override {
    return device_->allocate_host(bytes, shared_from_this());
  }
  Result<std::unique_ptr<Stream>> create_stream() override {
    FERRY_TRY(auto primitives, Calls::create(device_));
    FERRY_TRY(auto reference, reference_->create_stream());
    return std::unique_ptr<Stream>(std::make_unique<composed::ComposedStream>(
        std::move(primitives), std::move(reference), paths_));
  }

  std::unique_ptr<PlanStream> create_plan_stream() const override {
    return std::make_unique<composed::ComposedPlan>(paths_, packing_);
  }

  Result<Weight> import_weight(const HostWeight& weight) override {
    const auto send = [this](void* dst, const void* src, int64_t bytes) {
      return device_->copy(dst, src, bytes, kHostToDevice);
    };
    return composed::import_weight(device_->pool(), send, weight, packing_, shared_from_this());
  }
  int64_t import_bytes(const HostWeight& weight) const override {
    return composed::import_bytes(weight, packing_);
  }

  Result<Communicators> connect(std::span<const Rank> ranks) override {
    std::string why;
    const auto cncl = load_cncl(&why);
    if (cncl == nullptr) return Backend::connect(ranks);
    std::vector<CnclRank> devices;
    for (const Rank& rank : ranks) {
      devices.push_back({static_cast<CambriconBackend*>(rank.backend.get())->device_,
                         static_cast<Queue>(rank.stream->native_queue())});
    }
    return connect_by_cncl(cncl, devices);
  }

  std::vector<CollectivePath> collective_paths() const override { return describe_collectives(); }
  std::vector<OpPath> op_paths() const override {
    std::vector<OpPath> all;
    for (int op = 0; op < kNumOps; ++op) {
      const Op which = static_cast<Op>(op);
      all.push_back({.op = which, .how = describe(paths_, which), .proof = "emulated"});
    }
    return all;
  }

  // int8 pages carry scales inside them, which no public operation of CNNL reads.
  bool supports(const OpQuery& query) const override {
    const bool is_float =
        query.dtype == Dtype::kF32 || query.dtype == Dtype::kF16 || query.dtype == Dtype::kBF16;
    return is_float && !has_host_default(query.op) &&
           (query.format == nullptr || query.format->decode != nullptr);
  }

 private:
  static constexpr double kBf16 = 0x1p-8;  // half of the last of 8 bits
  // Both operands, and the weight once more where it was int8 (1/254 of the largest of its row).
  static constexpr double kMostRounding = 3 * kBf16 + 3 * kBf16 * kBf16;

  std::shared_ptr<Device> device_;
  std::shared_ptr<Backend> reference_;
  const composed::ComposedPaths paths_;
  const composed::Packing packing_;
  const DeviceSpec spec_;
};

Result<std::shared_ptr<Backend>> open(const BackendOptions& options) {
  FERRY_TRY(auto device, Device::open(options.device));
  composed::ComposedPaths paths = paths_of(device->vendor());
  FERRY_TRY_VOID(composed::check_primitives(
      [&] { return Calls::create(device); }, "cambricon",
      fmt::format("CNNL {}", version_text(device->vendor().cnnl)), {}, paths));
  FERRY_TRY(auto reference, open_backend("reference", {}));
  return std::shared_ptr<Backend>(std::make_shared<CambriconBackend>(
      device, std::move(reference), paths, options.f32_activations));
}

}  // namespace
}  // namespace cambricon

extern const BackendEntry backend_cambricon;  // listed in the generated table
const BackendEntry backend_cambricon{
    .name = "cambricon", .count_devices = cambricon::count_devices, .open = cambricon::open};

}  // namespace ferry
