// The lightning indexer of DeepSeek-V3.2 and attention over what it chose. CNNL's own versions are
// in a library that is not public: scores are composed, the choice is made on the host.
#include <algorithm>
#include <limits>

#include "backends/cambricon/host_ops.h"
#include "backends/cambricon/stream.h"

namespace ferry::cambricon {

void CambriconStream::index_scores(const IndexScoresArgs& args) {
  const BatchView& batch = *args.batch;
  const int64_t heads = args.q.shape[1], size = args.q.shape[2], width = args.out.shape[1];
  const int64_t end = args.first_token + args.q.shape[0];
  for (int64_t sequence = 0; sequence < batch.num_sequences; ++sequence) {
    Span span = span_of(batch, sequence);
    span.first = std::max(span.first, args.first_token);
    span.last = std::min(span.last, end);
    const int64_t step = tokens_at_once(heads, span.context);
    for (int64_t first = span.first; first < span.last; first += step) {
      if (!calls_->begin("index_scores")) return;
      const int64_t tokens = std::min(step, span.last - first), row = first - args.first_token;
      const int64_t keys = span.num_keys(first + tokens - 1);
      const TensorView rows = cached_rows(args.pages, batch, sequence, keys);
      const TensorView products = calls_->scratch(Dtype::kF32, {tokens, heads, keys});
      calls_->matmul(
          reshape(calls_->dense(args.q.slice(0, row, tokens)), {1, tokens * heads, size}),
          strided(rows.data, Dtype::kF32, {1, size, keys}, {keys * size, 1, size}),
          reshape(products, {1, tokens * heads, keys}));
      calls_->activation(kRelu, products, products);
      const TensorView sums = calls_->scratch(Dtype::kF32, {tokens, 1, keys});
      calls_->matmul(reshape(calls_->dense(args.weights.slice(0, row, tokens)), {tokens, 1, heads}),
                     products, sums);
      // Everything a token doesn't see is −∞, out to the last column.
      std::vector<float> mask(static_cast<size_t>(tokens * width), 0.0f);
      for (int64_t t = 0; t < tokens; ++t) {
        std::fill(mask.begin() + t * width + span.num_keys(first + t),
                  mask.begin() + (t + 1) * width, -std::numeric_limits<float>::infinity());
      }
      const TensorView masks = calls_->upload(std::move(mask), {tokens, width});
      const TensorView seen = calls_->dense(masks.slice(1, 0, keys));
      calls_->binary(kOpTensorAdd, reshape(sums, {tokens, keys}), seen, seen);
      const TensorView out = args.out.slice(0, row, tokens);
      calls_->copy(masks, out);
      calls_->copy(seen, out.slice(1, 0, keys));
    }
  }
}

void CambriconStream::index_top_k(const IndexTopKArgs& args) {
  on_host(Op::kIndexTopK, args, {&IndexTopKArgs::scores}, {&IndexTopKArgs::out},
          &Stream::index_top_k);
}

void CambriconStream::mla_sparse_attention(const MlaSparseAttentionArgs& args) {
  const BatchView& batch = *args.batch;
  const int64_t top_k = args.positions.shape[1], width = args.pages.shape[2];
  const int64_t end = args.first_token + args.q_latent.shape[0];
  const TensorView slots_of_pages =
      reshape(args.pages, {args.pages.shape[0] * args.pages.shape[1], width});
  if (!calls_->begin("mla_sparse_attention")) return;
  const std::vector<int32_t> positions = calls_->read_back(calls_->dense(args.positions));
  for (int64_t sequence = 0; sequence < batch.num_sequences; ++sequence) {
    const Span span = span_of(batch, sequence);
    const auto table =
        batch.block_tables.host.subspan(sequence * batch.max_blocks, batch.max_blocks);
    for (int64_t t = std::max(span.first, args.first_token); t < std::min(span.last, end); ++t) {
      if (span.num_keys(t) <= top_k) continue;
      if (!calls_->begin("mla_sparse_attention")) return;
      const int64_t i = t - args.first_token;
      std::vector<int32_t> slots(static_cast<size_t>(top_k));
      for (int64_t k = 0; k < top_k; ++k) {
        const int64_t s = positions[i * top_k + k];
        CHECK(s >= 0 && s < span.num_keys(t));
        slots[k] = static_cast<int32_t>(table[s / batch.block_size] * batch.block_size +
                                        s % batch.block_size);
      }
      const TensorView rows = calls_->scratch(args.pages.dtype, {top_k, width});
      calls_->select_rows(slots_of_pages, calls_->upload(std::move(slots), {top_k}), rows);
      attend_absorbed(args.q_latent.slice(0, i, 1), args.q_rope.slice(0, i, 1),
                      calls_->as(rows, Dtype::kF32), args.scale, nullptr, t,
                      args.out.slice(0, i, 1));
    }
  }
}

}  // namespace ferry::cambricon
