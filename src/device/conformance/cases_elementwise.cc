// Conformance cases of the ops that look at one row or one element: rms_norm, add_rms_norm, rope,
// swiglu, add, copy.
#include <limits>

#include "device/conformance/cases.h"

namespace ferry {
namespace {

struct NormShape {
  int64_t tokens, heads, size;  // heads 0: [T, D]
  bool in_place;
  Padding padding;
  float scale;  // of the numbers in x
};

class NormExercise : public Exercise {
 public:
  NormExercise(const NormShape& shape, uint64_t seed) : shape_(shape) {
    Random random(seed);
    x_ = random.normals(shape.tokens * width(), shape.scale);
    weight_ = random.normals(shape.size);
  }
  CaseOutput run(Rig& rig, int64_t first, int64_t count) const override {
    const auto rows = rows_of(x_, width(), first, count);
    const bool flat = shape_.heads == 0;
    const Padding padding = shape_.padding;
    const TensorView x = flat ? rig.upload(rows, {count, shape_.size}, padding)
                              : rig.upload(rows, {count, shape_.heads, shape_.size}, padding);
    TensorView out = x;
    if (!shape_.in_place) {
      out = flat ? rig.output(Dtype::kF32, {count, shape_.size})
                 : rig.output(Dtype::kF32, {count, shape_.heads, shape_.size});
    }
    const TensorView weight = rig.upload(weight_, {shape_.size});
    if (!rig.ready()) return {};
    rig.stream().rms_norm({.x = x, .weight = weight, .epsilon = kEpsilon, .out = out});
    return {.values = rig.read(out)};
  }
  std::vector<double> magnitudes() const override {
    std::vector<double> result(x_.size());
    for (size_t begin = 0; begin < x_.size(); begin += shape_.size) {
      const double squares = absolute_dot(&x_[begin], &x_[begin], shape_.size);
      const double root = std::sqrt(squares / static_cast<double>(shape_.size) + kEpsilon);
      for (int64_t i = 0; i < shape_.size; ++i) {
        result[begin + i] = std::fabs(x_[begin + i] * weight_[i] / root);
      }
    }
    return result;
  }

 private:
  static constexpr float kEpsilon = 1e-6f;
  int64_t width() const { return std::max<int64_t>(shape_.heads, 1) * shape_.size; }
  NormShape shape_;
  std::vector<float> x_, weight_;
};

void add_norm_cases(std::vector<ConformanceCase>& cases) {
  const NormShape shapes[] = {
      {1, 0, 1, false, {}, 1},        {3, 0, 17, false, {}, 1},
      {1, 0, 64, true, {}, 1},        {2, 0, 576, false, {0, 64}, 1},
      {17, 0, 512, true, {0, 64}, 1}, {64, 0, 1408, false, {}, 1},
      {100, 0, 129, true, {5, 3}, 1}, {3, 0, 2048, false, {}, 300},
      {2, 0, 96, false, {}, 1e-12f},  {1, 4, 128, true, {}, 1},
      {17, 3, 64, true, {64, 64}, 1}, {100, 2, 16, false, {0, 48}, 1},
      {5, 7, 33, false, {3, 5}, 1},
  };
  uint64_t seed = 100;
  for (const NormShape& s : shapes) {
    cases.push_back(
        {.name = fmt::format("rms_norm T={} H={} D={}{} pad={} scale={}", s.tokens, s.heads, s.size,
                             s.in_place ? " in place" : "", s.padding.pad, s.scale),
         .op = Op::kRmsNorm,
         .queries = {{.op = Op::kRmsNorm, .cols = s.size}},
         .tolerance = 4e-6,
         .num_tokens = s.tokens,
         .prepare = [s, seed] { return std::make_unique<NormExercise>(s, seed); }});
    ++seed;
  }
}

class AddNormExercise : public Exercise {
 public:
  AddNormExercise(int64_t tokens, int64_t size, Padding padding)
      : tokens_(tokens), size_(size), padding_(padding) {
    Random random(200 + static_cast<uint64_t>(size));
    residual_ = random.normals(tokens * size, 4.0f);
    delta_ = random.normals(tokens * size);
    weight_ = random.normals(size);
  }
  CaseOutput run(Rig& rig, int64_t first, int64_t count) const override {
    const TensorView residual = rig.upload(rows_of(residual_, size_, first, count), {count, size_});
    const TensorView delta =
        rig.upload(rows_of(delta_, size_, first, count), {count, size_}, padding_);
    const TensorView weight = rig.upload(weight_, {size_});
    const TensorView out = rig.output(Dtype::kF32, {count, size_}, padding_);
    if (!rig.ready()) return {};
    rig.stream().add_rms_norm(
        {.residual = residual, .delta = delta, .weight = weight, .epsilon = kEpsilon, .out = out});
    const std::vector<float> sums = rig.read(residual), normed = rig.read(out);
    CaseOutput output;
    for (int64_t t = 0; t < count; ++t) {  // token by token: the sum, then what is made of it
      for (const auto* rows : {&sums, &normed}) {
        const auto row = rows_of(*rows, size_, t, 1);
        output.values.insert(output.values.end(), row.begin(), row.end());
      }
    }
    return output;
  }
  std::vector<double> magnitudes() const override {
    std::vector<double> result;
    for (int64_t t = 0; t < tokens_; ++t) {
      std::vector<double> sums(static_cast<size_t>(size_)), normed = sums;
      double squares = 0;
      for (int64_t i = 0; i < size_; ++i) {
        const double r = residual_[t * size_ + i], d = delta_[t * size_ + i];
        sums[i] = std::fabs(r) + std::fabs(d);
        squares += (r + d) * (r + d);
      }
      const double root = std::sqrt(squares / static_cast<double>(size_) + kEpsilon);
      for (int64_t i = 0; i < size_; ++i) normed[i] = sums[i] * std::fabs(weight_[i]) / root;
      result.insert(result.end(), sums.begin(), sums.end());
      result.insert(result.end(), normed.begin(), normed.end());
    }
    return result;
  }

