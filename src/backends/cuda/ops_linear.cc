// Products with stored weights: few tokens share a decoded row of the weight (matvec), many a tile
// of it (mma_matmul_*, or in f32 tile_matmul), still more cuBLASLt (ops_matmul.cc).
#include <algorithm>
#include <vector>

#include "backends/cuda/stream.h"
#include "backends/cuda/views.h"
#include "backends/cuda/weights.h"

namespace ferry::cuda {
namespace {

// Up to so many tokens, decoding a weight once per eight tokens is less work than making tiles of
// f32; on tensor cores a tile costs no more than the second eight.
constexpr int64_t kMostMatvecTokens = kMatvecTokens;
constexpr int64_t kMostMatvecTokensF32 = 2 * kMatvecTokens;
constexpr int64_t kMostMatvecChoices = 64;  // of experts, where each row is decoded for each choice
// From so many tokens (of an expert, on average) on, wide tiles are not mostly empty.
constexpr int64_t kFewestWideTokens = 65;

// A kernel, and how much of the product one of its blocks makes.
struct Product {
  Kernel kernel;
  int64_t rows, tokens;
};

// Weights in f32 are multiplied in f32: to round them would lose what the file meant to keep.
Product product_kernel(const MatmulParams& params, bool f32_products) {
  const bool grouped = params.experts != nullptr, f32 = f32_products || params.w.kind == kWeightF32;
  const int64_t most = f32 ? kMostMatvecTokensF32 : kMostMatvecTokens;
  if (params.tokens <= (grouped ? kMostMatvecChoices : most)) {
    return {Kernel::k_matvec, kMatvecRows, grouped ? 1 : kMatvecTokens};
  }
  if (f32) return {Kernel::k_tile_matmul, kTileRows, kTileTokens};
  const int64_t together = grouped ? params.tokens / params.num_experts : params.tokens;
  if (together < kFewestWideTokens)
    return {Kernel::k_mma_matmul_narrow, kNarrowRows, kNarrowTokens};
  return {Kernel::k_mma_matmul_wide, kWideRows, kWideTokens};
}

// Whether rows that start `stride` apart can be read 16 bytes at a time.
bool rows_aligned(const TensorView& x) {
  bool aligned = reinterpret_cast<uintptr_t>(x.data) % 16 == 0;
  for (int dim = 0; dim + 1 < x.rank; ++dim) aligned = aligned && x.stride[dim] % 4 == 0;
  return aligned;
}

MatmulParams params_of(const TensorView& x, const TensorView& out) {
  const bool heads = x.rank == 3;
  return {.x = data_of(x),
          .x_stride = x.stride[0],
          .x_head_stride = heads ? x.stride[1] : 0,
          .out = data_of(out),
          .out_stride = out.stride[0],
          .out_head_stride = heads ? out.stride[1] : 0,
          .tokens = x.shape[0],
          .rows = out.shape[out.rank - 1],
          .cols = x.shape[x.rank - 1],
          .x_aligned = rows_aligned(x)};
}

bool same_rows(const MatmulParams& a, const MatmulParams& b) {
  return a.x == b.x && a.x_stride == b.x_stride && a.tokens == b.tokens && a.cols == b.cols;
}

}  // namespace

void CudaStream::launch_product(const MatmulParams& params, int64_t heads) {
  const Product product = product_kernel(params, f32_products_);
  int64_t tiles = ceil_div(params.tokens, product.tokens);
  if (params.experts != nullptr && product.kernel != Kernel::k_matvec) {
    tiles = params.tokens / product.tokens + params.num_experts;  // each may have one not full
  }
  launch(product.kernel, {ceil_div(params.rows, product.rows), tiles, heads}, kThreads, params);
}

void CudaStream::matmul(const MatmulArgs& args) { matmuls({&args, 1}); }

void CudaStream::matmuls(std::span<const MatmulArgs> products) {
  if (!begin("matmul")) return;
  struct Part {
    MatmulParams params;
    std::optional<LibraryUse> by_library;
  };
  std::vector<Part> parts;
  int64_t bytes = 0;  // of the library's own memory and of rounded operands behind it
  for (const MatmulArgs& args : products) {
    MatmulParams params = params_of(args.x, args.out);
    params.w = weight_param(args.w);
    params.bias = data_of(args.bias);
    CHECK(params.w.cols == params.cols && params.w.rows == params.rows);
    parts.push_back({params, library_use(params)});
    if (!parts.back().by_library) continue;
    bytes = std::max(bytes, kLtWorkspaceBytes + parts.back().by_library->bytes);
  }
  // Of all at once: if it grew in between, rounded x would be lost.
  uint8_t* memory = nullptr;
  if (bytes > 0) memory = reinterpret_cast<uint8_t*>(scratch(ceil_div(bytes, sizeof(float))));
  if (!status_.ok()) return;
  if (reinterpret_cast<uintptr_t>(memory) % kLtWorkspaceAlignment != 0) {
    return fail(
        device_error("cuda: device memory that is not aligned to {} bytes", kLtWorkspaceAlignment));
  }
  const MatmulParams* rounded = nullptr;  // the x of this one lies in `memory`
  for (const Part& part : parts) {
    if (!part.by_library) {
      launch_product(part.params, 1);
      continue;
    }
    const bool is_there = rounded != nullptr && same_rows(*rounded, part.params);
    launch_by_library(part.params, *part.by_library, memory, is_there);
    if (part.by_library->x_in_place) continue;
    const bool whole = part.by_library->tokens_at_once == part.params.tokens;
    rounded = whole ? &part.params : nullptr;
  }
}

const WeightParam* CudaStream::experts_on_device(std::span<const WeightView> experts) {
  std::string bytes;
  for (const WeightView& expert : experts) {
    bytes.append(reinterpret_cast<const char*>(&weight_param(expert)), sizeof(WeightParam));
  }
  Buffer& array = expert_arrays_[bytes];
  if (array.data == nullptr) {
    auto memory = device_->pool().allocate(static_cast<int64_t>(bytes.size()), device_);
    if (memory.ok()) array = std::move(memory).value();
    const Status sent =
        memory.ok() ? device_->send(array.data, bytes.data(), array.bytes) : memory.error();
    if (!sent.ok()) fail(sent.error());
  }
  return static_cast<const WeightParam*>(array.data);
}

void CudaStream::grouped_matmul(const GroupedMatmulArgs& args) {
  if (!begin("grouped_matmul")) return;
  MatmulParams params = params_of(args.x, args.out);
  params.num_experts = static_cast<int64_t>(args.experts.size());
  // One of them, for its kind: f32 if any is.
  params.w = weight_param(args.experts.front());
  for (const WeightView& expert : args.experts) {
    if (weight_param(expert).kind == kWeightF32) params.w = weight_param(expert);
  }
  params.experts = experts_on_device(args.experts);
  params.offsets = data_of<int32_t>(args.expert_offsets);
  launch_product(params, 1);
}

void CudaStream::launch_heads(const TensorView& x, const HeadMatrixView& u, bool apply_transposed,
                              const TensorView& out) {
  MatmulParams params = params_of(x, out);
  params.w = weight_param(u.weight);
  params.first_row = u.first_row;
  params.head_stride = u.head_stride;
  if (u.transposed == apply_transposed) {
    CHECK(params.rows == u.rows && params.cols == u.cols);
    return launch_product(params, u.num_heads);
  }
  params.rows = u.rows;
  params.cols = u.cols;
  launch(Kernel::k_transposed_matvec, {params.tokens, u.num_heads}, kThreads, params);
}

void CudaStream::per_head_matmul(const PerHeadMatmulArgs& args) {
  if (!begin("per_head_matmul")) return;
  launch_heads(args.x, args.u, args.apply_transposed, args.out);
}

}  // namespace ferry::cuda
