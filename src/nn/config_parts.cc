// See config_parts.h.
#include "nn/config_parts.h"

#include <algorithm>
#include <cmath>

#include "base/quote_name.h"
#include "nn/rope.h"

namespace ferry::nn {
namespace {

constexpr double kMaxFactor = 1e6;

void read_yarn(ConfigReader& scaling, const ModelSpec& spec, RopeSpec& rope,
               double* mscale_all_dim) {
  rope.scaling = RopeScaling::kYarn;
  rope.factor = scaling.number("factor", 1.0, kMaxFactor);
  rope.original_max_position_embeddings = scaling.integer_or(
      "original_max_position_embeddings", spec.max_position_embeddings, 1, kMaxPositions);
  rope.beta_fast = scaling.number_or("beta_fast", 32.0, 1e-3, 1e6);
  rope.beta_slow = scaling.number_or("beta_slow", 1.0, 1e-3, 1e6);
  if (!scaling.boolean_or("truncate", true)) {
    scaling.fail("truncate", "found false; ferry supports only YaRN with whole dimensions");
  }
  // Published rule: both keys, their ratio; otherwise the general 0.1 · ln f + 1.
  const double mscale = scaling.number_or("mscale", 0.0, 0.0, 100.0);
  *mscale_all_dim = scaling.number_or("mscale_all_dim", 0.0, 0.0, 100.0);
  const double usual =
      mscale != 0.0 && *mscale_all_dim != 0.0
          ? yarn_multiplier(rope.factor, mscale) / yarn_multiplier(rope.factor, *mscale_all_dim)
          : yarn_multiplier(rope.factor, 1.0);
  rope.amplitude = scaling.number_or("attention_factor", usual, 1e-3, 100.0);
}

void read_llama3(ConfigReader& scaling, RopeSpec& rope) {
  rope.scaling = RopeScaling::kLlama3;
  rope.factor = scaling.number("factor", 1.0, kMaxFactor);
  rope.low_freq_factor = scaling.number("low_freq_factor", 1e-3, 1e6);
  rope.high_freq_factor = scaling.number("high_freq_factor", 1e-3, 1e6);
  rope.original_max_position_embeddings =
      scaling.integer("original_max_position_embeddings", 1, kMaxPositions);
  if (scaling.ok() && rope.high_freq_factor <= rope.low_freq_factor) {
    scaling.fail("high_freq_factor", fmt::format("found {}, expected more than low_freq_factor {}",
                                                 rope.high_freq_factor, rope.low_freq_factor));
  }
}

// Which layers attend to a window only: none, in every checkpoint this reads.
void refuse_sliding_window(ConfigReader& reader) {
  if (reader.boolean_or("use_sliding_window", false)) {
    reader.fail(unsupported(
        "use_sliding_window: found true; ferry runs models with full attention in every layer"));
  }
}

}  // namespace

void read_common(ConfigReader& reader, ModelSpec& spec, DenseLayers dense) {
  spec.vocab_size = reader.integer("vocab_size", 1, kMaxVocabSize);
  spec.hidden_size = reader.integer("hidden_size", 1, kMaxHiddenSize);
  spec.num_hidden_layers = reader.integer("num_hidden_layers", 1, kMaxLayers);
  if (dense == DenseLayers::kSome || reader.has("intermediate_size")) {
    spec.intermediate_size = reader.integer("intermediate_size", 1, kMaxIntermediateSize);
  }
  spec.max_position_embeddings = reader.integer("max_position_embeddings", 1, kMaxPositions);
  spec.rms_norm_eps = static_cast<float>(reader.number_or("rms_norm_eps", 1e-6, 1e-20, 1.0));
  spec.tie_word_embeddings = reader.boolean_or("tie_word_embeddings", false);
  spec.bos_token_id = reader.integer_or("bos_token_id", -1, -1, spec.vocab_size - 1);
  spec.eos_token_ids = reader.integers_or_one("eos_token_id", 0, spec.vocab_size - 1);
  spec.layer_is_moe.assign(static_cast<size_t>(spec.num_hidden_layers), false);
  const std::string activation = reader.string_or("hidden_act", "silu");
  if (reader.ok() && activation != "silu") {
    reader.fail(unsupported("hidden_act: found {}, expected \"silu\"", quote_name(activation)));
  }
}

double read_rope(ConfigReader& reader, ModelSpec& spec) {
  const char* key = reader.has("rope_parameters") ? "rope_parameters" : "rope_scaling";
  const Json* object = reader.object(key);
  const Json nothing = Json::object();
  ConfigReader scaling(object != nullptr ? *object : nothing, std::string(key) + ".");
  RopeSpec& rope = spec.rope;
  const bool inside = scaling.has("rope_theta");
  rope.theta = inside ? scaling.number("rope_theta", 1.0 + 1e-6, 1e12)
                      : reader.number_or("rope_theta", 10000.0, 1.0 + 1e-6, 1e12);
  const std::string type = scaling.string_or("rope_type", scaling.string_or("type", "default"));
  double mscale_all_dim = 0.0;
  if (type == "yarn") {
    read_yarn(scaling, spec, rope, &mscale_all_dim);
    const double reach = rope.factor * static_cast<double>(rope.original_max_position_embeddings);
    if (reach < static_cast<double>(kMaxPositions)) {
      spec.max_position_embeddings =
          std::max(spec.max_position_embeddings, static_cast<int64_t>(reach));
    }
  } else if (type == "llama3") {
    read_llama3(scaling, rope);
  } else if (type == "linear") {
    rope.scaling = RopeScaling::kLinear;
    rope.factor = scaling.number("factor", 1e-3, kMaxFactor);
  } else if (type != "default" && scaling.ok()) {
    scaling.fail(unsupported("{}.type: found {}, expected default, linear, llama3 or yarn", key,
                             quote_name(type)));
  }
  if (!scaling.ok()) reader.fail(scaling.status().error());
  rope.frequency_factors = reader.numbers("rope_frequency_factors", rope.dim / 2, 1e-6, 1e6);
  return mscale_all_dim;
}

void read_gqa(ConfigReader& reader, ModelSpec& spec) {
  spec.attention = AttentionKind::kGqa;
  spec.num_attention_heads = reader.integer("num_attention_heads", 1, kMaxHeads);
  spec.num_key_value_heads =
      reader.integer_or("num_key_value_heads", spec.num_attention_heads, 1, kMaxHeads);
  if (reader.ok() && spec.num_attention_heads % spec.num_key_value_heads != 0) {
    reader.fail("num_attention_heads",
                fmt::format("found {}, expected a multiple of num_key_value_heads {}",
                            spec.num_attention_heads, spec.num_key_value_heads));
  }
  const int64_t even_share = spec.hidden_size / spec.num_attention_heads;
  spec.head_dim = reader.integer_or("head_dim", even_share, 2, kMaxHeadDim);
  if (reader.ok() && (spec.head_dim < 2 || spec.head_dim % 2 != 0)) {
    reader.fail("head_dim",
                fmt::format("found {}, expected an even number of at least 2", spec.head_dim));
  }
  if (reader.number_or("partial_rotary_factor", 1.0, 0.0, 1.0) != 1.0) {
    reader.fail(unsupported("partial_rotary_factor: ferry rotates whole heads, expected 1"));
  }
  refuse_sliding_window(reader);
  spec.rope.dim = spec.head_dim;
  spec.rope.layout =
      reader.boolean_or("rope_interleaved", false) ? RopeLayout::kInterleaved : RopeLayout::kHalf;
  read_rope(reader, spec);
  spec.attention_scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(spec.head_dim)));
}