 private:
  static constexpr float kEpsilon = 1e-5f;
  int64_t tokens_, size_;
  Padding padding_;
  std::vector<float> residual_, delta_, weight_;
};

struct RopeShape {
  int64_t tokens, heads, size;
  RopeLayout layout;
  Padding padding;
};

class RopeExercise : public Exercise {
 public:
  explicit RopeExercise(const RopeShape& shape) : shape_(shape) {
    Random random(300);
    x_ = random.normals(shape.tokens * shape.heads * shape.size);
    for (int64_t t = 0; t < shape.tokens; ++t) {
      positions_.push_back(static_cast<int32_t>(random.below(kMaxPositions)));
    }
    positions_[0] = kMaxPositions - 1;
    for (int64_t p = 0; p < kMaxPositions; ++p) {
      for (int64_t i = 0; i < shape.size; ++i) {
        const int64_t half = shape.size / 2;
        const double frequency =
            std::pow(1e4, -2.0 * static_cast<double>(i % half) / static_cast<double>(shape.size));
        const double angle = static_cast<double>(p) * frequency;
        table_.push_back(static_cast<float>(i < half ? std::cos(angle) : std::sin(angle)));
      }
    }
  }
  CaseOutput run(Rig& rig, int64_t first, int64_t count) const override {
    const int64_t width = shape_.heads * shape_.size;
    const TensorView x = rig.upload(rows_of(x_, width, first, count),
                                    {count, shape_.heads, shape_.size}, shape_.padding);
    const TensorView positions =
        rig.upload(std::span<const int32_t>(positions_).subspan(first, count), {count});
    const TensorView table = rig.upload(table_, {kMaxPositions, shape_.size});
    if (!rig.ready()) return {};
    rig.stream().rope({.x = x, .positions = positions, .cos_sin = table, .layout = shape_.layout});
    return {.values = rig.read(x)};
  }
  std::vector<double> magnitudes() const override {
    std::vector<double> result(x_.size());
    const int64_t half = shape_.size / 2;
    for (size_t at = 0; at < x_.size(); ++at) {
      const int64_t i = static_cast<int64_t>(at) % shape_.size;
      const bool interleaved = shape_.layout == RopeLayout::kInterleaved;
      const int64_t partner = interleaved ? (i ^ 1) : (i + half) % shape_.size;
      result[at] = std::fabs(x_[at]) + std::fabs(x_[at - i + partner]);
    }
    return result;
  }

