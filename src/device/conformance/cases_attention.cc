// Conformance cases of grouped-query attention over the paged cache: head shapes, page dtypes,
// contexts that end at and around page and tile edges, shuffled pages, mixed batches, large scores.
// Cache slots that no sequence owns hold NaN.
#include <algorithm>

#include "device/conformance/cases.h"
#include "device/conformance/cases_batches.h"

namespace ferry {
namespace {

struct GqaShape {
  const BatchShape* batch;
  int64_t heads, kv_heads, size;
  Dtype dtype;
  float query_scale;  // 1: ordinary scores; 100: scores in the thousands
};

class GqaExercise : public Exercise {
 public:
  explicit GqaExercise(const GqaShape& shape)
      : shape_(shape),
        random_(3000),
        batch_(random_, shape.batch->sequences, shape.batch->block_size) {
    q_ = random_.normals(batch_.num_tokens() * shape.heads * shape.size, shape.query_scale);
    k_ = batch_.cache(random_, shape.dtype, width(), shape.size);
    v_ = batch_.cache(random_, shape.dtype, width(), shape.size);
  }

  CaseOutput run(Rig& rig, int64_t first, int64_t count) const override {
    const auto part = batch_.part(rig, first, count);
    const auto rows = rows_of(q_, shape_.heads * shape_.size, first, count);
    // q as a slice of a fused qkv projection
    const TensorView q = rig.upload(rows, {count, shape_.heads * shape_.size}, {0, 2 * width()});
    const auto pages = {batch_.num_pages(), batch_.block_size(), width()};
    const TensorView k = rig.upload_pages(k_, shape_.dtype, pages, shape_.size);
    const TensorView v = rig.upload_pages(v_, shape_.dtype, pages, shape_.size);
    const TensorView out = rig.output(Dtype::kF32, {count, shape_.heads, shape_.size});
    if (!rig.ready()) return {};
    rig.stream().gqa_attention({.q = q.split_last(shape_.heads, shape_.size),
                                .k_pages = k,
                                .v_pages = v,
                                .num_kv_heads = shape_.kv_heads,
                                .scale = scale(),
                                .batch = &part->view,
                                .out = out});
    return {.values = rig.read(out)};
  }

  // A score is off by rounding of its own terms; a score that is off by δ moves the output by up
  // to δ · max|v|.
  std::vector<double> magnitudes() const override {
    std::vector<double> result;
    for (int64_t t = 0; t < batch_.num_tokens(); ++t) {
      const auto [sequence, position] = batch_.place(t);
      for (int64_t h = 0; h < shape_.heads; ++h) {
        const int64_t column = h / (shape_.heads / shape_.kv_heads) * shape_.size;
        const float* q = q_.data() + (t * shape_.heads + h) * shape_.size;
        double score = 0;
        std::vector<double> value(static_cast<size_t>(shape_.size), 0.0);
        for (int64_t s = 0; s <= position; ++s) {
          const int64_t row = batch_.slot(sequence, s) * width() + column;
          score = std::max(score, scale() * absolute_dot(q, k_.data() + row, shape_.size));
          for (int64_t i = 0; i < shape_.size; ++i) {
            value[i] = std::max(value[i], std::fabs(static_cast<double>(v_[row + i])));
          }
        }
        for (double v : value) result.push_back(v * (1 + score));
      }
    }
    return result;
  }