void read_mla(ConfigReader& reader, ModelSpec& spec) {
  spec.attention = AttentionKind::kMla;
  spec.num_attention_heads = reader.integer("num_attention_heads", 1, kMaxHeads);
  MlaSpec& mla = spec.mla;
  mla.q_lora_rank = reader.integer_or("q_lora_rank", 0, 0, kMaxHiddenSize);
  mla.kv_lora_rank = reader.integer("kv_lora_rank", 1, kMaxHiddenSize);
  mla.qk_nope_head_dim = reader.integer("qk_nope_head_dim", 1, kMaxHeadDim);
  mla.qk_rope_head_dim = reader.integer("qk_rope_head_dim", 2, kMaxHeadDim);
  mla.v_head_dim = reader.integer("v_head_dim", 1, kMaxHeadDim);
  if (reader.ok() && mla.qk_rope_head_dim % 2 != 0) {
    reader.fail("qk_rope_head_dim",
                fmt::format("found {}, expected an even number", mla.qk_rope_head_dim));
  }
  if (reader.boolean_or("attention_bias", false)) {
    reader.fail(unsupported("attention_bias: found true; latent attention has no biases here"));
  }
  spec.rope.dim = mla.qk_rope_head_dim;
  spec.rope.layout = RopeLayout::kInterleaved;
  const double mscale_all_dim = read_rope(reader, spec);
  const double correction = yarn_multiplier(spec.rope.factor, mscale_all_dim);
  const double width = static_cast<double>(mla.qk_nope_head_dim + mla.qk_rope_head_dim);
  spec.attention_scale = static_cast<float>(correction * correction / std::sqrt(width));
}

