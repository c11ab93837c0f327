// Attention on tensor cores, for heads that share keys and for neighbouring tokens. Included after
// the words of the platform.
//
// A block makes 16 queries: the heads that share a head of keys (16 of them at a time), of as many
// tokens as fit. It takes 16 keys at a time into shared memory, in bf16, once for all its queries;
// its eight warps share the columns of the scores, then the columns of the values. Queries and
// probabilities are rounded to bf16, sums are f32. Where a tile's tokens are of several sequences
// it goes through the keys of each, and the queries of the others add nothing.
//
// For each 16 keys: (key + rope + value) / 8 mma.sync, 16 rows of the cache read once, 4 barriers.
#pragma once

#include "backends/cuda/kernels/attention.cuh"

namespace ferry::cuda {

constexpr int kStageStride = kStageColumns / 2 + 4;  // words of a row
constexpr int kScoreStride = kStageKeys + 1;
constexpr int kProbabilityStride = kStageKeys / 2 + 4;  // words
constexpr int kWarps = kThreads / kWarp;
constexpr int kValuePairs = kMaxMmaValueSize / 16 / kWarps;  // of 8 columns each, of a warp

FERRY_DEVICE int64_t round_to_16(int64_t n) { return (n + 15) / 16 * 16; }

// Which query a row of a tile is, and how many keys it sees: 0 of rows that are none.
struct QueryRow {
  int64_t token, head, sequence, num_keys;
};

FERRY_DEVICE QueryRow row_of_tile(const AttentionParams& p, int64_t row) {
  const int64_t members = p.heads_per_kv == 0 ? p.heads : p.heads_per_kv;
  const int64_t kv_head = blockIdx.y / p.row_tiles;
  const int64_t member = p.tile_tokens > 1 ? row % members
                                           : blockIdx.y % p.row_tiles * kQueryRows + row;
  const int64_t within = p.tile_tokens > 1 ? row / members : 0;
  const int64_t token = blockIdx.x * p.tile_tokens + within;
  if (within >= p.tile_tokens || member >= members || token >= p.tokens) return {0, 0, -1, 0};
  const TokenPlace place = place_of_token(p.batch, p.first_token + token);
  return {token, kv_head * members + member, place.sequence, keys_of_token(p, place)};
}

FERRY_DEVICE float query_number(const AttentionParams& p, const QueryRow& row, int64_t column) {
  if (column < p.key_size) {
    return *span(p.q, row.token * p.q_stride[0] + row.head * p.q_stride[1] + column, 1);
  }
  column -= p.key_size;
  if (column >= p.rope_size) return 0;
  return *span(p.q_rope, row.token * p.q_rope_stride[0] + row.head * p.q_rope_stride[1] + column,
               1);
}

FERRY_DEVICE void stage_queries(const AttentionParams& p, int64_t columns, uint32_t* to) {
  const int row = static_cast<int>(threadIdx.x) / 16;
  const QueryRow query = row_of_tile(p, row);
  for (int64_t word = threadIdx.x % 16; word < columns / 2; word += 16) {
    float low = 0, high = 0;
    if (query.num_keys > 0) {
      low = query_number(p, query, 2 * word);
      high = query_number(p, query, 2 * word + 1);
    }
    to[row * kStageStride + word] = pack_bf16(low, high);
  }
}

// Up to 8 numbers of a cached row, from element `at` on, as bf16; the others are 0. `column` is
// that of the first in its row.
FERRY_DEVICE void load_cached_at(const PagesParam& pages, int64_t slot, int64_t at, int64_t column,
                                 int count, uint32_t (&words)[4]) {
  float numbers[8] = {};
  if (pages.type == kElementF32) {
    const float* from = span(reinterpret_cast<const float*>(pages.data), at, count);
#pragma unroll
    for (int i = 0; i < 8; ++i) numbers[i] = i < count ? from[i] : 0.0f;
  } else if (pages.type == kElementI8) {
    const float* scales = scales_of(pages, slot);
    const int8_t* from = span(reinterpret_cast<const int8_t*>(pages.data), at, count);
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      if (i < count) numbers[i] = scales[(column + i) / pages.group] * static_cast<float>(from[i]);
    }
  } else {
    const uint16_t* from = span(reinterpret_cast<const uint16_t*>(pages.data), at, count);
    const bool brain = pages.type == kElementBF16;
    if (brain && count == 8 && (reinterpret_cast<uintptr_t>(from) & 15) == 0) {
      return load_words<16, 16>(reinterpret_cast<const uint8_t*>(from), words);
    }
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      if (i < count) numbers[i] = brain ? bf16_to_float(from[i]) : half_to_float(from[i]);
    }
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) words[i] = pack_bf16(numbers[2 * i], numbers[2 * i + 1]);
}

