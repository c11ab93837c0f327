// Conformance cases of sparse attention: layer_norm, the indexer's scores, the choice among them,
// and latent attention over chosen positions. Every batch is computed in two pieces, as a model
// cuts its tokens. Cache slots that no sequence owns hold NaN.
#include <algorithm>
#include <limits>

#include "device/conformance/cases.h"
#include "device/conformance/cases_batches.h"

namespace ferry {
namespace {

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();
constexpr float kStandIn = -1e30f;  // for −∞, which has no difference

class LayerNormExercise : public Exercise {
 public:
  LayerNormExercise(int64_t tokens, int64_t size) : size_(size) {
    Random random(5000);
    x_ = random.normals(tokens * size, 3.0f);
    for (float& x : x_) x += 2.0f;
    weight_ = random.normals(size);
    bias_ = random.normals(size);
  }
  CaseOutput run(Rig& rig, int64_t first, int64_t count) const override {
    const TensorView x = rig.upload(rows_of(x_, size_, first, count), {count, size_}, {3, 5});
    const TensorView weight = rig.upload(weight_, {size_});
    const TensorView bias = rig.upload(bias_, {size_});
    const TensorView out = rig.output(Dtype::kF32, {count, size_}, {0, 7});
    if (!rig.ready()) return {};
    rig.stream().layer_norm({.x = x, .weight = weight, .bias = bias, .epsilon = 1e-3f, .out = out});
    return {.values = rig.read(out)};
  }
  std::vector<double> magnitudes() const override {
    std::vector<double> result;
    for (size_t row = 0; row < x_.size(); row += static_cast<size_t>(size_)) {
      double sum = 0, squares = 0, largest = 0;
      for (size_t i = 0; i < static_cast<size_t>(size_); ++i) {
        const double x = static_cast<double>(x_[row + i]);
        sum += x;
        squares += x * x;
        largest = std::max(largest, std::fabs(x));
      }
      const double n = static_cast<double>(size_);
      const double variance = squares / n - sum / n * (sum / n);
      const double factor =
          largest * std::max(1.0, squares / n / (variance + 1e-3)) / std::sqrt(variance + 1e-3);
      for (size_t i = 0; i < static_cast<size_t>(size_); ++i) {
        result.push_back(std::fabs(static_cast<double>(weight_[i])) * 2 * factor +
                         std::fabs(static_cast<double>(bias_[i])));
      }
    }
    return result;
  }

 private:
  int64_t size_;
  std::vector<float> x_, weight_, bias_;
};

struct SparseShape {
  const BatchShape* batch;
  int64_t heads, size, rope, top_k;  // of the indexer: no rope, no top_k
  Dtype dtype;
};

int64_t longest_context(const BatchShape& batch) {
  int64_t longest = 0;
  for (const SequenceShape& sequence : batch.sequences) {
    longest = std::max(longest, sequence.context);
  }
  return longest;
}

int64_t count_tokens(const BatchShape& batch) {
  int64_t tokens = 0;
  for (const SequenceShape& sequence : batch.sequences) tokens += sequence.query;
  return tokens;
}

class IndexScoresExercise : public Exercise {
 public:
  explicit IndexScoresExercise(const SparseShape& shape)
      : shape_(shape),
        random_(5100),
        batch_(random_, shape.batch->sequences, shape.batch->block_size),
        columns_(longest_context(*shape.batch) + 3) {
    q_ = random_.normals(batch_.num_tokens() * shape.heads * shape.size);
    weights_ = random_.normals(batch_.num_tokens() * shape.heads);
    keys_ = batch_.cache(random_, shape.dtype, shape.size, shape.size);
  }

  CaseOutput run(Rig& rig, int64_t first, int64_t count) const override {
    const auto part = batch_.part(rig, first, count);
    const int64_t width = shape_.heads * shape_.size;
    const TensorView q = rig.upload(rows_of(q_, width, first, count), {count, width}, {0, 8})
                             .split_last(shape_.heads, shape_.size);
    const TensorView weights =
        rig.upload(rows_of(weights_, shape_.heads, first, count), {count, shape_.heads}, {0, 3});
    const TensorView pages = rig.upload_pages(
        keys_, shape_.dtype, {batch_.num_pages(), batch_.block_size(), shape_.size}, shape_.size);
    const TensorView out = rig.output(Dtype::kF32, {count, columns_}, {0, 4});
    if (!rig.ready()) return {};
    for (const auto& [begin, size] :
         {std::pair(int64_t{0}, count / 2), std::pair(count / 2, count - count / 2)}) {
      if (size == 0) continue;
      rig.stream().index_scores({.q = q.slice(0, begin, size),
                                 .weights = weights.slice(0, begin, size),
                                 .pages = pages,
                                 .batch = &part->view,
                                 .first_token = begin,
                                 .out = out.slice(0, begin, size)});
    }
    CaseOutput result{.values = rig.read(out), .integers = {}};
    std::replace(result.values.begin(), result.values.end(), kMinusInfinity, kStandIn);
    return result;
  }

