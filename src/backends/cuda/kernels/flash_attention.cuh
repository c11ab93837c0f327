// Attention of prompts on tensor cores, in the order of FlashAttention-2 (Dao 2023): for tokens of
// one sequence, so many that what is multiplied pays for what is read. Included after the words of
// the platform.
//
// A block makes 64 queries that share a head of keys (tokens, with all the heads of each that share
// it), a warp 16 of them, which it keeps in registers with their sums. Keys and values come to
// shared memory in bf16, some at a time, while others are multiplied; pieces that are bf16 already
// by asynchronous copies. A warp's probabilities never leave its registers: where the scores of a
// lane lie in the accumulators is where the next product wants them. Queries and probabilities are
// rounded to bf16, sums are f32. Of keys that come in pieces (one launch each) the largest score
// and the total of each query go from one to the next in `state`, and the values' sums in `out`.
//
// For each key and block: 64 · (key + value) multiplications on tensor cores, a row of the key and
// one of the value read once.
#pragma once

#include "backends/cuda/kernels/mma_attention.cuh"

namespace ferry::cuda {

template <int key_columns, int value_columns, int keys>
struct FlashShape {
  static constexpr int kKeyColumns = key_columns, kValueColumns = value_columns, kKeys = keys;
  static constexpr int kKeyStride = key_columns / 2 + 4;  // words, as in mma.cuh
  static constexpr int kValueStride = value_columns / 2 + 4;
  static constexpr int kKeyWords = keys * kKeyStride;
  static constexpr int kStageWords = kKeyWords + keys * kValueStride;
  static constexpr int kScoreTiles = keys / 8, kValueTiles = value_columns / 8;
};

// One of the two rows of a tile that a lane has numbers of; num_keys is 0 if it is none.
struct FlashRow {
  int64_t token, head, num_keys;
};

FERRY_DEVICE FlashRow flash_row(const FlashParams& p, int64_t first_token, int half) {
  const int tid = static_cast<int>(threadIdx.x);
  const int row = tid / kWarp * 16 + tid % kWarp / 4 + half * 8;
  const int members = static_cast<int>(p.heads_per_kv);
  const int64_t token = first_token + row / members;
  if (row >= p.tile_tokens * members || token >= p.tokens) return {0, 0, 0};
  return {token, static_cast<int64_t>(blockIdx.y) * members + row % members, p.first_keys + token};
}

// Numbers `column` and the next of a query, 0 where it has none.
FERRY_DEVICE uint32_t query_pair(const FlashParams& p, const FlashRow& row, int64_t column) {
  const int64_t left = row.num_keys > 0 ? p.key_size - column : 0;
  const int64_t at = row.token * p.q_stride[0] + row.head * p.q_stride[1] + column;
  return pack_bf16(left > 0 ? *span(p.q, at, 1) : 0.0f, left > 1 ? *span(p.q, at + 1, 1) : 0.0f);
}

// The fragments of a warp's 16 queries. Barriers keep the compiler from having more loads under way
// than there are registers for.
template <typename Shape>
FERRY_DEVICE void load_query_tile(const FlashParams& p, int64_t first_token,
                                  uint32_t (&q)[Shape::kKeyColumns / 16][4]) {
  const int column = static_cast<int>(threadIdx.x) % 4 * 2;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const FlashRow row = flash_row(p, first_token, half);
#pragma unroll
    for (int k = 0; k < Shape::kKeyColumns / 16; ++k) {
      q[k][half] = query_pair(p, row, k * 16 + column);
      q[k][half + 2] = query_pair(p, row, k * 16 + 8 + column);
      if (k % 4 == 3) sync_block();
    }
  }
}

// Where rows of keys and values begin that are staged soon; slots say whose scales i8 has.
template <typename Shape>
struct StagedRows {
  int64_t *slots, *keys, *values;
};

template <typename Shape>
FERRY_DEVICE void find_rows(const FlashParams& p, int64_t first, int64_t end,
                            const StagedRows<Shape>& rows, int buffer) {
  const int tid = static_cast<int>(threadIdx.x);
  const int64_t key = first + tid;
  if (tid >= Shape::kKeys || key >= end) return;
  const int64_t slot =
      p.sequence < 0 ? key - p.first_key : slot_of(p.keys, p.batch, p.sequence, key);
  rows.slots[buffer * Shape::kKeys + tid] = slot;
  rows.keys[buffer * Shape::kKeys + tid] = element_of(p.keys, slot, 0);
  rows.values[buffer * Shape::kKeys + tid] = element_of(p.values, slot, 0);
}

