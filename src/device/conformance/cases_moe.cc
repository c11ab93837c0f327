// Conformance cases of the mixture-of-experts ops. Choices must agree exactly, ties included, so
// logits lie on a coarse grid: two experts either tie or are further apart than any rounding.
#include <algorithm>
#include <array>

#include "device/conformance/cases.h"
#include "device/plan_stream.h"

namespace ferry {
namespace {

struct GateShape {
  int64_t tokens;
  GateSpec spec;
  bool bias;
  float spread;  // largest |logit|
};

class GateExercise : public Exercise {
 public:
  explicit GateExercise(const GateShape& shape) : shape_(shape) {
    Random random(5000 + static_cast<uint64_t>(shape.tokens + shape.spec.num_experts));
    for (int64_t i = 0; i < shape.tokens * shape.spec.num_experts; ++i) {
      logits_.push_back(static_cast<float>(random.below(33) - 16) / 16.0f * shape.spread);
    }
    // Steps far from the differences between scores, so that sums of both don't nearly tie.
    for (int64_t e = 0; e < shape.spec.num_experts; ++e) {
      bias_.push_back(static_cast<float>(random.below(5) - 2) * 0.0625f);
    }
  }
  CaseOutput run(Rig& rig, int64_t first, int64_t count) const override {
    const int64_t experts = shape_.spec.num_experts;
    const TensorView logits =
        rig.upload(rows_of(logits_, experts, first, count), {count, experts}, {0, 5});
    const TensorView bias = shape_.bias ? rig.upload(bias_, {experts}) : TensorView();
    const TensorView ids = rig.output(Dtype::kI32, {count, shape_.spec.top_k});
    const TensorView weights = rig.output(Dtype::kF32, {count, shape_.spec.top_k});
    if (!rig.ready()) return {};
    rig.stream().moe_gate(
        {.logits = logits, .bias = bias, .spec = shape_.spec, .ids = ids, .weights = weights});
    return {.values = rig.read(weights), .integers = rig.read_integers(ids)};
  }
  // Scores are sums of positive terms only: relative to the largest weight a token can have.
  std::vector<double> magnitudes() const override {
    const double largest = shape_.spec.score == GateScore::kSqrtSoftplus && !shape_.spec.renormalize
                               ? std::sqrt(1.0 + shape_.spread)
                               : 1.0;
    return std::vector<double>(static_cast<size_t>(shape_.tokens * shape_.spec.top_k),
                               largest * shape_.spec.scale);
  }

