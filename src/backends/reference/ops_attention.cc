// The paged cache and attention over it: kv_write, grouped-query attention, both forms of
// multi-head latent attention (DeepSeek-V2, arXiv 2405.04434, §2.1), and the sparse one with its
// indexer.
//
// A token sees the keys of its own sequence up to itself. The cached rows of a sequence are copied
// out of their pages into one f32 matrix first; what follows is the formula.
#include <algorithm>
#include <cmath>
#include <limits>

#include "backends/reference/access.h"
#include "backends/reference/ops.h"
#include "device/int8_rows.h"

namespace ferry::reference {
namespace {

// Where slot `slot` (page · block_size + offset) of a plane starts, in elements.
int64_t slot_offset(const TensorView& pages, int64_t slot) {
  CHECK(pages.rank == 3 && slot >= 0 && slot / pages.shape[1] < pages.shape[0]);
  return slot / pages.shape[1] * pages.stride[0] + slot % pages.shape[1] * pages.stride[1];
}

// One row of a cache plane as f32; `group` elements share a scale where it is int8.
void load_row(const TensorView& pages, int64_t slot, int64_t group, float* dst) {
  const int64_t width = pages.shape[2];
  const int64_t begin = slot_offset(pages, slot);
  if (pages.dtype != Dtype::kI8) {
    for (int64_t i = 0; i < width; ++i) dst[i] = load(pages.data, pages.dtype, begin + i);
    return;
  }
  const int64_t block = pages.shape[1];
  const float* scales = int8_scales(pages, slot / block, slot % block, group);
  const int8_t* q = static_cast<const int8_t*>(pages.data) + begin;
  for (int64_t i = 0; i < width; ++i) dst[i] = scales[i / group] * static_cast<float>(q[i]);
}

// The cached rows of one sequence in order of position: [context_length, width].
std::vector<float> cached_rows(const TensorView& pages, const BatchView& batch, int64_t sequence,
                               int64_t group) {
  const int64_t width = pages.shape[2];
  const int64_t length = batch.context_lengths.host[sequence];
  const auto table = batch.block_tables.host.subspan(sequence * batch.max_blocks, batch.max_blocks);
  CHECK(pages.shape[1] == batch.block_size && length <= batch.max_blocks * batch.block_size);
  std::vector<float> rows(static_cast<size_t>(length * width));
  for (int64_t s = 0; s < length; ++s) {
    const int64_t page = table[s / batch.block_size];
    load_row(pages, page * batch.block_size + s % batch.block_size, group, &rows[s * width]);
  }
  return rows;
}

// The tokens of one sequence in this batch, and how many keys each of them sees.
struct Tokens {
  int64_t first, last, context_length;

