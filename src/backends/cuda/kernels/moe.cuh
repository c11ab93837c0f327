// Choosing: the router of experts, sorting tokens by expert, adding experts up, the positions that
// sparse attention looks at. Included after the words of the platform.
#pragma once

#include "backends/cuda/kernels/rows.cuh"

namespace ferry::cuda {

// The index of the largest value that is not excluded, as the reference finds it going upwards:
// the lowest that is left, unless a larger one follows; what is no number is never larger, and
// nothing is larger than it. `values`, `excluded` are in shared memory; one warp.
FERRY_DEVICE int32_t best_left(const float* values, const int32_t* excluded, int32_t n) {
  int32_t lowest = n, best = n;
  float most = 0;
  for (int32_t i = static_cast<int32_t>(threadIdx.x); i < n; i += kWarp) {
    if (excluded[i] != 0) continue;
    lowest = i < lowest ? i : lowest;
    if (values[i] != values[i] || (best < n && !(values[i] > most))) continue;
    best = i;
    most = values[i];
  }
#pragma unroll
  for (int mask = kWarp / 2; mask > 0; mask /= 2) {
    const int32_t other_lowest = shuffle_xor(lowest, mask), other = shuffle_xor(best, mask);
    const float other_most = shuffle_xor(most, mask);
    lowest = other_lowest < lowest ? other_lowest : lowest;
    const bool better = best == n || other_most > most || (other_most == most && other < best);
    if (other < n && better) {
      best = other;
      most = other_most;
    }
  }
  require(lowest < n);
  return best == n || values[lowest] != values[lowest] ? lowest : best;
}

FERRY_DEVICE float sum_of_warp(float value) {
#pragma unroll
  for (int mask = kWarp / 2; mask > 0; mask /= 2) value += shuffle_xor(value, mask);
  return value;
}

// Scores of all experts from the logits in `scores`, in place; one warp.
FERRY_DEVICE void gate_scores(float* scores, int32_t n, int32_t kind) {
  const int lane = static_cast<int>(threadIdx.x);
  float largest = float_of(0xff800000u), sum = 0;
  for (int i = lane; i < n; i += kWarp) largest = scores[i] > largest ? scores[i] : largest;
#pragma unroll
  for (int mask = kWarp / 2; mask > 0; mask /= 2) {
    const float other = shuffle_xor(largest, mask);
    largest = other > largest ? other : largest;
  }
  for (int i = lane; i < n; i += kWarp) {
    const float z = scores[i];
    if (kind == 0) {  // GateScore::kSoftmax
      scores[i] = expf(z - largest);
      sum += scores[i];
    } else if (kind == 1) {  // kSigmoid
      scores[i] = 1.0f / (1.0f + expf(-z));
    } else {  // kSqrtSoftplus
      scores[i] = sqrtf((z > 0 ? z : 0.0f) + log1pf(expf(-fabsf(z))));
    }
  }
  if (kind != 0) return;
  sum = sum_of_warp(sum);
  for (int i = lane; i < n; i += kWarp) scores[i] /= sum;
}

// The largest of a group, or the sum of its two largest.
FERRY_DEVICE float group_score(const float* values, int32_t n, bool sum_top_two) {
  float first = float_of(0xff800000u), second = first;
  for (int32_t i = 0; i < n; ++i) {
    if (values[i] > first) {
      second = first;
      first = values[i];
    } else if (values[i] > second) {
      second = values[i];
    }
  }
  return sum_top_two && n > 1 ? first + second : first;
}

// Block = token, one warp.
FERRY_KERNEL(moe_gate, GateParams) {
  FERRY_SHARED(float, scores, kMaxExperts);
  FERRY_SHARED(float, biased, kMaxExperts);
  FERRY_SHARED(int32_t, excluded, kMaxExperts);
  FERRY_SHARED(float, group_scores, kMaxExpertGroups);
  FERRY_SHARED(int32_t, group_chosen, kMaxExpertGroups);
  const int lane = static_cast<int>(threadIdx.x);
  const auto n = static_cast<int32_t>(p.num_experts), groups = static_cast<int32_t>(p.num_groups);
  const int32_t group_size = n / groups;
  const float* logits = span(p.logits, blockIdx.x * p.logits_stride, n);
  for (int i = lane; i < n; i += kWarp) scores[i] = logits[i];
  gate_scores(scores, n, p.score);
  for (int i = lane; i < n; i += kWarp) {
    biased[i] = p.bias == nullptr ? scores[i] : scores[i] + *span(p.bias, i, 1);
    excluded[i] = 1;
  }
  sync_block();
  for (int g = lane; g < groups; g += kWarp) {
    group_scores[g] = group_score(biased + g * group_size, group_size, p.sum_top_two != 0);
    group_chosen[g] = 0;
  }
  sync_block();
  for (int64_t k = 0; k < p.top_k_groups; ++k) {
    const int32_t g = best_left(group_scores, group_chosen, groups);
    sync_block();
    if (lane == 0) group_chosen[g] = 1;
    for (int i = lane; i < group_size; i += kWarp) excluded[g * group_size + i] = 0;
    sync_block();
  }
  int32_t* ids = span(p.ids, blockIdx.x * p.ids_stride, p.top_k);
  float* weights = span(p.weights, blockIdx.x * p.weights_stride, p.top_k);
  float sum = 0;
  for (int64_t k = 0; k < p.top_k; ++k) {
    const int32_t e = best_left(biased, excluded, n);
    sum += scores[e];
    sync_block();
    if (lane == 0) {
      ids[k] = e;
      excluded[e] = 1;
    }
    sync_block();
  }
  const float divisor = p.renormalize != 0 ? sum + 1e-20f : 1.0f;
  if (lane != 0) return;
  for (int64_t k = 0; k < p.top_k; ++k) weights[k] = scores[ids[k]] / divisor * p.scale;
}

// Of a block of kThreads, a count of each: replaces them by the sums of those before; the sum of
// all.
FERRY_DEVICE int32_t sums_before(int32_t* counts) {
  FERRY_SHARED(int32_t, of_warps, kThreads / kWarp);
  const int tid = static_cast<int>(threadIdx.x);
  sync_block();
  int32_t before = 0, sum = counts[tid];
#pragma unroll
  for (int mask = 1; mask < kWarp; mask *= 2) {
    const int32_t other = shuffle_xor(sum, mask);
    if ((tid & mask) != 0) before += other;
    sum += other;
  }
  if (tid % kWarp == 0) of_warps[tid / kWarp] = sum;
  sync_block();
  int32_t all = 0;
  for (int warp = 0; warp < kThreads / kWarp; ++warp) {
    if (warp == tid / kWarp) before += all;
    all += of_warps[warp];
  }
  counts[tid] = before;
  sync_block();
  return all;
}

// Block = expert: its rows are behind those of all lower experts, in order of the choices.
FERRY_KERNEL(moe_permute, PermuteParams) {
  FERRY_SHARED(int32_t, lower, kThreads);
  FERRY_SHARED(int32_t, mine, kThreads);
  const int tid = static_cast<int>(threadIdx.x);
  const auto expert = static_cast<int32_t>(blockIdx.x);
  const int64_t choices = p.tokens * p.top_k;
  const int64_t each = (choices + kThreads - 1) / kThreads;
  const int64_t begin = tid * each < choices ? tid * each : choices;
  const int64_t end = begin + each < choices ? begin + each : choices;
  lower[tid] = 0;
  mine[tid] = 0;
  for (int64_t i = begin; i < end; ++i) {
    const int32_t id = *span(p.ids, i / p.top_k * p.ids_stride + i % p.top_k, 1);
    require(id >= 0 && id < p.num_experts);
    if (id < expert) ++lower[tid];
    if (id == expert) ++mine[tid];
  }
  const int32_t first = sums_before(lower);
  const int32_t count = sums_before(mine);
  int32_t row = first + mine[tid];
  for (int64_t i = begin; i < end; ++i) {
    if (*span(p.ids, i / p.top_k * p.ids_stride + i % p.top_k, 1) != expert) continue;
    *span(p.token_of_row, row, 1) = static_cast<int32_t>(i / p.top_k);
    *span(p.row_of_choice, i / p.top_k * p.row_of_choice_stride + i % p.top_k, 1) = row;
    ++row;
  }
  if (tid != 0) return;
  *span(p.offsets, expert, 1) = first;
  if (expert + 1 == p.num_experts) *span(p.offsets, expert + 1, 1) = first + count;
}

FERRY_KERNEL(moe_combine, CombineParams) {
  const int32_t* choice = span(p.row_of_choice, blockIdx.x * p.row_of_choice_stride, p.top_k);
  const float* weights = span(p.weights, blockIdx.x * p.weights_stride, p.top_k);
  float* out = span(p.out, blockIdx.x * p.out_stride, p.size);
  for (int64_t i = threadIdx.x; i < p.size; i += blockDim.x) {
    float sum = 0;
    for (int64_t k = 0; k < p.top_k; ++k) {
      require(choice[k] >= 0 && choice[k] < p.num_rows);
      sum += weights[k] * *span(p.rows, choice[k] * p.rows_stride + i, 1);
    }
    out[i] = sum;
  }
}

// Larger scores have larger keys; −∞ and what is no number have 0; −0 is 0.
FERRY_DEVICE uint32_t key_of_score(float score) {
  if (!(score > float_of(0xff800000u))) return 0;
  const uint32_t bits = bits_of(score + 0.0f);
  return bits >> 31 != 0 ? ~bits : bits | 0x80000000u;
}

// Block = row. The smallest key that is taken is found byte by byte; of those that have it, the
// first columns are taken.
FERRY_KERNEL(index_top_k, TopKParams) {
  FERRY_SHARED(int32_t, counts, kThreads);
  FERRY_SHARED(int32_t, equal, kThreads);
  FERRY_SHARED(uint32_t, found, 2);  // the key so far, how many of it are to be taken
  const int tid = static_cast<int>(threadIdx.x);
  const float* scores = span(p.scores, blockIdx.x * p.scores_stride, p.columns);
  int32_t* out = span(p.out, blockIdx.x * p.out_stride, p.top_k);
  if (tid == 0) {
    found[0] = 0;
    found[1] = static_cast<uint32_t>(p.top_k);
  }
  for (int shift = 24; shift >= 0; shift -= 8) {
    counts[tid] = 0;
    sync_block();
    const uint32_t above = shift == 24 ? 0 : found[0] >> (shift + 8);
    for (int64_t i = tid; i < p.columns; i += kThreads) {
      const uint32_t key = key_of_score(scores[i]);
      const bool same = shift == 24 || key >> (shift + 8) == above;
      if (key != 0 && same) count_one(&counts[key >> shift & 255]);
    }
    sync_block();
    if (tid == 0) {
      auto left = static_cast<int32_t>(found[1]);
      int byte = 255;
      for (; byte > 0 && counts[byte] < left; --byte) left -= counts[byte];
      found[0] |= static_cast<uint32_t>(byte) << shift;
      found[1] = static_cast<uint32_t>(left);
    }
    sync_block();
  }
  const uint32_t least = found[0];
  const int64_t each = (p.columns + kThreads - 1) / kThreads;
  const int64_t begin = tid * each < p.columns ? tid * each : p.columns;
  const int64_t end = begin + each < p.columns ? begin + each : p.columns;
  int32_t larger = 0, same = 0;
  for (int64_t i = begin; i < end; ++i) {
    const uint32_t key = key_of_score(scores[i]);
    larger += key > least;
    same += key == least && key != 0;
  }
  equal[tid] = same;
  sums_before(equal);
  const int32_t all = static_cast<int32_t>(found[1]) - equal[tid];
  int32_t room = all < 0 ? 0 : all < same ? all : same;
  counts[tid] = larger + room;
  const int32_t taken = sums_before(counts);
  int32_t at = counts[tid];
  for (int64_t i = begin; i < end; ++i) {
    const uint32_t key = key_of_score(scores[i]);
    const bool tie = key == least && key != 0 && room > 0;
    if (key <= least && !tie) continue;
    room -= tie;
    out[at++] = static_cast<int32_t>(i);
  }
  for (int64_t k = taken + tid; k < p.top_k; k += kThreads) out[k] = -1;
}

}  // namespace ferry::cuda
