// Weights on the device: see weights.h.
#include "backends/cuda/weights.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/checked_math.h"
#include "base/half.h"

namespace ferry::cuda {
namespace {

struct KindOfFormat {
  std::string_view format;
  WeightKind kind;
};
constexpr KindOfFormat kKinds[] = {
    {"F32", kWeightF32},      {"F16", kWeightF16},      {"BF16", kWeightBF16},
    {"F8_E4M3", kWeightE4M3}, {"INT4", kWeightInt4},    {"Q4_0", kWeightQ4_0},
    {"Q4_1", kWeightQ4_1},    {"Q5_0", kWeightQ5_0},    {"Q5_1", kWeightQ5_1},
    {"Q8_0", kWeightQ8_0},    {"Q2_K", kWeightQ2K},     {"Q3_K", kWeightQ3K},
    {"Q4_K", kWeightQ4K},     {"Q5_K", kWeightQ5K},     {"Q6_K", kWeightQ6K},
    {"IQ4_NL", kWeightIQ4NL}, {"IQ4_XS", kWeightIQ4XS}, {"MXFP4", kWeightMXFP4},
    {"IQ1_S", kWeightIQ1S},   {"IQ1_M", kWeightIQ1M},   {"IQ2_XXS", kWeightIQ2XXS},
    {"IQ2_XS", kWeightIQ2XS}, {"IQ2_S", kWeightIQ2S},   {"IQ3_XXS", kWeightIQ3XXS},
    {"IQ3_S", kWeightIQ3S},
};

// Rows are decoded and sent this many bytes at a time.
constexpr int64_t kChunkBytes = int64_t{4} << 20;

// How it lies on the device: the kind, and the bytes of a row.
std::pair<WeightKind, int64_t> layout_of(const HostWeight& weight, bool f32_weights) {
  const WeightKind kind = kind_on_device(*weight.format, f32_weights);
  if (kind == weight_kind(*weight.format)) return {kind, weight.format->bytes_for(weight.cols)};
  return {kind, weight.cols * (kind == kWeightF32 ? 4 : 2)};
}

Status send_decoded(const Device& device, const HostWeight& weight, bool f32, char* dst) {
  const int64_t row_bytes = weight.cols * (f32 ? 4 : 2);
  const int64_t source_bytes = weight.format->bytes_for(weight.cols);
  const int64_t rows_at_once = std::max<int64_t>(1, kChunkBytes / row_bytes);
  std::vector<float> row(static_cast<size_t>(weight.cols));
  std::vector<char> chunk(static_cast<size_t>(rows_at_once * row_bytes));
  for (int64_t first = 0; first < weight.rows; first += rows_at_once) {
    const int64_t count = std::min(rows_at_once, weight.rows - first);
    for (int64_t r = 0; r < count; ++r) {
      const uint8_t* source = weight.data.data() + (first + r) * source_bytes;
      char* to = chunk.data() + r * row_bytes;
      quant::decode_row(*weight.format, source, row.data(), weight.cols);
      if (f32) {
        std::copy_n(reinterpret_cast<const char*>(row.data()), row_bytes, to);
        continue;
      }
      auto* halves = reinterpret_cast<uint16_t*>(to);
      for (int64_t k = 0; k < weight.cols; ++k) halves[k] = f32_to_bf16(row[k]);
    }
    FERRY_TRY_VOID(device.send(dst + first * row_bytes, chunk.data(), count * row_bytes));
  }
  return {};
}

}  // namespace

WeightKind weight_kind(const quant::StorageFormat& format) {
  for (const KindOfFormat& entry : kKinds) {
    if (entry.format == format.name) return entry.kind;
  }
  return kNumWeightKinds;
}

WeightKind kind_on_device(const quant::StorageFormat& format, bool f32_weights) {
  const WeightKind kind = weight_kind(format);
  if (kind != kNumWeightKinds) return kind;
  return f32_weights ? kWeightF32 : kWeightBF16;
}

int64_t import_bytes(const HostWeight& weight, bool f32_weights) {
  const int64_t bytes = weight.rows * layout_of(weight, f32_weights).second;
  const auto grid = static_cast<int64_t>(weight.scale.size_bytes());
  return MemoryPool::piece_bytes(bytes) + (grid == 0 ? 0 : MemoryPool::piece_bytes(grid));
}

Result<Weight> import_weight(const Device& device, const HostWeight& weight, bool f32_weights,
                             std::shared_ptr<const void> owner) {
  const quant::StorageFormat& format = *weight.format;
  if (format.decode == nullptr) {
    return unsupported("weights stored as {} can't be computed with", format.name);
  }
  const auto [kind, row_bytes] = layout_of(weight, f32_weights);
  auto imported = std::make_shared<ImportedWeight>();
  FERRY_TRY(imported->memory, device.pool().allocate(weight.rows * row_bytes, owner));
  if (kind == weight_kind(format)) {
    FERRY_TRY_VOID(device.send(imported->memory.data, weight.data.data(), weight.rows * row_bytes));
  } else {
    FERRY_TRY_VOID(send_decoded(device, weight, kind == kWeightF32,
                                static_cast<char*>(imported->memory.data)));
    if (kind == kWeightBF16) imported->host = weight;
  }
  if (!weight.scale.empty()) {
    const auto bytes = static_cast<int64_t>(weight.scale.size_bytes());
    FERRY_TRY(imported->scale, device.pool().allocate(bytes, owner));
    FERRY_TRY_VOID(device.send(imported->scale.data, weight.scale.data(), bytes));
  }
  imported->param = {
      .data = static_cast<const uint8_t*>(imported->memory.data),
      .scale = static_cast<const float*>(imported->scale.data),
      .words = device.words(kind),
      .rows = weight.rows,
      .cols = weight.cols,
      .row_bytes = row_bytes,
      .scale_rows = weight.scale_rows,
      .scale_cols = weight.scale_cols,
      .scale_grid_cols = weight.scale.empty() ? 0 : ceil_div(weight.cols, weight.scale_cols),
      .kind = kind};
  return Weight{.view = {.format = &format,
                         .data = imported->memory.data,
                         .rows = weight.rows,
                         .cols = weight.cols,
                         .row_bytes = row_bytes,
                         .scale = imported->param.scale,
                         .scale_rows = weight.scale_rows,
                         .scale_cols = weight.scale_cols,
                         .packed = imported.get()},
                .storage = imported};
}

}  // namespace ferry::cuda
