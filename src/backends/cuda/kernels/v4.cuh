// The ops that DeepSeek-V4 brought (device/ops_v4.h): hyper-connections, compressed keys, attention
// over a window and entries, experts by token id. Included after the words of the platform.
#pragma once

#include "backends/cuda/kernels/attention.cuh"
#include "backends/cuda/kernels/moe.cuh"

namespace ferry::cuda {

FERRY_DEVICE float sigmoid_of(float x) { return 1.0f / (1.0f + expf(-x)); }

// C [n, n] in shared memory, in place; one thread.
FERRY_DEVICE void sinkhorn(float* c, int n, int64_t iterations, float epsilon) {
  for (int j = 0; j < n; ++j) {
    float* row = c + j * n;
    float largest = row[0], sum = 0;
    for (int k = 1; k < n; ++k) largest = row[k] > largest ? row[k] : largest;
    for (int k = 0; k < n; ++k) {
      row[k] = expf(row[k] - largest);
      sum += row[k];
    }
    for (int k = 0; k < n; ++k) row[k] = row[k] / sum + epsilon;
  }
  // Columns, then rows and columns in turn.
  for (int64_t half = 1; half == 1 || half < 2 * iterations; ++half) {
    const bool columns = half % 2 == 1;
    for (int j = 0; j < n; ++j) {
      float sum = epsilon;
      for (int k = 0; k < n; ++k) sum += columns ? c[k * n + j] : c[j * n + k];
      for (int k = 0; k < n; ++k) (columns ? c[k * n + j] : c[j * n + k]) /= sum;
    }
  }
}

// Block = token.
FERRY_KERNEL(hyper_collapse, HyperCollapseParams) {
  FERRY_SHARED(float, partial, kWarp);
  FERRY_SHARED(float, mixing, kMaxStreams* kMaxStreams);
  const int tid = static_cast<int>(threadIdx.x), streams = static_cast<int>(p.num_streams);
  const auto stream_of = [&](int j) {
    return span(p.streams, blockIdx.x * p.stream_stride[0] + j * p.stream_stride[1], p.size);
  };
  float squares = 0;
  for (int j = 0; j < streams; ++j) {
    const float* x = stream_of(j);
    for (int64_t i = tid; i < p.size; i += kThreads) squares += x[i] * x[i];
  }
  const float mean = sum_of_block(squares, partial) / static_cast<float>(p.num_streams * p.size);
  const float r = 1.0f / sqrtf(mean + p.norm_epsilon);
  const int mixes = p.gates == nullptr ? streams : streams * (streams + 2);
  const float* mix = span(p.mix, blockIdx.x * p.mix_stride, mixes);
  const float* base = span(p.base, 0, mixes);
  const float* scale = span(p.scale, 0, p.gates == nullptr ? 1 : 3);
  float* out = span(p.out, blockIdx.x * p.out_stride, p.size);
  for (int64_t i = tid; i < p.size; i += kThreads) {
    float sum = 0;
    for (int j = 0; j < streams; ++j) {
      const float pre = sigmoid_of(mix[j] * r * scale[0] + base[j]) + p.epsilon;
      sum += pre * stream_of(j)[i];
    }
    out[i] = sum;
  }
  if (p.gates == nullptr || tid != 0) return;
  float* gates = span(p.gates, blockIdx.x * p.gates_stride, streams * (streams + 1));
  for (int j = 0; j < streams; ++j) {
    gates[j] = 2.0f * sigmoid_of(mix[streams + j] * r * scale[1] + base[streams + j]);
  }
  for (int i = 0; i < streams * streams; ++i) {
    mixing[i] = mix[2 * streams + i] * r * scale[2] + base[2 * streams + i];
  }
  sinkhorn(mixing, streams, p.iterations, p.epsilon);
  for (int i = 0; i < streams * streams; ++i) gates[streams + i] = mixing[i];
}

// Block = (token, 256 channels); a thread mixes the streams of one channel.
FERRY_KERNEL(hyper_expand, HyperExpandParams) {
  const int streams = static_cast<int>(p.num_streams);
  const int64_t i = static_cast<int64_t>(blockIdx.y) * kThreads + threadIdx.x;
  if (i >= p.size) return;
  const float* gates = span(p.gates, blockIdx.x * p.gates_stride, streams * (streams + 1));
  const float x = *span(p.x, blockIdx.x * p.x_stride + i, 1);
  const auto stream_of = [&](int j) {
    return span(p.streams, blockIdx.x * p.stream_stride[0] + j * p.stream_stride[1] + i, 1);
  };
  float before[kMaxStreams];
#pragma unroll
  for (int j = 0; j < kMaxStreams; ++j) before[j] = j < streams ? *stream_of(j) : 0.0f;
  for (int k = 0; k < streams; ++k) {
    float sum = gates[k] * x;
#pragma unroll
    for (int j = 0; j < kMaxStreams; ++j) {
      if (j < streams) sum += gates[streams + j * streams + k] * before[j];
    }
    *stream_of(k) = sum;
  }
}

// Block = token; one thread, as there are few choices.
FERRY_KERNEL(moe_hash_gate, HashGateParams) {
  if (threadIdx.x != 0) return;
  const int32_t token = *span(p.token_ids, blockIdx.x, 1);
  require(token >= 0 && token < p.vocabulary);
  const int32_t* chosen = span(p.table, token * p.table_stride, p.top_k);
  const float* logits = span(p.logits, blockIdx.x * p.logits_stride, p.num_experts);
  int32_t* ids = span(p.ids, blockIdx.x * p.ids_stride, p.top_k);
  float* weights = span(p.weights, blockIdx.x * p.weights_stride, p.top_k);
  float sum = 0;
  for (int64_t k = 0; k < p.top_k; ++k) {
    require(chosen[k] >= 0 && chosen[k] < p.num_experts);
    const float z = logits[chosen[k]];
    const float softplus = (z > 0 ? z : 0.0f) + log1pf(expf(-fabsf(z)));
    ids[k] = chosen[k];
    weights[k] = p.square_roots != 0 ? sqrtf(softplus) : sigmoid_of(z);
    sum += weights[k];
  }
  const float divisor = p.renormalize != 0 ? sum + 1e-20f : 1.0f;
  for (int64_t k = 0; k < p.top_k; ++k) weights[k] = weights[k] / divisor * p.scale;
}

// Where entry e of a plane with a row for `ratio` tokens lies: in the page of its last token.
FERRY_DEVICE int64_t slot_of_entry(const PagesParam& pages, const BatchParam& batch,
                                   int64_t sequence, int64_t entry, int64_t ratio) {
  const int64_t last = entry * ratio + ratio - 1;
  const int64_t block = last / batch.block_size;
  require(block < batch.max_blocks);
  const int64_t page = *span(batch.block_tables, sequence * batch.max_blocks + block, 1);
  require(page >= 0 && page < pages.num_pages);
  return page * pages.block_size + last % batch.block_size / ratio;
}

// The batch as planes of recent tokens see it.
FERRY_DEVICE BatchParam with_tables(const BatchParam& batch, const int32_t* tables) {
  BatchParam recent = batch;
  recent.block_tables = tables;
  return recent;
}

// Pairs of neighbours turned by an angle, or back. The whole block; `x` was written by it.
FERRY_DEVICE void rotate_pairs(float* x, const float* angles, int64_t size, float sign) {
  for (int64_t i = threadIdx.x; i < size / 2; i += blockDim.x) {
    const float a = x[2 * i], b = x[2 * i + 1];
    const float cosine = angles[i], sine = sign * angles[size / 2 + i];
    x[2 * i] = a * cosine - b * sine;
    x[2 * i + 1] = a * sine + b * cosine;
  }
}

// Block = token; those that end no entry do nothing. A thread pools some channels.
FERRY_KERNEL(compress, CompressParams) {
  FERRY_SHARED(float, pooled, kMaxKeySize);
  FERRY_SHARED(float, partial, kWarp);
  const TokenPlace place = place_of_token(p.batch, blockIdx.x);
  if (place.num_keys % p.ratio != 0) return;
  const int64_t entry = place.num_keys / p.ratio - 1, size = p.pages.width;
  const bool overlap = p.overlap != 0;
  const BatchParam recent = with_tables(p.batch, p.recent_tables);
  const int64_t width = overlap ? 2 * size : size;
  const int64_t begin = overlap && entry > 0 ? (entry - 1) * p.ratio : entry * p.ratio;
  float squares = 0;
  for (int64_t c = threadIdx.x; c < size; c += kThreads) {
    // κ and γ + ape of channel c at a position.
    const auto load = [&](int64_t position, float& kappa, float& gamma) {
      const int64_t channel = c + (overlap && position >= entry * p.ratio ? size : 0);
      const int64_t at = element_of(
          p.rows, slot_of(p.rows, recent, place.sequence, position), channel);
      const float* rows = reinterpret_cast<const float*>(p.rows.data);
      kappa = *span(rows, at, 1);
      gamma = *span(rows, at + width, 1) +
              *span(p.ape, position % p.ratio * p.ape_stride + channel, 1);
    };
    float kappa, gamma, largest = float_of(0xff800000u), sum = 0, weighted = 0;
    for (int64_t s = begin; s < place.num_keys; ++s) {
      load(s, kappa, gamma);
      largest = gamma > largest ? gamma : largest;
    }
    for (int64_t s = begin; s < place.num_keys; ++s) {
      load(s, kappa, gamma);
      const float weight = expf(gamma - largest);
      sum += weight;
      weighted += weight * kappa;
    }
    pooled[c] = weighted / sum;
    squares += pooled[c] * pooled[c];
  }
  const float mean = sum_of_block(squares, partial) / static_cast<float>(size);
  const float r = 1.0f / sqrtf(mean + p.epsilon);
  for (int64_t c = threadIdx.x; c < size; c += kThreads) {
    pooled[c] = *span(p.weight, c, 1) * (pooled[c] * r);
  }
  sync_block();
  require(entry * p.ratio < p.max_positions);
  const float* angles = span(p.cos_sin, entry * p.ratio * p.cos_sin_stride, p.rope);
  rotate_pairs(pooled + size - p.rope, angles, p.rope, 1.0f);
  sync_block();
  store_row(p.pages, slot_of_entry(p.pages, p.batch, place.sequence, entry, p.ratio), pooled);
}

// Block = (token, 256 columns); a thread makes the score of one entry.
FERRY_KERNEL(entry_scores, EntryScoresParams) {
  FERRY_SHARED(float, query, kMaxKeySize);
  const IndexScoresParams& s = p.scores;
  const int tid = static_cast<int>(threadIdx.x);
  const int64_t row = blockIdx.x;
  const int64_t entry = static_cast<int64_t>(blockIdx.y) * kThreads + tid;
  const TokenPlace place = place_of_token(s.batch, s.first_token + row);
  require(place.num_keys / p.ratio <= s.columns);
  const bool seen = entry < place.num_keys / p.ratio;
  const int64_t slot =
      seen ? slot_of_entry(s.keys, s.batch, place.sequence, entry, p.ratio) : 0;
  float sum = 0;
  for (int64_t h = 0; h < s.heads; ++h) {
    const float* q = span(s.q, row * s.q_stride[0] + h * s.q_stride[1], s.size);
    for (int64_t i = tid; i < s.size; i += kThreads) query[i] = q[i];
    sync_block();
    if (seen) {
      const float score = dot_cached(s.keys, slot, 0, query, s.size);
      sum += *span(s.weights, row * s.weights_stride + h, 1) * (score > 0 ? score : 0.0f);
    }
    sync_block();
  }
  if (entry >= s.columns) return;
  *span(s.out, row * s.out_stride + entry, 1) = seen ? sum : float_of(0xff800000u);
}

// sum + Σ_k factors[k] · (number `column` of the row in slots[k]), with its scale.
FERRY_DEVICE float add_rows(const PagesParam& pages, const int64_t* slots, const float* factors,
                            int count, int64_t column, float sum) {
  for (int k = 0; k < count; ++k) {
    const int64_t at = element_of(pages, slots[k], column);
    if (pages.type == kElementI8) {
      const float scale = scales_of(pages, slots[k])[column / pages.group];
      const int8_t q = *span(reinterpret_cast<const int8_t*>(pages.data), at, 1);
      sum += factors[k] * (scale * static_cast<float>(q));
    } else {
      sum += factors[k] * load_element(pages.data, pages.type, at);
    }
  }
  return sum;
}

// Block = (token, head): first the window, then the entries, 128 keys at a time; each row is key
// and value.
FERRY_KERNEL(window_attention, WindowAttentionParams) {
  FERRY_SHARED(float, query, kMaxKeySize);
  FERRY_SHARED(float, factors, kAttentionThreads);
  FERRY_SHARED(int64_t, slots, kAttentionThreads);
  FERRY_SHARED(float, partial, kWarp);
  constexpr int kOut = kMaxValueSize / kAttentionThreads;
  const int tid = static_cast<int>(threadIdx.x);
  const int64_t row = blockIdx.x, head = blockIdx.y;
  const TokenPlace place = place_of_token(p.batch, p.first_token + row);
  const int64_t position = place.num_keys - 1;
  const int64_t begin = place.num_keys > p.window ? place.num_keys - p.window : 0;
  const int64_t all_entries = p.entry_pages.data == nullptr ? 0 : place.num_keys / p.ratio;
  const bool chosen = p.entries != nullptr && all_entries > p.top_k;
  const int64_t num_entries = chosen ? p.top_k : all_entries;
  const BatchParam recent = with_tables(p.batch, p.recent_tables);
  const float* q = span(p.q, row * p.q_stride[0] + head * p.q_stride[1], p.size);
  for (int64_t i = tid; i < p.size; i += kAttentionThreads) query[i] = q[i];
  sync_block();
  float sums[kOut] = {};
  float largest = *span(p.sinks, head, 1), total = tid == 0 ? 1.0f : 0.0f;  // of the sink itself
  for (int part = 0; part < 2; ++part) {
    const PagesParam& pages = part == 0 ? p.pages : p.entry_pages;
    const int64_t count = part == 0 ? place.num_keys - begin : num_entries;
    for (int64_t first = 0; first < count; first += kAttentionThreads) {
      float score = float_of(0xff800000u);
      if (first + tid < count) {
        int64_t key = first + tid;
        if (part == 1 && chosen) {
          key = *span(p.entries, row * p.entries_stride + key, 1);
          require(key >= 0 && key < all_entries);
        }
        slots[tid] = part == 0
                         ? slot_of(pages, recent, place.sequence, begin + key)
                         : slot_of_entry(pages, p.batch, place.sequence, key, p.ratio);
        score = p.scale * dot_cached(pages, slots[tid], 0, query, p.size);
      }
      const SoftmaxStep step = softmax_step(score, largest, partial);
      factors[tid] = step.probability;
      total = total * step.rescale + step.probability;
      sync_block();
      const int keys =
          static_cast<int>(count - first < kAttentionThreads ? count - first : kAttentionThreads);
#pragma unroll
      for (int i = 0; i < kOut; ++i) {
        const int64_t column = tid + i * kAttentionThreads;
        if (column >= p.size) break;
        sums[i] = add_rows(pages, slots, factors, keys, column, sums[i] * step.rescale);
      }
      sync_block();
    }
  }
  const float all = sum_of_block(total, partial);
  // The query is done with: the result takes its place, to be rotated.
#pragma unroll
  for (int i = 0; i < kOut; ++i) {
    const int64_t column = tid + i * kAttentionThreads;
    if (column < p.size) query[column] = sums[i] / all;
  }
  sync_block();
  require(position < p.max_positions);
  const float* angles = span(p.cos_sin, position * p.cos_sin_stride, p.rope);
  rotate_pairs(query + p.size - p.rope, angles, p.rope, -1.0f);
  sync_block();
  float* out = span(p.out, row * p.out_stride[0] + head * p.out_stride[1], p.size);
  for (int64_t i = tid; i < p.size; i += kAttentionThreads) out[i] = query[i];
}

}  // namespace ferry::cuda
