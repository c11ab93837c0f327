// Conformance cases of matmul, grouped_matmul and per_head_matmul: every storage format, ragged
// shapes, block scales, strided inputs and outputs, empty experts.
#include <array>

#include "device/conformance/cases.h"

namespace ferry {
namespace {

// f32 sums of up to 2048 terms in any order.
constexpr double kTolerance = 4e-6;

struct LinearShape {
  const quant::StorageFormat* format;
  bool scaled;
  int64_t tokens, rows, cols;
  bool bias;
  Padding padding;
};

class MatmulExercise : public Exercise {
 public:
  explicit MatmulExercise(const LinearShape& shape) : shape_(shape) {
    Random random(2000 + static_cast<uint64_t>(shape.rows * 31 + shape.cols));
    weight_ = make_weight(random, *shape.format, shape.rows, shape.cols, shape.scaled);
    x_ = random.normals(shape.tokens * shape.cols);
    x_[0] = 100;  // an outlier, as residual streams have them
    bias_ = random.normals(shape.rows);
  }
  CaseOutput run(Rig& rig, int64_t first, int64_t count) const override {
    const WeightView w = rig.import(weight_);
    const TensorView x =
        rig.upload(rows_of(x_, shape_.cols, first, count), {count, shape_.cols}, shape_.padding);
    const TensorView bias = shape_.bias ? rig.upload(bias_, {shape_.rows}) : TensorView();
    const TensorView out = rig.output(Dtype::kF32, {count, shape_.rows}, shape_.padding);
    if (!rig.ready()) return {};
    rig.stream().matmul({.x = x, .w = w, .bias = bias, .out = out});
    return {.values = rig.read(out)};
  }
  std::vector<double> magnitudes() const override { return sums(x_); }
  std::vector<double> rounding_magnitudes() const override {
    return sums(largest_neighbours(x_, shape_.cols));
  }

 private:
  std::vector<double> sums(const std::vector<float>& inputs) const {
    std::vector<double> result;
    for (int64_t t = 0; t < shape_.tokens; ++t) {
      for (int64_t n = 0; n < shape_.rows; ++n) {
        const double bias = shape_.bias ? std::fabs(static_cast<double>(bias_[n])) : 0.0;
        const float* x = inputs.data() + t * shape_.cols;
        result.push_back(bias + absolute_dot(weight_->row(n), x, shape_.cols));
      }
    }
    return result;
  }

  LinearShape shape_;
  std::shared_ptr<const WeightData> weight_;
  std::vector<float> x_, bias_;
};

void add_matmul(std::vector<ConformanceCase>& cases, const LinearShape& s) {
  cases.push_back({.name = fmt::format("matmul {}{} T={} [{} x {}]{} pad={}", s.format->name,
                                       s.scaled ? " block-scaled" : "", s.tokens, s.rows, s.cols,
                                       s.bias ? " bias" : "", s.padding.pad),
                   .op = Op::kMatmul,
                   .queries = {weight_query(Op::kMatmul, *s.format, s.scaled, s.rows, s.cols)},
                   .tolerance = kTolerance,
                   .rounds = true,
                   .num_tokens = s.tokens,
                   .prepare = [s] { return std::make_unique<MatmulExercise>(s); }});
}

void add_matmul_cases(std::vector<ConformanceCase>& cases) {
  for (const quant::StorageFormat* f : weight_formats()) {
    const int64_t block = f->block_elements;
    for (bool scaled : {false, true}) {
      if (scaled && f->safetensors != "F8_E4M3") continue;
      add_matmul(cases, {f, scaled, 1, 33, 512, false, {}});
      add_matmul(cases, {f, scaled, 2, 70, 768, true, {0, 64}});
      add_matmul(cases, {f, scaled, 17, 130, 256, false, {}});
      add_matmul(cases, {f, scaled, 64, 40, 1024, false, {0, 64}});
      if (block <= 32) {
        add_matmul(cases, {f, scaled, 1, 1, 32, true, {}});
        add_matmul(cases, {f, scaled, 3, 9, 96, false, {0, 32}});
        add_matmul(cases, {f, scaled, 100, 19, 576, false, {}});
        add_matmul(cases, {f, scaled, 5, 257, 1408, false, {}});
      }
      if (block == 1) {
        add_matmul(cases, {f, scaled, 1, 129, 300, false, {}});
        add_matmul(cases, {f, scaled, 3, 7, 1, true, {}});
        add_matmul(cases, {f, scaled, 17, 31, 67, false, {3, 5}});
        add_matmul(cases, {f, scaled, 2, 576, 129, false, {}});
        // As many tokens as a vendor's library is asked for.
        add_matmul(cases, {f, scaled, 150, 36, 136, true, {0, 64}});
        add_matmul(cases, {f, scaled, 150, 20, 75, false, {}});
      }
    }
  }
}

class GroupedExercise : public Exercise {
 public:
  GroupedExercise(const quant::StorageFormat& format, bool scaled, std::vector<int32_t> counts,
                  int64_t rows, int64_t cols)
      : rows_(rows), cols_(cols) {
    Random random(2100);
    offsets_.push_back(0);
    for (int32_t count : counts) {
      experts_.push_back(make_weight(random, format, rows, cols, scaled));
      offsets_.push_back(offsets_.back() + count);
    }
    x_ = random.normals(offsets_.back() * cols);
  }
  CaseOutput run(Rig& rig, int64_t first, int64_t count) const override {
    std::vector<WeightView> experts;
    for (const auto& expert : experts_) experts.push_back(rig.import(expert));
    std::vector<int32_t> offsets;
    for (int32_t offset : offsets_) {
      const int64_t clamped = std::min(std::max<int64_t>(offset - first, 0), count);
      offsets.push_back(static_cast<int32_t>(clamped));
    }
    const TensorView x = rig.upload(rows_of(x_, cols_, first, count), {count, cols_}, {0, 32});
    const TensorView offsets_view = rig.upload(offsets, {static_cast<int64_t>(offsets.size())});
    const TensorView out = rig.output(Dtype::kF32, {count, rows_}, {0, 3});
    if (!rig.ready()) return {};
    rig.stream().grouped_matmul(
        {.x = x, .expert_offsets = offsets_view, .experts = experts, .out = out});
    return {.values = rig.read(out)};
  }
  std::vector<double> magnitudes() const override { return sums(x_); }
  std::vector<double> rounding_magnitudes() const override {
    return sums(largest_neighbours(x_, cols_));
  }