 private:
  GateShape shape_;
  std::vector<float> logits_, bias_;
};

void add_gate_cases(std::vector<ConformanceCase>& cases) {
  const GateSpec specs[] = {
      {.num_experts = 1, .top_k = 1},
      {.num_experts = 7, .top_k = 7, .renormalize = true},
      {.num_experts = 64, .top_k = 6, .scale = 1.0f},
      {.num_experts = 160, .top_k = 6, .num_groups = 8, .top_k_groups = 3, .scale = 16.0f},
      {.score = GateScore::kSigmoid,
       .num_experts = 256,
       .top_k = 8,
       .num_groups = 8,
       .top_k_groups = 4,
       .group_score = GroupScore::kSumOfTopTwo,
       .renormalize = true,
       .scale = 2.5f},
      {.score = GateScore::kSigmoid,
       .num_experts = 384,
       .top_k = 8,
       .renormalize = true,
       .scale = 2.827f},
      {.score = GateScore::kSqrtSoftplus,
       .num_experts = 96,
       .top_k = 6,
       .renormalize = true,
       .scale = 1.5f},
      {.score = GateScore::kSigmoid,
       .num_experts = 4,
       .top_k = 2,
       .num_groups = 4,
       .top_k_groups = 2,
       .group_score = GroupScore::kSumOfTopTwo},
      {.num_experts = 128, .top_k = 8, .renormalize = true},
  };
  for (const GateSpec& spec : specs) {
    for (int64_t tokens : {1, 3, 64, 100}) {
      const bool bias = spec.score == GateScore::kSigmoid && tokens != 3;
      // With spread 2, softmax scores of neighbours differ by 12 %; with 30 by a factor of 6, down
      // to 1e-26 of the largest.
      const float spread = tokens == 64 && spec.score == GateScore::kSoftmax ? 30.0f : 2.0f;
      const GateShape s{tokens, spec, bias, spread};
      const OpQuery query{.op = Op::kMoeGate, .rows = spec.num_experts, .cols = spec.top_k};
      cases.push_back(
          {.name = fmt::format(
               "moe_gate {} E={} K={} groups={}/{} T={}{} spread={}",
               std::array{"softmax", "sigmoid", "sqrt-softplus"}[static_cast<int>(spec.score)],
               spec.num_experts, spec.top_k, spec.top_k_groups, spec.num_groups, tokens,
               bias ? " bias" : "", spread),
           .op = Op::kMoeGate,
           .queries = {query},
           .tolerance = 3e-6,
           .num_tokens = tokens,
           .prepare = [s] { return std::make_unique<GateExercise>(s); }});
    }
  }
}

// Distinct experts per token; with `crowded` everyone wants the same ones and most stay empty.
std::vector<int32_t> choose(Random& random, int64_t tokens, int64_t experts, int64_t top_k,
                            bool crowded) {
  std::vector<int32_t> ids;
  for (int64_t t = 0; t < tokens; ++t) {
    std::vector<int32_t> order = random.shuffled(experts);
    if (crowded) std::sort(order.begin(), order.end(), std::greater<int32_t>());
    ids.insert(ids.end(), order.begin(), order.begin() + top_k);
  }
  return ids;
}

class PermuteExercise : public Exercise {
 public:
  PermuteExercise(int64_t tokens, int64_t experts, int64_t top_k, bool crowded)
      : experts_(experts), top_k_(top_k) {
    Random random(5100);
    ids_ = choose(random, tokens, experts, top_k, crowded);
  }
  CaseOutput run(Rig& rig, int64_t first, int64_t count) const override {
    const auto mine = std::span<const int32_t>(ids_).subspan(first * top_k_, count * top_k_);
    const TensorView ids = rig.upload(mine, {count, top_k_});
    const TensorView token_of_row = rig.output(Dtype::kI32, {count * top_k_});
    const TensorView row_of_choice = rig.output(Dtype::kI32, {count, top_k_});
    const TensorView offsets = rig.output(Dtype::kI32, {experts_ + 1});
    if (!rig.ready()) return {};
    rig.stream().moe_permute({.ids = ids,
                              .num_experts = experts_,
                              .token_of_row = token_of_row,
                              .row_of_choice = row_of_choice,
                              .expert_offsets = offsets});
    CaseOutput output;
    for (const TensorView& view : {token_of_row, row_of_choice, offsets}) {
      const std::vector<int32_t> part = rig.read_integers(view);
      output.integers.insert(output.integers.end(), part.begin(), part.end());
    }
    return output;
  }

 private:
  int64_t experts_, top_k_;
  std::vector<int32_t> ids_;
};

class CombineExercise : public Exercise {
 public:
  CombineExercise(int64_t tokens, int64_t top_k, int64_t size)
      : tokens_(tokens), top_k_(top_k), size_(size) {
    Random random(5200);
    rows_ = random.normals(tokens * top_k * size);
    row_of_choice_ = random.shuffled(tokens * top_k);
    weights_ = random.normals(tokens * top_k);
  }
  CaseOutput run(Rig& rig, int64_t first, int64_t count) const override {
    const auto choices =
        std::span<const int32_t>(row_of_choice_).subspan(first * top_k_, count * top_k_);
    const TensorView rows = rig.upload(rows_, {tokens_ * top_k_, size_});
    const TensorView row_of_choice = rig.upload(choices, {count, top_k_});
    const TensorView weights = rig.upload(rows_of(weights_, top_k_, first, count), {count, top_k_});
    const TensorView out = rig.output(Dtype::kF32, {count, size_}, {0, 3});
    if (!rig.ready()) return {};
    rig.stream().moe_combine(
        {.rows = rows, .row_of_choice = row_of_choice, .weights = weights, .out = out});
    return {.values = rig.read(out)};
  }
  std::vector<double> magnitudes() const override {
    std::vector<double> result(static_cast<size_t>(tokens_ * size_), 0.0);
    for (int64_t c = 0; c < tokens_ * top_k_; ++c) {
      const float* row = rows_.data() + row_of_choice_[c] * size_;
      for (int64_t i = 0; i < size_; ++i) {
        result[c / top_k_ * size_ + i] += std::fabs(static_cast<double>(weights_[c]) * row[i]);
      }
    }
    return result;
  }

