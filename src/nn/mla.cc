// See mla.h.
#include "nn/mla.h"

#include <algorithm>

namespace ferry::nn {
namespace {

// q = W_q x, or W_qb norm(W_qa x), [T, H · (nope + rope)]; `low` [T, q_lora] is the latter's norm.
// latent = W_kva x, [T, rank + rope].
void project(const Step& step, const Mla& mla, const TensorView& x, const TensorView& low,
             const TensorView& q, const TensorView& latent) {
  const bool whole = !mla.q.empty();
  const MatmulArgs products[] = {
      {.x = x, .w = whole ? mla.q.view : mla.q_a.view, .out = whole ? q : low},
      {.x = x, .w = mla.kv_a.view, .out = latent}};
  step.stream.matmuls(products);
  if (whole) return;
  step.stream.rms_norm(
      {.x = low, .weight = mla.q_norm.view, .epsilon = step.spec.mla.norm_epsilon, .out = low});
  step.stream.matmul({.x = low, .w = mla.q_b.view, .out = q});
}

// Makes c and k^r of each token and writes them to the cache.
void write_latents(const Step& step, const Mla& mla, const TensorView& latent) {
  const int64_t rank = step.spec.mla.kv_lora_rank;
  const int64_t rope = step.spec.mla.qk_rope_head_dim;
  const TensorView c = latent.slice(1, 0, rank);
  step.stream.rms_norm(
      {.x = c, .weight = mla.kv_norm.view, .epsilon = step.spec.mla.norm_epsilon, .out = c});
  step.stream.rope({.x = latent.slice(1, rank, rope).split_last(1, rope),
                    .positions = step.batch.positions.device,
                    .cos_sin = step.rope_table,
                    .layout = step.spec.rope.layout});
  step.stream.kv_write({.rows = latent,
                        .slots = step.batch.slots.device,
                        .pages = step.cache.plane(mla.plane),
                        .group = rank});
}

// Prompt tokens that attend to chosen positions: few at a time, for their queries are wide.
constexpr int64_t kMlaTokensAtOnce = 64;

// Tokens that see more keys belong to the sparse op.
int64_t max_dense_keys(const Step& step, const Mla& mla) {
  return mla.indexer ? step.spec.indexer.top_k : kAllKeys;
}

// Tokens [first, first + count): q̃ = U^Kᵀ q^n, attention over latents, U^V õ. `dense`: those that
// see all keys are computed too; otherwise their rows of `out` are undefined.
void attend_absorbed(const Step& step, const Mla& mla, const TensorView& q,
                     const TensorView& positions, int64_t first, int64_t count, bool dense,
                     const TensorView& out) {
  auto scope = step.workspace.scope();
  const MlaSpec& spec = step.spec.mla;
  const int64_t heads = mla.num_heads;
  TensorView q_latent = step.workspace.tensor(Dtype::kF32, {count, heads, spec.kv_lora_rank});
  TensorView mixed = step.workspace.tensor(Dtype::kF32, {count, heads, spec.kv_lora_rank});
  const TensorView own = q.slice(0, first, count);
  const TensorView q_rope = own.slice(2, spec.qk_nope_head_dim, spec.qk_rope_head_dim);
  step.stream.per_head_matmul({.x = own.slice(2, 0, spec.qk_nope_head_dim),
                               .u = mla.up_k.view,
                               .apply_transposed = true,
                               .out = q_latent});
  if (dense) {
    step.stream.mla_decode_attention({.q_latent = q_latent,
                                      .q_rope = q_rope,
                                      .pages = step.cache.plane(mla.plane),
                                      .scale = step.spec.attention_scale,
                                      .batch = &step.batch,
                                      .first_sequence = 0,
                                      .num_sequences = step.batch.num_decode_sequences,
                                      .max_keys = max_dense_keys(step, mla),
                                      .out = mixed});
  }
  if (mla.indexer && needs_choice(step, first, count)) {
    step.stream.mla_sparse_attention({.q_latent = q_latent,
                                      .q_rope = q_rope,
                                      .pages = step.cache.plane(mla.plane),
                                      .positions = positions.slice(0, first, count),
                                      .scale = step.spec.attention_scale,
                                      .batch = &step.batch,
                                      .first_token = first,
                                      .out = mixed});
  }
  step.stream.per_head_matmul({.x = mixed, .u = mla.up_v.view, .out = out.slice(0, first, count)});
}

// Prompt tokens. The sparse ones go first: the blocks that they come in may hold others, whose rows
// the expanded form then writes.
void attend_prompts(const Step& step, const Mla& mla, const TensorView& q,
                    const TensorView& positions, const TensorView& out) {
  const int64_t end = step.batch.num_tokens;
  for (int64_t t = step.batch.num_decode_tokens; mla.indexer && t < end; t += kMlaTokensAtOnce) {
    const int64_t count = std::min(kMlaTokensAtOnce, end - t);
    if (!needs_choice(step, t, count)) continue;
    attend_absorbed(step, mla, q, positions, t, count, /*dense=*/false, out);
  }
  const int64_t first = step.batch.num_decode_sequences;
  step.stream.mla_prefill_attention({.q = q,
                                     .pages = step.cache.plane(mla.plane),
                                     .up_k = mla.up_k.view,
                                     .up_v = mla.up_v.view,
                                     .scale = step.spec.attention_scale,
                                     .batch = &step.batch,
                                     .first_sequence = first,
                                     .num_sequences = step.batch.num_sequences - first,
                                     .max_keys = max_dense_keys(step, mla),
                                     .out = out});
}

}  // namespace

Mla load_mla(weights::WeightLoader& loader, const std::string& prefix, const ModelSpec& spec,
             KvLayout& layout) {
  const MlaSpec& dims = spec.mla;
  const int64_t hidden = spec.hidden_size;
  const int64_t heads = spec.num_attention_heads;
  const int64_t q_width = heads * (dims.qk_nope_head_dim + dims.qk_rope_head_dim);
  const int64_t latent = dims.kv_lora_rank + dims.qk_rope_head_dim;
  Mla mla;
  if (dims.q_lora_rank == 0) {
    mla.q = loader.matrix(prefix + ".q_proj", q_width, hidden, weights::cut_rows(heads));
  } else {
    mla.q_a = loader.matrix(prefix + ".q_a_proj", dims.q_lora_rank, hidden);
    mla.q_norm = loader.vector(prefix + ".q_a_layernorm.weight", dims.q_lora_rank);
    mla.q_b =
        loader.matrix(prefix + ".q_b_proj", q_width, dims.q_lora_rank, weights::cut_rows(heads));
  }
  mla.kv_a = loader.matrix(prefix + ".kv_a_proj_with_mqa", latent, hidden);
  mla.kv_norm = loader.vector(prefix + ".kv_a_layernorm.weight", dims.kv_lora_rank);
  mla.up_k =
      loader.mla_up_k(prefix, heads, dims.qk_nope_head_dim, dims.v_head_dim, dims.kv_lora_rank);
  mla.up_v =
      loader.mla_up_v(prefix, heads, dims.qk_nope_head_dim, dims.v_head_dim, dims.kv_lora_rank);
  mla.o = loader.matrix(prefix + ".o_proj", hidden, heads * dims.v_head_dim,
                        weights::cut_columns(heads));
  mla.num_heads = loader.shard().share(heads);
  mla.plane = layout.add_plane(latent, dims.kv_lora_rank);
  if (spec.indexer.top_k > 0) mla.indexer = load_indexer(loader, prefix + ".indexer", spec, layout);
  return mla;
}

void run_mla(const Step& step, const Mla& mla, const TensorView& x, const TensorView& out) {
  auto scope = step.workspace.scope();
  const MlaSpec& dims = step.spec.mla;
  const int64_t tokens = x.shape[0];
  const int64_t heads = mla.num_heads;
  const int64_t q_dim = dims.qk_nope_head_dim + dims.qk_rope_head_dim;
  TensorView q = step.workspace.tensor(Dtype::kF32, {tokens, heads * q_dim});
  TensorView heads_out = step.workspace.tensor(Dtype::kF32, {tokens, heads * dims.v_head_dim});
  TensorView low = step.workspace.tensor(Dtype::kF32, {tokens, dims.q_lora_rank});
  {
    auto of_latent = step.workspace.scope();
    TensorView latent =
        step.workspace.tensor(Dtype::kF32, {tokens, dims.kv_lora_rank + dims.qk_rope_head_dim});
    project(step, mla, x, low, q, latent);
    write_latents(step, mla, latent);
  }
  const TensorView q_heads = q.split_last(heads, q_dim);
  step.stream.rope({.x = q_heads.slice(2, dims.qk_nope_head_dim, dims.qk_rope_head_dim),
                    .positions = step.batch.positions.device,
                    .cos_sin = step.rope_table,
                    .layout = step.spec.rope.layout});
  TensorView positions;
  if (mla.indexer) {
    positions = step.workspace.tensor(Dtype::kI32, {tokens, step.spec.indexer.top_k});
    run_indexer(step, *mla.indexer, x, low, positions);
  }

  const TensorView out_heads = heads_out.split_last(heads, dims.v_head_dim);
  const int64_t decoding = step.batch.num_decode_tokens;
  if (decoding > 0) {
    attend_absorbed(step, mla, q_heads, positions, 0, decoding, /*dense=*/true, out_heads);
  }
  if (decoding < tokens) attend_prompts(step, mla, q_heads, positions, out_heads);
  step.stream.matmul({.x = heads_out, .w = mla.o.view, .out = out});
}

}  // namespace ferry::nn
