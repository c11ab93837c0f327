// See select.h.
#include "models/registry/select.h"

#include <string>
#include <utility>

#include "models/table.h"
#include "nn/config_reader.h"

namespace ferry::models {
namespace {

struct Refusal {
  std::string_view model_type;
  std::string_view reason;
};

constexpr Refusal kRefusals[] = {
    {"deepseek_v32",
     "DeepSeek-V3.2 (V3 with sparse attention chosen by an indexer) is not yet supported; ferry "
     "will "
     "support it"},
    {"deepseek_v4",
     "DeepSeek-V4 (compressed sparse attention, hyper-connections) is not yet supported; ferry "
     "will "
     "support it"},
    {"deepseek_v41", "DeepSeek-V4.1 is another architecture than V4 and is not supported"},
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
        nn::quoted(type));
  }
  std::string known;
  for (const nn::Architecture* architecture : all_architectures()) {
    for (std::string_view name : architecture->model_types) {
      known += (known.empty() ? "" : ", ") + std::string(name);
    }
  }
  return unsupported("model_type {}: unknown; ferry runs {}", nn::quoted(type), known);
}

Result<ScaleBlock> read_scale_block(const Json& config) {
  nn::ConfigReader reader(config);
  const Json* quantization = reader.object("quantization_config");
  if (!reader.ok()) return reader.status().error();
  if (quantization == nullptr) return ScaleBlock{};
  const std::string path = "quantization_config.";
  nn::ConfigReader inner(*quantization, path);
  const std::string method = inner.string_or("quant_method", "fp8");
  if (inner.ok() && method == "compressed-tensors") {
    return unsupported(
        "{}quant_method: found \"compressed-tensors\" (packed INT4 experts, as of "
        "Kimi-K2-Thinking); ferry reads BF16, FP8 and GGUF",
        path);
  }
  if (inner.ok() && method != "fp8") {
    return unsupported(
        "{}quant_method: found {}, expected \"fp8\"; ferry reads BF16, FP8 and "
        "GGUF",
        path, nn::quoted(method));
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
