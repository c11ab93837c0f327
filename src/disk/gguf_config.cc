// See hf_config.h: GGUF key-values → config.json. Numbers that only change their name are in
// gguf_config_keys.h; what needs thought is here.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <span>

#include "base/quote_name.h"
#include "disk/gguf_config_keys.h"
#include "disk/gguf_names.h"
#include "disk/hf_config.h"

namespace ferry::disk {
namespace {

constexpr double kDefaultBetaFast = 32.0;
constexpr double kDefaultBetaSlow = 1.0;
constexpr int64_t kMaxFrequencyFactors = 4096;
constexpr int64_t kMaxModules = 3;  // of DeepSeek-V4: DSpark's stages

class FromGguf {
 public:
  FromGguf(const GgufMetadata& metadata, const Checkpoint& checkpoint, std::string architecture)
      : metadata_(metadata), checkpoint_(checkpoint), architecture_(std::move(architecture)) {}

  Result<Json> run() {
    FERRY_TRY(const uint64_t gate, metadata_.get_u64_or(key("expert_gating_func"), kSoftmaxGate));
    out_ = Json::object();
    out_["model_type"] = std::string(*model_type_of_gguf(architecture_, gate == kSigmoidGate));
    FERRY_TRY_VOID(copy(kCommonKeys));
    FERRY_TRY_VOID(layers());
    FERRY_TRY_VOID(vocabulary());
    FERRY_TRY_VOID(is_mla(architecture_) ? latent_attention() : grouped_attention());
    FERRY_TRY_VOID(rope());
    if (architecture_ == "qwen3moe") FERRY_TRY_VOID(qwen_experts());
    if (is_deepseek(architecture_)) FERRY_TRY_VOID(deepseek_experts(gate));
    if (architecture_ == "deepseek32") FERRY_TRY_VOID(copy(kIndexerKeys));
    if (architecture_ == "deepseek4") FERRY_TRY_VOID(deepseek_v4());
    if (architecture_ == "llama") FERRY_TRY_VOID(llama());
    return std::move(out_);
  }

 private:
  std::string key(std::string_view suffix) const {
    return fmt::format("{}.{}", architecture_, suffix);
  }
  bool has(std::string_view suffix) const { return metadata_.has(key(suffix)); }
  Result<int64_t> count(std::string_view suffix) const { return metadata_.get_i64(key(suffix)); }
  Result<int64_t> count_or(std::string_view suffix, int64_t fallback) const {
    return metadata_.get_i64_or(key(suffix), fallback);
  }

  Status copy(std::span<const KeyPair> pairs) {
    for (const KeyPair& pair : pairs) {
      if (!pair.required && !has(pair.gguf)) continue;
      const std::string hf(pair.hf);
      if (pair.kind == KeyKind::kInt) {
        FERRY_TRY(out_[hf], count(pair.gguf));
      } else if (pair.kind == KeyKind::kFloat) {
        FERRY_TRY(out_[hf], metadata_.get_f64(key(pair.gguf)));
      } else {
        FERRY_TRY(out_[hf], metadata_.get_bool(key(pair.gguf)));
      }
    }
    return {};
  }

  Status layers() {
    FERRY_TRY(const int64_t layers, gguf_num_layers(metadata_, architecture_));
    out_["num_hidden_layers"] = layers;
    if (is_deepseek(architecture_)) {
      FERRY_TRY(const int64_t blocks, count("block_count"));
      out_["num_nextn_predict_layers"] = blocks - layers;
    }
    return {};
  }

  Status vocabulary() {
    const bool v4 = architecture_ == "deepseek4";
    const FileTensor* embedding =
        checkpoint_.find(v4 ? "embed.weight" : "model.embed_tokens.weight");
    if (has("vocab_size")) {
      FERRY_TRY(out_["vocab_size"], count("vocab_size"));
    } else if (embedding != nullptr && !embedding->shape.empty()) {
      out_["vocab_size"] = embedding->shape.front();
    } else if (const GgufValue* tokens = metadata_.find("tokenizer.ggml.tokens")) {
      out_["vocab_size"] = tokens->count;
    }
    const FileTensor* output = checkpoint_.find(v4 ? "head.weight" : "lm_head.weight");
    out_["tie_word_embeddings"] = output == nullptr;
    if (metadata_.has("tokenizer.ggml.bos_token_id")) {
      FERRY_TRY(out_["bos_token_id"], metadata_.get_i64("tokenizer.ggml.bos_token_id"));
    }
    return end_tokens();
  }

  // eos_token_id: one number, or a list where the file names several ways to end.
  Status end_tokens() {
    Json ends = Json::array();
    for (const char* name : {"eos", "eot", "eom"}) {
      const std::string token_key = fmt::format("tokenizer.ggml.{}_token_id", name);
      if (!metadata_.has(token_key)) continue;
      FERRY_TRY(const int64_t id, metadata_.get_i64(token_key));
      if (std::find(ends.begin(), ends.end(), Json(id)) == ends.end()) ends.push_back(id);
    }
    if (ends.size() == 1) out_["eos_token_id"] = ends[0];
    if (ends.size() > 1) out_["eos_token_id"] = ends;
    return {};
  }

