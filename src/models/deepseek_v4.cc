// DeepSeek-V4 Flash and Pro (DeepSeek-AI 2026). MODELS §6. The residual is four streams joined by
// hyper-connections; attention reads one shared vector per key, in a window and, behind it, in
// compressed entries; every layer is a mixture of experts, the first ones routed by token id.
//
//   X_j = Embed[token], j = 0 … 3
//   per layer:  y = Σ pre_j X_j;  o = Attention(norm(y));  X = post ⊗ o + Cᵀ X
//               y = Σ pre_j X_j;  o = MoE(norm(y));        X = post ⊗ o + Cᵀ X
//   logits = W_head · norm(Σ pre_j X_j)
//
// A prediction module (MTP) is one more layer, with a window alone, on the streams as the last
// layer left them; head_hyper and norm are its own, embedding and head the model's:
//
//   Z_j = W_e norm(Embed[t_{i+1}]) + W_h norm(X_{i,j})
//
// Names of tensors and config keys are those of the publisher's own files.
#include <cmath>
#include <optional>
#include <utility>

#include "base/quote_name.h"
#include "models/table.h"
#include "nn/clamped_moe.h"
#include "nn/config_parts.h"
#include "nn/hyper.h"
#include "nn/rope.h"
#include "nn/window_attention.h"

namespace ferry::models {
namespace {

constexpr int64_t kMaxRatio = 4096;
constexpr int64_t kMaxStreams = 16;

// One entry per layer, those of prediction modules behind them. DSpark's drafter has three stages
// there, which its own keys announce; the number of modules means nothing then.
void read_ratios(nn::ConfigReader& reader, nn::ModelSpec& spec) {
  const bool dspark = reader.has("dspark_block_size");
  const int64_t behind = dspark ? 3 : spec.num_nextn_predict_layers;
  if (dspark) {
    spec.num_nextn_predict_layers = 0;
    spec.left_out = "DSpark's drafter (mtp.*); answers do not depend on it";
  }
  std::vector<int64_t> ratios = reader.integers_or_one("compress_ratios", 0, kMaxRatio);
  if (!reader.ok()) return;
  const auto expected = static_cast<size_t>(spec.num_hidden_layers + behind);
  if (ratios.size() != expected) {
    reader.fail("compress_ratios",
                fmt::format("found {} numbers, expected {}: {} layers and {} behind them",
                            ratios.size(), expected, spec.num_hidden_layers, behind));
  }
  if (reader.ok() && !dspark && behind > 0 && ratios.back() != 0) {
    reader.fail("compress_ratios",
                fmt::format("found {} for the prediction module, expected 0", ratios.back()));
  }
  ratios.resize(static_cast<size_t>(spec.num_hidden_layers));
  for (const int64_t ratio : ratios) {
    if (ratio == 0 || ratio >= nn::kOverlappingRatio) continue;
    reader.fail("compress_ratios",
                fmt::format("found {}, expected 0 or at least {}", ratio, nn::kOverlappingRatio));
  }
  spec.window.ratios = std::move(ratios);
}

void read_attention(nn::ConfigReader& reader, nn::ModelSpec& spec) {
  nn::WindowSpec& window = spec.window;
  spec.attention = nn::AttentionKind::kWindow;
  spec.num_attention_heads = reader.integer("num_attention_heads", 1, nn::kMaxHeads);
  spec.num_key_value_heads = reader.integer_or("num_key_value_heads", 1, 1, 1);
  spec.head_dim = reader.integer("head_dim", 4, nn::kMaxHeadDim);
  window.rope_dim = reader.integer("qk_rope_head_dim", 2, nn::kMaxHeadDim);
  window.q_lora_rank = reader.integer("q_lora_rank", 1, nn::kMaxHiddenSize);
  window.o_groups = reader.integer("o_groups", 1, nn::kMaxHeads);
  window.o_lora_rank = reader.integer("o_lora_rank", 1, nn::kMaxHiddenSize);
  window.window = reader.integer("sliding_window", 1, nn::kMaxPositions);
  if (reader.ok() && (window.rope_dim % 2 != 0 || window.rope_dim >= spec.head_dim)) {
    reader.fail("qk_rope_head_dim",
                fmt::format("found {}, expected an even number below head_dim {}", window.rope_dim,
                            spec.head_dim));
  }
  if (reader.ok() && spec.num_attention_heads % window.o_groups != 0) {
    reader.fail("o_groups", fmt::format("found {}, expected a divisor of num_attention_heads {}",
                                        window.o_groups, spec.num_attention_heads));
  }
  spec.attention_scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(spec.head_dim)));
  // The scaling is for layers with entries, and has no factor on cosine and sine.
  spec.rope.dim = window.rope_dim;
  spec.rope.layout = RopeLayout::kInterleaved;
  nn::read_rope(reader, spec);
  window.entry_rope = spec.rope;
  window.entry_rope.amplitude = 1.0;
  window.entry_rope.theta = reader.number("compress_rope_theta", 1.0 + 1e-6, 1e12);
  spec.rope = {
      .dim = window.rope_dim, .theta = spec.rope.theta, .layout = RopeLayout::kInterleaved};
  read_ratios(reader, spec);
}

