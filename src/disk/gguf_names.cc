// See gguf_names.h. An entry of a table names a tensor without its ".weight" or ".bias", or, where
// the two sides differ in that as well, with it.
#include "disk/gguf_names.h"

#include <fmt/format.h>

#include <span>

namespace ferry::disk {
namespace {

struct NamePair {
  std::string_view gguf;
  std::string_view hf;

  // Whole names on both sides, endings included.
  constexpr bool is_whole() const { return gguf.ends_with(".weight") || gguf.ends_with(".bias"); }
};

struct Dictionary {
  std::span<const NamePair> globals;
  std::span<const NamePair> per_layer;
  std::string_view hf_layer_prefix;
  // Where modules behind the last layer are not numbered on: what their names begin with, and what
  // only they have.
  std::string_view hf_module_prefix = {};
  std::span<const NamePair> per_module = {};
};

constexpr std::string_view kGgufLayerPrefix = "blk.";
constexpr size_t kMaxLayerDigits = 6;

constexpr NamePair kGlobals[] = {
    {"token_embd", "model.embed_tokens"},
    {"output_norm", "model.norm"},
    {"output", "lm_head"},
    {"rope_freqs", "rope_freqs"},
};

constexpr NamePair kPerLayer[] = {
    {"attn_norm", "input_layernorm"},
    {"ffn_norm", "post_attention_layernorm"},
    {"attn_q", "self_attn.q_proj"},
    {"attn_k", "self_attn.k_proj"},
    {"attn_v", "self_attn.v_proj"},
    {"attn_qkv", "self_attn.qkv_proj"},
    {"attn_output", "self_attn.o_proj"},
    {"attn_q_norm", "self_attn.q_norm"},
    {"attn_k_norm", "self_attn.k_norm"},
    {"ffn_gate", "mlp.gate_proj"},
    {"ffn_up", "mlp.up_proj"},
    {"ffn_down", "mlp.down_proj"},
    // Mixture of experts
    {"ffn_gate_inp", "mlp.gate"},
    {"exp_probs_b.bias", "mlp.gate.e_score_correction_bias"},
    {"ffn_gate_exps", "mlp.experts.gate_proj"},
    {"ffn_up_exps", "mlp.experts.up_proj"},
    {"ffn_down_exps", "mlp.experts.down_proj"},
    {"ffn_gate_up_exps", "mlp.experts.gate_up_proj"},
    {"ffn_gate_shexp", "mlp.shared_experts.gate_proj"},
    {"ffn_up_shexp", "mlp.shared_experts.up_proj"},
    {"ffn_down_shexp", "mlp.shared_experts.down_proj"},
    // Latent attention
    {"attn_q_a", "self_attn.q_a_proj"},
    {"attn_q_a_norm", "self_attn.q_a_layernorm"},
    {"attn_q_b", "self_attn.q_b_proj"},
    {"attn_kv_a_mqa", "self_attn.kv_a_proj_with_mqa"},
    {"attn_kv_a_norm", "self_attn.kv_a_layernorm"},
    {"attn_kv_b", "self_attn.kv_b_proj"},
    {"attn_k_b", "self_attn.k_b_proj"},
    {"attn_v_b", "self_attn.v_b_proj"},
    // DeepSeek-V3.2's indexer
    {"indexer.k_norm", "self_attn.indexer.k_norm"},
    {"indexer.proj", "self_attn.indexer.weights_proj"},
    {"indexer.attn_k", "self_attn.indexer.wk"},
    {"indexer.attn_q_b", "self_attn.indexer.wq_b"},
    // Multi-token prediction
    {"nextn.eh_proj", "eh_proj"},
    {"nextn.enorm", "enorm"},
    {"nextn.hnorm", "hnorm"},
    {"nextn.embed_tokens", "embed_tokens"},
    {"nextn.shared_head_head", "shared_head.head"},
    {"nextn.shared_head_norm", "shared_head.norm"},
};

constexpr NamePair kV4Globals[] = {
    {"token_embd", "embed"},
    {"output_norm", "norm"},
    {"output", "head"},
    {"output_hc_fn.weight", "hc_head_fn"},
    {"output_hc_base.weight", "hc_head_base"},
    {"output_hc_scale.weight", "hc_head_scale"},
};

constexpr NamePair kV4PerLayer[] = {
    {"attn_norm", "attn_norm"},
    {"ffn_norm", "ffn_norm"},
    {"attn_sinks.weight", "attn.attn_sink"},
    {"attn_q_a", "attn.wq_a"},
    {"attn_q_a_norm", "attn.q_norm"},
    {"attn_q_b", "attn.wq_b"},
    {"attn_kv", "attn.wkv"},
    {"attn_kv_a_norm", "attn.kv_norm"},
    {"attn_output_a", "attn.wo_a"},
    {"attn_output_b", "attn.wo_b"},
    {"attn_compressor_ape.weight", "attn.compressor.ape"},
    {"attn_compressor_kv", "attn.compressor.wkv"},
    {"attn_compressor_gate", "attn.compressor.wgate"},
    {"attn_compressor_norm", "attn.compressor.norm"},
    {"indexer.attn_q_b", "attn.indexer.wq_b"},
    {"indexer.proj", "attn.indexer.weights_proj"},
    {"indexer_compressor_ape.weight", "attn.indexer.compressor.ape"},
    {"indexer_compressor_kv", "attn.indexer.compressor.wkv"},
    {"indexer_compressor_gate", "attn.indexer.compressor.wgate"},
    {"indexer_compressor_norm", "attn.indexer.compressor.norm"},
    {"ffn_gate_inp", "ffn.gate"},
    {"exp_probs_b.bias", "ffn.gate.bias"},
    {"ffn_gate_tid2eid.weight", "ffn.gate.tid2eid"},
    {"ffn_gate_exps", "ffn.experts.w1"},
    {"ffn_down_exps", "ffn.experts.w2"},
    {"ffn_up_exps", "ffn.experts.w3"},
    {"ffn_gate_shexp", "ffn.shared_experts.w1"},
    {"ffn_down_shexp", "ffn.shared_experts.w2"},
    {"ffn_up_shexp", "ffn.shared_experts.w3"},
    {"hc_attn_fn.weight", "hc_attn_fn"},
    {"hc_attn_base.weight", "hc_attn_base"},
    {"hc_attn_scale.weight", "hc_attn_scale"},
    {"hc_ffn_fn.weight", "hc_ffn_fn"},
    {"hc_ffn_base.weight", "hc_ffn_base"},
    {"hc_ffn_scale.weight", "hc_ffn_scale"},
};

// Of a prediction module of DeepSeek-V4, beside those of any layer. Files that fuse both
// projections into nextn.eh_proj have no head_hyper of the module's own: nothing is run from them.
constexpr NamePair kV4Module[] = {
    {"nextn.e_proj", "e_proj"},
    {"nextn.h_proj", "h_proj"},
    {"nextn.eh_proj", "eh_proj"},
    {"nextn.enorm", "enorm"},
    {"nextn.hnorm", "hnorm"},
    {"nextn.hc_head_fn.weight", "hc_head_fn"},
    {"nextn.hc_head_base.weight", "hc_head_base"},
    {"nextn.hc_head_scale.weight", "hc_head_scale"},
    {"nextn.shared_head_norm", "norm"},
    {"nextn.shared_head_head", "head"},
    {"nextn.embed_tokens", "emb.tok_emb"},
};

constexpr Dictionary kDictionary = {kGlobals, kPerLayer, "model.layers."};
constexpr Dictionary kV4Dictionary = {kV4Globals, kV4PerLayer, "layers.", "mtp.", kV4Module};

struct ArchitecturePair {
  std::string_view gguf;
  std::string_view model_type;
  const Dictionary* dictionary;
};

// The first line of a GGUF name is the one that stands for it when the gate is softmax.
constexpr ArchitecturePair kArchitectures[] = {
    {"llama", "llama", &kDictionary},
    {"qwen2", "qwen2", &kDictionary},
    {"qwen3", "qwen3", &kDictionary},
    {"qwen3moe", "qwen3_moe", &kDictionary},
    {"deepseek2", "deepseek_v2", &kDictionary},
    {"deepseek2", "deepseek_v3", &kDictionary},
    {"deepseek2", "kimi_k2", &kDictionary},
    {"deepseek32", "deepseek_v32", &kDictionary},
    {"deepseek4", "deepseek_v4", &kV4Dictionary},
};

const Dictionary* find_dictionary(std::string_view architecture) {
  for (const ArchitecturePair& pair : kArchitectures) {
    if (pair.gguf == architecture) return pair.dictionary;
  }
  return nullptr;
}

// Translates by one table in one direction: the whole name, else its stem with the same ending.
std::optional<std::string> translate(std::span<const NamePair> table, std::string_view name,
                                     std::string_view NamePair::*from,
                                     std::string_view NamePair::*to) {
  for (const NamePair& pair : table) {
    if (pair.is_whole() && pair.*from == name) return std::string(pair.*to);
  }
  const size_t dot = name.rfind('.');
  if (dot == std::string_view::npos) return std::nullopt;
  const std::string_view stem = name.substr(0, dot);
  const std::string_view ending = name.substr(dot);
  // The last two stand beside NVFP4: a factor of the weight, and one for its rounded input.
  if (ending != ".weight" && ending != ".bias" && ending != ".scale" && ending != ".input_scale") {
    return std::nullopt;
  }
  for (const NamePair& pair : table) {
    if (!pair.is_whole() && pair.*from == stem) return fmt::format("{}{}", pair.*to, ending);
  }
  return std::nullopt;
}

// "blk.12.attn_q.weight" → {"12", "attn_q.weight"}.
struct LayerName {
  std::string_view number;  // at most kMaxLayerDigits
  std::string_view rest;

