#include "cmd/source_weights.h"

#include <algorithm>
#include <cstring>

#include "base/checked_math.h"

namespace ferry::cmd {
namespace {

constexpr int64_t kPieceElements = 4 << 20;
constexpr int64_t kFp4Group = 32;  // columns of DeepSeek-V4's experts with one scale

// Sign, two bits of exponent, one of mantissa.
float e2m1(int code) {
  constexpr float kMagnitudes[] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6};
  return (code & 8) != 0 ? -kMagnitudes[code & 7] : kMagnitudes[code & 7];
}

Status encode(const std::vector<float>& numbers, const quant::StorageFormat& format,
              const Emit& emit) {
  const auto blocks = static_cast<int64_t>(numbers.size()) / format.block_elements;
  std::vector<uint8_t> bytes(static_cast<size_t>(blocks * format.block_bytes));
  format.encode(numbers.data(), bytes.data(), blocks);
  return emit(bytes);
}

// "model.layers.3.self_attn.k_b_proj.weight" → "….kv_b_proj.weight"
std::string fused_name(const std::string& name) {
  const size_t at = name.rfind("_b_proj.weight") - 1;
  return name.substr(0, at) + "kv_b_proj.weight";
}

}  // namespace

// The tensor that scales `name`, whose blocks are `block`; nullptr: none does.
const disk::FileTensor* SourceWeights::scale_of(const disk::FileTensor& tensor,
                                                const std::string& name,
                                                models::ScaleBlock& block) const {
  if (tensor.format->name == "INT4") return checkpoint_.find(name + "_scale");
  constexpr std::string_view kWeight = ".weight";
  if (name.ends_with(kWeight)) {  // DeepSeek-V4's
    const std::string own = name.substr(0, name.size() - kWeight.size()) + ".scale";
    if (const disk::FileTensor* scale = checkpoint_.find(own)) {
      if (tensor.format->name == "I8") block = {.rows = 1, .cols = kFp4Group};
      return scale;
    }
  }
  return checkpoint_.find(name + "_scale_inv");
}

Result<SourceWeights::Rows> SourceWeights::read_rows(const std::string& name, int64_t first,
                                                     int64_t count, int64_t cols) const {
  FERRY_TRY(const disk::FileTensor* tensor, checkpoint_.get(name));
  const quant::StorageFormat& format = *tensor->format;
  models::ScaleBlock block = scale_block_;
  const disk::FileTensor* scale = scale_of(*tensor, name, block);
  const bool pairs = format.name == "I8" && scale != nullptr && cols % kFp4Group == 0;
  const int64_t stored = pairs ? cols / 2 : cols;  // elements of a row in the file
  if (tensor->num_elements() % stored != 0 || (first + count) * stored > tensor->num_elements() ||
      (format.decode == nullptr && !pairs) || stored % format.block_elements != 0) {
    return invalid_input("{}: {} of shape {}, expected numbers in rows of {}",
                         checkpoint_.where(*tensor), format.name, tensor->shape_text(), cols);
  }
  Rows out(static_cast<size_t>(count * cols));
  const uint8_t* data = tensor->data.data() + format.bytes_for(first * stored);
  if (pairs) {
    for (size_t i = 0; i < out.size(); ++i) out[i] = e2m1(data[i / 2] >> (i % 2 * 4) & 15);
  } else {
    format.decode(data, out.data(), count * cols / format.block_elements);
  }
  if (scale == nullptr) return out;
  std::vector<float> grid(static_cast<size_t>(scale->num_elements()));
  const int64_t grid_cols = ceil_div(cols, block.cols);
  if (scale->format->decode == nullptr || scale->format->block_elements != 1 ||
      static_cast<int64_t>(grid.size()) < ceil_div(first + count, block.rows) * grid_cols) {
    return invalid_input("{}: shape {} does not cover the matrix", checkpoint_.where(*scale),
                         scale->shape_text());
  }
  scale->format->decode(scale->data.data(), grid.data(), static_cast<int64_t>(grid.size()));
  for (int64_t row = 0; row < count; ++row) {
    const float* scales = grid.data() + (first + row) / block.rows * grid_cols;
    for (int64_t col = 0; col < cols; ++col) out[row * cols + col] *= scales[col / block.cols];
  }
  return out;
}

