// See indexer.h.
#include "nn/indexer.h"

#include <algorithm>

namespace ferry::nn {
namespace {

// Scores are wide, [tokens, context]: few tokens at a time.
constexpr int64_t kTokensAtOnce = 64;

void write_index_keys(const Step& step, const Indexer& indexer, const TensorView& x) {
  auto scope = step.workspace.scope();
  const IndexerSpec& spec = step.spec.indexer;
  TensorView keys = step.workspace.tensor(Dtype::kF32, {x.shape[0], spec.head_dim});
  step.stream.matmul({.x = x, .w = indexer.k.view, .out = keys});
  step.stream.layer_norm({.x = keys,
                          .weight = indexer.k_norm.view,
                          .bias = indexer.k_norm_bias.view,
                          .epsilon = spec.norm_epsilon,
                          .out = keys});
  const int64_t rope = step.spec.mla.qk_rope_head_dim;
  step.stream.rope({.x = keys.slice(1, 0, rope).split_last(1, rope),
                    .positions = step.batch.positions.device,
                    .cos_sin = step.rope_table,
                    .layout = RopeLayout::kHalf});
  step.stream.kv_write({.rows = keys,
                        .slots = step.batch.slots.device,
                        .pages = step.cache.plane(indexer.plane),
                        .group = spec.head_dim});
}

// Positions of tokens [first, first + count).
void choose(const Step& step, const Indexer& indexer, const TensorView& x,
            const TensorView& low_query, int64_t first, int64_t count,
            const TensorView& positions) {
  auto scope = step.workspace.scope();
  const IndexerSpec& spec = step.spec.indexer;
  const int64_t rope = step.spec.mla.qk_rope_head_dim;
  TensorView q = step.workspace.tensor(Dtype::kF32, {count, spec.num_heads * spec.head_dim});
  TensorView weights = step.workspace.tensor(Dtype::kF32, {count, spec.num_heads});
  TensorView scores = step.workspace.tensor(Dtype::kF32, {count, step.batch.max_context_length});
  step.stream.matmul({.x = low_query.slice(0, first, count), .w = indexer.q_b.view, .out = q});
  const TensorView heads = q.split_last(spec.num_heads, spec.head_dim);
  step.stream.rope({.x = heads.slice(2, 0, rope),
                    .positions = step.batch.positions.device.slice(0, first, count),
                    .cos_sin = step.rope_table,
                    .layout = RopeLayout::kHalf});
  step.stream.matmul(
      {.x = x.slice(0, first, count), .w = indexer.weights_proj.view, .out = weights});
  step.stream.index_scores({.q = heads,
                            .weights = weights,
                            .pages = step.cache.plane(indexer.plane),
                            .batch = &step.batch,
                            .first_token = first,
                            .out = scores});
  step.stream.index_top_k({.scores = scores, .out = positions.slice(0, first, count)});
}

}  // namespace

Indexer load_indexer(weights::WeightLoader& loader, const std::string& prefix,
                     const ModelSpec& spec, KvLayout& layout) {
  const IndexerSpec& dims = spec.indexer;
  Indexer indexer;
  indexer.q_b =
      loader.matrix(prefix + ".wq_b", dims.num_heads * dims.head_dim, spec.mla.q_lora_rank);
  indexer.k = loader.matrix(prefix + ".wk", dims.head_dim, spec.hidden_size);
  indexer.k_norm = loader.vector(prefix + ".k_norm.weight", dims.head_dim);
  indexer.k_norm_bias = loader.vector(prefix + ".k_norm.bias", dims.head_dim);
  indexer.weights_proj = loader.matrix(prefix + ".weights_proj", dims.num_heads, spec.hidden_size);
  indexer.plane = layout.add_plane(dims.head_dim, dims.head_dim);
  return indexer;
}

bool needs_choice(const Step& step, int64_t first, int64_t count) {
  return sees_more_than(step.batch, step.spec.indexer.top_k, first, count);
}

bool sees_more_than(const BatchView& batch, int64_t most, int64_t first, int64_t count) {
  if (batch.max_context_length <= most || count <= 0) return false;
  if (batch.context_lengths.host.empty()) return true;
  for (int64_t s = 0; s < batch.num_sequences; ++s) {
    const size_t i = static_cast<size_t>(s);
    const int64_t end = batch.query_start.host[i + 1];
    const int64_t last = std::min<int64_t>(end, first + count);
    if (last <= std::max<int64_t>(batch.query_start.host[i], first)) continue;
    if (batch.context_lengths.host[i] - (end - last) > most) return true;
  }
  return false;
}

void run_indexer(const Step& step, const Indexer& indexer, const TensorView& x,
                 const TensorView& low_query, const TensorView& positions) {
  write_index_keys(step, indexer, x);
  const int64_t tokens = x.shape[0];
  for (int64_t first = 0; first < tokens; first += kTokensAtOnce) {
    const int64_t count = std::min(kTokensAtOnce, tokens - first);
    if (!needs_choice(step, first, count)) continue;
    choose(step, indexer, x, low_query, first, count, positions);
  }
}

}  // namespace ferry::nn
