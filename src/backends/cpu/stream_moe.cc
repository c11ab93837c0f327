// Mixture of experts: the router's choice, sorting tokens by expert, adding the experts up.
#include <cmath>
#include <limits>
#include <utility>

#include "backends/cpu/cpu_stream.h"
#include "device/workspace.h"

namespace ferry::cpu {
namespace {

// The router is small and its choices are discrete, so it is computed like the reference does it,
// with the library's exponential.
void gate_scores(const float* logits, const GateSpec& spec, float* scores) {
  const int64_t n = spec.num_experts;
  if (spec.score == GateScore::kSoftmax) {
    const float largest = *std::max_element(logits, logits + n);
    float sum = 0;
    for (int64_t e = 0; e < n; ++e) sum += scores[e] = std::exp(logits[e] - largest);
    for (int64_t e = 0; e < n; ++e) scores[e] /= sum;
    return;
  }
  for (int64_t e = 0; e < n; ++e) {
    const float z = logits[e];
    // sqrt(ln(1 + e^z)) is written so that e^z can't overflow.
    scores[e] = spec.score == GateScore::kSigmoid
                    ? 1.0f / (1.0f + std::exp(-z))
                    : std::sqrt(std::max(z, 0.0f) + std::log1p(std::exp(-std::fabs(z))));
  }
}

float group_score(const float* biased, int64_t size, GroupScore kind) {
  float first = biased[0];
  float second = -std::numeric_limits<float>::infinity();
  for (int64_t e = 1; e < size; ++e) {
    if (biased[e] > first) {
      second = first;
      first = biased[e];
    } else {
      second = std::max(second, biased[e]);
    }
  }
  return kind == GroupScore::kSumOfTopTwo && size > 1 ? first + second : first;
}

// Index of the largest value that is not taken, the lower of equals, marked as taken.
int64_t take_largest(const float* values, int64_t n, std::vector<char>& taken) {
  int64_t best = -1;
  for (int64_t i = 0; i < n; ++i) {
    if (taken[static_cast<size_t>(i)] == 0 && (best < 0 || values[i] > values[best])) best = i;
  }
  CHECK(best >= 0);
  taken[static_cast<size_t>(best)] = 1;
  return best;
}

struct GateScratch {
  std::vector<float> scores, biased, groups;
  std::vector<char> expert_taken, group_taken;
};

void gate_token(const GateSpec& spec, const float* logits, const float* bias, GateScratch& s,
                int32_t* ids, float* weights) {
  const int64_t n = spec.num_experts;
  const int64_t group_size = n / spec.num_groups;
  s.scores.resize(static_cast<size_t>(n));
  gate_scores(logits, spec, s.scores.data());
  s.biased = s.scores;
  for (int64_t e = 0; bias != nullptr && e < n; ++e) s.biased[e] += bias[e];
  s.groups.clear();
  for (int64_t g = 0; g < spec.num_groups; ++g) {
    s.groups.push_back(group_score(s.biased.data() + g * group_size, group_size, spec.group_score));
  }
  s.expert_taken.assign(static_cast<size_t>(n), 1);
  s.group_taken.assign(static_cast<size_t>(spec.num_groups), 0);
  for (int64_t k = 0; k < spec.top_k_groups; ++k) {
    const int64_t g = take_largest(s.groups.data(), spec.num_groups, s.group_taken);
    std::fill_n(s.expert_taken.begin() + g * group_size, group_size, 0);
  }
  float sum = 0;
  for (int64_t k = 0; k < spec.top_k; ++k) {
    ids[k] = static_cast<int32_t>(take_largest(s.biased.data(), n, s.expert_taken));
    sum += s.scores[ids[k]];
  }
  const float divisor = spec.renormalize ? sum + 1e-20f : 1.0f;
  for (int64_t k = 0; k < spec.top_k; ++k) weights[k] = s.scores[ids[k]] / divisor * spec.scale;
}

}  // namespace

void CpuStream::moe_gate(const MoeGateArgs& args) {
  const GateSpec& spec = args.spec;
  check_view(args.logits, Dtype::kF32, 2);
  check_view(args.ids, Dtype::kI32, 2);
  check_view(args.weights, Dtype::kF32, 2);
  CHECK(args.logits.shape[1] == spec.num_experts && args.ids.shape[1] == spec.top_k);
  CHECK(spec.num_groups > 0 && spec.num_experts % spec.num_groups == 0);
  const float* bias = args.bias.empty() ? nullptr : row_of(args.bias, 0);
  parallel(args.logits.shape[0], 32 * spec.num_experts, [&](int64_t begin, int64_t end, int) {
    GateScratch scratch;
    for (int64_t t = begin; t < end; ++t) {
      gate_token(spec, row_of(args.logits, t), bias, scratch, row_of<int32_t>(args.ids, t),
                 row_of(args.weights, t));
    }
  });
}

// Counting sort: sizes, then places in order of (token, choice).
void CpuStream::moe_permute(const MoePermuteArgs& args) {
  check_view(args.ids, Dtype::kI32, 2);
  check_view(args.row_of_choice, Dtype::kI32, 2);
  check_view(args.token_of_row, Dtype::kI32, 1);
  check_view(args.expert_offsets, Dtype::kI32, 1);
  CHECK(args.expert_offsets.shape[0] == args.num_experts + 1);
  CHECK(args.token_of_row.shape[0] == args.ids.num_elements());
  const int64_t tokens = args.ids.shape[0];
  const int64_t top_k = args.ids.shape[1];
  int32_t* offsets = row_of<int32_t>(args.expert_offsets, 0);
  int32_t* token_of_row = row_of<int32_t>(args.token_of_row, 0);
  std::fill_n(offsets, args.num_experts + 1, 0);
  for (int64_t t = 0; t < tokens; ++t) {
    const int32_t* ids = row_of<int32_t>(args.ids, t);
    for (int64_t k = 0; k < top_k; ++k) {
      CHECK(ids[k] >= 0 && ids[k] < args.num_experts);
      ++offsets[ids[k] + 1];
    }
  }
  for (int64_t e = 0; e < args.num_experts; ++e) offsets[e + 1] += offsets[e];
  std::vector<int32_t> next(offsets, offsets + args.num_experts);
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t k = 0; k < top_k; ++k) {
      const int32_t row = next[row_of<int32_t>(args.ids, t)[k]]++;
      token_of_row[row] = static_cast<int32_t>(t);
      row_of<int32_t>(args.row_of_choice, t)[k] = row;
    }
  }
}

