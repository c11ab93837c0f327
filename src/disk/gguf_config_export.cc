// See hf_config.h: config.json → GGUF key-values.
#include <algorithm>
#include <limits>
#include <span>
#include <vector>

#include "base/quote_name.h"
#include "disk/gguf_config_keys.h"
#include "disk/gguf_names.h"
#include "disk/hf_config.h"

namespace ferry::disk {
namespace {

class ToGguf {
 public:
  ToGguf(const Json& config, std::string architecture)
      : config_(config), architecture_(std::move(architecture)) {}

  Result<GgufKeyValues> run() {
    out_.add_string("general.architecture", architecture_);
    out_.add_string("general.type", "model");
    FERRY_TRY(const int64_t layers, json_int(config_, "num_hidden_layers"));
    FERRY_TRY(const int64_t nextn, json_int_or(config_, "num_nextn_predict_layers", 0));
    FERRY_TRY_VOID(add_count("block_count", layers + nextn));
    if (nextn > 0) FERRY_TRY_VOID(add_count("nextn_predict_layers", nextn));
    FERRY_TRY_VOID(copy(kCommonKeys));
    FERRY_TRY(const int64_t vocab_size, json_int(config_, "vocab_size"));
    FERRY_TRY_VOID(add_count("vocab_size", vocab_size));
    FERRY_TRY_VOID(is_mla(architecture_) ? latent_attention() : grouped_attention());
    FERRY_TRY_VOID(rope_scaling());
    if (architecture_ == "qwen3moe") FERRY_TRY_VOID(copy(kQwenMoeKeys));
    if (is_deepseek(architecture_)) FERRY_TRY_VOID(deepseek_experts());
    if (architecture_ == "deepseek32") FERRY_TRY_VOID(copy(kIndexerKeys));
    if (architecture_ == "deepseek4") FERRY_TRY_VOID(deepseek_v4(layers + nextn));
    return std::move(out_);
  }

 private:
  std::string key(std::string_view suffix) const {
    return fmt::format("{}.{}", architecture_, suffix);
  }

  Status add_count(std::string_view suffix, int64_t value) {
    if (value < 0 || value > std::numeric_limits<uint32_t>::max()) {
      return invalid_input("{}: {} does not fit into 32 bits", suffix, value);
    }
    out_.add_u32(key(suffix), static_cast<uint32_t>(value));
    return {};
  }

  Status copy(std::span<const KeyPair> pairs) {
    for (const KeyPair& pair : pairs) {
      if (!pair.required && json_find(config_, pair.hf) == nullptr) continue;
      if (pair.kind == KeyKind::kInt) {
        FERRY_TRY(const int64_t value, json_int(config_, pair.hf));
        FERRY_TRY_VOID(add_count(pair.gguf, value));
      } else if (pair.kind == KeyKind::kFloat) {
        FERRY_TRY(const double value, json_number(config_, pair.hf));
        out_.add_f32(key(pair.gguf), static_cast<float>(value));
      } else {
        FERRY_TRY(const bool value, json_bool(config_, pair.hf));
        out_.add_bool(key(pair.gguf), value);
      }
    }
    return {};
  }

  Status grouped_attention() {
    FERRY_TRY(const int64_t heads, json_int(config_, "num_attention_heads"));
    FERRY_TRY(const int64_t hidden, json_int(config_, "hidden_size"));
    FERRY_TRY(const int64_t kv_heads, json_int_or(config_, "num_key_value_heads",
                                                  architecture_ == "deepseek4" ? 1 : heads));
    if (heads < 1) return invalid_input("num_attention_heads: {}, expected at least 1", heads);
    FERRY_TRY(const int64_t head_dim, json_int_or(config_, "head_dim", hidden / heads));
    FERRY_TRY_VOID(add_count("attention.head_count_kv", kv_heads));
    FERRY_TRY_VOID(add_count("attention.key_length", head_dim));
    FERRY_TRY_VOID(add_count("attention.value_length", head_dim));
    if (architecture_ == "deepseek4") return {};  // which rotates a part of a head
    return add_count("rope.dimension_count", head_dim);
  }

  // The sizes of the absorbed form, and the real head sizes under …_mla.
  Status latent_attention() {
    FERRY_TRY(const int64_t q_rank, json_int_or(config_, "q_lora_rank", 0));
    FERRY_TRY(const int64_t kv_rank, json_int(config_, "kv_lora_rank"));
    FERRY_TRY(const int64_t nope, json_int(config_, "qk_nope_head_dim"));
    FERRY_TRY(const int64_t rope, json_int(config_, "qk_rope_head_dim"));
    FERRY_TRY(const int64_t value, json_int(config_, "v_head_dim"));
    if (q_rank > 0) FERRY_TRY_VOID(add_count("attention.q_lora_rank", q_rank));
    FERRY_TRY_VOID(add_count("attention.head_count_kv", 1));
    FERRY_TRY_VOID(add_count("attention.kv_lora_rank", kv_rank));
    FERRY_TRY_VOID(add_count("attention.key_length", kv_rank + rope));
    FERRY_TRY_VOID(add_count("attention.value_length", kv_rank));
    FERRY_TRY_VOID(add_count("attention.key_length_mla", nope + rope));
    FERRY_TRY_VOID(add_count("attention.value_length_mla", value));
    return add_count("rope.dimension_count", rope);
  }

