// See select.h.
#include "models/registry/select.h"

#include <string>
#include <utility>

#include "base/quote_name.h"
#include "models/table.h"
#include "nn/config_reader.h"

namespace ferry::models {
namespace {

struct Refusal {
  std::string_view model_type;
  std::string_view reason;
};

constexpr Refusal kRefusals[] = {
    {"deepseek_v41",
     "DeepSeek-V4.1 is another architecture than V4 (shared sources of keys, engram tables) and is "
     "not "
     "supported"},
    {"kimi_k25", "Kimi-K2.5 is a multimodal wrapper; ferry runs text models only"},
    {"kimi_vl", "Kimi-VL is a multimodal model; ferry runs text models only"},
    {"deepseek_vl_v2", "DeepSeek-VL2 is a multimodal model; ferry runs text models only"},
    {"deepseek_vl", "DeepSeek-VL is a multimodal model; ferry runs text models only"},
};

// Class names for configs without a model_type.
constexpr std::pair<std::string_view, std::string_view> kClassNames[] = {
    {"DeepseekV2ForCausalLM", "deepseek_v2"},
    {"DeepseekV3ForCausalLM", "deepseek_v3"},
    {"DeepseekV32ForCausalLM", "deepseek_v32"},
    {"DeepseekV4ForCausalLM", "deepseek_v4"},
    {"LlamaForCausalLM", "llama"},
    {"Qwen2ForCausalLM", "qwen2"},
    {"Qwen3ForCausalLM", "qwen3"},
    {"Qwen3MoeForCausalLM", "qwen3_moe"},
    {"KimiK25ForConditionalGeneration", "kimi_k25"},
};

Result<std::string> read_model_type(const Json& config) {
  if (!config.is_object()) {
    return invalid_input("config: expected an object, found {}", json_type_name(config));
  }
  FERRY_TRY(std::string type, json_string_or(config, "model_type", ""));
  if (!type.empty()) return type;
  const Json* classes = json_find(config, "architectures");
  if (classes == nullptr || !classes->is_array() || classes->empty() ||
      !classes->front().is_string()) {
    return invalid_input(
        "model_type: expected a string, found nothing; nor is there architectures");
  }
  const std::string name = classes->front().get<std::string>();
  for (const auto& [class_name, model_type] : kClassNames) {
    if (class_name == name) return std::string(model_type);
  }
  return name;
}

// V4.1 checkpoints call themselves deepseek_v4; their own keys tell them apart.
bool is_v41(const Json& config) {
  return json_find(config, "kv_source_layer_ids") != nullptr ||
         json_find(config, "engram_config") != nullptr;
}

}  // namespace

Result<const nn::Architecture*> select_architecture(const Json& config) {
  FERRY_TRY(std::string type, read_model_type(config));
  if (type == "deepseek_v4" && is_v41(config)) type = "deepseek_v41";
  if (const nn::Architecture* architecture = find_architecture(type)) return architecture;
  for (const Refusal& refusal : kRefusals) {
    if (refusal.model_type == type) return unsupported("model_type {}: {}", type, refusal.reason);
  }
  if (json_find(config, "text_config") != nullptr ||
      json_find(config, "vision_config") != nullptr) {
    return unsupported(
        "model_type {}: a multimodal wrapper (it has text_config or vision_config); "
        "ferry runs text models only",
        quote_name(type));
  }
  std::string known;
  for (const nn::Architecture* architecture : all_architectures()) {
    for (std::string_view name : architecture->model_types) {
      known += (known.empty() ? "" : ", ") + std::string(name);
    }
  }
  return unsupported("model_type {}: unknown; ferry runs {}", quote_name(type), known);
}

namespace {

Error not_packed_int4(const std::string& key, std::string_view found, std::string_view expected) {
  return unsupported(
      "{}: found {}, expected {}; of compressed-tensors ferry reads symmetric packed INT4 in "
      "groups "
      "of columns",
      key, found, expected);
}

// quantization_config of compressed-tensors: one group of matrices, all packed alike.
Result<ScaleBlock> read_group(const Json& quantization, const std::string& path) {
  nn::ConfigReader outer(quantization, path);
  const std::string format = outer.string_or("format", "");
  const Json* groups = outer.object("config_groups");
  if (!outer.ok()) return outer.status().error();
  if (format != "pack-quantized") {
    return not_packed_int4(path + "format", quote_name(format), "\"pack-quantized\"");
  }
  if (groups == nullptr || groups->size() != 1 || !groups->begin()->is_object()) {
    return not_packed_int4(path + "config_groups",
                           fmt::format("{} groups", groups == nullptr ? 0 : groups->size()),
                           "one group");
  }
  const std::string group_path = path + "config_groups." + quote_name(groups->begin().key()) + ".";
  nn::ConfigReader group(*groups->begin(), group_path);
  const Json* weights = group.object("weights");
  if (!group.ok()) return group.status().error();
  if (weights == nullptr) return not_packed_int4(group_path + "weights", "nothing", "an object");
  const std::string weights_path = group_path + "weights.";
  nn::ConfigReader inner(*weights, weights_path);
  const std::string type = inner.string_or("type", "");
  const std::string strategy = inner.string_or("strategy", "");
  const std::string order = inner.string_or("actorder", "");
  const int64_t bits = inner.integer("num_bits", 1, 64);
  const int64_t size = inner.integer("group_size", 1, 1 << 16);
  const bool symmetric = inner.boolean_or("symmetric", true);
  if (!inner.ok()) return inner.status().error();
  if (type != "int") return not_packed_int4(weights_path + "type", quote_name(type), "\"int\"");
  if (bits != 4) return not_packed_int4(weights_path + "num_bits", fmt::format("{}", bits), "4");
  if (strategy != "group") {
    return not_packed_int4(weights_path + "strategy", quote_name(strategy), "\"group\"");
  }
  if (!symmetric) return not_packed_int4(weights_path + "symmetric", "false", "true");
  if (!order.empty()) return not_packed_int4(weights_path + "actorder", quote_name(order), "null");
  return ScaleBlock{1, size};
}

}  // namespace

Result<ScaleBlock> read_scale_block(const Json& config) {
  nn::ConfigReader reader(config);
  const Json* quantization = reader.object("quantization_config");
  if (!reader.ok()) return reader.status().error();
  if (quantization == nullptr) return ScaleBlock{};
  const std::string path = "quantization_config.";
  nn::ConfigReader inner(*quantization, path);
  const std::string method = inner.string_or("quant_method", "fp8");
  if (inner.ok() && method == "compressed-tensors") return read_group(*quantization, path);
  if (inner.ok() && method != "fp8") {
    return unsupported(
        "{}quant_method: found {}, expected \"fp8\" or \"compressed-tensors\"; ferry "
        "reads BF16, FP8, packed INT4 and GGUF",
        path, quote_name(method));
  }
  const std::vector<int64_t> block = inner.integers_or_one("weight_block_size", 1, 1 << 16);
  if (!inner.ok()) return inner.status().error();
  if (block.empty()) return ScaleBlock{};
  if (block.size() != 2) {
    return invalid_input("{}weight_block_size: found {} numbers, expected 2", path, block.size());
  }
  return ScaleBlock{block[0], block[1]};
}

}  // namespace ferry::models