// Eight numbers of a row that begins at element `row`; zeros beyond `left`.
FERRY_DEVICE void stage_eight(const PagesParam& pages, bool copied, int64_t slot, int64_t row,
                              int64_t column, int64_t left, uint32_t* to) {
  if (copied) {
    const uint8_t* from = pages.data;
    if (left > 0) from = span(from, (row + column) * 2, 16);
    return copy_async(to, from, left > 0);
  }
  uint32_t words[4] = {};
  if (left > 0) {
    const int count = static_cast<int>(left < 8 ? left : 8);
    load_cached_at(pages, slot, row + column, column, count, words);
  }
  store_four(to, words);
}

// `count` keys and values, and zeros for the others.
template <typename Shape>
FERRY_DEVICE void stage_keys(const FlashParams& p, const StagedRows<Shape>& rows, int buffer,
                             int64_t count, uint32_t* to) {
  constexpr int kKeyPieces = Shape::kKeyColumns / 8, kValuePieces = Shape::kValueColumns / 8;
  const int64_t head = blockIdx.y;
  const bool copied = p.copied != 0;
#pragma unroll 1
  for (int i = static_cast<int>(threadIdx.x); i < Shape::kKeys * kKeyPieces; i += kFlashThreads) {
    const int key = i / kKeyPieces, first = i % kKeyPieces * 8;
    const bool own = first < p.own_size;
    const int64_t left = key < count ? (own ? p.own_size : p.key_size) - first : 0;
    const int64_t column = own ? head * p.own_size : p.shared_column - p.own_size;
    const int row = buffer * Shape::kKeys + key;
    stage_eight(p.keys, copied, left > 0 ? rows.slots[row] : 0, left > 0 ? rows.keys[row] : 0,
                column + first, left, to + key * Shape::kKeyStride + first / 2);
  }
  to += Shape::kKeyWords;
  const int64_t part = static_cast<int64_t>(blockIdx.z) * Shape::kValueColumns;
#pragma unroll 1
  for (int i = static_cast<int>(threadIdx.x); i < Shape::kKeys * kValuePieces; i += kFlashThreads) {
    const int key = i / kValuePieces, first = i % kValuePieces * 8;
    const int64_t left = key < count ? p.value_size - part - first : 0;
    const int64_t column = p.value_column + head * p.value_stride + part;
    const int row = buffer * Shape::kKeys + key;
    stage_eight(p.values, copied, left > 0 ? rows.slots[row] : 0, left > 0 ? rows.values[row] : 0,
                column + first, left, to + key * Shape::kValueStride + first / 2);
  }
}

// What a lane knows of its two rows: its share of the total, the largest score of all of the row.
struct FlashSoftmax {
  float largest[2], total[2];
};

// Scores become probabilities, relative to the largest so far in powers of 2; the sums are scaled
// down to it. Of these keys a row sees the first seen[half], or all.
template <typename Shape>
FERRY_DEVICE void flash_softmax(float factor, const int (&seen)[2],
                                float (&scores)[Shape::kScoreTiles][4], FlashSoftmax& softmax,
                                float (&sums)[Shape::kValueTiles][4]) {
  const float nothing = float_of(0xff800000u);
  const int column = static_cast<int>(threadIdx.x) % 4 * 2;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float most = nothing;
#pragma unroll
    for (int n = 0; n < Shape::kScoreTiles; ++n) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        float& score = scores[n][half * 2 + i];
        score = n * 8 + column + i < seen[half] ? score * factor : nothing;
        most = score > most ? score : most;
      }
    }
#pragma unroll
    for (int mask = 2; mask > 0; mask /= 2) {
      const float other = shuffle_xor(most, mask);
      most = other > most ? other : most;
    }
    const float now = most > softmax.largest[half] ? most : softmax.largest[half];
    const float base = now == nothing ? 0.0f : now;
    const float rescale = exp2f(softmax.largest[half] - base);
    softmax.largest[half] = now;
    float total = softmax.total[half] * rescale;
