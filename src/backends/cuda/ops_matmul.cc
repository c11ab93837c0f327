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

#include "backends/cuda/scratch.h"
#include "backends/cuda/stream.h"
#include "backends/cuda/views.h"
#include "backends/cuda/weights.h"

namespace ferry::cuda {
namespace {

// What of x and of w lies in scratch memory at a time.
constexpr int64_t kMostRoundedBytes = int64_t{64} << 20;
constexpr int64_t kMostConvertedBytes = int64_t{16} << 20;
constexpr int64_t kMostOfLibrary = std::numeric_limits<int32_t>::max();  // rows, columns, tokens
constexpr int64_t kFloatBytes = sizeof(float);

bool is_for_library(int32_t kind, int64_t tokens, bool f32_products) {
  if (kind == kWeightF32) return tokens > kTileTokens;
  const bool halves = kind == kWeightBF16 || kind == kWeightF16;
  return halves && !f32_products && tokens > kWideTokens;
}

// Operands that are made in bf16 first: x, and w where it does not lie there.
struct RoundedParts {
  int64_t stride;  // of both, in numbers
  int64_t rows_at_once, tokens_at_once;
  int64_t x_bytes, bytes;  // of x, and of both
};

RoundedParts rounded_parts(int64_t tokens, int64_t rows, int64_t cols, bool w_in_place) {
  RoundedParts parts{.stride = round_up(cols, kLtAlignment / kBf16Bytes),
                     .rows_at_once = rows,
                     .tokens_at_once = tokens,
                     .x_bytes = 0,
                     .bytes = 0};
  const int64_t row_bytes = parts.stride * kBf16Bytes;
  parts.tokens_at_once = std::clamp(kMostRoundedBytes / row_bytes, int64_t{1}, tokens);
  parts.x_bytes = parts.tokens_at_once * row_bytes;
  parts.bytes = parts.x_bytes;
  if (w_in_place) return parts;
  // Where a part of out or of bias begins is aligned too.
  const int64_t step = kLtAlignment / kFloatBytes;
  parts.rows_at_once =
      std::min(rows, std::max(kMostConvertedBytes / row_bytes / step, int64_t{1}) * step);
  parts.bytes += parts.rows_at_once * row_bytes;
  return parts;
}

bool aligned_for_library(const void* data, int64_t stride_bytes) {
  return reinterpret_cast<uintptr_t>(data) % kLtAlignment == 0 && stride_bytes % kLtAlignment == 0;
}

// The rows of x, as a kernel that decodes weights reads them.
WeightParam rows_of_x(const MatmulParams& params) {
  WeightParam rows{};
  rows.data = reinterpret_cast<const uint8_t*>(params.x);
  rows.rows = params.tokens;
  rows.cols = params.cols;
  rows.row_bytes = params.x_stride * kFloatBytes;
  rows.kind = kWeightF32;
  return rows;
}

}  // namespace

int64_t most_product_floats(const MatmulArgs& args, const ScratchTerms& terms) {
  const WeightKind kind = kind_on_device(*args.w.format, terms.f32_products);
  const int64_t tokens = args.x.shape[0];
  if (!terms.has_library || !is_for_library(kind, tokens, terms.f32_products)) return 0;
  int64_t bytes = kLtWorkspaceBytes;
  if (kind != kWeightF32) {
    const bool w_in_place = kind == kWeightBF16 && args.w.scale_rows == 0 &&
                            args.w.cols * kBf16Bytes % kLtAlignment == 0;
    bytes += rounded_parts(tokens, args.w.rows, args.w.cols, w_in_place).bytes;
  }
  return ceil_div(bytes, kFloatBytes);
}

std::optional<CudaStream::LibraryUse> CudaStream::library_use(const MatmulParams& params) {
  LtProducts* library = device_->products();
  const int32_t kind = params.w.kind;
  const bool f32 = kind == kWeightF32;
  if (library == nullptr || !is_for_library(kind, params.tokens, f32_products_)) return {};
  if (std::max({params.tokens, params.rows, params.cols}) > kMostOfLibrary) return {};
  if (params.rows == 0 || params.cols == 0) return {};
  if (!aligned_for_library(params.out, params.out_stride * kFloatBytes)) return {};
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
    use.w_stride = params.w.row_bytes / kFloatBytes;
    use.x_stride = params.x_stride;
  } else {
    use.type = kLtBF16;
    use.w_in_place = kind == kWeightBF16 && w_lies_right;
    const RoundedParts parts =
        rounded_parts(params.tokens, params.rows, params.cols, use.w_in_place);
    use.x_stride = parts.stride;
    use.w_stride = use.w_in_place ? params.w.row_bytes / kBf16Bytes : parts.stride;
    use.rows_at_once = parts.rows_at_once;
    use.tokens_at_once = parts.tokens_at_once;
    use.x_bytes = parts.x_bytes;
    use.bytes = parts.bytes;
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
                                   uint8_t* workspace, bool x_is_there) {
  uint8_t* memory = workspace + kLtWorkspaceBytes;
  const int64_t element = use.type == kLtBF16 ? kBf16Bytes : kFloatBytes;
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
          .workspace = workspace};
      if (!status_.ok()) return;
      queue({.kernel = kLibraryProduct,
             .grid = {},
             .threads = 0,
             .params = std::string(reinterpret_cast<const char*>(&product), sizeof product)});
    }
  }
}

}  // namespace ferry::cuda
