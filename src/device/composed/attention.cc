// Attention over the paged cache as composites: a sequence's rows are gathered out of its
// pages and made f32, then scores, a mask where there are several tokens, softmax, and the sum of
// values, each one call for all heads. Scores are [tokens, heads, keys].
#include <algorithm>
#include <limits>

#include "base/checked_math.h"
#include "device/composed/stream.h"

namespace ferry::composed {
namespace {

constexpr int64_t kMaxScores = int64_t{16} << 20;  // elements at once

// [T, H, d] as H matrices [T, d].
TensorView by_head(const TensorView& x) {
  return strided(x.data, x.dtype, {x.shape[1], x.shape[0], x.shape[2]},
                 {x.stride[1], x.stride[0], x.stride[2]});
}

// The last two dimensions changed over.
TensorView transposed(const TensorView& x) {
  TensorView out = x;
  std::swap(out.shape[1], out.shape[2]);
  std::swap(out.stride[1], out.stride[2]);
  return out;
}

// Entries [first, first + count) of the last dimension.
TensorView columns(const TensorView& x, int64_t first, int64_t count) {
  return x.slice(x.rank - 1, first, count);
}

}  // namespace

ComposedStream::Span ComposedStream::span_of(const BatchView& batch, int64_t sequence) {
  const int64_t first = batch.query_start.host[sequence];
  const int64_t last = batch.query_start.host[sequence + 1];
  return {.sequence = sequence,
          .first = first,
          .last = last,
          .context = batch.context_lengths.host[sequence],
          .sequence_last = last};
}

int64_t ComposedStream::tokens_at_once(int64_t heads, int64_t keys) {
  return std::max<int64_t>(1, kMaxScores / std::max<int64_t>(1, heads * keys));
}

TensorView ComposedStream::cached_rows(const TensorView& pages, const BatchView& batch,
                                       int64_t sequence, int64_t num_keys) {
  const int64_t block = batch.block_size, width = pages.shape[2];
  const int64_t count = ceil_div(num_keys, block);
  CHECK(count <= batch.max_blocks && pages.shape[1] == block);
  TensorView table = batch.block_tables.device;
  table = TensorView::contiguous(static_cast<int32_t*>(table.data) + sequence * batch.max_blocks,
                                 Dtype::kI32, {count});
  const TensorView rows = p_->scratch(pages.dtype, {count, block * width});
  p_->select_rows(reshape(pages, {pages.shape[0], block * width}), table, rows);
  // What lies behind the last key may be anything: it is left out from here on.
  return p_->as(reshape(rows, {count * block, width}).slice(0, 0, num_keys), Dtype::kF32);
}

void ComposedStream::mask_and_normalize(const TensorView& scores, const Span& span, int64_t first) {
  const int64_t tokens = scores.shape[0], heads = scores.shape[1], keys = scores.shape[2];
  if (tokens > 1) {
    std::vector<float> mask(static_cast<size_t>(tokens * keys), 0.0f);
    for (int64_t t = 0; t < tokens; ++t) {
      std::fill(mask.begin() + t * keys + span.num_keys(first + t), mask.begin() + (t + 1) * keys,
                -std::numeric_limits<float>::infinity());
    }
    p_->binary(BinaryOp::kAdd, scores, p_->upload(std::move(mask), {tokens, 1, keys}), scores);
  }
  const TensorView flat = reshape(scores, {tokens * heads, keys});
  p_->softmax(flat, flat);
}

void ComposedStream::gqa_attention(const GqaAttentionArgs& args) { attend_sequences(args, 0); }

void ComposedStream::attend_sequences(const GqaAttentionArgs& args, int64_t first_sequence) {
  const BatchView& batch = *args.batch;
  const int64_t heads = args.q.shape[1], size = args.q.shape[2], kv_heads = args.num_kv_heads;
  const int64_t group = heads / kv_heads;
  for (int64_t sequence = first_sequence; sequence < batch.num_sequences; ++sequence) {
    const Span span = span_of(batch, sequence);
    const int64_t step = tokens_at_once(heads, span.context);
    for (int64_t first = span.first; first < span.last; first += step) {
      if (!p_->begin("gqa_attention")) return;
      const int64_t tokens = std::min(step, span.last - first);
      const int64_t keys = span.num_keys(first + tokens - 1);
      const auto kv = [&](const TensorView& pages) {  // [KV, keys, d]
        const TensorView rows = cached_rows(pages, batch, sequence, keys);
        return strided(rows.data, Dtype::kF32, {kv_heads, keys, size}, {size, kv_heads * size, 1});
      };
      const TensorView k = transposed(kv(args.k_pages)), v = kv(args.v_pages);
      const TensorView scores = p_->scratch(Dtype::kF32, {tokens, heads, keys});
      // Every group-th head at once: each has keys of its own then.
      const auto heads_of = [&](const TensorView& x, int64_t g, int64_t first_token) {
        return strided(at(x, first_token, g), Dtype::kF32, {kv_heads, tokens, x.shape[2]},
                       {group * x.stride[1], x.stride[0], 1});
      };
      for (int64_t g = 0; g < group; ++g) {
        p_->matmul(heads_of(args.q, g, first), k, heads_of(scores, g, 0), args.scale);
      }
      mask_and_normalize(scores, span, first);
      for (int64_t g = 0; g < group; ++g) {
        p_->matmul(heads_of(scores, g, 0), v, heads_of(args.out, g, first));
      }
    }
  }
}

TensorView ComposedStream::expand(const HeadMatrixView& u, const TensorView& latents) {
  const TensorView& stored = head_matrix(u);
  const TensorView c = p_->as(latents, stored.dtype);
  const int64_t keys = c.shape[0], rank = c.shape[1], features = u.out_features();
  const TensorView one = strided(c.data, c.dtype, {1, keys, rank}, {keys * rank, rank, 1});
  if (u.transposed) {  // k_b_proj of GGUF: a matrix [rank, features] per head
    const TensorView out = p_->scratch(Dtype::kF32, {u.num_heads, keys, features});
    for (int64_t h = 0; h < u.num_heads; ++h) {
      p_->matmul(one,
                 strided(at(stored, u.first_row + h * u.head_stride, 0), stored.dtype,
                         {1, u.rows, u.cols}, {u.rows * u.cols, u.cols, 1}),
                 out.slice(0, h, 1));
    }
    return out;
  }
  // All heads in one product, with whatever lies between them.
  const int64_t span = (u.num_heads - 1) * u.head_stride + u.rows;
  const TensorView out = p_->scratch(Dtype::kF32, {1, keys, span});
  p_->matmul(
      one,
      strided(at(stored, u.first_row, 0), stored.dtype, {1, rank, span}, {span * rank, 1, rank}),
      out);
  return strided(out.data, Dtype::kF32, {u.num_heads, keys, features}, {u.head_stride, span, 1});
}

// kv_b_proj holds both, head by head: one product makes keys and values.
std::pair<TensorView, TensorView> ComposedStream::expand_both(const MlaPrefillAttentionArgs& args,
                                                              const TensorView& latents) {
  const HeadMatrixView &k = args.up_k, &v = args.up_v;
  const bool together = k.weight.packed == v.weight.packed && !k.transposed && !v.transposed &&
                        k.first_row == 0 && v.first_row == k.rows &&
                        k.head_stride == k.rows + v.rows && v.head_stride == k.head_stride;
  if (!together) return {expand(k, latents), expand(v, latents)};
  HeadMatrixView both = k;
  both.rows = k.rows + v.rows;
  const TensorView expanded = expand(both, latents);
  return {columns(expanded, 0, k.rows), columns(expanded, k.rows, v.rows)};
}

template <typename Args, typename Attend>
void ComposedStream::each_piece(const char* op, const Args& args, int64_t heads,
                                const Attend& attend) {
  const BatchView& batch = *args.batch;
  for (int64_t i = 0; i < args.num_sequences; ++i) {
    const Span span = span_of(batch, args.first_sequence + i);
    const int64_t step = tokens_at_once(heads, span.context);
    for (int64_t first = span.first; first < span.last; first += step) {
      int64_t tokens = std::min(step, span.last - first);
      while (tokens > 0 && span.num_keys(first + tokens - 1) > args.max_keys) --tokens;
      if (tokens == 0) break;
      if (!p_->begin(op)) return;
      const int64_t keys = span.num_keys(first + tokens - 1);
      attend(span, first, tokens, cached_rows(args.pages, batch, span.sequence, keys));
    }
  }
}

void ComposedStream::mla_prefill_attention(const MlaPrefillAttentionArgs& args) {
  const int64_t heads = args.q.shape[1], rank = args.up_k.in_features();
  const int64_t nope = args.up_k.out_features(), rope = args.pages.shape[2] - rank;
  each_piece("mla_prefill_attention", args, heads,
             [&](const Span& span, int64_t first, int64_t tokens, const TensorView& rows) {
               const int64_t keys = rows.shape[0];
               const auto [k, v] = expand_both(args, p_->dense(columns(rows, 0, rank)));
               const TensorView q = args.q.slice(0, first, tokens);
               const TensorView scores = p_->scratch(Dtype::kF32, {tokens, heads, keys});
               p_->matmul(by_head(columns(q, 0, nope)), transposed(k), by_head(scores), args.scale);
               if (rope > 0) {
                 const TensorView q_rope = p_->dense(columns(q, nope, rope));
                 const TensorView more = p_->scratch(Dtype::kF32, {tokens, heads, keys});
                 p_->matmul(reshape(q_rope, {1, tokens * heads, rope}),
                            strided(at(rows, 0, rank), Dtype::kF32, {1, rope, keys},
                                    {keys * rows.stride[0], 1, rows.stride[0]}),
                            reshape(more, {1, tokens * heads, keys}), args.scale);
                 p_->binary(BinaryOp::kAdd, scores, more, scores);
               }
               mask_and_normalize(scores, span, first);
               p_->matmul(by_head(scores), v, by_head(args.out.slice(0, first, tokens)));
             });
}

// One key for all heads: the scores of all tokens and heads are one product.
void ComposedStream::attend_absorbed(const TensorView& q_latent, const TensorView& q_rope,
                                     const TensorView& rows, float scale, const Span* span,
                                     int64_t first, const TensorView& out) {
  const int64_t tokens = q_latent.shape[0], heads = q_latent.shape[1], rank = q_latent.shape[2];
  const int64_t keys = rows.shape[0], rope = q_rope.shape[2], step = rows.stride[0];
  const int64_t queries = tokens * heads;
  const auto keys_from = [&](int64_t column, int64_t count) {  // [1, count, keys]
    return strided(at(rows, 0, column), Dtype::kF32, {1, count, keys}, {keys * step, 1, step});
  };
  const auto one = [&](const TensorView& q) {
    return reshape(p_->dense(q), {1, queries, q.shape[2]});
  };
  const TensorView scores = p_->scratch(Dtype::kF32, {tokens, heads, keys});
  const TensorView flat = reshape(scores, {1, queries, keys});
  p_->matmul(one(q_latent), keys_from(0, rank), flat, scale);
  if (rope > 0) {
    const TensorView more = p_->scratch(Dtype::kF32, {1, queries, keys});
    p_->matmul(one(q_rope), keys_from(rank, rope), more, scale);
    p_->binary(BinaryOp::kAdd, flat, more, flat);
  }
  if (span != nullptr) {
    mask_and_normalize(scores, *span, first);
  } else {
    const TensorView matrix = reshape(scores, {queries, keys});
    p_->softmax(matrix, matrix);
  }
  const TensorView made = target(out);
  p_->matmul(flat, transposed(keys_from(0, rank)), reshape(made, {1, queries, rank}));
  put(made, out);
}

void ComposedStream::mla_decode_attention(const MlaDecodeAttentionArgs& args) {
  each_piece("mla_decode_attention", args, args.q_latent.shape[1],
             [&](const Span& span, int64_t first, int64_t tokens, const TensorView& rows) {
               attend_absorbed(args.q_latent.slice(0, first, tokens),
                               args.q_rope.slice(0, first, tokens), rows, args.scale, &span, first,
                               args.out.slice(0, first, tokens));
             });
}

}  // namespace ferry::composed