// Whole numbers as I32, whatever the file has them in.
Status SourceWeights::emit_indices(const weights::TensorRecord& record, const Emit& emit) const {
  FERRY_TRY(const disk::FileTensor* tensor, checkpoint_.get(record.name));
  const bool wide = tensor->format->name == "I64";
  if ((!wide && tensor->format->name != "I32") || tensor->num_elements() != record.num_elements()) {
    return invalid_input("{}: {} of shape {}, expected {} whole numbers",
                         checkpoint_.where(*tensor), tensor->format->name, tensor->shape_text(),
                         record.num_elements());
  }
  std::vector<uint8_t> bytes(static_cast<size_t>(record.num_elements()) * sizeof(int32_t));
  const size_t size = wide ? sizeof(int64_t) : sizeof(int32_t);
  for (size_t i = 0; i < bytes.size() / sizeof(int32_t); ++i) {  // little-endian: the low half
    std::memcpy(bytes.data() + i * sizeof(int32_t), tensor->data.data() + i * size,
                sizeof(int32_t));
  }
  return emit(bytes);
}

// One head of k_b_proj [heads, rank, nope] or v_b_proj [heads, value, rank].
Result<SourceWeights::Rows> SourceWeights::read_head(const weights::TensorRecord& record,
                                                     int64_t head) const {
  const nn::MlaSpec& mla = spec_.mla;
  const int64_t nope = mla.qk_nope_head_dim, value = mla.v_head_dim, rank = mla.kv_lora_rank;
  const int64_t first = head * (nope + value);
  if (record.name.ends_with("v_b_proj.weight")) {
    return read_rows(fused_name(record.name), first + nope, value, rank);
  }
  FERRY_TRY(const Rows rows, read_rows(fused_name(record.name), first, nope, rank));
  Rows transposed(rows.size());
  for (int64_t n = 0; n < nope; ++n) {
    for (int64_t r = 0; r < rank; ++r) transposed[r * nope + n] = rows[n * rank + r];
  }
  return transposed;
}

// Rows i and i + d/2 of each head become neighbours: half layout → interleaved.
Result<SourceWeights::Rows> SourceWeights::read_permuted(const weights::TensorRecord& record,
                                                         int64_t heads) const {
  const int64_t rows = record.shape[0], cols = record.shape[1], half = rows / heads / 2;
  FERRY_TRY(const Rows in, read_rows(record.name, 0, rows, cols));
  Rows out(in.size());
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t head = row / (2 * half), i = row % (2 * half);
    const int64_t to = head * 2 * half + (i < half ? 2 * i : 2 * (i - half) + 1);
    std::copy_n(in.begin() + row * cols, cols, out.begin() + to * cols);
  }
  return out;
}

Status SourceWeights::produce(const weights::TensorRecord& record,
                              const quant::StorageFormat& format, const Emit& emit) const {
  if (record.role == weights::TensorRole::kIndices) return emit_indices(record, emit);
  const bool stacked = record.role == weights::TensorRole::kExpert;
  if (record.shape.size() == 3 && !stacked) {
    for (int64_t head = 0; head < record.shape[0]; ++head) {
      FERRY_TRY(const Rows rows, read_head(record, head));
      FERRY_TRY_VOID(encode(rows, format, emit));
    }
    return {};
  }
  const bool is_q = record.name.ends_with("self_attn.q_proj.weight");
  const bool is_k = record.name.ends_with("self_attn.k_proj.weight");
  if (spec_.architecture == "llama" && (is_q || is_k)) {
    FERRY_TRY(const Rows rows,
              read_permuted(record, is_q ? spec_.num_attention_heads : spec_.num_key_value_heads));
    return encode(rows, format, emit);
  }
  const int64_t cols = record.shape.back();
  const int64_t experts = stacked ? record.shape[0] : 1;
  const int64_t rows = record.num_elements() / cols / experts;
  const int64_t piece = std::max<int64_t>(kPieceElements / cols, 1);
  const bool separate = stacked && checkpoint_.find(record.name) == nullptr;
  for (int64_t e = 0; e < experts; ++e) {
    const std::string name = separate ? record.expert_name(e) : record.name;
    for (int64_t row = 0; row < rows; row += piece) {
      FERRY_TRY(const Rows numbers, read_rows(name, (separate ? 0 : e * rows) + row,
                                              std::min(piece, rows - row), cols));
      FERRY_TRY_VOID(encode(numbers, format, emit));
    }
  }
  return {};
}

TensorJob SourceWeights::job(const weights::TensorRecord& record, const std::string& name,
                             const quant::StorageFormat& format) const {
  return {.tensor = {.name = name, .format = &format, .shape = record.shape},
          .produce = [this, record, &format](const Emit& emit) {
            return produce(record, format, emit);
          }};
}

}  // namespace ferry::cmd
