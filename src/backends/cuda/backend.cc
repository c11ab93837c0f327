// The backend of NVIDIA's GPUs: the driver API, found at run time, and kernels of ferry's own
// (kernels/), which nvcc makes when ferry is built. See docs/CUDA.md.
#include "device/backend.h"

#include "backends/cuda/collectives.h"
#include "backends/cuda/plan.h"
#include "backends/cuda/stream.h"
#include "backends/cuda/weights.h"
#include "device/op_paths.h"

namespace ferry {
namespace cuda {
namespace {

std::string_view kernels_of(Op op) {
  switch (op) {
    case Op::kEmbed: return "embed; rows of tables that are kept rounded by the host";
    case Op::kRmsNorm:
    case Op::kAddRmsNorm:
    case Op::kLayerNorm: return "norm";
    case Op::kMatmul:  // and by cuBLASLt: op_paths()
    case Op::kGroupedMatmul: return "matvec for few tokens, mma_matmul for many";
    case Op::kPerHeadMatmul: return "matvec, mma_matmul, transposed_matvec";
    case Op::kRope: return "rope";
    case Op::kKvWrite: return "kv_write";
    case Op::kGqaAttention: return "mma_attention; flash_attention for long prompts";
    case Op::kMlaDecodeAttention: return "mma_attention";
    case Op::kMlaSparseAttention: return "attention";
    case Op::kMlaPrefillAttention:
      return "expanded: expand_latents, flash_attention; short prompts absorbed: "
             "transposed_matvec, mma_attention, mma_matmul";
    case Op::kIndexScores: return "index_scores";
    case Op::kIndexTopK: return "index_top_k";
    case Op::kSwiglu:
    case Op::kAdd:
    case Op::kCopy: return "elementwise";
    case Op::kMoeGate: return "moe_gate";
    case Op::kMoePermute: return "moe_permute";
    case Op::kMoeCombine: return "moe_combine";
    case Op::kMoeExperts: return "composite: moe_permute, matvec or mma_matmul, moe_combine";
    case Op::kGatherRows: return "gather_rows";
    case Op::kHyperCollapse: return "hyper_collapse";
    case Op::kHyperExpand: return "hyper_expand";
    case Op::kCompress: return "compress";
    case Op::kEntryScores: return "entry_scores";
    case Op::kWindowAttention: return "window_attention";
    case Op::kMoeHashGate: return "moe_hash_gate";
    case Op::kClampedSwiglu: return "elementwise";
    case Op::kTopLogits: return "top_logits";
    default: return "host";
  }
}

class CudaBackend : public Backend, public OpPaths {
 public:
  CudaBackend(std::shared_ptr<Device> device, bool f32_products)
      : device_(std::move(device)),
        f32_products_(f32_products),
        spec_{.backend = "cuda",
              .name = device_->name(),
              .detail = fmt::format("{}, driver for CUDA {}; only ever run on an emulator",
                                    device_->architecture(),
                                    cuda_version_text(device_->driver().version)),
              .memory_bytes = device_->total_bytes(),
              .compute_units = device_->multiprocessors(),
              .matmul_rounding = f32_products ? 0 : kBf16Products} {}

  const DeviceSpec& spec() const override { return spec_; }
  // Tensor cores take activations and weights in bf16; weights in f32 are kept from them.
  double weight_rounding(const quant::StorageFormat& format) const override {
    const WeightKind kind = weight_kind(format);
    if (f32_products_ || kind == kWeightF32) return 0;
    return kind == kWeightBF16 ? kBf16Rounding : kBf16Products;
  }
  // Of a score: the query, the expanded key, the matrix that expands it, and what is cached, where
  // it isn't bf16 in its pages; of what is added up likewise: the probability, the expanded value,
  // its matrix, what is cached.
  double attention_rounding(Dtype pages) const override {
    if (f32_products_) return 0;
    return pages == Dtype::kBF16 ? kBf16Products + kBf16Rounding : 2 * kBf16Products;
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
    return CudaStream::create(device_, f32_products_);
  }
  std::unique_ptr<PlanStream> create_plan_stream() const override {
    return std::make_unique<CudaPlan>(ScratchTerms{.multiprocessors = device_->multiprocessors(),
                                                   .f32_products = f32_products_,
                                                   .has_library = device_->products() != nullptr});
  }

  Result<Weight> import_weight(const HostWeight& weight) override {
    return cuda::import_weight(*device_, weight, f32_products_, shared_from_this());
  }
  int64_t import_bytes(const HostWeight& weight) const override {
    return cuda::import_bytes(weight, f32_products_);
  }

  Result<Communicators> connect(std::span<const Rank> ranks) override {
    std::string why;
    const auto nccl = load_nccl(&why);
    if (nccl == nullptr) return Backend::connect(ranks);
    std::vector<NcclRank> devices;
    for (const Rank& rank : ranks) {
      devices.push_back({static_cast<CudaBackend*>(rank.backend.get())->device_,
                         static_cast<DriverStream>(rank.stream->native_queue())});
    }
    return connect_by_nccl(nccl, devices);
  }

  std::vector<CollectivePath> collective_paths() const override { return describe_collectives(); }
  std::vector<OpPath> op_paths() const override {
    std::vector<OpPath> all;
    for (int i = 0; i < kNumOps; ++i) {
      const Op op = static_cast<Op>(i);
      std::string how(kernels_of(op));
      if (op == Op::kMatmul) how += "; " + library_path();
      all.push_back({.op = op, .how = std::move(how), .proof = "emulated"});
    }
    return all;
  }

  bool supports(const OpQuery& query) const override {
    return query.format == nullptr || query.format->decode != nullptr;
  }

 private:
  std::string library_path() const {
    const LtProducts* library = device_->products();
    if (library == nullptr) return "never cuBLASLt, as " + device_->why_no_products();
    return fmt::format("cublasLtMatmul of {} for more than {} tokens by {}f32 (more than {})",
                       library->name(), kWideTokens, f32_products_ ? "" : "bf16, f16 or ",
                       kTileTokens);
  }

  static constexpr double kBf16Rounding = 0x1p-9;
  // Of two rounded operands.
  static constexpr double kBf16Products = 2 * kBf16Rounding + kBf16Rounding * kBf16Rounding;

  std::shared_ptr<Device> device_;
  const bool f32_products_;
  const DeviceSpec spec_;
};

Result<std::shared_ptr<Backend>> open(const BackendOptions& options) {
  FERRY_TRY(auto device, Device::open(options.device));
  return std::shared_ptr<Backend>(
      std::make_shared<CudaBackend>(std::move(device), options.f32_activations));
}

}  // namespace
}  // namespace cuda

extern const BackendEntry backend_cuda;  // listed in the generated table
const BackendEntry backend_cuda{
    .name = "cuda", .count_devices = cuda::count_devices, .open = cuda::open};

}  // namespace ferry