 private:
  static constexpr int64_t kMaxPositions = 201;
  RopeShape shape_;
  std::vector<float> x_, table_;
  std::vector<int32_t> positions_;
};

void add_rope_cases(std::vector<ConformanceCase>& cases) {
  const std::array<int64_t, 2> head_shapes[] = {{1, 16}, {2, 64}, {5, 128}, {16, 64}, {3, 2}};
  for (RopeLayout layout : {RopeLayout::kInterleaved, RopeLayout::kHalf}) {
    for (const auto& [heads, size] : head_shapes) {
      for (int64_t tokens : {1, 3, 17, 100}) {
        // The rotary slice of a wider head, as MLA has it, or a whole head.
        const Padding padding = tokens == 3 ? Padding{} : Padding{128, 128};
        const RopeShape s{tokens, heads, size, layout, padding};
        cases.push_back({.name = fmt::format("rope {} T={} H={} d={} pad={}",
                                             layout == RopeLayout::kHalf ? "half" : "interleaved",
                                             tokens, heads, size, padding.pad),
                         .op = Op::kRope,
                         .queries = {{.op = Op::kRope, .rows = heads, .cols = size}},
                         .tolerance = 3e-7,
                         .num_tokens = tokens,
                         .prepare = [s] { return std::make_unique<RopeExercise>(s); }});
      }
    }
  }
}

class SwigluExercise : public Exercise {
 public:
  SwigluExercise(int64_t tokens, int64_t size, float scale, bool in_place, Padding padding)
      : size_(size), in_place_(in_place), padding_(padding) {
    Random random(400 + static_cast<uint64_t>(size));
    gate_ = random.normals(tokens * size, scale);
    up_ = random.normals(tokens * size);
    if (scale > 10) gate_[0] = 300, gate_[size / 2] = -300;  // e^300 is infinite in f32
  }
  CaseOutput run(Rig& rig, int64_t first, int64_t count) const override {
    const TensorView gate =
        rig.upload(rows_of(gate_, size_, first, count), {count, size_}, padding_);
    const TensorView up = rig.upload(rows_of(up_, size_, first, count), {count, size_}, padding_);
    const TensorView out = in_place_ ? gate : rig.output(Dtype::kF32, {count, size_});
    if (!rig.ready()) return {};
    rig.stream().swiglu({.gate = gate, .up = up, .out = out});
    return {.values = rig.read(out)};
  }
  std::vector<double> magnitudes() const override {
    std::vector<double> result(gate_.size());
    for (size_t i = 0; i < gate_.size(); ++i) {
      const double g = gate_[i];
      // The floor: an e^z that flushes what f32 can't hold as a normal number is no error.
      result[i] = std::fabs(g / (1 + std::exp(-g)) * up_[i]) + 1e-30;
    }
    return result;
  }

 private:
  int64_t size_;
  bool in_place_;
  Padding padding_;
  std::vector<float> gate_, up_;
};

class AddExercise : public Exercise {
 public:
  AddExercise(int64_t tokens, int64_t size, bool in_place, Padding padding)
      : size_(size), in_place_(in_place), padding_(padding) {
    Random random(500 + static_cast<uint64_t>(size));
    a_ = random.normals(tokens * size);
    b_ = random.normals(tokens * size, 1e3f);
  }
  CaseOutput run(Rig& rig, int64_t first, int64_t count) const override {
    const TensorView a = rig.upload(rows_of(a_, size_, first, count), {count, size_}, padding_);
    const TensorView b = rig.upload(rows_of(b_, size_, first, count), {count, size_});
    const TensorView out = in_place_ ? b : rig.output(Dtype::kF32, {count, size_}, padding_);
    if (!rig.ready()) return {};
    rig.stream().add({.a = a, .b = b, .out = out});
    return {.values = rig.read(out)};
  }