 private:
  std::vector<double> sums(const std::vector<float>& x) const {
    std::vector<double> result;
    for (size_t e = 0; e < experts_.size(); ++e) {
      for (int64_t r = offsets_[e]; r < offsets_[e + 1]; ++r) {
        for (int64_t n = 0; n < rows_; ++n) {
          result.push_back(absolute_dot(experts_[e]->row(n), x.data() + r * cols_, cols_));
        }
      }
    }
    return result;
  }

  int64_t rows_, cols_;
  std::vector<std::shared_ptr<const WeightData>> experts_;
  std::vector<int32_t> offsets_;
  std::vector<float> x_;
};

void add_grouped_cases(std::vector<ConformanceCase>& cases) {
  const std::vector<int32_t> loads[] = {{1}, {0, 1, 0}, {0, 0, 17, 0}, {5, 1, 0, 40, 3, 0, 2, 13}};
  for (const quant::StorageFormat* f : weight_formats()) {
    for (bool scaled : {false, true}) {
      if (scaled && f->safetensors != "F8_E4M3") continue;
      for (const std::vector<int32_t>& load : loads) {
        const int64_t cols = f->block_elements <= 32 ? 192 : 256;
        const int64_t rows = scaled ? 150 : 37;
        const OpQuery query = weight_query(Op::kGroupedMatmul, *f, scaled, rows, cols);
        int64_t tokens = 0;
        for (int32_t count : load) tokens += count;
        cases.push_back(
            {.name = fmt::format("grouped_matmul {}{} E={} R={} [{} x {}]", f->name,
                                 scaled ? " block-scaled" : "", load.size(), tokens, rows, cols),
             .op = Op::kGroupedMatmul,
             .queries = {query},
             .tolerance = kTolerance,
             .rounds = true,
             .num_tokens = tokens,
             .prepare = [=] {
               return std::make_unique<GroupedExercise>(*f, scaled, load, rows, cols);
             }});
      }
    }
  }
}

struct HeadShape {
  const quant::StorageFormat* format;
  bool scaled, transposed, apply_transposed, shared_x;
  int64_t tokens, heads, rows, cols;
  int64_t between;  // rows of the stored matrix between two heads, before and after
};

class PerHeadExercise : public Exercise {
 public:
  explicit PerHeadExercise(const HeadShape& shape) : shape_(shape) {
    Random random(2200);
    const int64_t stride = shape.rows + shape.between;
    weight_ = make_weight(random, *shape.format, shape.heads * stride + shape.between, shape.cols,
                          shape.scaled);
    x_ = random.normals(shape.tokens * (shape.shared_x ? 1 : shape.heads) * in());
  }
  CaseOutput run(Rig& rig, int64_t first, int64_t count) const override {
    const int64_t heads = shape_.shared_x ? 1 : shape_.heads;
    const auto rows = rows_of(x_, heads * in(), first, count);
    TensorView x = rig.upload(rows, {count, heads, in()}, {8, 8});
    if (shape_.shared_x) x.shape[1] = shape_.heads, x.stride[1] = 0;
    const HeadMatrixView u{.weight = rig.import(weight_, true),
                           .num_heads = shape_.heads,
                           .rows = shape_.rows,
                           .cols = shape_.cols,
                           .first_row = shape_.between,
                           .head_stride = shape_.rows + shape_.between,
                           .transposed = shape_.transposed};
    const TensorView out = rig.output(Dtype::kF32, {count, shape_.heads, out_size()}, {0, 16});
    if (!rig.ready()) return {};
    rig.stream().per_head_matmul(
        {.x = x, .u = u, .apply_transposed = shape_.apply_transposed, .out = out});
    return {.values = rig.read(out)};
  }
  std::vector<double> magnitudes() const override { return sums(x_); }
  std::vector<double> rounding_magnitudes() const override {
    return sums(largest_neighbours(x_, in()));
  }

