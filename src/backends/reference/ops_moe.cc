// Mixture of experts: the router's choice, sorting tokens by expert, adding the experts up.
#include <algorithm>
#include <cmath>

#include "backends/reference/access.h"
#include "backends/reference/ops.h"

namespace ferry::reference {
namespace {

std::vector<float> gate_scores(const float* logits, const GateSpec& spec) {
  std::vector<float> scores(logits, logits + spec.num_experts);
  if (spec.score == GateScore::kSoftmax) {
    const float largest = *std::max_element(scores.begin(), scores.end());
    float sum = 0;
    for (float& score : scores) sum += score = std::exp(score - largest);
    for (float& score : scores) score /= sum;
  } else if (spec.score == GateScore::kSigmoid) {
    for (float& score : scores) score = 1.0f / (1.0f + std::exp(-score));
  } else {  // sqrt(ln(1 + e^z)), written so that e^z can't overflow
    for (float& z : scores) z = std::sqrt(std::max(z, 0.0f) + std::log1p(std::exp(-std::fabs(z))));
  }
  return scores;
}

// Indices of the `count` largest values that are not excluded, largest first; among equals the
// lower index first.
std::vector<int64_t> top_indices(const std::vector<float>& values, std::vector<bool> excluded,
                                 int64_t count) {
  std::vector<int64_t> chosen;
  for (int64_t k = 0; k < count; ++k) {
    int64_t best = -1;
    for (int64_t i = 0; i < static_cast<int64_t>(values.size()); ++i) {
      if (!excluded[i] && (best < 0 || values[i] > values[best])) best = i;
    }
    CHECK(best >= 0);
    excluded[best] = true;
    chosen.push_back(best);
  }
  return chosen;
}

// DeepSeek-V2 §2.1.2 (largest of the group) and DeepSeek-V3 §2.1.2 (sum of the two largest):
// which experts may not be chosen because their group was not.
std::vector<bool> outside_best_groups(const std::vector<float>& biased, const GateSpec& spec) {
  const int64_t group_size = spec.num_experts / spec.num_groups;
  std::vector<float> group_scores;
  for (int64_t g = 0; g < spec.num_groups; ++g) {
    std::vector<float> group(biased.begin() + g * group_size,
                             biased.begin() + (g + 1) * group_size);
    std::sort(group.begin(), group.end(), std::greater<float>());
    const bool sum_two = spec.group_score == GroupScore::kSumOfTopTwo && group_size > 1;
    group_scores.push_back(sum_two ? group[0] + group[1] : group[0]);
  }
  std::vector<bool> excluded(static_cast<size_t>(spec.num_experts), true);
  const std::vector<bool> none(static_cast<size_t>(spec.num_groups), false);
  for (int64_t g : top_indices(group_scores, none, spec.top_k_groups)) {
    for (int64_t e = g * group_size; e < (g + 1) * group_size; ++e) excluded[e] = false;
  }
  return excluded;
}

}  // namespace

// DeepSeek-V2 eq. 20-22 (softmax), DeepSeek-V3 eq. 12-16 (sigmoid, bias for the choice only).
void moe_gate(const MoeGateArgs& args) {
  const GateSpec& spec = args.spec;
  CHECK(args.logits.shape[1] == spec.num_experts && args.ids.shape[1] == spec.top_k);
  CHECK(spec.num_experts % spec.num_groups == 0);
  for (int64_t t = 0; t < args.logits.shape[0]; ++t) {
    const std::vector<float> scores = gate_scores(row(args.logits, t), spec);
    std::vector<float> biased = scores;
    if (!args.bias.empty()) {
      for (int64_t e = 0; e < spec.num_experts; ++e) biased[e] += vector(args.bias)[e];
    }
    const auto chosen = top_indices(biased, outside_best_groups(biased, spec), spec.top_k);
    float sum = 0;
    for (int64_t e : chosen) sum += scores[e];
    const float divisor = spec.renormalize ? sum + 1e-20f : 1.0f;
    for (int64_t k = 0; k < spec.top_k; ++k) {
      row<int32_t>(args.ids, t)[k] = static_cast<int32_t>(chosen[k]);
      row(args.weights, t)[k] = scores[chosen[k]] / divisor * spec.scale;
    }
  }
}

void moe_permute(const MoePermuteArgs& args) {
  const int64_t top_k = args.ids.shape[1];
  int32_t* offsets = vector<int32_t>(args.expert_offsets);
  int32_t* token_of_row = vector<int32_t>(args.token_of_row);
  CHECK(args.expert_offsets.shape[0] == args.num_experts + 1);
  int32_t next_row = 0;
  for (int64_t e = 0; e < args.num_experts; ++e) {
    offsets[e] = next_row;
    for (int64_t t = 0; t < args.ids.shape[0]; ++t) {
      for (int64_t k = 0; k < top_k; ++k) {
        if (row<int32_t>(args.ids, t)[k] != e) continue;
        token_of_row[next_row] = static_cast<int32_t>(t);
        row<int32_t>(args.row_of_choice, t)[k] = next_row++;
      }
    }
  }
  offsets[args.num_experts] = next_row;
  CHECK(next_row == args.ids.num_elements());  // every id named an expert
}

void moe_combine(const MoeCombineArgs& args) {
  const int64_t size = args.out.shape[1];
  for (int64_t t = 0; t < args.out.shape[0]; ++t) {
    float* out = row(args.out, t);
    std::fill(out, out + size, 0.0f);
    for (int64_t k = 0; k < args.weights.shape[1]; ++k) {
      const float weight = row(args.weights, t)[k];
      const float* expert = row(args.rows, row<int32_t>(args.row_of_choice, t)[k]);
      for (int64_t i = 0; i < size; ++i) out[i] += weight * expert[i];
    }
  }
}

}  // namespace ferry::reference