FERRY_DEVICE void load_cached(const PagesParam& pages, int64_t slot, int64_t column, int count,
                              uint32_t (&words)[4]) {
  load_cached_at(pages, slot, element_of(pages, slot, column), column, count, words);
}

// Columns [column, column + size) of `count` cached rows, and zeros up to a multiple of 16 and for
// the rows that are missing.
FERRY_DEVICE void stage_rows(const PagesParam& pages, const int64_t* slots, int count,
                             int64_t column, int64_t size, uint32_t* to) {
  const int pieces = static_cast<int>(round_to_16(size) / 8);
  for (int i = static_cast<int>(threadIdx.x); i < kStageKeys * pieces; i += kThreads) {
    const int key = i / pieces, first = i % pieces * 8;
    const int left = static_cast<int>(size) - first;
    uint32_t words[4] = {};
    if (key < count && left > 0) {
      load_cached(pages, slots[key], column + first, left < 8 ? left : 8, words);
    }
    store_four(to + key * kStageStride + first / 2, words);
  }
}

// A warp's share of the columns of all scores. A lane names a row of each of the four matrices of a
// load.
FERRY_DEVICE void multiply_scores(const uint32_t* queries, const uint32_t* keys, int64_t columns,
                                  float* scores) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const uint32_t* a_row = queries + lane % 16 * kStageStride + lane / 16 * 4;
  const uint32_t* b_row =
      keys + (lane / 16 * 8 + lane % 8) * kStageStride + lane / 8 % 2 * 4;
  float sums[2][4] = {};
  for (int64_t word = warp * 8; word < columns / 2; word += kWarps * 8) {
    uint32_t a[4], b[4];
    load_matrices(a_row + word, a);
    load_matrices(b_row + word, b);
    multiply_add(sums[0], a, b[0], b[1]);
    multiply_add(sums[1], a, b[2], b[3]);
  }
  float* mine = scores + warp * kQueryRows * kScoreStride;
#pragma unroll
  for (int n = 0; n < 2; ++n) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      mine[(lane / 4 + i / 2 * 8) * kScoreStride + n * 8 + lane % 4 * 2 + i % 2] = sums[n][i];
    }
  }
}

// What a thread knows of the softmax of its row, tid / 16: of the 16 threads of a row each has a
// share of the total.
struct RowSoftmax {
  float largest, total;
};

// The largest or the sum over the 16 threads of a row.
FERRY_DEVICE float largest_of_row(float value) {
#pragma unroll
  for (int mask = 8; mask > 0; mask /= 2) {
    const float other = shuffle_xor(value, mask);
    value = other > value ? other : value;
  }
  return value;
}
FERRY_DEVICE float sum_of_row(float value) {
#pragma unroll
  for (int mask = 8; mask > 0; mask /= 2) value += shuffle_xor(value, mask);
  return value;
}

// Takes in the score of this thread's row and key, -infinity where the row doesn't see the key.
FERRY_DEVICE void step_of_row(float score, RowSoftmax& row, uint32_t* probabilities,
                              float* rescale) {
  const int tid = static_cast<int>(threadIdx.x);
  const float most = largest_of_row(score);
  const float now = most > row.largest ? most : row.largest;
  const bool nothing = now == float_of(0xff800000u);
  const float probability = nothing ? 0.0f : expf(score - now);
  const float factor = nothing ? 1.0f : expf(row.largest - now);
  row.largest = now;
  row.total = row.total * factor + probability;
  const float next = shuffle_xor(probability, 1);
  if (tid % 2 == 0) {
    probabilities[tid / 16 * kProbabilityStride + tid % 16 / 2] = pack_bf16(probability, next);
  }
  if (tid % 16 == 0) rescale[tid / 16] = factor;
}

// A warp's columns of the values: pairs of eight, every eighth pair.
FERRY_DEVICE void add_staged_values(const uint32_t* probabilities, const float* rescale,
                                    const uint32_t* values, int64_t columns,
                                    float (&sums)[kValuePairs][2][4]) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const float factors[2] = {rescale[lane / 4], rescale[lane / 4 + 8]};
  uint32_t a[4];
  load_matrices(probabilities + lane % 16 * kProbabilityStride + lane / 16 * 4, a);
#pragma unroll
  for (int j = 0; j < kValuePairs; ++j) {
    const int pair = warp + j * kWarps;
    if (pair * 16 >= columns) break;
    uint32_t b[4];
    load_transposed(values + lane % 16 * kStageStride + pair * 8 + lane / 16 * 4, b);
#pragma unroll
    for (int n = 0; n < 2; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) sums[j][n][i] *= factors[i / 2];
      multiply_add(sums[j][n], a, b[2 * n], b[2 * n + 1]);
    }
  }
}

