#include "cmd/builtin_model.h"

// From builtin_model.S.
#define FERRY_DEMO_FILE(name)                \
  extern "C" const char ferry_demo_##name[]; \
  extern "C" const char ferry_demo_##name##_end[]
FERRY_DEMO_FILE(config);
FERRY_DEMO_FILE(generation_config);
FERRY_DEMO_FILE(tokenizer);
FERRY_DEMO_FILE(tokenizer_config);
FERRY_DEMO_FILE(model);

namespace ferry::cmd {
namespace {

std::string_view bytes_between(const char* begin, const char* end) {
  return {begin, static_cast<size_t>(end - begin)};
}

}  // namespace

std::vector<ModelFile> builtin_model_files() {
  return {
      {"config.json", bytes_between(ferry_demo_config, ferry_demo_config_end)},
      {"generation_config.json",
       bytes_between(ferry_demo_generation_config, ferry_demo_generation_config_end)},
      {"tokenizer.json", bytes_between(ferry_demo_tokenizer, ferry_demo_tokenizer_end)},
      {"tokenizer_config.json",
       bytes_between(ferry_demo_tokenizer_config, ferry_demo_tokenizer_config_end)},
      {"model.safetensors", bytes_between(ferry_demo_model, ferry_demo_model_end)},
  };
}

bool is_builtin_model(std::string_view argument) {
  return argument.empty() || argument == kBuiltinModelName;
}

}  // namespace ferry::cmd