  Status grouped_attention() {
    FERRY_TRY(const int64_t heads, count("attention.head_count"));
    FERRY_TRY(out_["num_key_value_heads"], count_or("attention.head_count_kv", heads));
    if (has("attention.key_length")) {
      FERRY_TRY(const int64_t head_dim, count("attention.key_length"));
      FERRY_TRY(const int64_t value_dim, count_or("attention.value_length", head_dim));
      if (head_dim != value_dim) {
        return unsupported("{}: key_length {} and value_length {} differ", metadata_.path(),
                           head_dim, value_dim);
      }
      out_["head_dim"] = head_dim;
    }
    out_["attention_bias"] = checkpoint_.find("model.layers.0.self_attn.q_proj.bias") != nullptr;
    return {};
  }

  // Files that split kv_b store the sizes of the absorbed form (one head as wide as the latent) and
  // the real head sizes under …_mla; older files store the real ones.
  Status latent_attention() {
    FERRY_TRY(const int64_t heads, count("attention.head_count"));
    FERRY_TRY(const int64_t rope_dim, count("rope.dimension_count"));
    const char* key_name =
        has("attention.key_length_mla") ? "attention.key_length_mla" : "attention.key_length";
    const char* value_name =
        has("attention.value_length_mla") ? "attention.value_length_mla" : "attention.value_length";
    FERRY_TRY(const int64_t key_dim, count(key_name));
    FERRY_TRY(const int64_t value_dim, count(value_name));
    if (rope_dim < 0 || key_dim <= rope_dim) {
      return invalid_input("{}: key {}: {} does not leave room for {} rotary entries",
                           metadata_.path(), quote_name(key(key_name)), key_dim, rope_dim);
    }
    FERRY_TRY(out_["kv_lora_rank"], count("attention.kv_lora_rank"));
    FERRY_TRY(const int64_t q_rank, count_or("attention.q_lora_rank", 0));
    out_["q_lora_rank"] = q_rank == 0 ? Json(nullptr) : Json(q_rank);
    out_["num_key_value_heads"] = heads;
    out_["qk_rope_head_dim"] = rope_dim;
    out_["qk_nope_head_dim"] = key_dim - rope_dim;
    out_["v_head_dim"] = value_dim;
    return {};
  }

  Status rope() {
    if (!out_.contains("rope_theta")) out_["rope_theta"] = 10000.0;
    out_["rope_scaling"] = nullptr;
    FERRY_TRY(const auto type, metadata_.get_string_or(key("rope.scaling.type"), "none"));
    if (type != "none") FERRY_TRY_VOID(rope_scaling(std::string(type)));
    return frequency_factors();
  }

  Status rope_scaling(const std::string& type) {
    Json scaling = Json::object();
    scaling["type"] = type;
    scaling["rope_type"] = type;
    FERRY_TRY(scaling["factor"], metadata_.get_f64(key("rope.scaling.factor")));
    if (type == "yarn") {
      FERRY_TRY(scaling["original_max_position_embeddings"],
                count("rope.scaling.original_context_length"));
      FERRY_TRY(scaling["beta_fast"],
                metadata_.get_f64_or(key("rope.scaling.yarn_beta_fast"), kDefaultBetaFast));
      FERRY_TRY(scaling["beta_slow"],
                metadata_.get_f64_or(key("rope.scaling.yarn_beta_slow"), kDefaultBetaSlow));
    } else if (type != "linear") {
      return unsupported("{}: key {}: rope scaling {}, expected none, linear or yarn",
                         metadata_.path(), quote_name(key("rope.scaling.type")), quote_name(type));
    }
    // Every published model has mscale = mscale_all_dim, and GGUF keeps only the latter.
    if (has("rope.scaling.yarn_log_multiplier")) {
      FERRY_TRY(const double stored, metadata_.get_f64(key("rope.scaling.yarn_log_multiplier")));
      scaling["mscale"] = scaling["mscale_all_dim"] = tidy_quotient(stored, kMscaleUnit);
    }
    out_["rope_scaling"] = std::move(scaling);
    return {};
  }

  // a / b to the seven digits that an f32 can carry: 0.0707 / 0.1 is 0.707.
  static double tidy_quotient(double a, double b) {
    return std::strtod(fmt::format("{:.7g}", a / b).c_str(), nullptr);
  }