 private:
  std::vector<double> sums(const std::vector<float>& inputs) const {
    std::vector<double> result;
    for (int64_t i = 0; i < shape_.tokens * shape_.heads; ++i) {
      const float* x = inputs.data() + (shape_.shared_x ? i / shape_.heads : i) * in();
      const int64_t first = shape_.between + i % shape_.heads * (shape_.rows + shape_.between);
      for (int64_t o = 0; o < out_size(); ++o) {
        double sum = 0;
        for (int64_t k = 0; k < in(); ++k) {
          const double m = by_rows() ? weight_->row(first + o)[k] : weight_->row(first + k)[o];
          sum += std::fabs(m * x[k]);
        }
        result.push_back(sum);
      }
    }
    return result;
  }

  bool by_rows() const { return shape_.transposed == shape_.apply_transposed; }
  int64_t in() const { return by_rows() ? shape_.cols : shape_.rows; }
  int64_t out_size() const { return by_rows() ? shape_.rows : shape_.cols; }
  HeadShape shape_;
  std::shared_ptr<const WeightData> weight_;
  std::vector<float> x_;
};

void add_per_head_cases(std::vector<ConformanceCase>& cases) {
  int number = 0;
  for (const quant::StorageFormat* f : weight_formats()) {
    for (bool scaled : {false, true}) {
      if (scaled && f->safetensors != "F8_E4M3") continue;
      for (int way = 0; way < 4; ++way) {
        const int64_t tokens = std::array{1, 3, 17, 64}[(number + way) % 4];
        // kv_b_proj has keys and values of a head next to each other; 128-blocks straddle heads.
        const HeadShape s{f,
                          scaled,
                          way % 2 == 1,
                          way / 2 == 1,
                          number % 3 == 0,
                          tokens,
                          3,
                          std::array<int64_t, 3>{24, 128, 17}[number % 3],
                          f->block_elements > 32 ? 256 : 160,
                          number % 2 == 0 ? 40 : 0};
        cases.push_back({.name = fmt::format(
                             "per_head_matmul {}{}{}{}{} T={} H={} [{} x {}] between={}", f->name,
                             scaled ? " block-scaled" : "", s.transposed ? " stored Uᵀ" : "",
                             s.apply_transposed ? " apply Uᵀ" : "", s.shared_x ? " shared x" : "",
                             tokens, s.heads, s.rows, s.cols, s.between),
                         .op = Op::kPerHeadMatmul,
                         .queries = {weight_query(Op::kPerHeadMatmul, *f, scaled, s.rows, s.cols)},
                         .tolerance = kTolerance,
                         .rounds = true,
                         .num_tokens = tokens,
                         .prepare = [s] { return std::make_unique<PerHeadExercise>(s); }});
        ++number;
      }
    }
  }
}

}  // namespace

void add_linear_cases(std::vector<ConformanceCase>& cases) {
  add_matmul_cases(cases);
  add_grouped_cases(cases);
  add_per_head_cases(cases);
}

}  // namespace ferry