  Tokens(const BatchView& batch, int64_t sequence)
      : first(batch.query_start.host[sequence]),
        last(batch.query_start.host[sequence + 1]),
        context_length(batch.context_lengths.host[sequence]) {
    CHECK(first <= last && last - first <= context_length);
  }
  // The last token sees the whole context, the one before it one key less, ...
  int64_t num_keys(int64_t token) const { return context_length - (last - 1 - token); }
};

// Vaswani et al. 2017, eq. 1, for one query: out = Σ_s p_s v_s, p = softmax(scores). The largest
// score is taken off first so that no exponential overflows. Destroys `scores`.
void attend(float* scores, int64_t num_keys, const float* values, int64_t value_stride,
            int64_t value_size, float* out) {
  const float largest = *std::max_element(scores, scores + num_keys);
  float sum = 0;
  for (int64_t s = 0; s < num_keys; ++s) {
    scores[s] = std::exp(scores[s] - largest);
    sum += scores[s];
  }
  std::fill(out, out + value_size, 0.0f);
  for (int64_t s = 0; s < num_keys; ++s) {
    const float* value = values + s * value_stride;
    for (int64_t i = 0; i < value_size; ++i) out[i] += scores[s] * value[i];
  }
  for (int64_t i = 0; i < value_size; ++i) out[i] /= sum;
}

// U_h c_s for every cached latent of a sequence: [num_keys, out_features]. `latents` are the first
// in_features entries of rows that are `stride` long.
std::vector<float> expand(const HeadMatrixView& u, int64_t head, const float* latents,
                          int64_t stride, int64_t num_keys) {
  const std::vector<float> m = decode_rows(u.weight, u.first_row + head * u.head_stride, u.rows);
  const int64_t features = u.out_features();
  std::vector<float> out(static_cast<size_t>(num_keys * features));
  for (int64_t s = 0; s < num_keys; ++s) {
    const float* latent = latents + s * stride;
    for (int64_t f = 0; f < features; ++f) {
      float sum = 0;
      for (int64_t i = 0; i < u.in_features(); ++i) {
        sum += (u.transposed ? m[i * u.cols + f] : m[f * u.cols + i]) * latent[i];
      }
      out[s * features + f] = sum;
    }
  }
  return out;
}

}  // namespace

void kv_write(const KvWriteArgs& args) {
  CHECK(args.rows.shape[0] == args.slots.shape[0] && args.rows.shape[1] == args.pages.shape[2]);
  const int32_t* slots = vector<int32_t>(args.slots);
  for (int64_t t = 0; t < args.rows.shape[0]; ++t) {
    const float* source = row(args.rows, t);
    const int64_t begin = slot_offset(args.pages, slots[t]);
    if (args.pages.dtype == Dtype::kI8) {
      int8_write_row(args.pages, slots[t], args.group, source);
      continue;
    }
    for (int64_t i = 0; i < args.rows.shape[1]; ++i) {
      store(args.pages.data, args.pages.dtype, begin + i, source[i]);
    }
  }
}

// Ainslie et al. 2023, "GQA": H / KV neighbouring query heads share one head of keys and values.
void gqa_attention(const GqaAttentionArgs& args) {
  const BatchView& batch = *args.batch;
  const int64_t num_heads = args.q.shape[1];
  const int64_t size = args.q.shape[2];
  const int64_t width = args.num_kv_heads * size;
  CHECK(args.k_pages.shape[2] == width && args.v_pages.shape[2] == width);
  CHECK(num_heads % args.num_kv_heads == 0 && same_shape(args.q, args.out));
  for (int64_t sequence = 0; sequence < batch.num_sequences; ++sequence) {
    const Tokens tokens(batch, sequence);
    const std::vector<float> keys = cached_rows(args.k_pages, batch, sequence, size);
    const std::vector<float> values = cached_rows(args.v_pages, batch, sequence, size);
    std::vector<float> scores(static_cast<size_t>(tokens.context_length));
    for (int64_t t = tokens.first; t < tokens.last; ++t) {
      for (int64_t h = 0; h < num_heads; ++h) {
        const int64_t column = h / (num_heads / args.num_kv_heads) * size;
        const float* q = row(args.q, t, h);
        for (int64_t s = 0; s < tokens.num_keys(t); ++s) {
          scores[s] = args.scale * dot(q, keys.data() + s * width + column, size);
        }
        attend(scores.data(), tokens.num_keys(t), values.data() + column, width, size,
               row(args.out, t, h));
      }
    }
  }
}

// DeepSeek-V2 eq. 9-19: keys and values of each head are made from the latents, then plain
// attention. score = scale · (q^n · U^K c_s + q^r · k^r_s), out = Σ_s p_s U^V c_s.
void mla_prefill_attention(const MlaPrefillAttentionArgs& args) {
  const BatchView& batch = *args.batch;
  const int64_t rank = args.up_k.in_features();
  const int64_t nope = args.up_k.out_features();
  const int64_t value_size = args.up_v.out_features();
  const int64_t width = args.pages.shape[2];
  const int64_t rope_size = width - rank;
  CHECK(args.q.shape[2] == nope + rope_size && args.up_v.in_features() == rank);
  CHECK(args.out.shape[1] == args.q.shape[1] && args.out.shape[2] == value_size);
  for (int64_t i = 0; i < args.num_sequences; ++i) {
    const Tokens tokens(batch, args.first_sequence + i);
    const int64_t length = tokens.context_length;
    const std::vector<float> cache = cached_rows(args.pages, batch, args.first_sequence + i, rank);
    std::vector<float> scores(static_cast<size_t>(length));
    for (int64_t h = 0; h < args.q.shape[1]; ++h) {
      const std::vector<float> keys = expand(args.up_k, h, cache.data(), width, length);
      const std::vector<float> values = expand(args.up_v, h, cache.data(), width, length);
      for (int64_t t = tokens.first; t < tokens.last; ++t) {
        if (tokens.num_keys(t) > args.max_keys) break;
        const float* q = row(args.q, t, h);
        for (int64_t s = 0; s < tokens.num_keys(t); ++s) {
          const float* rope_key = cache.data() + s * width + rank;
          scores[s] = args.scale *
                      (dot(q, keys.data() + s * nope, nope) + dot(q + nope, rope_key, rope_size));
        }
        attend(scores.data(), tokens.num_keys(t), values.data(), value_size, value_size,
               row(args.out, t, h));
      }
    }
  }
}

// The same with U^K moved to the query and U^V to the output (DeepSeek-V2 §2.1.2, last paragraph):
// one key [c_s ; k^r_s] for all heads, whose first `rank` entries are also the value.
void mla_decode_attention(const MlaDecodeAttentionArgs& args) {
  const BatchView& batch = *args.batch;
  const int64_t rank = args.q_latent.shape[2];
  const int64_t rope_size = args.q_rope.shape[2];
  const int64_t width = args.pages.shape[2];
  CHECK(width == rank + rope_size && same_shape(args.q_latent, args.out));
  for (int64_t i = 0; i < args.num_sequences; ++i) {
    const Tokens tokens(batch, args.first_sequence + i);
    const std::vector<float> cache = cached_rows(args.pages, batch, args.first_sequence + i, rank);
    std::vector<float> scores(static_cast<size_t>(tokens.context_length));
    for (int64_t t = tokens.first; t < tokens.last; ++t) {
      if (tokens.num_keys(t) > args.max_keys) break;
      for (int64_t h = 0; h < args.q_latent.shape[1]; ++h) {
        for (int64_t s = 0; s < tokens.num_keys(t); ++s) {
          const float* key = cache.data() + s * width;
          scores[s] = args.scale * (dot(row(args.q_latent, t, h), key, rank) +
                                    dot(row(args.q_rope, t, h), key + rank, rope_size));
        }
        attend(scores.data(), tokens.num_keys(t), cache.data(), width, rank, row(args.out, t, h));
      }
    }
  }
}

// DeepSeek-V3.2, arXiv 2512.02556, eq. 1. The ReLU stands inside the sum; a weight may be negative.
void index_scores(const IndexScoresArgs& args) {
  const BatchView& batch = *args.batch;
  const int64_t size = args.q.shape[2];
  const int64_t end = args.first_token + args.q.shape[0];
  CHECK(args.pages.shape[2] == size && end <= batch.num_tokens);
  CHECK(args.weights.shape[1] == args.q.shape[1] && args.out.shape[0] == args.q.shape[0]);
  for (int64_t sequence = 0; sequence < batch.num_sequences; ++sequence) {
    const Tokens tokens(batch, sequence);
    const int64_t first = std::max(tokens.first, args.first_token);
    if (first >= std::min(tokens.last, end)) continue;
    const std::vector<float> keys = cached_rows(args.pages, batch, sequence, size);
    for (int64_t t = first; t < std::min(tokens.last, end); ++t) {
      const int64_t i = t - args.first_token;
      const float* weights = row(args.weights, i);
      float* out = row(args.out, i);
      CHECK(tokens.num_keys(t) <= args.out.shape[1]);
      std::fill(out, out + args.out.shape[1], -std::numeric_limits<float>::infinity());
      for (int64_t s = 0; s < tokens.num_keys(t); ++s) {
        float sum = 0;
        for (int64_t h = 0; h < args.q.shape[1]; ++h) {
          sum += weights[h] * std::max(0.0f, dot(row(args.q, i, h), keys.data() + s * size, size));
        }
        out[s] = sum;
      }
    }
  }
}

// The set S_t of the same paper, eq. 2.
void index_top_k(const IndexTopKArgs& args) {
  CHECK(args.scores.shape[0] == args.out.shape[0]);
  const int64_t top_k = args.out.shape[1];
  for (int64_t i = 0; i < args.scores.shape[0]; ++i) {
    const float* scores = row(args.scores, i);
    std::vector<int32_t> columns;
    for (int64_t s = 0; s < args.scores.shape[1]; ++s) {
      if (scores[s] > -std::numeric_limits<float>::infinity()) {
        columns.push_back(static_cast<int32_t>(s));
      }
    }
    std::stable_sort(columns.begin(), columns.end(),
                     [scores](int32_t a, int32_t b) { return scores[a] > scores[b]; });
    if (static_cast<int64_t>(columns.size()) > top_k) columns.resize(static_cast<size_t>(top_k));
    std::sort(columns.begin(), columns.end());
    columns.resize(static_cast<size_t>(top_k), -1);
    std::copy(columns.begin(), columns.end(), row<int32_t>(args.out, i));
  }
}

// The same paper, eq. 2: absorbed attention over the keys of S_t.
void mla_sparse_attention(const MlaSparseAttentionArgs& args) {
  const BatchView& batch = *args.batch;
  const int64_t rank = args.q_latent.shape[2];
  const int64_t rope_size = args.q_rope.shape[2];
  const int64_t width = args.pages.shape[2];
  const int64_t top_k = args.positions.shape[1];
  const int64_t end = args.first_token + args.q_latent.shape[0];
  CHECK(width == rank + rope_size && same_shape(args.q_latent, args.out) && top_k > 0);
  CHECK(end <= batch.num_tokens);
  std::vector<float> scores(static_cast<size_t>(top_k)), chosen(static_cast<size_t>(top_k * width));
  for (int64_t sequence = 0; sequence < batch.num_sequences; ++sequence) {
    const Tokens tokens(batch, sequence);
    const int64_t first = std::max(tokens.first, args.first_token);
    if (first >= std::min(tokens.last, end)) continue;
    const std::vector<float> cache = cached_rows(args.pages, batch, sequence, rank);
    for (int64_t t = first; t < std::min(tokens.last, end); ++t) {
      if (tokens.num_keys(t) <= top_k) continue;
      const int64_t i = t - args.first_token;
      const int32_t* positions = row<int32_t>(args.positions, i);
      for (int64_t k = 0; k < top_k; ++k) {
        CHECK(positions[k] >= 0 && positions[k] < tokens.num_keys(t));
        std::copy_n(cache.data() + positions[k] * width, width, chosen.data() + k * width);
      }
      for (int64_t h = 0; h < args.q_latent.shape[1]; ++h) {
        for (int64_t k = 0; k < top_k; ++k) {
          const float* key = chosen.data() + k * width;
          scores[k] = args.scale * (dot(row(args.q_latent, i, h), key, rank) +
                                    dot(row(args.q_rope, i, h), key + rank, rope_size));
        }
        attend(scores.data(), top_k, chosen.data(), width, rank, row(args.out, i, h));
      }
    }
  }
}

}  // namespace ferry::reference
