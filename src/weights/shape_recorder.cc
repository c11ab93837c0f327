// See shape_recorder.h.
#include "weights/shape_recorder.h"

#include <fmt/format.h>

#include "weights/head_matrices.h"

namespace ferry::weights {
namespace {

// Any non-null address: fake views must not look empty.
void* fake_address() { return reinterpret_cast<void*>(256); }

TensorRole role_of_matrix(std::string_view name) {
  if (name.ends_with("embed_tokens") || name.ends_with("lm_head")) return TensorRole::kEmbedding;
  if (name == "embed" || name == "head") return TensorRole::kEmbedding;  // DeepSeek-V4
  if (name.ends_with("mlp.gate") || name.ends_with("ffn.gate")) return TensorRole::kRouter;
  return TensorRole::kLinear;
}

}  // namespace

int64_t TensorRecord::num_elements() const {
  int64_t product = 1;
  for (int64_t dim : shape) product *= dim;
  return product;
}

std::string TensorRecord::expert_name(int64_t expert) const {
  CHECK(role == TensorRole::kExpert);
  const size_t projection = name.rfind('.', name.rfind('.') - 1);
  return fmt::format("{}.{}{}", name.substr(0, projection), expert, name.substr(projection));
}

ShapeRecorder::ShapeRecorder(ShapeRecorderOptions options) : options_(std::move(options)) {}

WeightView ShapeRecorder::record_matrix(TensorRecord record, int64_t rows, int64_t cols) {
  const quant::StorageFormat* format =
      options_.format ? options_.format(record) : quant::find_format("BF16");
  CHECK(format != nullptr && cols % format->block_elements == 0);
  bytes_ += format->bytes_for(record.num_elements());
  records_.push_back(std::move(record));
  return {.format = format,
          .data = fake_address(),
          .rows = rows,
          .cols = cols,
          .row_bytes = format->bytes_for(cols)};
}

Weight ShapeRecorder::matrix(std::string_view name, int64_t rows, int64_t cols, Cut) {
  return {.view = record_matrix({std::string(name) + ".weight", {rows, cols}, role_of_matrix(name)},
                                rows, cols)};
}

Weight ShapeRecorder::bare_matrix(std::string_view full_name, int64_t rows, int64_t cols) {
  const Vector numbers = table(full_name, rows, cols);
  const quant::StorageFormat* f32 = quant::find_format("F32");
  return {.view = {.format = f32,
                   .data = numbers.view.data,
                   .rows = rows,
                   .cols = cols,
                   .row_bytes = f32->bytes_for(cols)}};
}

Vector ShapeRecorder::table(std::string_view full_name, int64_t rows, int64_t cols) {
  records_.push_back({std::string(full_name), {rows, cols}, TensorRole::kTable});
  bytes_ += rows * cols * dtype_bytes(Dtype::kF32);
  return {.view = TensorView::contiguous(fake_address(), Dtype::kF32, {rows, cols})};
}

Vector ShapeRecorder::indices(std::string_view full_name, int64_t rows, int64_t cols,
                              int64_t limit) {
  records_.push_back({std::string(full_name), {rows, cols}, TensorRole::kIndices, limit});
  bytes_ += rows * cols * dtype_bytes(Dtype::kI32);
  return {.view = TensorView::contiguous(fake_address(), Dtype::kI32, {rows, cols})};
}

Vector ShapeRecorder::vector(std::string_view full_name, int64_t size, Cut) {
  const TensorRole role = full_name.ends_with("bias") ? TensorRole::kBias : TensorRole::kNorm;
  records_.push_back({std::string(full_name), {size}, role});
  bytes_ += size * dtype_bytes(Dtype::kF32);
  return {.view = TensorView::contiguous(fake_address(), Dtype::kF32, {size})};
}

ExpertBank ShapeRecorder::experts(std::string_view prefix, std::string_view projection,
                                  int64_t num_experts, int64_t rows, int64_t cols, Cut) {
  const WeightView view = record_matrix({fmt::format("{}.{}.weight", prefix, projection),
                                         {num_experts, rows, cols},
                                         TensorRole::kExpert},
                                        rows, cols);
  return {.views = std::vector<WeightView>(static_cast<size_t>(num_experts), view)};
}

// Both halves ask for it, one after the other; it is written down once.
WeightView ShapeRecorder::kv_b(std::string_view prefix, int64_t heads, int64_t nope, int64_t value,
                               int64_t rank) {
  const int64_t rows = heads * (nope + value);
  const std::string name = std::string(prefix) + ".kv_b_proj.weight";
  if (!records_.empty() && records_.back().name == name) return kv_b_;
  return kv_b_ = record_matrix({name, {rows, rank}, TensorRole::kLinear}, rows, rank);
}

HeadMatrix ShapeRecorder::mla_up_k(std::string_view prefix, int64_t heads, int64_t nope,
                                   int64_t value, int64_t rank) {
  if (options_.split_kv_b) {
    return {.view = k_b_view(record_matrix({std::string(prefix) + ".k_b_proj.weight",
                                            {heads, rank, nope},
                                            TensorRole::kLinear},
                                           heads * rank, nope),
                             heads, rank)};
  }
  return {.view = up_k_view(kv_b(prefix, heads, nope, value, rank), heads, nope, value)};
}

HeadMatrix ShapeRecorder::mla_up_v(std::string_view prefix, int64_t heads, int64_t nope,
                                   int64_t value, int64_t rank) {
  if (options_.split_kv_b) {
    return {.view = v_b_view(record_matrix({std::string(prefix) + ".v_b_proj.weight",
                                            {heads, value, rank},
                                            TensorRole::kLinear},
                                           heads * value, rank),
                             heads, value)};
  }
  return {.view = up_v_view(kv_b(prefix, heads, nope, value, rank), heads, nope, value)};
}

Vector ShapeRecorder::constant(int64_t rows, int64_t cols,
                               const std::function<std::vector<float>()>&) {
  bytes_ += rows * cols * dtype_bytes(Dtype::kF32);
  return {.view = TensorView::contiguous(fake_address(), Dtype::kF32, {rows, cols})};
}

bool ShapeRecorder::has(std::string_view, bool without_file) const { return without_file; }

void ShapeRecorder::skip_copy(std::string_view, int64_t, int64_t) {}
void ShapeRecorder::ignore(std::string_view) {}
void ShapeRecorder::ignore_all(std::string_view) {}

}  // namespace ferry::weights
