// See decoder.h.
#include "nn/decoder.h"

#include "nn/rope.h"

namespace ferry::nn {

DecoderLayer load_layer(weights::WeightLoader& loader, const std::string& prefix,
                        const ModelSpec& spec, bool moe, KvLayout& layout) {
  const std::string attention = prefix + ".self_attn";
  DecoderLayer layer;
  layer.attention_norm = loader.vector(prefix + ".input_layernorm.weight", spec.hidden_size);
  if (spec.attention == AttentionKind::kMla) {
    layer.attention = load_mla(loader, attention, spec, layout);
  } else {
    layer.attention = load_gqa(loader, attention, spec, layout);
  }
  loader.ignore(attention + ".rotary_emb.inv_freq");
  layer.ffn_norm = loader.vector(prefix + ".post_attention_layernorm.weight", spec.hidden_size);
  if (moe) {
    layer.ffn = load_moe(loader, prefix + ".mlp", spec);
  } else {
    layer.ffn = load_mlp(loader, prefix + ".mlp", spec.hidden_size, spec.intermediate_size);
  }
  return layer;
}

void run_layer(const Step& step, const DecoderLayer& layer, const weights::Vector& next_norm,
               const DecoderLayer* next, const TensorView& h, const TensorView& x) {
  auto scope = step.workspace.scope();
  const float epsilon = step.spec.rms_norm_eps;
  TensorView y = step.workspace.tensor(Dtype::kF32, {h.shape[0], h.shape[1]});
  if (const Mla* mla = std::get_if<Mla>(&layer.attention)) {
    run_mla(step, *mla, x, y);
  } else {
    run_gqa(step, std::get<Gqa>(layer.attention), x, y);
  }
  step.sum_over_ranks(y);
  step.stream.add_rms_norm(
      {.residual = h, .delta = y, .weight = layer.ffn_norm.view, .epsilon = epsilon, .out = x});
  if (const Moe* moe = std::get_if<Moe>(&layer.ffn)) {
    NextMoe next_moe;
    if (next != nullptr) next_moe = {std::get_if<Moe>(&next->ffn), &next->ffn_norm, h};
    run_moe(step, *moe, x, next_moe, y);
  } else {
    run_mlp(step, std::get<Mlp>(layer.ffn), x, y);
  }
  step.sum_over_ranks(y);
  step.stream.add_rms_norm(
      {.residual = h, .delta = y, .weight = next_norm.view, .epsilon = epsilon, .out = x});
}

Decoder::Decoder(ModelSpec spec, weights::WeightLoader& loader, const BuildOptions& options)
    : spec_(std::move(spec)) {
  const bool tied = spec_.tie_word_embeddings;
  embedding_ = tied
                   ? loader.matrix("model.embed_tokens", spec_.vocab_size, spec_.hidden_size)
                   : loader.lookup_table("model.embed_tokens", spec_.vocab_size, spec_.hidden_size);
  layers_.reserve(static_cast<size_t>(spec_.num_hidden_layers));
  for (int64_t l = 0; l < spec_.num_hidden_layers; ++l) {
    layers_.push_back(load_layer(loader, fmt::format("model.layers.{}", l), spec_,
                                 spec_.layer_is_moe[static_cast<size_t>(l)], kv_layout_));
  }
  final_norm_ = loader.vector("model.norm.weight", spec_.hidden_size);
  if (tied) {
    head_ = embedding_;
    loader.skip_copy("lm_head", spec_.vocab_size, spec_.hidden_size);
  } else if (loader.shard().rank == 0) {
    head_ = loader.matrix("lm_head", spec_.vocab_size, spec_.hidden_size);
  } else {
    loader.ignore_all("lm_head.");  // logits are the first rank's to make
  }
  load_mtp(loader);
  // A row for each position the model may be run at. The factors came with the config.
  rope_table_ = loader.constant(options.max_context, spec_.rope.dim,
                                [&] { return rope_table(spec_.rope, options.max_context); });
  loader.ignore("rope_freqs.weight");
}

// A file may have been stripped of the modules its config still announces; then there are none.
void Decoder::load_mtp(weights::WeightLoader& loader) {
  for (int64_t i = 0; i < spec_.num_nextn_predict_layers; ++i) {
    const std::string prefix = fmt::format("model.layers.{}", spec_.num_hidden_layers + i);
    if (!loader.has(prefix + ".eh_proj.weight", true)) return;
    MtpModule module;
    module.embedding_norm = loader.vector(prefix + ".enorm.weight", spec_.hidden_size);
    module.hidden_norm = loader.vector(prefix + ".hnorm.weight", spec_.hidden_size);
    module.eh_proj = loader.matrix(prefix + ".eh_proj", spec_.hidden_size, 2 * spec_.hidden_size);
    module.layer = load_layer(loader, prefix, spec_, spec_.moe.num_experts > 0, kv_layout_);
    module.final_norm = loader.vector(prefix + ".shared_head.norm.weight", spec_.hidden_size);
    loader.skip_copy(prefix + ".embed_tokens", spec_.vocab_size, spec_.hidden_size);
    loader.skip_copy(prefix + ".shared_head.head", spec_.vocab_size, spec_.hidden_size);
    mtp_.push_back(std::move(module));
  }
}

void Decoder::write_logits(const Step& step, const TensorView& x, const TensorView& logits) const {
  const int64_t rows = logits.empty() ? 0 : logits.shape[0];
  // Only the first rank has the head; a plan of another one asks for logits all the same.
  if (rows == 0 || head_.view.format == nullptr) return;
  auto scope = step.workspace.scope();
  TensorView wanted = step.workspace.tensor(Dtype::kF32, {rows, spec_.hidden_size});
  step.stream.gather_rows({.x = x, .rows = step.batch.logit_rows.device, .out = wanted});
  step.stream.matmul({.x = wanted, .w = head_.view, .out = logits});
}

void Decoder::forward(const ForwardArgs& args) const {
  const Step step{args.stream, args.workspace,   args.batch,       args.cache,
                  spec_,       rope_table_.view, args.communicator};
  auto scope = step.workspace.scope();
  const int64_t tokens = args.batch.num_tokens;
  TensorView h = step.workspace.tensor(Dtype::kF32, {tokens, spec_.hidden_size});
  TensorView x = args.hidden.empty()
                     ? step.workspace.tensor(Dtype::kF32, {tokens, spec_.hidden_size})
                     : args.hidden;

  step.stream.embed({.table = embedding_.view, .ids = args.batch.token_ids.device, .out = h});
  step.stream.rms_norm({.x = h,
                        .weight = layers_.front().attention_norm.view,
                        .epsilon = spec_.rms_norm_eps,
                        .out = x});
  for (size_t l = 0; l < layers_.size(); ++l) {
    const DecoderLayer* next = l + 1 == layers_.size() ? nullptr : &layers_[l + 1];
    run_layer(step, layers_[l], next == nullptr ? final_norm_ : next->attention_norm, next, h, x);
  }
  write_logits(step, x, args.logits);
}

void Decoder::forward_mtp(const MtpArgs& args) const {
  const MtpModule& module = mtp_[static_cast<size_t>(args.module)];
  const Step step{args.stream, args.workspace,   args.batch,       args.cache,
                  spec_,       rope_table_.view, args.communicator};
  auto scope = step.workspace.scope();
  const int64_t tokens = args.batch.num_tokens;
  const int64_t hidden = spec_.hidden_size;
  TensorView u = args.state_out.empty() ? step.workspace.tensor(Dtype::kF32, {tokens, hidden})
                                        : args.state_out;
  TensorView x = step.workspace.tensor(Dtype::kF32, {tokens, hidden});
  {
    auto pair_scope = step.workspace.scope();
    TensorView pair = step.workspace.tensor(Dtype::kF32, {tokens, 2 * hidden});
    const TensorView embedded = pair.slice(1, 0, hidden);
    step.stream.embed(
        {.table = embedding_.view, .ids = args.batch.token_ids.device, .out = embedded});
    step.stream.rms_norm({.x = embedded,
                          .weight = module.embedding_norm.view,
                          .epsilon = spec_.rms_norm_eps,
                          .out = embedded});
    step.stream.rms_norm({.x = args.state,
                          .weight = module.hidden_norm.view,
                          .epsilon = spec_.rms_norm_eps,
                          .out = pair.slice(1, hidden, hidden)});
    step.stream.matmul({.x = pair, .w = module.eh_proj.view, .out = u});
  }
  step.stream.rms_norm({.x = u,
                        .weight = module.layer.attention_norm.view,
                        .epsilon = spec_.rms_norm_eps,
                        .out = x});
  run_layer(step, module.layer, module.final_norm, nullptr, u, x);
  write_logits(step, x, args.logits);
}

std::unique_ptr<Model> build_decoder(const ModelSpec& spec, weights::WeightLoader& loader,
                                     const BuildOptions& options) {
  return std::make_unique<Decoder>(spec, loader, options);
}

}  // namespace ferry::nn
