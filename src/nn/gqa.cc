// See gqa.h.
#include "nn/gqa.h"

namespace ferry::nn {

Gqa load_gqa(weights::WeightLoader& loader, const std::string& prefix, const ModelSpec& spec,
             KvLayout& layout) {
  const int64_t hidden = spec.hidden_size;
  const int64_t heads = spec.num_attention_heads, kv_heads = spec.num_key_value_heads;
  const int64_t q_width = heads * spec.head_dim;
  const int64_t kv_width = kv_heads * spec.head_dim;
  Gqa gqa;
  gqa.q = loader.matrix(prefix + ".q_proj", q_width, hidden, weights::cut_rows(heads));
  gqa.k = loader.matrix(prefix + ".k_proj", kv_width, hidden, weights::cut_rows(kv_heads));
  gqa.v = loader.matrix(prefix + ".v_proj", kv_width, hidden, weights::cut_rows(kv_heads));
  gqa.o = loader.matrix(prefix + ".o_proj", hidden, q_width, weights::cut_columns(heads));
  if (spec.attention_bias) {
    gqa.q_bias = loader.vector(prefix + ".q_proj.bias", q_width, weights::cut_rows(heads));
    gqa.k_bias = loader.vector(prefix + ".k_proj.bias", kv_width, weights::cut_rows(kv_heads));
    gqa.v_bias = loader.vector(prefix + ".v_proj.bias", kv_width, weights::cut_rows(kv_heads));
  }
  // Ranks' outputs are summed: one of them adds it.
  if (spec.attention_output_bias && loader.shard().rank == 0) {
    gqa.o_bias = loader.vector(prefix + ".o_proj.bias", hidden);
  } else if (spec.attention_output_bias) {
    loader.ignore(prefix + ".o_proj.bias");
  }
  if (spec.qk_norm) {
    gqa.q_norm = loader.vector(prefix + ".q_norm.weight", spec.head_dim);
    gqa.k_norm = loader.vector(prefix + ".k_norm.weight", spec.head_dim);
  }
  gqa.num_heads = loader.shard().share(heads);
  gqa.num_kv_heads = loader.shard().share(kv_heads);
  gqa.first_plane = layout.add_plane(gqa.num_kv_heads * spec.head_dim, spec.head_dim);
  layout.add_plane(gqa.num_kv_heads * spec.head_dim, spec.head_dim);
  return gqa;
}

void run_gqa(const Step& step, const Gqa& gqa, const TensorView& x, const TensorView& out) {
  auto scope = step.workspace.scope();
  Stream& stream = step.stream;
  const ModelSpec& spec = step.spec;
  const int64_t tokens = x.shape[0];
  const int64_t head_dim = spec.head_dim;
  TensorView q = step.workspace.tensor(Dtype::kF32, {tokens, gqa.q.view.rows});
  TensorView k = step.workspace.tensor(Dtype::kF32, {tokens, gqa.k.view.rows});
  TensorView v = step.workspace.tensor(Dtype::kF32, {tokens, gqa.v.view.rows});
  const MatmulArgs products[] = {{.x = x, .w = gqa.q.view, .bias = gqa.q_bias.view, .out = q},
                                 {.x = x, .w = gqa.k.view, .bias = gqa.k_bias.view, .out = k},
                                 {.x = x, .w = gqa.v.view, .bias = gqa.v_bias.view, .out = v}};
  stream.matmuls(products);

  const TensorView q_heads = q.split_last(gqa.num_heads, head_dim);
  const TensorView k_heads = k.split_last(gqa.num_kv_heads, head_dim);
  if (spec.qk_norm) {
    stream.rms_norm(
        {.x = q_heads, .weight = gqa.q_norm.view, .epsilon = spec.rms_norm_eps, .out = q_heads});
    stream.rms_norm(
        {.x = k_heads, .weight = gqa.k_norm.view, .epsilon = spec.rms_norm_eps, .out = k_heads});
  }
  const TensorView positions = step.batch.positions.device;
  stream.rope({.x = q_heads,
               .positions = positions,
               .cos_sin = step.rope_table,
               .layout = spec.rope.layout});
  stream.rope({.x = k_heads,
               .positions = positions,
               .cos_sin = step.rope_table,
               .layout = spec.rope.layout});

  const TensorView k_pages = step.cache.plane(gqa.first_plane);
  const TensorView v_pages = step.cache.plane(gqa.first_plane + 1);
  const TensorView slots = step.batch.slots.device;
  stream.kv_write({.rows = k, .slots = slots, .pages = k_pages, .group = head_dim});
  stream.kv_write({.rows = v, .slots = slots, .pages = v_pages, .group = head_dim});

  TensorView heads_out = step.workspace.tensor(Dtype::kF32, {tokens, gqa.q.view.rows});
  stream.gqa_attention({.q = q_heads,
                        .k_pages = k_pages,
                        .v_pages = v_pages,
                        .num_kv_heads = gqa.num_kv_heads,
                        .scale = spec.attention_scale,
                        .batch = &step.batch,
                        .out = heads_out.split_last(gqa.num_heads, head_dim)});
  stream.matmul({.x = heads_out, .w = gqa.o.view, .bias = gqa.o_bias.view, .out = out});
}

}  // namespace ferry::nn
