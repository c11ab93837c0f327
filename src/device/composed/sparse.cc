// The lightning indexer of DeepSeek-V3.2 and attention over what it chose. Scores
// are composed, the choice is made on the host.
#include <algorithm>
#include <limits>

#include "device/composed/on_host.h"
#include "device/composed/stream.h"

namespace ferry::composed {

void ComposedStream::index_scores(const IndexScoresArgs& args) {
  const BatchView& batch = *args.batch;
  const int64_t heads = args.q.shape[1], size = args.q.shape[2], width = args.out.shape[1];
  const int64_t end = args.first_token + args.q.shape[0];
  for (int64_t sequence = 0; sequence < batch.num_sequences; ++sequence) {
    Span span = span_of(batch, sequence);
    span.first = std::max(span.first, args.first_token);
    span.last = std::min(span.last, end);
    const int64_t step = tokens_at_once(heads, span.context);
    for (int64_t first = span.first; first < span.last; first += step) {
      if (!p_->begin("index_scores")) return;
      const int64_t tokens = std::min(step, span.last - first), row = first - args.first_token;
      const int64_t keys = span.num_keys(first + tokens - 1);
      const TensorView rows = cached_rows(args.pages, batch, sequence, keys);
      const TensorView products = p_->scratch(Dtype::kF32, {tokens, heads, keys});
      p_->matmul(reshape(p_->dense(args.q.slice(0, row, tokens)), {1, tokens * heads, size}),
                 strided(rows.data, Dtype::kF32, {1, size, keys}, {keys * size, 1, size}),
                 reshape(products, {1, tokens * heads, keys}));
      p_->activation(Activation::kRelu, products, products);
      const TensorView sums = p_->scratch(Dtype::kF32, {tokens, 1, keys});
      p_->matmul(reshape(p_->dense(args.weights.slice(0, row, tokens)), {tokens, 1, heads}),
                 products, sums);
      // Everything a token doesn't see is −∞, out to the last column.
      std::vector<float> mask(static_cast<size_t>(tokens * width), 0.0f);
      for (int64_t t = 0; t < tokens; ++t) {
        std::fill(mask.begin() + t * width + span.num_keys(first + t),
                  mask.begin() + (t + 1) * width, -std::numeric_limits<float>::infinity());
      }
      const TensorView masks = p_->upload(std::move(mask), {tokens, width});
      const TensorView seen = p_->dense(masks.slice(1, 0, keys));
      p_->binary(BinaryOp::kAdd, reshape(sums, {tokens, keys}), seen, seen);
      const TensorView out = args.out.slice(0, row, tokens);
      p_->copy(masks, out);
      p_->copy(seen, out.slice(1, 0, keys));
    }
  }
}

void ComposedStream::index_top_k(const IndexTopKArgs& args) {
  on_host(Op::kIndexTopK, args, {&IndexTopKArgs::scores}, {&IndexTopKArgs::out},
          &Stream::index_top_k);
}

void ComposedStream::mla_sparse_attention(const MlaSparseAttentionArgs& args) {
  const BatchView& batch = *args.batch;
  const int64_t top_k = args.positions.shape[1], width = args.pages.shape[2];
  const int64_t end = args.first_token + args.q_latent.shape[0];
  const TensorView slots_of_pages =
      reshape(args.pages, {args.pages.shape[0] * args.pages.shape[1], width});
  if (!p_->begin("mla_sparse_attention")) return;
  const std::vector<int32_t> positions = p_->read_back(p_->dense(args.positions));
  for (int64_t sequence = 0; sequence < batch.num_sequences; ++sequence) {
    const Span span = span_of(batch, sequence);
    const auto table =
        batch.block_tables.host.subspan(sequence * batch.max_blocks, batch.max_blocks);
    for (int64_t t = std::max(span.first, args.first_token); t < std::min(span.last, end); ++t) {
      if (span.num_keys(t) <= top_k) continue;
      if (!p_->begin("mla_sparse_attention")) return;
      const int64_t i = t - args.first_token;
      std::vector<int32_t> slots(static_cast<size_t>(top_k));
      for (int64_t k = 0; k < top_k; ++k) {
        const int64_t s = positions[i * top_k + k];
        CHECK(s >= 0 && s < span.num_keys(t));
        slots[k] = static_cast<int32_t>(table[s / batch.block_size] * batch.block_size +
                                        s % batch.block_size);
      }
      const TensorView rows = p_->scratch(args.pages.dtype, {top_k, width});
      p_->select_rows(slots_of_pages, p_->upload(std::move(slots), {top_k}), rows);
      attend_absorbed(args.q_latent.slice(0, i, 1), args.q_rope.slice(0, i, 1),
                      p_->as(rows, Dtype::kF32), args.scale, nullptr, t, args.out.slice(0, i, 1));
    }
  }
}

}  // namespace ferry::composed