void read_entry_indexer(nn::ConfigReader& reader, nn::ModelSpec& spec) {
  nn::IndexerSpec& indexer = spec.indexer;
  indexer.num_heads = reader.integer("index_n_heads", 1, nn::kMaxHeads);
  indexer.head_dim = reader.integer("index_head_dim", 1, nn::kMaxHeadDim);
  indexer.top_k = reader.integer("index_topk", 1, nn::kMaxPositions / nn::kOverlappingRatio - 1);
  if (reader.ok() && indexer.head_dim < spec.window.rope_dim) {
    reader.fail("index_head_dim", fmt::format("found {}, expected at least qk_rope_head_dim {}",
                                              indexer.head_dim, spec.window.rope_dim));
  }
}

void read_experts(nn::ConfigReader& reader, nn::ModelSpec& spec) {
  nn::read_deepseek_moe(reader, spec);
  nn::MoeSpec& moe = spec.moe;
  if (reader.ok() && moe.num_experts == 0) {
    reader.fail("n_routed_experts", "found nothing; every layer is a mixture of experts");
  }
  moe.has_bias = true;
  moe.gate.score = GateScore::kSqrtSoftplus;
  moe.gate.renormalize = reader.boolean_or("norm_topk_prob", true);
  moe.num_hash_layers = reader.integer_or("num_hash_layers", 0, 0, spec.num_hidden_layers);
  moe.swiglu_limit = static_cast<float>(reader.number("swiglu_limit", 1e-3, 1e6));
  const std::string scoring = reader.string_or("scoring_func", "sqrtsoftplus");
  if (scoring != "sqrtsoftplus") {
    reader.fail(
        unsupported("scoring_func: found {}, expected \"sqrtsoftplus\"", quote_name(scoring)));
  }
}

Result<nn::ModelSpec> read_spec(const Json& config) {
  nn::ConfigReader reader(config);
  nn::ModelSpec spec;
  spec.architecture = "deepseek_v4";
  nn::read_common(reader, spec, nn::DenseLayers::kNone);
  spec.num_nextn_predict_layers = reader.integer_or("num_nextn_predict_layers", 0, 0, 1);
  read_attention(reader, spec);
  read_entry_indexer(reader, spec);
  read_experts(reader, spec);
  spec.hyper.streams = reader.integer("hc_mult", 1, kMaxStreams);
  spec.hyper.sinkhorn_iterations = reader.integer("hc_sinkhorn_iters", 1, 1000);
  spec.hyper.epsilon = static_cast<float>(reader.number_or("hc_eps", 1e-6, 1e-20, 1.0));
  return nn::finish_spec(reader, std::move(spec));
}

struct Layer {
  int64_t ratio = 0;
  nn::HyperConnection attention_hyper, ffn_hyper;
  weights::Vector attention_norm, ffn_norm;
  nn::WindowAttention attention;
  nn::ClampedMoe ffn;
};

Layer load_layer(weights::WeightLoader& loader, const std::string& prefix,
                 const nn::ModelSpec& spec, int64_t ratio, bool hashed, nn::KvLayout& layout) {
  Layer layer{.ratio = ratio};
  layer.attention_hyper = nn::load_hyper(loader, prefix + ".hc_attn", spec, false);
  layer.attention_norm = loader.vector(prefix + ".attn_norm.weight", spec.hidden_size);
  layer.attention = nn::load_window_attention(loader, prefix + ".attn", spec, ratio, layout);
  layer.ffn_hyper = nn::load_hyper(loader, prefix + ".hc_ffn", spec, false);
  layer.ffn_norm = loader.vector(prefix + ".ffn_norm.weight", spec.hidden_size);
  layer.ffn = nn::load_clamped_moe(loader, prefix + ".ffn", spec, hashed);
  return layer;
}

struct V4Module {
  weights::Vector embedding_norm, state_norm;  // enorm, hnorm
  Weight e_proj, h_proj;                       // [hidden, hidden]
  Layer layer;
  nn::HyperConnection head_hyper;
  weights::Vector final_norm;
};

