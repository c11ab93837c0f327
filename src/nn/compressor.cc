// See compressor.h.
#include "nn/compressor.h"

#include <algorithm>

#include "nn/indexer.h"

namespace ferry::nn {
namespace {

// Scores are wide, [tokens, entries]: few tokens at a time.
constexpr int64_t kCompressedAtOnce = 64;

// Entries that tokens [first, first + count) attend to.
void choose_compressor(const Step& step, const EntryIndexer& indexer, const TensorView& x,
                       const TensorView& low_query, int64_t first, int64_t count,
                       const TensorView& entries) {
  auto scope = step.workspace.scope();
  const IndexerSpec& spec = step.spec.indexer;
  const int64_t rope = step.spec.window.rope_dim;
  const int64_t ratio = indexer.compressor.ratio;
  TensorView q = step.workspace.tensor(Dtype::kF32, {count, spec.num_heads * spec.head_dim});
  TensorView weights = step.workspace.tensor(Dtype::kF32, {count, spec.num_heads});
  TensorView scores =
      step.workspace.tensor(Dtype::kF32, {count, step.batch.max_context_length / ratio});
  step.stream.matmul({.x = low_query.slice(0, first, count), .w = indexer.q_b.view, .out = q});
  const TensorView heads = q.split_last(spec.num_heads, spec.head_dim);
  step.stream.rope({.x = heads.slice(2, spec.head_dim - rope, rope),
                    .positions = step.batch.positions.device.slice(0, first, count),
                    .cos_sin = step.rope_table,
                    .layout = RopeLayout::kInterleaved});
  step.stream.matmul(
      {.x = x.slice(0, first, count), .w = indexer.weights_proj.view, .out = weights});
  step.stream.entry_scores({.q = heads,
                            .weights = weights,
                            .pages = step.cache.plane(indexer.compressor.entry_plane),
                            .ratio = ratio,
                            .batch = &step.batch,
                            .first_token = first,
                            .out = scores});
  step.stream.index_top_k({.scores = scores, .out = entries.slice(0, first, count)});
}

}  // namespace

Compressor load_compressor(weights::WeightLoader& loader, const std::string& prefix,
                           const ModelSpec& spec, int64_t ratio, int64_t size, int64_t group,
                           KvLayout& layout) {
  const int64_t width = ratio == kOverlappingRatio ? 2 * size : size;
  Compressor compressor{.ratio = ratio, .size = size};
  compressor.kv = loader.matrix(prefix + ".wkv", width, spec.hidden_size);
  compressor.gate = loader.matrix(prefix + ".wgate", width, spec.hidden_size);
  compressor.ape = loader.table(prefix + ".ape", ratio, width);
  compressor.norm = loader.vector(prefix + ".norm.weight", size);
  compressor.row_plane =
      layout.add_plane({.width = 2 * width,
                        .group = 2 * width,
                        .always_f32 = true,
                        .recent_tokens = ratio == kOverlappingRatio ? 2 * ratio : ratio});
  compressor.entry_plane =
      layout.add_plane({.width = size, .group = group, .tokens_per_row = ratio});
  return compressor;
}

void run_compressor(const Step& step, const Compressor& compressor, const TensorView& x) {
  auto scope = step.workspace.scope();
  const int64_t width = compressor.kv.view.rows;
  TensorView rows = step.workspace.tensor(Dtype::kF32, {x.shape[0], 2 * width});
  const MatmulArgs products[] = {
      {.x = x, .w = compressor.kv.view, .out = rows.slice(1, 0, width)},
      {.x = x, .w = compressor.gate.view, .out = rows.slice(1, width, width)}};
  step.stream.matmuls(products);
  const TensorView row_pages = step.cache.plane(compressor.row_plane);
  step.stream.kv_write({.rows = rows,
                        .slots = step.batch.recent_slots.device,
                        .pages = row_pages,
                        .group = step.cache.group(compressor.row_plane)});
  step.stream.compress({.rows = row_pages,
                        .ratio = compressor.ratio,
                        .overlap = compressor.ratio == kOverlappingRatio,
                        .ape = compressor.ape.view,
                        .weight = compressor.norm.view,
                        .epsilon = step.spec.rms_norm_eps,
                        .cos_sin = step.rope_table,
                        .batch = &step.batch,
                        .pages = step.cache.plane(compressor.entry_plane),
                        .group = step.cache.group(compressor.entry_plane)});
}

EntryIndexer load_entry_indexer(weights::WeightLoader& loader, const std::string& prefix,
                                const ModelSpec& spec, int64_t ratio, KvLayout& layout) {
  const IndexerSpec& dims = spec.indexer;
  EntryIndexer indexer;
  indexer.q_b =
      loader.matrix(prefix + ".wq_b", dims.num_heads * dims.head_dim, spec.window.q_lora_rank);
  indexer.weights_proj = loader.matrix(prefix + ".weights_proj", dims.num_heads, spec.hidden_size);
  indexer.compressor = load_compressor(loader, prefix + ".compressor", spec, ratio, dims.head_dim,
                                       dims.head_dim, layout);
  return indexer;
}

void run_entry_indexer(const Step& step, const EntryIndexer& indexer, const TensorView& x,
                       const TensorView& low_query, const TensorView& entries) {
  run_compressor(step, indexer.compressor, x);
  const int64_t tokens = x.shape[0];
  const int64_t most_keys =
      (step.spec.indexer.top_k + 1) * indexer.compressor.ratio - 1;  // with top_k entries
  for (int64_t first = 0; first < tokens; first += kCompressedAtOnce) {
    const int64_t count = std::min(kCompressedAtOnce, tokens - first);
    if (!sees_more_than(step.batch, most_keys, first, count)) continue;
    choose_compressor(step, indexer, x, low_query, first, count, entries);
  }
}

}  // namespace ferry::nn
