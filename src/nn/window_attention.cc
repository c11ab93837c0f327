// See window_attention.h.
#include "nn/window_attention.h"

namespace ferry::nn {
namespace {

// The last entries of each head [T, H, d], rotated by position.
void rotate_last(const Step& step, const TensorView& heads) {
  const int64_t rope = step.spec.window.rope_dim;
  step.stream.rope({.x = heads.slice(2, heads.shape[2] - rope, rope),
                    .positions = step.batch.positions.device,
                    .cos_sin = step.rope_table,
                    .layout = RopeLayout::kInterleaved});
}

void write_keys(const Step& step, const WindowAttention& attention, const TensorView& x) {
  auto scope = step.workspace.scope();
  const int64_t size = step.spec.head_dim;
  TensorView key = step.workspace.tensor(Dtype::kF32, {x.shape[0], size});
  step.stream.matmul({.x = x, .w = attention.kv.view, .out = key});
  step.stream.rms_norm(
      {.x = key, .weight = attention.kv_norm.view, .epsilon = step.spec.rms_norm_eps, .out = key});
  rotate_last(step, key.split_last(1, size));
  step.stream.kv_write({.rows = key,
                        .slots = step.batch.recent_slots.device,
                        .pages = step.cache.plane(attention.plane),
                        .group = step.cache.group(attention.plane)});
}

// y = W_ob [A_0 o_(0); …], each A_g the rows of a group.
void project_out(const Step& step, const WindowAttention& attention, const TensorView& mixed,
                 const TensorView& out) {
  auto scope = step.workspace.scope();
  const WindowSpec& spec = step.spec.window;
  TensorView low =
      step.workspace.tensor(Dtype::kF32, {mixed.shape[0], spec.o_groups, spec.o_lora_rank});
  step.stream.per_head_matmul(
      {.x = mixed.merge_last().split_last(spec.o_groups, attention.o_a.view.cols),
       .u = {.weight = attention.o_a.view,
             .num_heads = spec.o_groups,
             .rows = spec.o_lora_rank,
             .cols = attention.o_a.view.cols,
             .first_row = 0,
             .head_stride = spec.o_lora_rank},
       .out = low});
  step.stream.matmul({.x = low.merge_last(), .w = attention.o_b.view, .out = out});
}

}  // namespace

WindowAttention load_window_attention(weights::WeightLoader& loader, const std::string& prefix,
                                      const ModelSpec& spec, int64_t ratio, KvLayout& layout) {
  const WindowSpec& dims = spec.window;
  const int64_t heads = spec.num_attention_heads;
  const int64_t size = spec.head_dim;
  const int64_t group = size - dims.rope_dim;  // the rotated part has a scale of its own
  WindowAttention attention;
  attention.sinks = loader.vector(prefix + ".attn_sink", heads);
  attention.q_a = loader.matrix(prefix + ".wq_a", dims.q_lora_rank, spec.hidden_size);
  attention.q_norm = loader.vector(prefix + ".q_norm.weight", dims.q_lora_rank);
  attention.q_b = loader.matrix(prefix + ".wq_b", heads * size, dims.q_lora_rank);
  attention.kv = loader.matrix(prefix + ".wkv", size, spec.hidden_size);
  attention.kv_norm = loader.vector(prefix + ".kv_norm.weight", size);
  attention.o_a = loader.head_matrices(prefix + ".wo_a", dims.o_groups * dims.o_lora_rank,
                                       heads / dims.o_groups * size);
  attention.o_b =
      loader.matrix(prefix + ".wo_b", spec.hidden_size, dims.o_groups * dims.o_lora_rank);
  attention.plane = layout.add_plane({.width = size, .group = group, .recent_tokens = dims.window});
  if (ratio == 0) return attention;
  attention.compressor =
      load_compressor(loader, prefix + ".compressor", spec, ratio, size, group, layout);
  if (ratio != kOverlappingRatio) return attention;
  attention.indexer = load_entry_indexer(loader, prefix + ".indexer", spec, ratio, layout);
  return attention;
}

void run_window_attention(const Step& step, const WindowAttention& attention,
                          const weights::Vector& ones, const TensorView& x, const TensorView& out) {
  auto scope = step.workspace.scope();
  const WindowSpec& spec = step.spec.window;
  const int64_t tokens = x.shape[0];
  const int64_t heads = step.spec.num_attention_heads;
  const int64_t size = step.spec.head_dim;
  const float epsilon = step.spec.rms_norm_eps;
  TensorView q = step.workspace.tensor(Dtype::kF32, {tokens, heads * size});
  TensorView mixed = step.workspace.tensor(Dtype::kF32, {tokens, heads, size});
  TensorView low = step.workspace.tensor(Dtype::kF32, {tokens, spec.q_lora_rank});
  step.stream.matmul({.x = x, .w = attention.q_a.view, .out = low});
  step.stream.rms_norm({.x = low, .weight = attention.q_norm.view, .epsilon = epsilon, .out = low});
  step.stream.matmul({.x = low, .w = attention.q_b.view, .out = q});
  const TensorView queries = q.split_last(heads, size);
  step.stream.rms_norm({.x = queries, .weight = ones.view, .epsilon = epsilon, .out = queries});
  rotate_last(step, queries);
  write_keys(step, attention, x);

  TensorView entry_pages, entries;
  if (attention.compressor) {
    run_compressor(step, *attention.compressor, x);
    entry_pages = step.cache.plane(attention.compressor->entry_plane);
  }
  if (attention.indexer) {
    entries = step.workspace.tensor(Dtype::kI32, {tokens, step.spec.indexer.top_k});
    run_entry_indexer(step, *attention.indexer, x, low, entries);
  }
  step.stream.window_attention({.q = queries,
                                .pages = step.cache.plane(attention.plane),
                                .window = spec.window,
                                .entry_pages = entry_pages,
                                .ratio = attention.compressor ? attention.compressor->ratio : 0,
                                .entries = entries,
                                .sinks = attention.sinks.view,
                                .scale = step.spec.attention_scale,
                                .cos_sin = step.rope_table,
                                .batch = &step.batch,
                                .first_token = 0,
                                .group = step.cache.group(attention.plane),
                                .out = mixed});
  project_out(step, attention, mixed, out);
}

}  // namespace ferry::nn
