// The paged cache and attention over it in f32; that on tensor cores is in mma_attention.cuh.
// Included after the words of the platform.
//
// Attention of one head of one token is one block. For 128 keys at a time a thread computes the
// score of one key; then all threads add up the values, a thread some numbers of them. The softmax
// goes along: what was added is scaled down whenever a larger score comes.
#pragma once

#include "backends/cuda/kernels/rows.cuh"

namespace ferry::cuda {

// The sequence of a token and how many keys it sees.
struct TokenPlace {
  int64_t sequence, num_keys;
};

FERRY_DEVICE TokenPlace place_of_token(const BatchParam& batch, int64_t token) {
  int64_t low = 0, high = batch.num_sequences;  // query_start[low] <= token < query_start[high]
  while (high - low > 1) {
    const int64_t middle = (low + high) / 2;
    if (*span(batch.query_start, middle, 1) <= token) {
      low = middle;
    } else {
      high = middle;
    }
  }
  const int64_t last = *span(batch.query_start, low + 1, 1);
  return {low, *span(batch.context_lengths, low, 1) - (last - 1 - token)};
}

// Page · block_size + offset of a position.
FERRY_DEVICE int64_t slot_of(const PagesParam& pages, const BatchParam& batch, int64_t sequence,
                             int64_t position) {
  const int64_t block = position / batch.block_size;
  const int64_t page = *span(batch.block_tables, sequence * batch.max_blocks + block, 1);
  require(page >= 0 && page < pages.num_pages);
  return page * batch.block_size + position % batch.block_size;
}

FERRY_DEVICE const float* scales_of(const PagesParam& pages, int64_t slot) {
  const int64_t page = slot / pages.block_size, offset = slot % pages.block_size;
  const uint8_t* base = pages.data + page * pages.page_stride + pages.scales_offset;
  return span(reinterpret_cast<const float*>(base), offset * pages.groups, pages.groups);
}

FERRY_DEVICE int64_t element_of(const PagesParam& pages, int64_t slot, int64_t column) {
  return slot / pages.block_size * pages.page_stride +
         slot % pages.block_size * pages.row_stride + column;
}

// q · (columns [column, column + size) of a cached row); `q` is in shared memory.
FERRY_DEVICE float dot_cached(const PagesParam& pages, int64_t slot, int64_t column,
                              const float* q, int64_t size) {
  const int64_t at = element_of(pages, slot, column);
  float sum = 0;
  if (pages.type == kElementF32) {
    const float* k = span(reinterpret_cast<const float*>(pages.data), at, size);
    int64_t i = 0;
    if ((reinterpret_cast<uintptr_t>(k) & 15) == 0) {
      for (; i + 4 <= size; i += 4) {
        float four[4];
        load_four(k + i, four);
#pragma unroll
        for (int j = 0; j < 4; ++j) sum += q[i + j] * four[j];
      }
    }
    for (; i < size; ++i) sum += q[i] * k[i];
  } else if (pages.type == kElementI8) {
    const float* scales = scales_of(pages, slot);
    const int8_t* k = span(reinterpret_cast<const int8_t*>(pages.data), at, size);
    for (int64_t i = 0; i < size;) {  // group by group, as each has a scale
      const int64_t group = (column + i) / pages.group;
      const int64_t end = (group + 1) * pages.group - column;
      float part = 0;
      for (; i < size && i < end; ++i) part += q[i] * static_cast<float>(k[i]);
      sum += scales[group] * part;
    }
  } else {
    const uint16_t* k = span(reinterpret_cast<const uint16_t*>(pages.data), at, size);
    const bool brain = pages.type == kElementBF16;
    int64_t i = 0;
    if ((reinterpret_cast<uintptr_t>(k) & 15) == 0) {
      for (; i + 8 <= size; i += 8) {
        uint32_t words[4];
        load_words<16, 16>(reinterpret_cast<const uint8_t*>(k + i), words);
#pragma unroll
        for (int j = 0; j < 8; ++j) {
          const uint16_t bits = static_cast<uint16_t>(words[j / 2] >> (j % 2 * 16));
          sum += q[i + j] * (brain ? bf16_to_float(bits) : half_to_float(bits));
        }
      }
    }
    for (; i < size; ++i) {
      sum += q[i] * (brain ? bf16_to_float(k[i]) : half_to_float(k[i]));
    }
  }
  return sum;
}

// sum + Σ_k factors[k] · (number `column` of what starts at element at[k]). Of i8 pages the scale
// is in the factor.
FERRY_DEVICE float add_values(const PagesParam& pages, const int64_t* at, const float* factors,
                              int count, int64_t column, float sum) {
  if (pages.type == kElementF32) {
    const float* values = reinterpret_cast<const float*>(pages.data);
    for (int k = 0; k < count; ++k) sum += factors[k] * *span(values, at[k] + column, 1);
  } else if (pages.type == kElementI8) {
    const int8_t* values = reinterpret_cast<const int8_t*>(pages.data);
    for (int k = 0; k < count; ++k) {
      sum += factors[k] * static_cast<float>(*span(values, at[k] + column, 1));
    }
  } else if (pages.type == kElementBF16) {
    const uint16_t* values = reinterpret_cast<const uint16_t*>(pages.data);
    for (int k = 0; k < count; ++k) {
      sum += factors[k] * bf16_to_float(*span(values, at[k] + column, 1));
    }
  } else {
    const uint16_t* values = reinterpret_cast<const uint16_t*>(pages.data);
    for (int k = 0; k < count; ++k) {
      sum += factors[k] * half_to_float(*span(values, at[k] + column, 1));
    }
  }
  return sum;
}

// One group of a row to int8, as device/int8_rows.h has it, bit for bit.
FERRY_DEVICE void quantize_group(const float* x, int64_t n, int8_t* q, float* scale) {
  float largest = 0;
  bool finite = true;
  for (int64_t i = 0; i < n; ++i) {
    const float magnitude = fabsf(x[i]);
    finite = finite && magnitude <= 3.402823466e38f;
    largest = magnitude > largest ? magnitude : largest;
  }
  const bool zero = !finite || largest < 0x1p-120f;
  const float factor = zero ? 0.0f : 127.0f / largest;
  for (int64_t i = 0; i < n; ++i) {
    q[i] = static_cast<int8_t>(static_cast<int32_t>(rintf((zero ? 0.0f : x[i]) * factor)));
  }
  *scale = !finite ? float_of(0x7fc00000u) : zero ? 0.0f : largest / 127.0f;
}

// A row to a slot, in the dtype of the pages; the whole block.
FERRY_DEVICE void store_row(const PagesParam& pages, int64_t slot, const float* row) {
  const int64_t at = element_of(pages, slot, 0);
  if (pages.type != kElementI8) {
    for (int64_t i = threadIdx.x; i < pages.width; i += blockDim.x) {
      store_element(pages.data, pages.type, at + i, row[i]);
    }
    return;
  }
  float* scales = const_cast<float*>(scales_of(pages, slot));
  int8_t* q = span(reinterpret_cast<int8_t*>(pages.data), at, pages.width);
  for (int64_t g = threadIdx.x; g < pages.groups; g += blockDim.x) {
    const int64_t first = g * pages.group;
    const int64_t left = pages.width - first;
    quantize_group(row + first, left < pages.group ? left : pages.group, q + first, scales + g);
  }
}

// Block = token.
FERRY_KERNEL(kv_write, KvWriteParams) {
  const int64_t slot = *span(p.slots, blockIdx.x, 1);
  require(slot >= 0 && slot < p.pages.num_pages * p.pages.block_size);
  store_row(p.pages, slot, span(p.rows, blockIdx.x * p.row_stride, p.pages.width));
}

// Scores of up to 128 keys become probabilities relative to the largest so far; what they and the
// sums before have to be multiplied with.
struct SoftmaxStep {
  float probability, rescale;
};

FERRY_DEVICE SoftmaxStep softmax_step(float score, float& largest, float* partial) {
  const int tid = static_cast<int>(threadIdx.x);
  float most = score;
#pragma unroll
  for (int mask = kWarp / 2; mask > 0; mask /= 2) {
    const float other = shuffle_xor(most, mask);
    most = other > most ? other : most;
  }
  if (tid % kWarp == 0) partial[tid / kWarp] = most;
  sync_block();
  float now = largest;
  for (int i = 0; i < kAttentionThreads / kWarp; ++i) now = partial[i] > now ? partial[i] : now;
  const SoftmaxStep step = {expf(score - now), expf(largest - now)};
  largest = now;
  return step;
}

// Where a part of a head of a token is kept: value_size sums, the largest score, the total.
FERRY_DEVICE float* part_of(const AttentionParams& p, int64_t row, int64_t head, int64_t part) {
  const int64_t size = p.value_size + 2;
  return span(p.parts, ((row * p.heads + head) * p.num_parts + part) * size, size);
}

// How many keys a token attends to; 0: the token is left as it is.
FERRY_DEVICE int64_t keys_of_token(const AttentionParams& p, const TokenPlace& place) {
  if (place.num_keys > p.max_keys) return 0;
  if (p.positions == nullptr) return place.num_keys;
  return place.num_keys <= p.top_k ? 0 : p.top_k;
}

FERRY_DEVICE void load_query(const AttentionParams& p, int64_t row, int64_t head, float* query) {
  const int64_t first = threadIdx.x;
  const float* q = span(p.q, row * p.q_stride[0] + head * p.q_stride[1], p.key_size);
  for (int64_t i = first; i < p.key_size; i += kAttentionThreads) query[i] = q[i];
  if (p.q_rope == nullptr) return;
  q = span(p.q_rope, row * p.q_rope_stride[0] + head * p.q_rope_stride[1], p.rope_size);
  for (int64_t i = first; i < p.rope_size; i += kAttentionThreads) query[p.key_size + i] = q[i];
}

// Block = (token, head, part of the keys). With one part the result, otherwise what
// merge_attention adds up.
FERRY_KERNEL(attention, AttentionParams) {
  FERRY_SHARED(float, query, kMaxKeySize);
  FERRY_SHARED(float, factors, kAttentionThreads);
  FERRY_SHARED(int64_t, value_at, kAttentionThreads);
  FERRY_SHARED(float, partial, kWarp);
  constexpr int kOut = kMaxValueSize / kAttentionThreads;
  const int tid = static_cast<int>(threadIdx.x);
  const int64_t row = blockIdx.x, head = blockIdx.y;
  const TokenPlace place = place_of_token(p.batch, p.first_token + row);
  const bool sparse = p.positions != nullptr;
  const int64_t all_keys = keys_of_token(p, place);
  const int64_t begin = p.num_parts == 1 ? 0 : int64_t{blockIdx.z} * p.part_keys;
  const int64_t left = all_keys - begin;
  const int64_t num_keys = p.num_parts == 1 || left < p.part_keys ? all_keys : begin + p.part_keys;
  if (left <= 0) return;
  load_query(p, row, head, query);
  sync_block();
  const int64_t kv_head = p.heads_per_kv == 0 ? 0 : head / p.heads_per_kv;
  const int64_t value_column = kv_head * p.value_size;
  float sums[kOut] = {};
  float total = 0, largest = float_of(0xff800000u);
  for (int64_t first = begin; first < num_keys; first += kAttentionThreads) {
    float score = float_of(0xff800000u), value_scale = 1.0f;
    if (first + tid < num_keys) {
      int64_t position = first + tid;
      if (sparse) {
        position = *span(p.positions, row * p.positions_stride + position, 1);
        require(position >= 0 && position < place.num_keys);
      }
      const int64_t slot = slot_of(p.keys, p.batch, place.sequence, position);
      value_at[tid] = element_of(p.values, slot, value_column);
      // All numbers of a value share a scale.
      if (p.values.type == kElementI8) {
        value_scale = scales_of(p.values, slot)[value_column / p.values.group];
      }
      score = p.scale * dot_cached(p.keys, slot, kv_head * p.key_size, query,
                                   p.key_size + p.rope_size);
    }
    const SoftmaxStep step = softmax_step(score, largest, partial);
    factors[tid] = step.probability * value_scale;
    total = total * step.rescale + step.probability;
    sync_block();
    const int count = static_cast<int>(
        num_keys - first < kAttentionThreads ? num_keys - first : kAttentionThreads);
#pragma unroll
    for (int i = 0; i < kOut; ++i) {
      const int64_t column = tid + i * kAttentionThreads;
      if (column >= p.value_size) break;
      sums[i] =
          add_values(p.values, value_at, factors, count, column, sums[i] * step.rescale);
    }
    sync_block();
  }
  const float all = sum_of_block(total, partial);
  const bool whole = p.num_parts == 1;
  float* out = whole ? span(p.out, row * p.out_stride[0] + head * p.out_stride[1], p.value_size)
                     : part_of(p, row, head, blockIdx.z);
#pragma unroll
  for (int i = 0; i < kOut; ++i) {
    const int64_t column = tid + i * kAttentionThreads;
    if (column < p.value_size) out[column] = whole ? sums[i] / all : sums[i];
  }
  if (whole || tid != 0) return;
  out[p.value_size] = largest;
  out[p.value_size + 1] = all;
}

// Block = (token, head): the parts, in order.
FERRY_KERNEL(merge_attention, AttentionParams) {
  const int64_t row = blockIdx.x, head = blockIdx.y;
  const int64_t num_keys = keys_of_token(p, place_of_token(p.batch, p.first_token + row));
  const int64_t parts = (num_keys + p.part_keys - 1) / p.part_keys;
  if (parts == 0) return;
  float largest = float_of(0xff800000u), total = 0;
  for (int64_t i = 0; i < parts; ++i) {
    const float most = part_of(p, row, head, i)[p.value_size];
    largest = most > largest ? most : largest;
  }
  for (int64_t i = 0; i < parts; ++i) {
    const float* part = part_of(p, row, head, i);
    total += part[p.value_size + 1] * expf(part[p.value_size] - largest);
  }
  float* out = span(p.out, row * p.out_stride[0] + head * p.out_stride[1], p.value_size);
  for (int64_t column = threadIdx.x; column < p.value_size; column += kAttentionThreads) {
    float sum = 0;
    for (int64_t i = 0; i < parts; ++i) {
      const float* part = part_of(p, row, head, i);
      sum += part[column] * expf(part[p.value_size] - largest);
    }
    out[column] = sum / total;
  }
}

// Block = (token, 256 columns); a thread makes the score of one position.
FERRY_KERNEL(index_scores, IndexScoresParams) {
  FERRY_SHARED(float, query, kMaxKeySize);
  const int tid = static_cast<int>(threadIdx.x);
  const int64_t row = blockIdx.x;
  const int64_t position = static_cast<int64_t>(blockIdx.y) * kThreads + tid;
  const TokenPlace place = place_of_token(p.batch, p.first_token + row);
  require(place.num_keys <= p.columns);
  const bool seen = position < place.num_keys;
  const int64_t slot = seen ? slot_of(p.keys, p.batch, place.sequence, position) : 0;
  float sum = 0;
  for (int64_t h = 0; h < p.heads; ++h) {
    const float* q = span(p.q, row * p.q_stride[0] + h * p.q_stride[1], p.size);
    for (int64_t i = tid; i < p.size; i += kThreads) query[i] = q[i];
    sync_block();
    if (seen) {
      const float score = dot_cached(p.keys, slot, 0, query, p.size);
      sum += *span(p.weights, row * p.weights_stride + h, 1) * (score > 0 ? score : 0.0f);
    }
    sync_block();
  }
  if (position >= p.columns) return;
  *span(p.out, row * p.out_stride + position, 1) = seen ? sum : float_of(0xff800000u);
}

}  // namespace ferry::cuda
