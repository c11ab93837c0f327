#include "cmd/source_weights.h"

#include <algorithm>

#include "base/checked_math.h"

namespace ferry::cmd {
namespace {

constexpr int64_t kPieceElements = 4 << 20;

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

Result<SourceWeights::Rows> SourceWeights::read_rows(const std::string& name, int64_t first,
                                                     int64_t count, int64_t cols) const {
  FERRY_TRY(const disk::FileTensor* tensor, checkpoint_.get(name));
  const quant::StorageFormat& format = *tensor->format;
  if (tensor->num_elements() % cols != 0 || (first + count) * cols > tensor->num_elements() ||
      format.decode == nullptr || cols % format.block_elements != 0) {
    return invalid_input("{}: shape {}, expected rows of {}", checkpoint_.where(*tensor),
                         tensor->shape_text(), cols);
  }
  Rows out(static_cast<size_t>(count * cols));
  format.decode(tensor->data.data() + format.bytes_for(first * cols), out.data(),
                count * cols / format.block_elements);
  const disk::FileTensor* scale =
      checkpoint_.find(name + (format.name == "INT4" ? "_scale" : "_scale_inv"));
  if (scale == nullptr) return out;
  std::vector<float> grid(static_cast<size_t>(scale->num_elements()));
  const int64_t grid_cols = ceil_div(cols, scale_block_.cols);
  if (scale->format->decode == nullptr || scale->format->block_elements != 1 ||
      static_cast<int64_t>(grid.size()) < ceil_div(first + count, scale_block_.rows) * grid_cols) {
    return invalid_input("{}: shape {} does not cover the matrix", checkpoint_.where(*scale),
                         scale->shape_text());
  }
  scale->format->decode(scale->data.data(), grid.data(), static_cast<int64_t>(grid.size()));
  for (int64_t row = 0; row < count; ++row) {
    const float* scales = grid.data() + (first + row) / scale_block_.rows * grid_cols;
    for (int64_t col = 0; col < cols; ++col) {
      out[row * cols + col] *= scales[col / scale_block_.cols];
    }
  }
  return out;
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