 private:
  int64_t width() const { return shape_.kv_heads * shape_.size; }
  float scale() const { return 1.0f / std::sqrt(static_cast<float>(shape_.size)); }
  GqaShape shape_;
  Random random_;
  BatchFixture batch_;
  std::vector<float> q_, k_, v_;
};

void add_case(std::vector<ConformanceCase>& cases, const GqaShape& s) {
  int64_t tokens = 0;
  for (const SequenceShape& sequence : s.batch->sequences) tokens += sequence.query;
  const OpQuery query{.op = Op::kGqaAttention, .dtype = s.dtype, .rows = s.heads, .cols = s.size};
  cases.push_back({.name = fmt::format("gqa_attention {} H={} KV={} d={} {}{}", dtype_name(s.dtype),
                                       s.heads, s.kv_heads, s.size, s.batch->name,
                                       s.query_scale > 1 ? " large scores" : ""),
                   .op = Op::kGqaAttention,
                   .queries = {query},
                   .tolerance = 3e-6,
                   .rounds = true,
                   .num_tokens = tokens,
                   .prepare = [s] { return std::make_unique<GqaExercise>(s); }});
}

}  // namespace

std::span<const BatchShape> batch_shapes() {
  static const std::vector<BatchShape> kShapes = {
      {"one token", 16, {{1, 1, true}}},
      {"one prompt token", 16, {{1, 1, false}}},
      {"prompt of 17", 16, {{17, 17, false}}},
      {"chunk behind a prefix", 16, {{33, 130, false}}},
      {"prompt of 100 in pages of 5", 5, {{100, 100, false}}},
      {"page edges", 16, {{1, 15, true}, {1, 16, true}, {1, 17, true}, {1, 32, true}}},
      {"tile edges", 32, {{1, 63, true}, {1, 64, true}, {1, 65, true}, {1, 129, true}}},
      {"long and short", 16, {{1, 700, true}, {1, 2, true}}},
      {"mixed",
       16,
       {{1, 65, true},
        {1, 1, true},
        {1, 300, true},
        {3, 18, true},
        {40, 40, false},
        {1, 1, false},
        {7, 100, false},
        {2, 2, false}}},
      {"page per sequence", 64, {{1, 3, true}, {5, 9, false}, {64, 64, false}}},
  };
  return kShapes;
}

std::span<const BatchShape> long_prompt_shapes() {
  static const std::vector<BatchShape> kShapes = {
      {"tiles of prompts",
       16,
       {{1, 70, true},
        {2, 33, true},
        {64, 64, false},
        {65, 65, false},
        {3, 7, false},
        {63, 200, false},
        {130, 135, false}}},
      // Keys 2048 and 4096 lie before, between and behind what these tokens see.
      {"chunk behind 4060 keys", 64, {{90, 4150, false}}},
  };
  return kShapes;
}

void add_attention_cases(std::vector<ConformanceCase>& cases) {
  const std::array<int64_t, 3> head_shapes[] = {{1, 1, 16}, {4, 2, 64},  {7, 1, 128},
                                                {8, 8, 80}, {6, 3, 192}, {5, 5, 96}};
  const Dtype dtypes[] = {Dtype::kF32, Dtype::kF16, Dtype::kBF16};
  for (const BatchShape& batch : batch_shapes()) {
    for (const auto& [heads, kv_heads, size] : head_shapes) {
      const Dtype dtype = dtypes[cases.size() % 3];
      add_case(cases, {&batch, heads, kv_heads, size, dtype, 1.0f});
    }
    add_case(cases, {&batch, 4, 2, 64, Dtype::kF32, 100.0f});
    add_case(cases, {&batch, 14, 2, 64, Dtype::kBF16, 1.0f});
    add_case(cases, {&batch, 6, 2, 128, Dtype::kI8, 1.0f});
    add_case(cases, {&batch, 5, 5, 40, Dtype::kI8, 1.0f});
  }
  for (const BatchShape& batch : long_prompt_shapes()) {
    add_case(cases, {&batch, 4, 2, 64, Dtype::kBF16, 1.0f});
    add_case(cases, {&batch, 7, 1, 128, Dtype::kBF16, 1.0f});
    add_case(cases, {&batch, 6, 2, 128, Dtype::kI8, 1.0f});
    add_case(cases, {&batch, 3, 1, 192, Dtype::kF16, 1.0f});
    add_case(cases, {&batch, 2, 2, 256, Dtype::kBF16, 1.0f});
    add_case(cases, {&batch, 5, 5, 36, Dtype::kF32, 100.0f});
  }
}

}  // namespace ferry