void CpuStream::moe_combine(const MoeCombineArgs& args) {
  check_view(args.rows, Dtype::kF32, 2);
  check_view(args.out, Dtype::kF32, 2);
  check_view(args.weights, Dtype::kF32, 2);
  check_view(args.row_of_choice, Dtype::kI32, 2);
  const int64_t top_k = args.weights.shape[1];
  const int64_t size = args.out.shape[1];
  CHECK(args.rows.shape[1] == size && args.row_of_choice.shape[1] == top_k);
  parallel(args.out.shape[0], (top_k + 1) * size, [&](int64_t begin, int64_t end, int) {
    std::vector<const float*> experts(static_cast<size_t>(top_k));
    for (int64_t t = begin; t < end; ++t) {
      for (int64_t k = 0; k < top_k; ++k) {
        const int32_t row = row_of<int32_t>(args.row_of_choice, t)[k];
        CHECK(row >= 0 && row < args.rows.shape[0]);
        experts[k] = row_of(args.rows, row);
      }
      kernels_.weighted_sum(experts.data(), row_of(args.weights, t), top_k, row_of(args.out, t),
                            size);
    }
  });
}

// The composite with its gather folded into the first matmuls and those two in one job. The sums
// are the same kernels over the same numbers, so the bits are those of the composite.
void CpuStream::moe_experts(const MoeExpertsArgs& args) {
  Workspace& workspace = *args.workspace;
  auto scope = workspace.scope();
  const int64_t tokens = args.ids.shape[0];
  const int64_t top_k = args.ids.shape[1];
  const int64_t rows = tokens * top_k;
  const int64_t num_experts = static_cast<int64_t>(args.gate.size());
  const int64_t hidden = args.x.shape[1];
  if (rows == 0 || num_experts == 0) return;
  const int64_t width = args.gate[0].rows;

  TensorView token_of_row = workspace.tensor(Dtype::kI32, {rows});
  TensorView row_of_choice = workspace.tensor(Dtype::kI32, {tokens, top_k});
  TensorView offsets = workspace.tensor(Dtype::kI32, {num_experts + 1});
  moe_permute({.ids = args.ids,
               .num_experts = num_experts,
               .token_of_row = token_of_row,
               .row_of_choice = row_of_choice,
               .expert_offsets = offsets});

  check_view(args.x, Dtype::kF32, 2);
  TensorView gate = workspace.tensor(Dtype::kF32, {rows, width});
  TensorView up = workspace.tensor(Dtype::kF32, {rows, width});
  TensorView down = workspace.tensor(Dtype::kF32, {rows, hidden});
  const int32_t* row_offsets = row_of<int32_t>(offsets, 0);
  const int32_t* token_index = row_of<int32_t>(token_of_row, 0);
  parts_.clear();
  add_expert_parts(args.x, token_index, row_offsets, args.gate, gate);
  add_expert_parts(args.x, token_index, row_offsets, args.up, up);
  const size_t first_down = parts_.size();
  add_expert_parts(gate, nullptr, row_offsets, args.down, down);
  HotReads reads = reads_of_parts();
  run_parts(reads, 0, first_down);
  swiglu({.gate = gate, .up = up, .out = gate});
  run_parts(reads, first_down, parts_.size());
  moe_combine(
      {.rows = down, .row_of_choice = row_of_choice, .weights = args.weights, .out = args.out});
}

void CpuStream::expect_experts(const ExpectExpertsArgs& args) {
  std::vector<ColdWeight*> weights;
  std::vector<char> named(args.gate.size());
  for (int64_t t = 0; t < (args.ids.empty() ? 0 : args.ids.shape[0]); ++t) {
    for (int64_t k = 0; k < args.ids.shape[1]; ++k) {
      const auto e = static_cast<size_t>(row_of<int32_t>(args.ids, t)[k]);
      CHECK(e < named.size());
      if (std::exchange(named[e], 1) != 0) continue;
      for (const auto& bank : {args.gate, args.up, args.down}) {
        if (ColdWeight* weight = cold_weight(bank[e])) weights.push_back(weight);
      }
    }
  }
  context_->hot_set().expect(std::move(weights));
}

}  // namespace ferry::cpu