// The results of the tile; with several parts what merge_attention adds up.
FERRY_DEVICE void store_queries(const AttentionParams& p, int64_t begin, const float* largest,
                                const float* totals, const float (&sums)[kValuePairs][2][4]) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = lane / 4 + half * 8;
    const QueryRow query = row_of_tile(p, row);
    if (query.num_keys <= begin) continue;
    const bool whole = p.num_parts == 1;
    float* out = whole ? span(p.out, query.token * p.out_stride[0] + query.head * p.out_stride[1],
                              p.value_size)
                       : part_of(p, query.token, query.head, blockIdx.z);
#pragma unroll
    for (int j = 0; j < kValuePairs; ++j) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {  // two neighbours of both tiles of eight columns
        const int64_t column = (warp + j * kWarps) * 16 + i / 2 * 8 + lane % 4 * 2 + i % 2;
        const float sum = sums[j][i / 2][half * 2 + i % 2];
        if (column < p.value_size) out[column] = whole ? sum / totals[row] : sum;
      }
    }
    if (whole || warp != 0 || lane % 4 != 0) continue;
    out[p.value_size] = largest[row];
    out[p.value_size + 1] = totals[row];
  }
}

// Block = (tokens of a tile, head of keys · tiles of its queries, part of the keys).
FERRY_KERNEL(mma_attention, AttentionParams) {
  FERRY_SHARED(uint32_t, queries, kQueryRows * kStageStride);
  FERRY_SHARED(uint32_t, stage, kStageKeys * kStageStride);
  FERRY_SHARED(float, scores, kWarps * kQueryRows * kScoreStride);
  FERRY_SHARED(uint32_t, probabilities, kQueryRows * kProbabilityStride);
  FERRY_SHARED(float, rescale, kQueryRows);
  FERRY_SHARED(float, totals, kQueryRows);
  FERRY_SHARED(int64_t, slots, kStageKeys);
  FERRY_SHARED(int64_t, row_keys, kQueryRows);
  FERRY_SHARED(int64_t, row_sequence, kQueryRows);
  const int tid = static_cast<int>(threadIdx.x), row = tid / 16, key = tid % 16;
  const int64_t kv_head = blockIdx.y / p.row_tiles;
  const int64_t key_columns = round_to_16(p.key_size + p.rope_size);
  const bool separate = p.values.data != p.keys.data;
  uint32_t* values = separate ? stage + key_columns / 2 : stage;
  stage_queries(p, key_columns, queries);
  if (key == 0) {
    const QueryRow query = row_of_tile(p, row);
    row_keys[row] = query.num_keys;
    row_sequence[row] = query.sequence;
  }
  sync_block();
  const int64_t begin = p.num_parts == 1 ? 0 : int64_t{blockIdx.z} * p.part_keys;
  RowSoftmax softmax = {float_of(0xff800000u), 0.0f};
  float sums[kValuePairs][2][4] = {};
  int64_t last_sequence = -1;
  for (int r = 0; r < kQueryRows; ++r) {
    last_sequence = row_sequence[r] > last_sequence ? row_sequence[r] : last_sequence;
  }
  for (int64_t sequence = row_sequence[0]; sequence <= last_sequence; ++sequence) {
    int64_t end = 0;
    for (int r = 0; r < kQueryRows; ++r) {
      if (row_sequence[r] == sequence && row_keys[r] > end) end = row_keys[r];
    }
    if (p.num_parts > 1 && end > begin + p.part_keys) end = begin + p.part_keys;
    for (int64_t first = begin; first < end; first += kStageKeys) {
      const int count = static_cast<int>(end - first < kStageKeys ? end - first : kStageKeys);
      if (tid < count) slots[tid] = slot_of(p.keys, p.batch, sequence, first + tid);
      sync_block();
      stage_rows(p.keys, slots, count, kv_head * p.key_size, p.key_size + p.rope_size, stage);
      if (separate) {
        stage_rows(p.values, slots, count, kv_head * p.value_size, p.value_size, values);
      }
      sync_block();
      multiply_scores(queries, stage, key_columns, scores);
      sync_block();
      float score = float_of(0xff800000u);
      if (row_sequence[row] == sequence && first + key < row_keys[row]) {
        score = 0;
        for (int w = 0; w < kWarps; ++w) {
          score += scores[(w * kQueryRows + row) * kScoreStride + key];
        }
        score *= p.scale;
      }
      step_of_row(score, softmax, probabilities, rescale);
      sync_block();
      add_staged_values(probabilities, rescale, values, p.value_size, sums);
    }
  }
  sync_block();
  const float total = sum_of_row(softmax.total);
  if (key == 0) {
    totals[row] = total;
    rescale[row] = softmax.largest;
  }
  sync_block();
  store_queries(p, begin, rescale, totals, sums);
}

}  // namespace ferry::cuda