  int64_t index() const {
    int64_t value = 0;
    for (const char digit : number) value = value * 10 + (digit - '0');
    return value;
  }
};

std::optional<LayerName> split_layer(std::string_view name, std::string_view prefix) {
  if (!name.starts_with(prefix)) return std::nullopt;
  name.remove_prefix(prefix.size());
  const size_t digits = name.find_first_not_of("0123456789");
  if (digits == 0 || digits == std::string_view::npos || digits > kMaxLayerDigits) {
    return std::nullopt;
  }
  if (name[digits] != '.' || (name[0] == '0' && digits > 1)) return std::nullopt;
  return LayerName{name.substr(0, digits), name.substr(digits + 1)};
}

}  // namespace

std::optional<std::string_view> model_type_of_gguf(std::string_view architecture,
                                                   bool sigmoid_gate) {
  if (architecture == "deepseek2" && sigmoid_gate) return "deepseek_v3";
  for (const ArchitecturePair& pair : kArchitectures) {
    if (pair.gguf == architecture) return pair.model_type;
  }
  return std::nullopt;
}

std::optional<std::string_view> gguf_architecture_of(std::string_view model_type) {
  for (const ArchitecturePair& pair : kArchitectures) {
    if (pair.model_type == model_type) return pair.gguf;
  }
  return std::nullopt;
}

std::optional<std::string> tensor_name_from_gguf(std::string_view architecture,
                                                 std::string_view name, int64_t num_layers) {
  const Dictionary* dictionary = find_dictionary(architecture);
  if (dictionary == nullptr) return std::nullopt;
  const auto layer = split_layer(name, kGgufLayerPrefix);
  if (!layer) return translate(dictionary->globals, name, &NamePair::gguf, &NamePair::hf);
  int64_t number = layer->index();
  std::string_view prefix = dictionary->hf_layer_prefix;
  auto rest = translate(dictionary->per_layer, layer->rest, &NamePair::gguf, &NamePair::hf);
  if (number >= num_layers && !dictionary->hf_module_prefix.empty()) {
    number -= num_layers;
    prefix = dictionary->hf_module_prefix;
    if (!rest) {
      rest = translate(dictionary->per_module, layer->rest, &NamePair::gguf, &NamePair::hf);
    }
  }
  if (!rest) return std::nullopt;
  return fmt::format("{}{}.{}", prefix, number, *rest);
}

std::optional<std::string> tensor_name_to_gguf(std::string_view architecture, std::string_view name,
                                               int64_t num_layers) {
  const Dictionary* dictionary = find_dictionary(architecture);
  if (dictionary == nullptr) return std::nullopt;
  auto layer = split_layer(name, dictionary->hf_layer_prefix);
  int64_t first = 0;
  if (!layer && !dictionary->hf_module_prefix.empty()) {
    layer = split_layer(name, dictionary->hf_module_prefix);
    first = num_layers;
  }
  if (!layer) return translate(dictionary->globals, name, &NamePair::hf, &NamePair::gguf);
  auto rest = translate(dictionary->per_layer, layer->rest, &NamePair::hf, &NamePair::gguf);
  if (!rest && first > 0) {
    rest = translate(dictionary->per_module, layer->rest, &NamePair::hf, &NamePair::gguf);
  }
  if (!rest) return std::nullopt;
  return fmt::format("{}{}.{}", kGgufLayerPrefix, first + layer->index(), *rest);
}

}  // namespace ferry::disk