  std::vector<double> magnitudes() const override {
    std::vector<double> result;
    for (int64_t t = 0; t < batch_.num_tokens(); ++t) {
      const auto [sequence, position] = batch_.place(t);
      for (int64_t s = 0; s < columns_; ++s) {
        double sum = 0;
        for (int64_t h = 0; s <= position && h < shape_.heads; ++h) {
          const int64_t row = t * shape_.heads + h;
          sum += std::fabs(static_cast<double>(weights_[static_cast<size_t>(row)])) *
                 absolute_dot(q_.data() + row * shape_.size,
                              keys_.data() + batch_.slot(sequence, s) * shape_.size, shape_.size);
        }
        result.push_back(sum);
      }
    }
    return result;
  }

 private:
  SparseShape shape_;
  Random random_;
  BatchFixture batch_;
  int64_t columns_;
  std::vector<float> q_, weights_, keys_;
};

class IndexTopKExercise : public Exercise {
 public:
  IndexTopKExercise(int64_t tokens, int64_t columns, int64_t top_k, bool ties)
      : columns_(columns), top_k_(top_k) {
    Random random(5200);
    scores_ = random.normals(tokens * columns);
    for (float& score : scores_) {
      if (ties) score = std::round(score);
    }
    // Rows end in −∞ at different places; the last is short of K.
    for (int64_t t = 0; t < tokens; ++t) {
      const int64_t seen = t + 1 == tokens ? top_k / 2 : columns - random.below(columns / 2 + 1);
      for (int64_t s = seen; s < columns; ++s) {
        scores_[static_cast<size_t>(t * columns + s)] = kMinusInfinity;
      }
    }
    scores_.front() = std::numeric_limits<float>::quiet_NaN();
  }
  CaseOutput run(Rig& rig, int64_t first, int64_t count) const override {
    const TensorView scores =
        rig.upload(rows_of(scores_, columns_, first, count), {count, columns_}, {0, 5});
    const TensorView out = rig.output(Dtype::kI32, {count, top_k_});
    if (!rig.ready()) return {};
    rig.stream().index_top_k({.scores = scores, .out = out});
    return {.values = {}, .integers = rig.read_integers(out)};
  }

 private:
  int64_t columns_, top_k_;
  std::vector<float> scores_;
};

class MlaSparseExercise : public Exercise {
 public:
  explicit MlaSparseExercise(const SparseShape& shape)
      : shape_(shape),
        random_(5300),
        batch_(random_, shape.batch->sequences, shape.batch->block_size) {
    const int64_t rows = batch_.num_tokens() * shape.heads;
    q_latent_ = random_.normals(rows * shape.size);
    q_rope_ = random_.normals(rows * shape.rope);
    cache_ = batch_.cache(random_, shape.dtype, width(), shape.size);
    for (int64_t t = 0; t < batch_.num_tokens(); ++t) {
      const int64_t seen = batch_.place(t).position + 1;
      std::vector<int32_t> chosen(static_cast<size_t>(shape.top_k), -1);
      if (seen > shape.top_k) {
        const std::vector<int32_t> order = random_.shuffled(seen);
        std::copy_n(order.begin(), chosen.size(), chosen.begin());
        std::sort(chosen.begin(), chosen.end());
      }
      positions_.insert(positions_.end(), chosen.begin(), chosen.end());
    }
  }

  CaseOutput run(Rig& rig, int64_t first, int64_t count) const override {
    const auto part = batch_.part(rig, first, count);
    const int64_t heads = shape_.heads;
    const TensorView q_latent = rig.upload(rows_of(q_latent_, heads * shape_.size, first, count),
                                           {count, heads, shape_.size});
    const TensorView q_rope = rig.upload(rows_of(q_rope_, heads * shape_.rope, first, count),
                                         {count, heads, shape_.rope}, {16, 16});
    const TensorView pages = rig.upload_pages(
        cache_, shape_.dtype, {batch_.num_pages(), batch_.block_size(), width()}, shape_.size);
    const TensorView positions = rig.upload(std::span<const int32_t>(positions_)
                                                .subspan(static_cast<size_t>(first * shape_.top_k),
                                                         static_cast<size_t>(count * shape_.top_k)),
                                            {count, shape_.top_k});
    const TensorView out = rig.output(Dtype::kF32, {count, heads, shape_.size});
    if (!rig.ready()) return {};
    for (const auto& [begin, size] :
         {std::pair(int64_t{0}, count / 2), std::pair(count / 2, count - count / 2)}) {
      if (size == 0) continue;
      rig.stream().mla_sparse_attention({.q_latent = q_latent.slice(0, begin, size),
                                         .q_rope = q_rope.slice(0, begin, size),
                                         .pages = pages,
                                         .positions = positions.slice(0, begin, size),
                                         .scale = scale(),
                                         .batch = &part->view,
                                         .first_token = begin,
                                         .out = out.slice(0, begin, size)});
    }
    return {.values = rig.read(out), .integers = {}};
  }

