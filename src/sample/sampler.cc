// Sums run in a fixed order (ids ascending, or most probable first after a filter that sorts), so
// that a draw never depends on how the standard library partitions or sorts.
#include "sample/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/check.h"
#include "sample/portable_math.h"

namespace ferry::sample {
namespace {

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

Status check_logit(int64_t id, float logit) {
  // One comparison in the usual case: it is false for NaN and for +infinity.
  if (logit <= std::numeric_limits<float>::max()) return {};
  return device_error("logit of token {} is {}; expected a number", id, logit);
}

Status check_logits(std::span<const float> logits) {
  for (size_t id = 0; id < logits.size(); ++id) {
    FERRY_TRY_VOID(check_logit(static_cast<int64_t>(id), logits[id]));
  }
  return {};
}

Error nothing_allowed() { return invalid_input("no token is allowed at this position"); }

void keep_allowed(std::span<float> logits, std::span<const uint32_t> allowed) {
  CHECK(allowed.size() * 32 >= logits.size());
  for (size_t id = 0; id < logits.size(); ++id) {
    if ((allowed[id / 32] >> (id % 32) & 1) == 0) logits[id] = kMinusInfinity;
  }
}

Result<int32_t> argmax(std::span<const float> logits) {
  const auto best = std::max_element(logits.begin(), logits.end());
  if (best == logits.end() || *best == kMinusInfinity) return nothing_allowed();
  return static_cast<int32_t>(best - logits.begin());
}

}  // namespace

Sampler::Sampler(SamplingParams params, uint64_t seed, int64_t vocab_size,
                 std::span<const int32_t> prompt)
    : params_(std::move(params)), seed_(seed), vocab_size_(vocab_size) {
  if (params_.repetition_penalty != 1.0) repeated_.insert(prompt.begin(), prompt.end());
}

Result<Choice> Sampler::sample(std::span<float> logits, std::span<const int32_t> forbidden,
                               std::span<const uint32_t> allowed) {
  CHECK(static_cast<int64_t>(logits.size()) >= vocab_size_);
  logits = logits.first(vocab_size_);
  FERRY_TRY_VOID(check_logits(logits));
  if (params_.logprobs >= 0) model_logits_.assign(logits.begin(), logits.end());

  adjust(logits);
  for (int32_t id : forbidden) {
    if (id >= 0 && id < vocab_size_) logits[id] = kMinusInfinity;
  }
  if (!allowed.empty()) keep_allowed(logits, allowed);
  if (params_.temperature != 0) collect(logits);
  FERRY_TRY(const int32_t token, params_.temperature == 0 ? argmax(logits) : draw());
  ++num_drawn_;
  if (params_.presence_penalty != 0 || params_.frequency_penalty != 0) ++output_counts_[token];
  if (params_.repetition_penalty != 1.0) repeated_.insert(token);

  Choice choice{.token = token};
  if (params_.logprobs >= 0) choice.logprobs = model_logprobs(token);
  return choice;
}

int64_t Sampler::num_deciding(int64_t num_forbidden) const {
  const bool adjusts = !params_.logit_bias.empty() || params_.presence_penalty != 0 ||
                       params_.frequency_penalty != 0 || params_.repetition_penalty != 1.0;
  if (adjusts || params_.logprobs >= 0) return kAllLogits;
  if (params_.temperature == 0) return 1 + num_forbidden;
  // One more than stay: it says whether top_k leaves any out, and so in which order sums run.
  if (params_.top_k > 0 && params_.top_k < vocab_size_) return params_.top_k + 1 + num_forbidden;
  return kAllLogits;
}

Result<Choice> Sampler::sample(const TopLogits& top, std::span<const int32_t> forbidden) {
  CHECK(top.ids.size() == top.values.size());
  const int64_t deciding = std::min(num_deciding(std::ssize(forbidden)), vocab_size_);
  CHECK(std::ssize(top.ids) >= deciding);
  const auto count = static_cast<size_t>(deciding);
  FERRY_TRY_VOID(collect({top.values.first(count), top.ids.first(count)}, forbidden));
  const auto greedy = [&]() -> Result<int32_t> {
    if (candidates_.empty()) return nothing_allowed();
    return std::min_element(candidates_.begin(), candidates_.end(), more_probable)->id;
  };
  FERRY_TRY(const int32_t token, params_.temperature == 0 ? greedy() : draw());
  ++num_drawn_;
  return Choice{.token = token, .logprobs = {}};
}

void Sampler::adjust(std::span<float> logits) const {
  for (const auto& [id, bias] : params_.logit_bias) logits[id] += bias;
  const auto repetition = static_cast<float>(params_.repetition_penalty);
  for (int32_t id : repeated_) {
    if (id < 0 || id >= vocab_size_) continue;
    logits[id] = logits[id] > 0 ? logits[id] / repetition : logits[id] * repetition;
  }
  for (const auto& [id, count] : output_counts_) {
    const double off =
        params_.presence_penalty + params_.frequency_penalty * static_cast<double>(count);
    logits[id] -= static_cast<float>(off);
  }
}

void Sampler::collect(std::span<const float> logits) {
  candidates_.clear();
  for (size_t id = 0; id < logits.size(); ++id) {
    if (logits[id] != kMinusInfinity) {
      candidates_.push_back({logits[id], static_cast<int32_t>(id), 0.0});
    }
  }
}

// What is no number stands first among the largest, and behind an id of -1 nothing.
Status Sampler::collect(const TopLogits& top, std::span<const int32_t> forbidden) {
  candidates_.clear();
  for (size_t i = 0; i < top.ids.size() && top.ids[i] >= 0; ++i) {
    if (top.ids[i] >= vocab_size_) {
      return device_error("one of the largest logits is that of token {}; there are {}", top.ids[i],
                          vocab_size_);
    }
    FERRY_TRY_VOID(check_logit(top.ids[i], top.values[i]));
    const bool allowed =
        std::find(forbidden.begin(), forbidden.end(), top.ids[i]) == forbidden.end();
    if (allowed && top.values[i] != kMinusInfinity) {
      candidates_.push_back({top.values[i], top.ids[i], 0.0});
    }
  }
  std::sort(candidates_.begin(), candidates_.end(),
            [](const Candidate& a, const Candidate& b) { return a.id < b.id; });
  return {};
}

Result<int32_t> Sampler::draw() {
  if (candidates_.empty()) return nothing_allowed();
  keep_top_k();
  float largest = kMinusInfinity;
  for (const Candidate& candidate : candidates_) largest = std::max(largest, candidate.logit);
  for (Candidate& candidate : candidates_) {
    const double distance = static_cast<double>(candidate.logit) - static_cast<double>(largest);
    candidate.weight = exp_of_negative(distance / params_.temperature);
  }
  keep_top_p();

  // The largest weight is 1, so that min_p is a weight as it stands.
  double total = 0;
  for (const Candidate& candidate : candidates_) {
    if (candidate.weight >= params_.min_p) total += candidate.weight;
  }
  const double target = uniform_at(seed_, num_drawn_) * total;
  double sum = 0;
  int32_t token = -1;
  for (const Candidate& candidate : candidates_) {
    if (candidate.weight < params_.min_p || candidate.weight == 0) continue;
    token = candidate.id;  // the last one stands if rounding leaves the sum just below the target
    sum += candidate.weight;
    if (sum > target) break;
  }
  CHECK(token >= 0);  // the most probable one always stays
  return token;
}

void Sampler::keep_top_k() {
  const auto k = static_cast<size_t>(params_.top_k);
  if (k == 0 || k >= candidates_.size()) return;
  const auto end = candidates_.begin() + static_cast<ptrdiff_t>(k);
  std::nth_element(candidates_.begin(), end - 1, candidates_.end(), more_probable);
  candidates_.erase(end, candidates_.end());
  std::sort(candidates_.begin(), candidates_.end(), more_probable);
}

void Sampler::keep_top_p() {
  if (params_.top_p >= 1) return;
  double total = 0;
  for (const Candidate& candidate : candidates_) total += candidate.weight;
  // A heap gives the candidates in order and sorts no more of them than are kept.
  const auto less_probable = [](const Candidate& a, const Candidate& b) {
    return more_probable(b, a);
  };
  std::make_heap(candidates_.begin(), candidates_.end(), less_probable);
  auto heap_end = candidates_.end();
  double sum = 0;
  while (heap_end != candidates_.begin() && sum < params_.top_p * total) {
    std::pop_heap(candidates_.begin(), heap_end, less_probable);
    sum += (--heap_end)->weight;
  }
  // Popped ones lie behind the heap, the most probable last.
  candidates_.erase(candidates_.begin(), heap_end);
  std::reverse(candidates_.begin(), candidates_.end());
}

PositionLogprobs Sampler::model_logprobs(int32_t chosen) {
  const float largest = *std::max_element(model_logits_.begin(), model_logits_.end());
  double sum = 0;
  for (float logit : model_logits_) sum += std::exp(static_cast<double>(logit) - largest);
  const double log_sum = static_cast<double>(largest) + std::log(sum);
  const auto logprob_of = [&](int32_t id) {
    return TokenLogprob{id, static_cast<double>(model_logits_[id]) - log_sum};
  };

  PositionLogprobs out;
  out.chosen = logprob_of(chosen);
  const auto count = static_cast<size_t>(std::min(params_.logprobs, vocab_size_));
  std::vector<int32_t> best;  // most probable first
  const auto more = [&](int32_t a, int32_t b) {
    return model_logits_[a] != model_logits_[b] ? model_logits_[a] > model_logits_[b] : a < b;
  };
  for (int32_t id = 0; id < vocab_size_ && count > 0; ++id) {
    if (best.size() == count && !more(id, best.back())) continue;
    best.insert(std::upper_bound(best.begin(), best.end(), id, more), id);
    if (best.size() > count) best.pop_back();
  }
  for (int32_t id : best) out.top.push_back(logprob_of(id));
  return out;
}

}  // namespace ferry::sample