 private:
  int64_t size_;
  bool in_place_;
  Padding padding_;
  std::vector<float> a_, b_;
};

// Every rounding case of a conversion: halves, neighbours of halves, subnormals, overflow.
class CopyExercise : public Exercise {
 public:
  CopyExercise(Dtype from, Dtype to, int64_t tokens, int64_t size, bool transposed)
      : from_(from), to_(to), size_(size), transposed_(transposed) {
    Random random(600);
    const float special[] = {0.0f,         -0.0f,         1.00048828125f,
                             1.001953125f, 1.0009765625f, 65504.0f,
                             65519.0f,     65520.0f,      6e-8f,
                             2.9e-8f,      5.9604645e-8f, 6.1e-5f,
                             -70000.0f,    3.3895e38f,    1.00390625f,
                             1.01171875f,  1e-40f,        std::numeric_limits<float>::infinity()};
    x_ = random.normals(tokens * size, 3.0f);
    for (size_t i = 0; i < std::size(special) && i < x_.size(); ++i) x_[i] = special[i];
  }
  CaseOutput run(Rig& rig, int64_t first, int64_t count) const override {
    TensorView x = rig.upload(rows_of(x_, size_, first, count), from_, {count, size_}, {1, 7});
    TensorView out = rig.output(to_, {count, size_}, {0, 3});
    TensorView swapped = transposed_ ? rig.output(to_, {size_, count}) : out;
    if (!rig.ready()) return {};
    if (transposed_) {  // the last dimension of what is written is not contiguous
      out = swapped;
      std::swap(out.shape[0], out.shape[1]);
      std::swap(out.stride[0], out.stride[1]);
    }
    rig.stream().copy({.x = x, .out = out});
    return {.values = rig.read(swapped)};
  }

 private:
  Dtype from_, to_;
  int64_t size_;
  bool transposed_;
  std::vector<float> x_;
};

void add_copy_cases(std::vector<ConformanceCase>& cases) {
  const Dtype dtypes[] = {Dtype::kF32, Dtype::kF16, Dtype::kBF16};
  for (Dtype from : dtypes) {
    for (Dtype to : dtypes) {
      for (bool transposed : {false, true}) {
        const int64_t tokens = transposed ? 5 : 3;
        const OpQuery query{.op = Op::kCopy, .dtype = to != Dtype::kF32 ? to : from, .cols = 37};
        cases.push_back({.name = fmt::format("copy {} to {}{}", dtype_name(from), dtype_name(to),
                                             transposed ? " transposed" : ""),
                         .op = Op::kCopy,
                         .queries = {query},
                         .num_tokens = tokens,
                         .splits = !transposed,
                         .prepare = [=] {
                           return std::make_unique<CopyExercise>(from, to, tokens, 37, transposed);
                         }});
      }
    }
  }
}

}  // namespace

void add_elementwise_cases(std::vector<ConformanceCase>& cases) {
  add_norm_cases(cases);
  add_rope_cases(cases);
  add_copy_cases(cases);
  for (int64_t tokens : kTokenCounts) {
    const bool even = tokens % 2 == 0;
    const int64_t size = std::array{1, 64, 576, 1408, 129, 33}[tokens % 6];
    const Padding padding = even ? Padding{0, 64} : Padding{3, 5};
    cases.push_back(
        {.name = fmt::format("add_rms_norm T={} D={}", tokens, size),
         .op = Op::kAddRmsNorm,
         .queries = {{.op = Op::kAddRmsNorm, .cols = size}},
         .tolerance = 4e-6,
         .num_tokens = tokens,
         .prepare = [=] { return std::make_unique<AddNormExercise>(tokens, size, padding); }});
    for (float scale : {2.0f, 40.0f}) {
      cases.push_back({.name = fmt::format("swiglu T={} I={} scale={}{}", tokens, size, scale,
                                           even ? " in place" : ""),
                       .op = Op::kSwiglu,
                       .queries = {{.op = Op::kSwiglu, .cols = size}},
                       .tolerance = 4e-6,
                       .num_tokens = tokens,
                       .prepare = [=] {
                         return std::make_unique<SwigluExercise>(tokens, size, scale, even,
                                                                 padding);
                       }});
    }
    cases.push_back(
        {.name = fmt::format("add T={} D={}{}", tokens, size, even ? " in place" : ""),
         .op = Op::kAdd,
         .queries = {{.op = Op::kAdd, .cols = size}},
         .num_tokens = tokens,
         .prepare = [=] { return std::make_unique<AddExercise>(tokens, size, even, padding); }});
  }
}

}  // namespace ferry