  Status frequency_factors() {
    const FileTensor* tensor = checkpoint_.find("rope_freqs.weight");
    if (tensor == nullptr) return {};
    const int64_t size = tensor->num_elements();
    if (tensor->format->name != "F32" || size > kMaxFrequencyFactors) {
      return invalid_input("{}: expected at most {} F32 numbers, found {} {}",
                           checkpoint_.where(*tensor), kMaxFrequencyFactors, tensor->format->name,
                           tensor->shape_text());
    }
    Json factors = Json::array();
    for (int64_t i = 0; i < size; ++i) {
      float factor;
      std::memcpy(&factor, tensor->data.data() + i * sizeof factor, sizeof factor);
      if (!std::isfinite(factor) || factor <= 0) {
        return invalid_input("{}: expected positive numbers, found {} at {}",
                             checkpoint_.where(*tensor), factor, i);
      }
      factors.push_back(factor);
    }
    out_["rope_frequency_factors"] = std::move(factors);
    return {};
  }

  Status qwen_experts() {
    FERRY_TRY_VOID(copy(kQwenMoeKeys));
    // GGUF has no keys for these; every model of this architecture has the same values.
    out_["norm_topk_prob"] = true;
    out_["decoder_sparse_step"] = 1;
    out_["mlp_only_layers"] = Json::array();
    return {};
  }

  Status deepseek_experts(uint64_t gate) {
    const auto* name = std::find_if(std::begin(kGates), std::end(kGates),
                                    [&](const GateName& item) { return item.gguf == gate; });
    if (name == std::end(kGates)) {
      return unsupported("{}: key {}: unknown gating function {}", metadata_.path(),
                         quote_name(key("expert_gating_func")), gate);
    }
    out_["scoring_func"] = std::string(name->hf);
    out_["routed_scaling_factor"] = 1.0;
    out_["norm_topk_prob"] = false;
    FERRY_TRY_VOID(copy(kDeepseekMoeKeys));
    if (architecture_ == "deepseek4") {
      out_["topk_method"] = "noaux_tc";
      return {};
    }
    out_["n_group"] = out_["topk_group"] = 1;
    out_["first_k_dense_replace"] = 0;
    out_["moe_layer_freq"] = 1;
    // The first files of V3 and R1 do not say their groups. Of the models with a sigmoid gate,
    // those with 256 experts are V3's and have eight groups, of which four are kept.
    if (gate == kSigmoidGate && !has("expert_group_count") && out_["n_routed_experts"] == 256) {
      out_["n_group"] = 8;
      out_["topk_group"] = 4;
    }
    FERRY_TRY_VOID(copy(kDeepseekGroupKeys));
    const bool grouped = out_["n_group"].get<int64_t>() > 1;
    out_["topk_method"] = gate == kSigmoidGate ? "noaux_tc"
                          : grouped            ? "group_limited_greedy"
                                               : "greedy";
    return {};
  }

  Status deepseek_v4() {
    FERRY_TRY_VOID(copy(kIndexerKeys));
    FERRY_TRY_VOID(copy(kV4Keys));
    FERRY_TRY(auto ratios, metadata_.get_ints(key("attention.compress_ratios")));
    // Files without the prediction modules still have an entry for each.
    FERRY_TRY(const int64_t blocks, count("block_count"));
    const int64_t behind = std::ssize(ratios) - blocks;
    if (behind > 0 && behind <= kMaxModules && out_["num_nextn_predict_layers"] == 0) {
      ratios.resize(static_cast<size_t>(blocks));
    }
    out_["compress_ratios"] = ratios;
    FERRY_TRY(const auto limits, metadata_.get_floats(key("swiglu_clamp_exp")));
    if (!limits.empty()) out_["swiglu_limit"] = limits.front();
    return {};
  }

  Status llama() {
    FERRY_TRY(const int64_t experts, count_or("expert_count", 0));
    if (experts > 0) {
      return unsupported("{}: architecture \"llama\" with {} experts", metadata_.path(), experts);
    }
    out_["rope_interleaved"] = true;
    return {};
  }

  const GgufMetadata& metadata_;
  const Checkpoint& checkpoint_;
  const std::string architecture_;
  Json out_;
};

}  // namespace

Result<int64_t> gguf_num_layers(const GgufMetadata& metadata, std::string_view architecture) {
  const auto key = [&](std::string_view suffix) {
    return fmt::format("{}.{}", architecture, suffix);
  };
  FERRY_TRY(const int64_t blocks, metadata.get_i64(key("block_count")));
  FERRY_TRY(const int64_t nextn, metadata.get_i64_or(key("nextn_predict_layers"), 0));
  if (nextn < 0 || nextn >= blocks) {
    return invalid_input("{}: key {}: {} of {} blocks", metadata.path(),
                         quote_name(key("nextn_predict_layers")), nextn, blocks);
  }
  return blocks - nextn;
}

Result<Json> config_from_gguf(const GgufMetadata& metadata, const Checkpoint& checkpoint) {
  FERRY_TRY(const std::string_view architecture, metadata.get_string("general.architecture"));
  if (!model_type_of_gguf(architecture, false)) {
    return unsupported("{}: architecture {} is not one that ferry knows", metadata.path(),
                       quote_name(architecture));
  }
  return FromGguf(metadata, checkpoint, std::string(architecture)).run();
}

}  // namespace ferry::disk