  Status rope_scaling() {
    const Json* scaling = json_find(config_, "rope_scaling");
    if (scaling == nullptr) return {};
    if (!scaling->is_object()) {
      return invalid_input("rope_scaling: expected an object, found {}", json_type_name(*scaling));
    }
    FERRY_TRY(const std::string type, json_string(*scaling, "type"));
    if (type == "llama3") return {};  // GGUF has the tensor rope_freqs.weight instead
    FERRY_TRY(const double factor, json_number(*scaling, "factor"));
    out_.add_string(key("rope.scaling.type"), type);
    out_.add_f32(key("rope.scaling.factor"), static_cast<float>(factor));
    if (type != "yarn") return {};
    FERRY_TRY(const int64_t context, json_int(*scaling, "original_max_position_embeddings"));
    FERRY_TRY_VOID(add_count("rope.scaling.original_context_length", context));
    for (const char* name : {"beta_fast", "beta_slow"}) {
      if (json_find(*scaling, name) == nullptr) continue;
      FERRY_TRY(const double beta, json_number(*scaling, name));
      out_.add_f32(key(fmt::format("rope.scaling.yarn_{}", name)), static_cast<float>(beta));
    }
    FERRY_TRY(const double mscale, json_number_or(*scaling, "mscale_all_dim", 0.0));
    if (mscale != 0.0) {
      out_.add_f32(key("rope.scaling.yarn_log_multiplier"),
                   static_cast<float>(kMscaleUnit * mscale));
    }
    return {};
  }

  Status deepseek_experts() {
    FERRY_TRY_VOID(copy(kDeepseekMoeKeys));
    FERRY_TRY_VOID(copy(kDeepseekGroupKeys));
    // What each generation does where its config says nothing.
    FERRY_TRY(const std::string model_type, json_string(config_, "model_type"));
    const char* usual = model_type == "deepseek_v2"   ? "softmax"
                        : model_type == "deepseek_v4" ? "sqrtsoftplus"
                                                      : "sigmoid";
    FERRY_TRY(const std::string gate, json_string_or(config_, "scoring_func", usual));
    if (json_find(config_, "norm_topk_prob") == nullptr && model_type != "deepseek_v2") {
      out_.add_bool(key("expert_weights_norm"), true);
    }
    for (const GateName& name : kGates) {
      if (name.hf == gate) return add_count("expert_gating_func", static_cast<int64_t>(name.gguf));
    }
    return unsupported("scoring_func: {}, expected softmax, sigmoid or sqrtsoftplus",
                       quote_name(gate));
  }

  // One limit per block, and at least one ratio.
  Status deepseek_v4(int64_t blocks) {
    FERRY_TRY_VOID(copy(kIndexerKeys));
    FERRY_TRY_VOID(copy(kV4Keys));
    FERRY_TRY(const double limit, json_number(config_, "swiglu_limit"));
    const std::vector<float> limits(static_cast<size_t>(blocks), static_cast<float>(limit));
    out_.add_f32s(key("swiglu_clamp_exp"), limits);
    out_.add_f32s(key("swiglu_clamp_shexp"), limits);
    const Json* ratios = json_find(config_, "compress_ratios");
    if (ratios == nullptr || !ratios->is_array() || std::ssize(*ratios) < blocks) {
      return invalid_input("compress_ratios: expected a number for each of {} blocks", blocks);
    }
    std::vector<int32_t> values;
    for (const Json& ratio : *ratios) {
      if (!ratio.is_number_integer()) return invalid_input("compress_ratios: expected integers");
      values.push_back(ratio.get<int32_t>());
    }
    out_.add_i32s(key("attention.compress_ratios"), values);
    return {};
  }

  const Json& config_;
  const std::string architecture_;
  GgufKeyValues out_;
};

}  // namespace

Result<GgufKeyValues> config_to_gguf(const Json& config) {
  FERRY_TRY(const std::string model_type, json_string(config, "model_type"));
  const auto architecture = gguf_architecture_of(model_type);
  if (!architecture) {
    return unsupported("model_type {}: ferry does not write it as GGUF", quote_name(model_type));
  }
  return ToGguf(config, std::string(*architecture)).run();
}

}  // namespace ferry::disk