#pragma unroll
    for (int n = 0; n < Shape::kScoreTiles; ++n) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        float& score = scores[n][half * 2 + i];
        score = exp2f(score - base);
        total += score;
      }
    }
    softmax.total[half] = total;
#pragma unroll
    for (int n = 0; n < Shape::kValueTiles; ++n) {
      sums[n][half * 2] *= rescale;
      sums[n][half * 2 + 1] *= rescale;
    }
  }
}

// A lane names a row of each of the four matrices of a load, as in mma_attention.cuh.
template <typename Shape>
FERRY_DEVICE void flash_scores(const uint32_t (&q)[Shape::kKeyColumns / 16][4],
                               const uint32_t* keys, float (&scores)[Shape::kScoreTiles][4]) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const uint32_t* row =
      keys + (lane / 16 * 8 + lane % 8) * Shape::kKeyStride + lane / 8 % 2 * 4;
#pragma unroll
  for (int k = 0; k < Shape::kKeyColumns / 16; ++k) {
#pragma unroll
    for (int n = 0; n < Shape::kScoreTiles; n += 2) {
      uint32_t b[4];
      load_matrices(row + n * 8 * Shape::kKeyStride + k * 8, b);
      multiply_add(scores[n], q[k], b[0], b[1]);
      multiply_add(scores[n + 1], q[k], b[2], b[3]);
    }
  }
}

template <typename Shape>
FERRY_DEVICE void flash_values(const float (&probabilities)[Shape::kScoreTiles][4],
                               const uint32_t* values, float (&sums)[Shape::kValueTiles][4]) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const uint32_t* row = values + lane % 16 * Shape::kValueStride + lane / 16 * 4;
#pragma unroll
  for (int k = 0; k < Shape::kScoreTiles; k += 2) {
    const float(&low)[4] = probabilities[k];
    const float(&high)[4] = probabilities[k + 1];
    const uint32_t a[4] = {pack_bf16(low[0], low[1]), pack_bf16(low[2], low[3]),
                           pack_bf16(high[0], high[1]), pack_bf16(high[2], high[3])};
#pragma unroll
    for (int n = 0; n < Shape::kValueTiles; n += 2) {
      uint32_t b[4];
      load_transposed(row + k * 8 * Shape::kValueStride + n * 4, b);
      multiply_add(sums[n], a, b[0], b[1]);
      multiply_add(sums[n + 1], a, b[2], b[3]);
    }
  }
}

// The columns of the values that a block makes, and where those of a row begin.
template <typename Shape>
FERRY_DEVICE int columns_of_block(const FlashParams& p) {
  const int64_t left = p.value_size - static_cast<int64_t>(blockIdx.z) * Shape::kValueColumns;
  return static_cast<int>(left < Shape::kValueColumns ? left : Shape::kValueColumns);
}
template <typename Shape>
FERRY_DEVICE float* out_of_row(const FlashParams& p, const FlashRow& row) {
  const int64_t part = static_cast<int64_t>(blockIdx.z) * Shape::kValueColumns;
  return span(p.out, row.token * p.out_stride[0] + row.head * p.out_stride[1] + part,
              columns_of_block<Shape>(p));
}
FERRY_DEVICE float* state_of_row(const FlashParams& p, const FlashRow& row) {
  return span(p.state, (row.token * p.heads + row.head) * 2, 2);
}

// What the pieces of keys before this one have left of a row.
template <typename Shape>
FERRY_DEVICE void resume_row(const FlashParams& p, const FlashRow& row, int half,
                             FlashSoftmax& softmax, float (&sums)[Shape::kValueTiles][4]) {
  const int column = static_cast<int>(threadIdx.x) % 4 * 2;
  const float* state = state_of_row(p, row);
  const float* out = out_of_row<Shape>(p, row);
  const int columns = columns_of_block<Shape>(p);
  softmax.largest[half] = state[0];
  softmax.total[half] = column == 0 ? state[1] : 0.0f;
#pragma unroll
  for (int n = 0; n < Shape::kValueTiles; ++n) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int at = n * 8 + column + i;
      if (at < columns) sums[n][half * 2 + i] = out[at] * state[1];
    }
  }
}