void read_deepseek_moe(ConfigReader& reader, ModelSpec& spec) {
  MoeSpec& moe = spec.moe;
  moe.num_experts = reader.integer_or("n_routed_experts", 0, 0, kMaxExperts);
  if (moe.num_experts == 0) return;
  moe.num_experts_per_tok = reader.integer("num_experts_per_tok", 1, moe.num_experts);
  moe.moe_intermediate_size = reader.integer("moe_intermediate_size", 1, kMaxIntermediateSize);
  const int64_t shared = reader.integer_or("n_shared_experts", 0, 0, 64);
  moe.shared_intermediate_size = shared * moe.moe_intermediate_size;

  GateSpec& gate = moe.gate;
  gate.num_experts = moe.num_experts;
  gate.top_k = moe.num_experts_per_tok;
  gate.num_groups = reader.integer_or("n_group", 1, 1, moe.num_experts);
  gate.top_k_groups = reader.integer_or("topk_group", gate.num_groups, 1, gate.num_groups);
  if (reader.ok() && moe.num_experts % gate.num_groups != 0) {
    reader.fail("n_routed_experts", fmt::format("found {}, expected a multiple of n_group {}",
                                                moe.num_experts, gate.num_groups));
  }
  const int64_t eligible = moe.num_experts / gate.num_groups * gate.top_k_groups;
  if (reader.ok() && gate.top_k > eligible) {
    reader.fail("num_experts_per_tok",
                fmt::format("found {}, expected at most the {} experts of topk_group groups",
                            gate.top_k, eligible));
  }
  gate.renormalize = reader.boolean_or("norm_topk_prob", false);
  gate.scale = static_cast<float>(reader.number_or("routed_scaling_factor", 1.0, -1e6, 1e6));

  const int64_t first = reader.integer_or("first_k_dense_replace", 0, 0, kMaxLayers);
  const int64_t every = reader.integer_or("moe_layer_freq", 1, 1, kMaxLayers);
  for (int64_t layer = first; layer < spec.num_hidden_layers; ++layer) {
    spec.layer_is_moe[static_cast<size_t>(layer)] = layer % every == 0;
  }
}

void read_noaux_gate(ConfigReader& reader, ModelSpec& spec) {
  GateSpec& gate = spec.moe.gate;
  gate.score = GateScore::kSigmoid;
  gate.group_score = GroupScore::kSumOfTopTwo;
  gate.renormalize = reader.boolean_or("norm_topk_prob", true);
  const int64_t group_size = spec.moe.num_experts / gate.num_groups;
  if (reader.ok() && gate.num_groups > 1 && group_size < 2) {
    reader.fail("n_group",
                fmt::format("found {}, expected groups of at least 2 experts", gate.num_groups));
  }
  spec.moe.has_bias = spec.moe.num_experts > 0;
  const std::string method = reader.string_or("topk_method", "noaux_tc");
  if (method != "noaux_tc") {
    reader.fail(unsupported("topk_method: found {}, expected \"noaux_tc\"", quote_name(method)));
  }
  const std::string scoring = reader.string_or("scoring_func", "sigmoid");
  if (scoring != "sigmoid") {
    reader.fail(unsupported("scoring_func: found {}, expected \"sigmoid\"", quote_name(scoring)));
  }
}

void read_indexer(ConfigReader& reader, ModelSpec& spec) {
  IndexerSpec& indexer = spec.indexer;
  indexer.num_heads = reader.integer("index_n_heads", 1, kMaxHeads);
  indexer.head_dim = reader.integer("index_head_dim", 1, kMaxHeadDim);
  indexer.top_k = reader.integer("index_topk", 1, kMaxPositions);
  if (reader.ok() && indexer.head_dim < spec.mla.qk_rope_head_dim) {
    reader.fail("index_head_dim", fmt::format("found {}, expected at least qk_rope_head_dim {}",
                                              indexer.head_dim, spec.mla.qk_rope_head_dim));
  }
  if (reader.ok() && spec.mla.q_lora_rank == 0) {
    reader.fail("q_lora_rank", "found nothing; the indexer reads the query of low rank");
  }
}

Result<ModelSpec> finish_spec(const ConfigReader& reader, ModelSpec spec) {
  if (!reader.ok()) return reader.status().error();
  return spec;
}

}  // namespace ferry::nn