  std::vector<double> magnitudes() const override {
    std::vector<double> result;
    for (int64_t row = 0; row < batch_.num_tokens() * shape_.heads; ++row) {
      const int64_t t = row / shape_.heads;
      const int64_t sequence = batch_.place(t).sequence;
      double score = 0;
      std::vector<double> value(static_cast<size_t>(shape_.size), 0.0);
      for (int64_t k = 0; k < shape_.top_k; ++k) {
        const int32_t position = positions_[static_cast<size_t>(t * shape_.top_k + k)];
        if (position < 0) break;  // not ours: any change is an infinite error
        const float* c = cache_.data() + batch_.slot(sequence, position) * width();
        const double sum =
            absolute_dot(q_latent_.data() + row * shape_.size, c, shape_.size) +
            absolute_dot(q_rope_.data() + row * shape_.rope, c + shape_.size, shape_.rope);
        score = std::max(score, scale() * sum);
        for (int64_t r = 0; r < shape_.size; ++r) {
          value[r] = std::max(value[r], std::fabs(static_cast<double>(c[r])));
        }
      }
      for (double v : value) result.push_back(v * (1 + score));
    }
    return result;
  }

 private:
  int64_t width() const { return shape_.size + shape_.rope; }
  float scale() const { return 1.0f / std::sqrt(static_cast<float>(width())); }

  SparseShape shape_;
  Random random_;
  BatchFixture batch_;
  std::vector<float> q_latent_, q_rope_, cache_;
  std::vector<int32_t> positions_;
};

void add_scores_case(std::vector<ConformanceCase>& cases, const SparseShape& s) {
  cases.push_back(
      {.name = fmt::format("index_scores {} H={} d={} {}", dtype_name(s.dtype), s.heads, s.size,
                           s.batch->name),
       .op = Op::kIndexScores,
       .queries = {{.op = Op::kIndexScores, .dtype = s.dtype, .rows = s.heads, .cols = s.size}},
       .tolerance = 3e-6,
       .rounds = true,
       .num_tokens = count_tokens(*s.batch),
       .prepare = [s] { return std::make_unique<IndexScoresExercise>(s); }});
}

void add_attention_case(std::vector<ConformanceCase>& cases, const SparseShape& s) {
  cases.push_back(
      {.name = fmt::format("mla_sparse_attention {} H={} rank={} rope={} K={} {}",
                           dtype_name(s.dtype), s.heads, s.size, s.rope, s.top_k, s.batch->name),
       .op = Op::kMlaSparseAttention,
       .queries =
           {{.op = Op::kMlaSparseAttention, .dtype = s.dtype, .rows = s.heads, .cols = s.size}},
       .tolerance = 3e-6,
       .rounds = true,
       .num_tokens = count_tokens(*s.batch),
       .prepare = [s] { return std::make_unique<MlaSparseExercise>(s); }});
}

}  // namespace

void add_sparse_cases(std::vector<ConformanceCase>& cases) {
  for (int64_t tokens : {1, 3, 17}) {
    for (int64_t size : {1, 20, 128}) {
      cases.push_back(
          {.name = fmt::format("layer_norm T={} D={}", tokens, size),
           .op = Op::kLayerNorm,
           .queries = {{.op = Op::kLayerNorm, .cols = size}},
           .tolerance = 2e-6,
           .num_tokens = tokens,
           .prepare = [=] { return std::make_unique<LayerNormExercise>(tokens, size); }});
    }
    for (int64_t columns : {40, 2500}) {
      const int64_t top_k = columns == 40 ? 12 : 2048;
      for (bool ties : {false, true}) {
        cases.push_back({.name = fmt::format("index_top_k T={} S={} K={}{}", tokens, columns, top_k,
                                             ties ? " ties" : ""),
                         .op = Op::kIndexTopK,
                         .queries = {{.op = Op::kIndexTopK, .cols = top_k}},
                         .num_tokens = tokens,
                         .prepare = [=] {
                           return std::make_unique<IndexTopKExercise>(tokens, columns, top_k, ties);
                         }});
      }
    }
  }
  for (const BatchShape& batch : batch_shapes()) {
    add_scores_case(cases, {&batch, 1, 20, 0, 0, Dtype::kF32});
    add_scores_case(cases, {&batch, 5, 64, 0, 0, Dtype::kBF16});
    add_scores_case(cases, {&batch, 16, 128, 0, 0, Dtype::kF16});
    add_scores_case(cases, {&batch, 4, 128, 0, 0, Dtype::kI8});
    add_attention_case(cases, {&batch, 3, 96, 16, 29, Dtype::kI8});
    add_attention_case(cases, {&batch, 1, 64, 16, 1, Dtype::kF32});
    add_attention_case(cases, {&batch, 3, 160, 16, 13, Dtype::kBF16});
    add_attention_case(cases, {&batch, 16, 128, 64, 64, Dtype::kF16});
    add_attention_case(cases, {&batch, 2, 512, 64, 290, Dtype::kF32});
  }
}

}  // namespace ferry