class DeepseekV4 : public nn::Model {
 public:
  DeepseekV4(nn::ModelSpec spec, weights::WeightLoader& loader, const nn::BuildOptions& options)
      : spec_(std::move(spec)) {
    embedding_ = loader.lookup_table("embed", spec_.vocab_size, spec_.hidden_size);
    for (int64_t l = 0; l < spec_.num_hidden_layers; ++l) {
      layers_.push_back(load_layer(loader, fmt::format("layers.{}", l), spec_,
                                   spec_.window.ratios[static_cast<size_t>(l)],
                                   l < spec_.moe.num_hash_layers, kv_layout_));
    }
    head_hyper_ = nn::load_hyper(loader, "hc_head", spec_, true);
    final_norm_ = loader.vector("norm.weight", spec_.hidden_size);
    head_ = loader.matrix("head", spec_.vocab_size, spec_.hidden_size);
    load_module(loader);
    ones_ = loader.constant(1, spec_.head_dim, [&] {
      return std::vector<float>(static_cast<size_t>(spec_.head_dim), 1.0f);
    });
    if (!ones_.empty()) ones_.view = ones_.view.merge_last();
    const auto rope = [&](const nn::RopeSpec& own) {
      return loader.constant(options.max_context, own.dim,
                             [&] { return nn::rope_table(own, options.max_context); });
    };
    rope_table_ = rope(spec_.rope);
    entry_rope_table_ = rope(spec_.window.entry_rope);
  }

  const nn::ModelSpec& spec() const override { return spec_; }
  const nn::KvLayout& kv_layout() const override { return kv_layout_; }

  void forward(const nn::ForwardArgs& args) const override {
    const nn::Step step{args.stream, args.workspace, args.batch, args.cache, spec_, {}};
    auto scope = step.workspace.scope();
    const int64_t tokens = args.batch.num_tokens;
    const int64_t hidden = spec_.hidden_size;
    TensorView streams = args.mtp_state.empty() ? new_streams(step) : args.mtp_state;
    TensorView x =
        args.hidden.empty() ? step.workspace.tensor(Dtype::kF32, {tokens, hidden}) : args.hidden;
    const TensorView first = streams.slice(1, 0, hidden);
    step.stream.embed({.table = embedding_.view, .ids = args.batch.token_ids.device, .out = first});
    for (int64_t j = 1; j < spec_.hyper.streams; ++j) {
      step.stream.copy({.x = first, .out = streams.slice(1, j * hidden, hidden)});
    }
    for (size_t l = 0; l < layers_.size(); ++l) {
      const Layer* next = l + 1 < layers_.size() ? &layers_[l + 1] : nullptr;
      run_layer(step, layers_[l], next, streams, x);
    }
    nn::collapse(step, head_hyper_, streams, x, {});
    norm(step, final_norm_, x);
    write_logits(step, x, args.logits);
  }

  int64_t num_mtp_modules() const override { return module_.has_value() ? 1 : 0; }
  int64_t mtp_state_size() const override { return spec_.hyper.streams * spec_.hidden_size; }

  void forward_mtp(const nn::MtpArgs& args) const override {
    const nn::Step step{args.stream, args.workspace, args.batch, args.cache, spec_, {}};
    auto scope = step.workspace.scope();
    const int64_t tokens = args.batch.num_tokens;
    TensorView streams = args.state_out.empty() ? new_streams(step) : args.state_out;
    TensorView x = step.workspace.tensor(Dtype::kF32, {tokens, spec_.hidden_size});
    join(step, args.state, streams, x);
    run_layer(step, module_->layer, nullptr, streams, x);
    nn::collapse(step, module_->head_hyper, streams, x, {});
    norm(step, module_->final_norm, x);
    write_logits(step, x, args.logits);
  }

 private:
  // A file may have been stripped of the module its config still announces, or have another drafter
  // in its place.
  void load_module(weights::WeightLoader& loader) {
    const std::string prefix = "mtp.0";
    const int64_t hidden = spec_.hidden_size;
    if (spec_.num_nextn_predict_layers == 0 || !loader.has(prefix + ".e_proj.weight", true)) {
      loader.ignore_all("mtp.");
      return;
    }
    V4Module module;
    module.embedding_norm = loader.vector(prefix + ".enorm.weight", hidden);
    module.state_norm = loader.vector(prefix + ".hnorm.weight", hidden);
    module.e_proj = loader.matrix(prefix + ".e_proj", hidden, hidden);
    module.h_proj = loader.matrix(prefix + ".h_proj", hidden, hidden);
    module.layer = load_layer(loader, prefix, spec_, 0, false, kv_layout_);
    module.head_hyper = nn::load_hyper(loader, prefix + ".hc_head", spec_, true);
    module.final_norm = loader.vector(prefix + ".norm.weight", hidden);
    loader.ignore_all(prefix + ".emb");  // copies of the model's own
    loader.ignore(prefix + ".head.weight");
    module_ = std::move(module);
  }

  TensorView new_streams(const nn::Step& step) const {
    return step.workspace.tensor(Dtype::kF32, {step.batch.num_tokens, mtp_state_size()});
  }

