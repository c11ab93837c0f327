// Products by cuBLASLt (lt_products.h), where it is there: of many tokens with weights that lie in
// bf16, f16 or f32. It wants both operands of one type. Activations are rounded to bf16 first, as
// the kernels on tensor cores do inside, and not to f16, beyond whose 65504 they go; weights in f16
// become bf16 a part at a time. Weights in f32 are multiplied as they are, without TF32.
//
// Up to the tokens of one of its tiles a kernel of ferry's own reads every weight once, which no
// library does faster, and needs no rounding before. From the second tile on it reads and decodes
// the weight again for each, and there cuBLASLt's kernels are used. That is reasoned, not measured.
#include <algorithm>
#include <limits>

#include "backends/cuda/stream.h"
#include "backends/cuda/views.h"

namespace ferry::cuda {
namespace {

// What of x and of w lies in scratch memory at a time.
constexpr int64_t kMostRoundedBytes = int64_t{64} << 20;
constexpr int64_t kMostConvertedBytes = int64_t{16} << 20;
constexpr int64_t kMostOfLibrary = std::numeric_limits<int32_t>::max();  // rows, columns, tokens

bool aligned_for_library(const void* data, int64_t stride_bytes) {
  return reinterpret_cast<uintptr_t>(data) % kLtAlignment == 0 && stride_bytes % kLtAlignment == 0;
}

// The rows of x, as a kernel that decodes weights reads them.
WeightParam rows_of_x(const MatmulParams& params) {
  WeightParam rows{};
  rows.data = reinterpret_cast<const uint8_t*>(params.x);
  rows.rows = params.tokens;
  rows.cols = params.cols;
  rows.row_bytes = params.x_stride * static_cast<int64_t>(sizeof(float));
  rows.kind = kWeightF32;
  return rows;
}

}  // namespace

std::optional<CudaStream::LibraryUse> CudaStream::library_use(const MatmulParams& params) {
  LtProducts* library = device_->products();
  const int32_t kind = params.w.kind;
  const bool f32 = kind == kWeightF32;
  const bool halves = kind == kWeightBF16 || kind == kWeightF16;
  if (library == nullptr || !(f32 || (halves && !f32_products_))) return {};
  if (params.tokens <= (f32 ? kTileTokens : kWideTokens)) return {};
  if (std::max({params.tokens, params.rows, params.cols}) > kMostOfLibrary) return {};
  if (params.rows == 0 || params.cols == 0) return {};
  const auto float_bytes = static_cast<int64_t>(sizeof(float));
  if (!aligned_for_library(params.out, params.out_stride * float_bytes)) return {};
  if (!aligned_for_library(params.bias, 0)) return {};
  const bool w_lies_right =
      params.w.scale == nullptr && aligned_for_library(params.w.data, params.w.row_bytes);
  LibraryUse use{};
  use.rows_at_once = params.rows;
  use.tokens_at_once = params.tokens;
  if (f32) {
    if (!w_lies_right || params.x_aligned == 0 || params.x_stride < params.cols) return {};
    use.type = kLtF32;
    use.w_in_place = use.x_in_place = true;
    use.w_stride = params.w.row_bytes / float_bytes;
    use.x_stride = params.x_stride;
  } else {
    use.type = kLtBF16;
    use.w_in_place = kind == kWeightBF16 && w_lies_right;
    use.x_stride = round_up(params.cols, kLtAlignment / kBf16Bytes);
    use.w_stride = use.w_in_place ? params.w.row_bytes / kBf16Bytes : use.x_stride;
    const int64_t row_bytes = use.x_stride * kBf16Bytes;
    use.tokens_at_once = std::clamp(kMostRoundedBytes / row_bytes, int64_t{1}, params.tokens);
    use.x_bytes = use.tokens_at_once * row_bytes;
    if (!use.w_in_place) {
      // Where a part of out or of bias begins is aligned too.
      const int64_t step = kLtAlignment / float_bytes;
      use.rows_at_once = std::min(
          use.rows_at_once, std::max(kMostConvertedBytes / row_bytes / step, int64_t{1}) * step);
    }
    use.bytes = use.x_bytes + (use.w_in_place ? 0 : use.rows_at_once * row_bytes);
  }
  // All parts have to be made in the same way.
  for (const int64_t rows : {use.rows_at_once, params.rows % use.rows_at_once}) {
    for (const int64_t tokens : {use.tokens_at_once, params.tokens % use.tokens_at_once}) {
      if (rows == 0 || tokens == 0) continue;
      const auto can = library->can_make(shape_of_part(params, use, rows, tokens));
      if (!can.ok()) fail(can.error());
      if (!can.ok() || !*can) return {};
    }
  }
  if (product_workspace_ != nullptr) return use;
  auto workspace = library->workspace();
  if (!workspace.ok()) {
    fail(workspace.error());
    return {};
  }
  product_workspace_ = std::move(workspace).value();
  return use;
}

LtShape CudaStream::shape_of_part(const MatmulParams& params, const LibraryUse& use, int64_t rows,
                                  int64_t tokens) {
  return {.rows = rows,
          .tokens = tokens,
          .cols = params.cols,
          .w_stride = use.w_stride,
          .x_stride = use.x_stride,
          .out_stride = params.out_stride,
          .type = use.type,
          .has_bias = params.bias != nullptr};
}

void CudaStream::launch_to_bf16(const WeightParam& from, int64_t first, int64_t rows, void* out,
                                int64_t out_stride) {
  const ToBf16Params params = {.from = from,
                               .first_row = first,
                               .rows = rows,
                               .out = static_cast<uint16_t*>(out),
                               .out_stride = out_stride};
  launch(Kernel::k_to_bf16, {ceil_div(rows * ceil_div(from.cols, int64_t{kGroup}), kThreads)},
         kThreads, params);
}

void CudaStream::launch_by_library(const MatmulParams& params, const LibraryUse& use,
                                   uint8_t* memory, bool x_is_there) {
  const int64_t element = use.type == kLtBF16 ? kBf16Bytes : static_cast<int64_t>(sizeof(float));
  for (int64_t token = 0; token < params.tokens; token += use.tokens_at_once) {
    const int64_t tokens = std::min(use.tokens_at_once, params.tokens - token);
    if (!use.x_in_place && !x_is_there) {
      launch_to_bf16(rows_of_x(params), token, tokens, memory, use.x_stride);
    }
    for (int64_t row = 0; row < params.rows; row += use.rows_at_once) {
      const int64_t rows = std::min(use.rows_at_once, params.rows - row);
      const uint8_t* w = params.w.data + row * use.w_stride * element;
      if (!use.w_in_place) {
        w = memory + use.x_bytes;
        launch_to_bf16(params.w, row, rows, memory + use.x_bytes, use.w_stride);
      }
      const LtProduct product = {
          .shape = shape_of_part(params, use, rows, tokens),
          .w = w,
          .x = use.x_in_place ? static_cast<const void*>(params.x + token * params.x_stride)
                              : memory,
          .out = params.out + token * params.out_stride + row,
          .bias = params.bias == nullptr ? nullptr : params.bias + row,
          .workspace = product_workspace_->data};
      if (!status_.ok()) return;
      queue({.kernel = kLibraryProduct,
             .grid = {},
             .threads = 0,
             .params = std::string(reinterpret_cast<const char*>(&product), sizeof product)});
    }
  }
}

}  // namespace ferry::cuda
