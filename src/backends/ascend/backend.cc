// The backend of Huawei's Ascend chips: CANN, found at run time. See device/composed for how it
// computes, calls.h for the primitives, stream.h for fused operators, paths.h for what runs where,
// vendor.h for what is known of the libraries.
#include "device/backend.h"

#include "backends/ascend/calls.h"
#include "backends/ascend/collectives.h"
#include "backends/ascend/paths.h"
#include "backends/ascend/plan.h"
#include "backends/ascend/stream.h"
#include "device/composed/self_check.h"
#include "device/composed/weights.h"
#include "device/op_paths.h"

namespace ferry {
namespace ascend {
namespace {

// Half of the last place that a number of this dtype has, relative.
double half_ulp(Dtype dtype) { return dtype == Dtype::kBF16 ? 0x1p-8 : 0x1p-11; }

class AscendBackend : public Backend, public OpPaths {
 public:
  AscendBackend(std::shared_ptr<Device> device, std::shared_ptr<Backend> reference,
                const Paths& paths, bool f32_weights)
      : device_(std::move(device)),
        reference_(std::move(reference)),
        paths_(paths),
        packing_{.narrow = f32_weights ? Dtype::kF32 : device_->soc().narrow,
                 .int8 = !f32_weights && paths.composed.int8_weights},
        spec_{.backend = "ascend",
              .name = device_->soc().name,
              .detail = fmt::format("CANN runtime {}; only ever run on an emulator",
                                    device_->vendor().version),
              .memory_bytes = device_->total_bytes(),
              .matmul_rounding = rounding(packing_.int8 ? 3 : 2)} {}

  const DeviceSpec& spec() const override { return spec_; }
  double weight_rounding(const quant::StorageFormat& format) const override {
    const Dtype dtype = composed::device_dtype(format, packing_);
    if (dtype == Dtype::kF32) return f32_rounding();
    // The other operand, the result, and the weight unless it is stored as it lies on the device;
    // twice as int8, which is rounded to 1/254 of the largest of its row, and then times its scale.
    if (dtype == Dtype::kI8) return rounding(3);
    return rounding(composed::is_exact(format, packing_) ? 1 : 2);
  }
  // Fused attention rounds queries, probabilities and its result.
  double attention_rounding(Dtype pages) const override {
    const bool fused = paths_.attention != FusedAttention::kNone && pages == packing_.narrow;
    return fused ? rounding(2) : f32_rounding();
  }

  Result<MemoryInfo> memory_info() const override { return device_->pool().info(); }
  Result<Buffer> allocate(int64_t bytes) override {
    return device_->pool().allocate(bytes, shared_from_this());
  }
  int64_t allocation_bytes(int64_t bytes) const override { return MemoryPool::piece_bytes(bytes); }
  Result<Buffer> allocate_host(int64_t bytes) override {
    return device_->allocate_host(bytes, shared_from_this());
  }
  Result<std::unique_ptr<Stream>> create_stream() override {
    FERRY_TRY(auto calls, Calls::create(device_));
    FERRY_TRY(auto reference, reference_->create_stream());
    return std::unique_ptr<Stream>(std::make_unique<AscendStream>(
        std::move(calls), std::move(reference), paths_, packing_.narrow));
  }

  std::unique_ptr<PlanStream> create_plan_stream() const override {
    return std::make_unique<AscendPlan>(paths_, packing_);
  }

  Result<Weight> import_weight(const HostWeight& weight) override {
    const auto send = [this](void* dst, const void* src, int64_t bytes) {
      return device_->send(dst, src, bytes);
    };
    return composed::import_weight(device_->pool(), send, weight, packing_, shared_from_this());
  }
  int64_t import_bytes(const HostWeight& weight) const override {
    return composed::import_bytes(weight, packing_);
  }

  Result<Communicators> connect(std::span<const Rank> ranks) override {
    std::string why;
    const auto hccl = load_hccl(&why);
    if (hccl == nullptr) return Backend::connect(ranks);
    std::vector<HcclRank> devices;
    for (const Rank& rank : ranks) {
      devices.push_back({static_cast<AscendBackend*>(rank.backend.get())->device_,
                         static_cast<AclStream>(rank.stream->native_queue())});
    }
    return connect_by_hccl(hccl, devices);
  }

  std::vector<CollectivePath> collective_paths() const override { return describe_collectives(); }
  std::vector<OpPath> op_paths() const override {
    std::vector<OpPath> all;
    for (int op = 0; op < kNumOps; ++op) {
      const Op which = static_cast<Op>(op);
      all.push_back(
          {.op = which, .how = paths_.describe(device_->vendor(), which), .proof = "emulated"});
    }
    return all;
  }

  // int8 pages carry scales inside them, which no operator reads; some chips have no bf16.
  bool supports(const OpQuery& query) const override {
    const bool is_float = query.dtype == Dtype::kF32 || query.dtype == Dtype::kF16 ||
                          query.dtype == device_->soc().narrow;
    return is_float && !has_host_default(query.op) &&
           (query.format == nullptr || query.format->decode != nullptr);
  }

 private:
  // Of products of f32 where the chip makes them of f16.
  double f32_rounding() const {
    return device_->soc().exact_f32 ? 0 : 2 * half_ulp(Dtype::kF16) + 0x1p-21;
  }
  // Of products in the narrow dtype: so many rounded operands, and the result.
  double rounding(int operands) const {
    if (packing_.narrow == Dtype::kF32) return f32_rounding();
    const double half = half_ulp(packing_.narrow);
    return (operands + 1) * half + 6 * half * half;
  }

  std::shared_ptr<Device> device_;
  std::shared_ptr<Backend> reference_;
  const Paths paths_;
  const composed::Packing packing_;
  const DeviceSpec spec_;
};

Result<std::shared_ptr<Backend>> open(const BackendOptions& options) {
  FERRY_TRY(auto device, Device::open(options.device));
  Paths paths(device->vendor(), device->soc().exact_f32);
  const auto create = [&]() -> Result<std::unique_ptr<composed::Primitives>> {
    FERRY_TRY(auto calls, Calls::create(device));
    return std::unique_ptr<composed::Primitives>(std::move(calls));
  };
  FERRY_TRY_VOID(composed::check_primitives(
      create, "ascend", fmt::format("CANN runtime {}", device->vendor().version),
      {.narrow = device->soc().narrow, .exact_f32 = device->soc().exact_f32, .wide_result = false},
      paths.composed));
  if (!options.f32_activations) {
    FERRY_TRY(paths.attention, check_attention(device));
  }
  FERRY_TRY(auto reference, open_backend("reference", {}));
  return std::shared_ptr<Backend>(std::make_shared<AscendBackend>(device, std::move(reference),
                                                                  paths, options.f32_activations));
}

}  // namespace
}  // namespace ascend

extern const BackendEntry backend_ascend;  // listed in the generated table
const BackendEntry backend_ascend{
    .name = "ascend", .count_devices = ascend::count_devices, .open = ascend::open};

}  // namespace ferry