  // Z_j = W_e norm(Embed[t]) + W_h norm(X_j) of the module. state, streams: [T, S · hidden],
  // contiguous; x: [T, hidden], scratch.
  void join(const nn::Step& step, const TensorView& state, const TensorView& streams,
            const TensorView& x) const {
    auto scope = step.workspace.scope();
    const int64_t hidden = spec_.hidden_size;
    const int64_t lanes = spec_.hyper.streams;
    CHECK(state.is_contiguous() && streams.is_contiguous());
    TensorView normed = new_streams(step);
    step.stream.rms_norm({.x = state.split_last(lanes, hidden),
                          .weight = module_->state_norm.view,
                          .epsilon = spec_.rms_norm_eps,
                          .out = normed.split_last(lanes, hidden)});
    const auto rows_of = [&](const TensorView& view) {
      return TensorView::contiguous(view.data, Dtype::kF32, {view.shape[0] * lanes, hidden});
    };
    step.stream.matmul({.x = rows_of(normed), .w = module_->h_proj.view, .out = rows_of(streams)});
    TensorView embedded = step.workspace.tensor(Dtype::kF32, {x.shape[0], hidden});
    step.stream.embed(
        {.table = embedding_.view, .ids = step.batch.token_ids.device, .out = embedded});
    norm(step, module_->embedding_norm, embedded);
    step.stream.matmul({.x = embedded, .w = module_->e_proj.view, .out = x});
    for (int64_t j = 0; j < lanes; ++j) {
      const TensorView stream = streams.slice(1, j * hidden, hidden);
      step.stream.add({.a = stream, .b = x, .out = stream});
    }
  }

  static void norm(const nn::Step& step, const weights::Vector& weight, const TensorView& x) {
    step.stream.rms_norm(
        {.x = x, .weight = weight.view, .epsilon = step.spec.rms_norm_eps, .out = x});
  }

  // `next` is the layer behind, or none; x: [T, hidden], scratch.
  void run_layer(const nn::Step& model_step, const Layer& layer, const Layer* next,
                 const TensorView& streams, const TensorView& x) const {
    const nn::Step step{model_step.stream,
                        model_step.workspace,
                        model_step.batch,
                        model_step.cache,
                        spec_,
                        layer.ratio == 0 ? rope_table_.view : entry_rope_table_.view};
    auto scope = step.workspace.scope();
    const int64_t tokens = x.shape[0];
    const int64_t lanes = spec_.hyper.streams;
    TensorView out = step.workspace.tensor(Dtype::kF32, {tokens, spec_.hidden_size});
    TensorView gates = step.workspace.tensor(Dtype::kF32, {tokens, lanes * (lanes + 1)});
    nn::collapse(step, layer.attention_hyper, streams, x, gates);
    norm(step, layer.attention_norm, x);
    nn::run_window_attention(step, layer.attention, ones_, x, out);
    nn::expand(step, streams, out, gates);
    nn::collapse(step, layer.ffn_hyper, streams, x, gates);
    norm(step, layer.ffn_norm, x);
    nn::NextClampedMoe behind;
    if (next != nullptr) behind = {&next->ffn, &next->ffn_hyper, &next->ffn_norm, streams};
    nn::run_clamped_moe(step, layer.ffn, x, behind, out);
    nn::expand(step, streams, out, gates);
  }

  void write_logits(const nn::Step& step, const TensorView& x, const TensorView& logits) const {
    const int64_t rows = logits.empty() ? 0 : logits.shape[0];
    if (rows == 0) return;
    auto scope = step.workspace.scope();
    TensorView wanted = step.workspace.tensor(Dtype::kF32, {rows, spec_.hidden_size});
    step.stream.gather_rows({.x = x, .rows = step.batch.logit_rows.device, .out = wanted});
    step.stream.matmul({.x = wanted, .w = head_.view, .out = logits});
  }

  nn::ModelSpec spec_;
  nn::KvLayout kv_layout_;
  Weight embedding_;
  std::vector<Layer> layers_;
  nn::HyperConnection head_hyper_;
  weights::Vector final_norm_;
  Weight head_;
  std::optional<V4Module> module_;
  weights::Vector ones_;  // [head_dim]
  weights::Vector rope_table_, entry_rope_table_;
};

std::unique_ptr<nn::Model> build(const nn::ModelSpec& spec, weights::WeightLoader& loader,
                                 const nn::BuildOptions& options) {
  return std::make_unique<DeepseekV4>(spec, loader, options);
}

constexpr std::string_view kModelTypes[] = {"deepseek_v4"};

}  // namespace

const nn::Architecture architecture_deepseek_v4 = {
    .name = "deepseek_v4",
    .model_types = kModelTypes,
    .summary = "DeepSeek-V4 Flash, Pro; compressed attention; BF16, FP8 and FP4; MTP",
    .read_spec = read_spec,
    .build = build,
};

}  // namespace ferry::models
