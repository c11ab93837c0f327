// Fuzzes what reads a config: the input is a config.json, which is made canonical, translated to
// GGUF key-values and, cut at its first NUL, also serves as a safetensors index and a tokenizer
// config.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check_message.h"
#include "disk/exercise.h"
#include "disk/hf_config.h"
#include "disk/model_source.h"
#include "disk/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ferry;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const size_t cut = text.find('\0');
  const std::span<const uint8_t> first(data, cut == text.npos ? size : cut);
  const std::span<const uint8_t> second =
      cut == text.npos ? first : std::span<const uint8_t>(data + cut + 1, size - cut - 1);

  const auto folder = disk::Folder::in_memory("fuzz", {{"config.json", first}});
  const auto config = disk::read_hf_config(folder);
  if (ok_or_told(config)) ok_or_told(disk::config_to_gguf(*config));
  disk::exercise(disk::open_model_from_memory("fuzz", {{"config.json", first},
                                                       {"tokenizer_config.json", second},
                                                       {disk::kSafetensorsIndexName, second}}));
  return 0;
}