 private:
  int64_t tokens_, top_k_, size_;
  std::vector<float> rows_, weights_;
  std::vector<int32_t> row_of_choice_;
};

struct ExpertsShape {
  const quant::StorageFormat* format;  // of gate and up
  const quant::StorageFormat* down_format;
  bool scaled;
  int64_t tokens, experts, top_k, size, width;
  bool crowded;
};

class ExpertsExercise : public Exercise {
 public:
  explicit ExpertsExercise(const ExpertsShape& shape) : shape_(shape) {
    Random random(5300);
    for (int64_t e = 0; e < shape.experts; ++e) {
      gate_.push_back(make_weight(random, *shape.format, shape.width, shape.size, shape.scaled));
      up_.push_back(make_weight(random, *shape.format, shape.width, shape.size, shape.scaled));
      down_.push_back(
          make_weight(random, *shape.down_format, shape.size, shape.width, shape.scaled));
    }
    x_ = random.normals(shape.tokens * shape.size);
    ids_ = choose(random, shape.tokens, shape.experts, shape.top_k, shape.crowded);
    for (size_t i = 0; i < ids_.size(); ++i) weights_.push_back(random.uniform(0.05f, 1.0f));
  }

  CaseOutput run(Rig& rig, int64_t first, int64_t count) const override {
    const int64_t top_k = shape_.top_k;
    std::vector<WeightView> gate, up, down;
    for (const auto& w : gate_) gate.push_back(rig.import(w));
    for (const auto& w : up_) up.push_back(rig.import(w));
    for (const auto& w : down_) down.push_back(rig.import(w));
    const auto ids = std::span<const int32_t>(ids_).subspan(first * top_k, count * top_k);
    MoeExpertsArgs args{
        .x = rig.upload(rows_of(x_, shape_.size, first, count), {count, shape_.size}, {0, 32}),
        .ids = rig.upload(ids, {count, top_k}),
        .weights = rig.upload(rows_of(weights_, top_k, first, count), {count, top_k}),
        .gate = gate,
        .up = up,
        .down = down,
        .out = rig.output(Dtype::kF32, {count, shape_.size}, {0, 3})};
    Workspace measure;
    args.workspace = &measure;
    PlanStream().moe_experts(args);
    Workspace workspace = rig.workspace(measure.bytes_max());
    args.workspace = &workspace;
    if (!rig.ready()) return {};
    rig.stream().moe_experts(args);
    return {.values = rig.read(args.out)};
  }

  std::vector<double> magnitudes() const override { return sums(x_, false); }
  std::vector<double> rounding_magnitudes() const override {
    return sums(largest_neighbours(x_, shape_.size), true);
  }