template <typename Shape>
FERRY_DEVICE void store_row_of_tile(const FlashParams& p, const FlashRow& row, int half,
                                    float largest, float total,
                                    const float (&sums)[Shape::kValueTiles][4]) {
  const int column = static_cast<int>(threadIdx.x) % 4 * 2;
  float* out = out_of_row<Shape>(p, row);
  const int columns = columns_of_block<Shape>(p);
  const float inverse = 1.0f / total;
#pragma unroll
  for (int n = 0; n < Shape::kValueTiles; ++n) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int at = n * 8 + column + i;
      if (at < columns) out[at] = sums[n][half * 2 + i] * inverse;
    }
  }
  if (p.state == nullptr || column != 0) return;
  float* state = state_of_row(p, row);
  state[0] = largest;
  state[1] = total;
}

template <typename Shape>
FERRY_DEVICE void attend_tile(const FlashParams& p) {
  FERRY_SHARED(uint32_t, stages, 2 * Shape::kStageWords);
  FERRY_SHARED(int64_t, slots, 2 * Shape::kKeys);
  FERRY_SHARED(int64_t, keys_at, 2 * Shape::kKeys);
  FERRY_SHARED(int64_t, values_at, 2 * Shape::kKeys);
  const StagedRows<Shape> staged = {slots, keys_at, values_at};
  // The tiles that see the most keys go first, so that no long one is left at the end.
  const int64_t tiles = (p.tokens + p.tile_tokens - 1) / p.tile_tokens;
  const int64_t first_token = (tiles - 1 - blockIdx.x) * p.tile_tokens;
  const int64_t left = p.tokens - first_token;
  const int64_t tokens = left < p.tile_tokens ? left : p.tile_tokens;
  const int64_t all = p.first_keys + first_token + tokens - 1;
  const int64_t end = all < p.end_key ? all : p.end_key;

  uint32_t q[Shape::kKeyColumns / 16][4];
  load_query_tile<Shape>(p, first_token, q);
  int seen[2];  // of the keys from the next stage on; any number below 1 is none
  FlashSoftmax softmax;
  float sums[Shape::kValueTiles][4] = {};
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const FlashRow row = flash_row(p, first_token, half);
    seen[half] = static_cast<int>((row.num_keys < end ? row.num_keys : end) - p.first_key);
    softmax.largest[half] = float_of(0xff800000u);
    softmax.total[half] = 0;
    if (p.first_key > 0 && row.num_keys > 0) resume_row<Shape>(p, row, half, softmax, sums);
  }

  const float factor = p.scale * 1.44269504f;  // exp(x) = 2^(x · log2 e)
  find_rows<Shape>(p, p.first_key, end, staged, 0);
  int now = 1;
  for (int64_t first = p.first_key - Shape::kKeys; first < end; first += Shape::kKeys) {
    const int64_t next = first + Shape::kKeys;
    uint32_t* stage = stages + now * Shape::kStageWords;
    now = 1 - now;
    wait_copies();
    sync_block();
    if (next < end) {
      stage_keys<Shape>(p, staged, now, end - next, stages + now * Shape::kStageWords);
      find_rows<Shape>(p, next + Shape::kKeys, end, staged, 1 - now);
    }
    if (first < p.first_key) continue;
    float scores[Shape::kScoreTiles][4] = {};
    flash_scores<Shape>(q, stage, scores);
    flash_softmax<Shape>(factor, seen, scores, softmax, sums);
    seen[0] -= Shape::kKeys;
    seen[1] -= Shape::kKeys;
    flash_values<Shape>(scores, stage + Shape::kKeyWords, sums);
  }

#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float total = softmax.total[half];
#pragma unroll
    for (int mask = 2; mask > 0; mask /= 2) total += shuffle_xor(total, mask);
    const FlashRow row = flash_row(p, first_token, half);
    if (row.num_keys == 0) continue;
    store_row_of_tile<Shape>(p, row, half, softmax.largest[half], total, sums);
  }
}

// By the most numbers of a key. Values of more columns than a block has sums for take several
// blocks, each of which makes the scores.
FERRY_KERNEL(flash_attention_64, FlashParams) { attend_tile<FlashShape<64, 64, 32>>(p); }
FERRY_KERNEL(flash_attention_128, FlashParams) { attend_tile<FlashShape<128, 128, 32>>(p); }
FERRY_KERNEL(flash_attention_192, FlashParams) { attend_tile<FlashShape<192, 128, 32>>(p); }

}  // namespace ferry::cuda