 private:
  // An error of the gate's or up's sum moves their product by the other factor; |silu'| ≤ 1.1.
  std::vector<double> sums(const std::vector<float>& inputs, bool rounding) const {
    std::vector<double> result(static_cast<size_t>(shape_.tokens * shape_.size), 0.0);
    std::vector<float> inner(static_cast<size_t>(shape_.width));
    for (int64_t c = 0; c < static_cast<int64_t>(ids_.size()); ++c) {
      const float* x = inputs.data() + c / shape_.top_k * shape_.size;
      const auto e = static_cast<size_t>(ids_[c]);
      for (int64_t i = 0; i < shape_.width; ++i) {
        const double g = absolute_dot(gate_[e]->row(i), x, shape_.size);
        const double u = absolute_dot(up_[e]->row(i), x, shape_.size);
        inner[i] = static_cast<float>(g * u);
      }
      if (rounding) inner = largest_neighbours(inner, shape_.width);
      for (int64_t i = 0; i < shape_.size; ++i) {
        result[c / shape_.top_k * shape_.size + i] +=
            weights_[c] * absolute_dot(down_[e]->row(i), inner.data(), shape_.width);
      }
    }
    return result;
  }

  ExpertsShape shape_;
  std::vector<std::shared_ptr<const WeightData>> gate_, up_, down_;
  std::vector<float> x_, weights_;
  std::vector<int32_t> ids_;
};

void add_experts(std::vector<ConformanceCase>& cases, const ExpertsShape& s) {
  std::vector<OpQuery> queries = {
      weight_query(Op::kMoeExperts, *s.format, s.scaled, s.width, s.size),
      weight_query(Op::kMoeExperts, *s.down_format, s.scaled, s.size, s.width)};
  cases.push_back(
      {.name = fmt::format("moe_experts {}/{}{} T={} E={} K={} D={} I={}{}", s.format->name,
                           s.down_format->name, s.scaled ? " block-scaled" : "", s.tokens,
                           s.experts, s.top_k, s.size, s.width, s.crowded ? " crowded" : ""),
       .op = Op::kMoeExperts,
       .queries = std::move(queries),
       .tolerance = 4e-6,
       .rounds = true,
       .num_tokens = s.tokens,
       .prepare = [s] { return std::make_unique<ExpertsExercise>(s); }});
}

}  // namespace

void add_moe_cases(std::vector<ConformanceCase>& cases) {
  add_gate_cases(cases);
  for (int64_t tokens : kTokenCounts) {
    for (bool crowded : {false, true}) {
      const int64_t experts = std::array{1, 9, 256}[tokens % 3];
      const int64_t top_k = std::array{1, 3, 8}[tokens % 3];
      cases.push_back({.name = fmt::format("moe_permute T={} E={} K={}{}", tokens, experts, top_k,
                                           crowded ? " crowded" : ""),
                       .op = Op::kMoePermute,
                       .queries = {{.op = Op::kMoePermute, .rows = experts, .cols = top_k}},
                       .num_tokens = tokens,
                       .splits = false,
                       .prepare = [=] {
                         return std::make_unique<PermuteExercise>(tokens, experts, top_k, crowded);
                       }});
    }
    const int64_t size = 7 + 3 * tokens;
    cases.push_back(
        {.name = fmt::format("moe_combine T={} K=6 D={}", tokens, size),
         .op = Op::kMoeCombine,
         .queries = {{.op = Op::kMoeCombine, .cols = size}},
         .tolerance = 1e-6,
         .num_tokens = tokens,
         .prepare = [=] { return std::make_unique<CombineExercise>(tokens, 6, size); }});
  }
  const quant::StorageFormat* q8 = quant::find_format("Q8_0");
  for (const quant::StorageFormat* f : weight_formats()) {
    for (bool scaled : {false, true}) {
      if (scaled && f->safetensors != "F8_E4M3") continue;
      // Widths that K-quants can't hold fall back to another format for the down projection.
      const bool super = f->block_elements > 32;
      const quant::StorageFormat* down = super ? q8 : f;
      const int64_t size = super ? 256 : 192;
      add_experts(cases, {f, down, scaled, 1, 8, 3, size, 96, false});
      add_experts(cases, {f, down, scaled, 2, 4, 4, size, 32, false});
      add_experts(cases, {f, down, scaled, 17, 8, 2, size, 64, true});
      add_experts(cases, {f, down, scaled, 40, 5, 2, size, 160, false});
    }
  }
}

}  // namespace ferry
