// ModelSource: everything on disk that belongs to one model, found and read. The one door to it:
// whatever a user may write for a model (a path, an alias, a name on the hub) goes through
// open_model(), and what comes out looks the same for both file formats.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "disk/folder.h"
#include "disk/gguf_metadata.h"
#include "disk/hub_cache.h"
#include "disk/tensor_file.h"

namespace ferry::disk {

enum class SourceKind { kHuggingFace, kGguf };

struct ModelSource {
  SourceKind kind = SourceKind::kHuggingFace;
  std::string name;  // for people: "DeepSeek-V2-Lite", "model-Q4_K_M"
  std::string path;  // the folder, or the GGUF file

  Json config = Json::object();  // hf_config.h
  Checkpoint checkpoint;         // Hugging Face names

  // The file that `config` was read from, for messages.
  std::string config_path() const {
    return kind == SourceKind::kGguf ? path : path + "/config.json";
  }

  // Hugging Face: the texts and objects of the files beside the weights. Empty where absent.
  std::string tokenizer_json;
  std::string tokenizer_path;  // for messages
  Json tokenizer_config = Json::object();
  Json generation_config = Json::object();
  // GGUF: the vocabulary is in the key-values.
  std::optional<GgufMetadata> gguf;

  // name → Jinja text, "default" first if there is one. From chat_template.jinja, else
  // tokenizer_config.json, else chat_template.json, or the GGUF key-values.
  std::vector<std::pair<std::string, std::string>> chat_templates;
};

struct OpenOptions {
  // Only the tokenizer is wanted: weights are not read and neither they nor a config need be there.
  bool tokenizer_only = false;
  std::string revision = "main";          // in the Hugging Face cache
  std::optional<HubCache> hub_cache;      // default: HubCache::from_environment()
  std::optional<std::string> alias_file;  // default: user_alias_file()
};

// `argument`: a directory; a .gguf file (any part of a split one); a .safetensors file, its index
// or config.json; an alias; org/name or org/name:FILE from the Hugging Face cache, where FILE is a
// GGUF file there or a part of its name that only it has ("Q4_K_M").
// Errors say what was looked for, and where.
Result<ModelSource> open_model(std::string_view argument, const OpenOptions& options = {});

// The same for a model that is part of the program. REQUIRES: the bytes outlive the source.
Result<ModelSource> open_model_from_memory(std::string name, std::vector<MemoryFile> files,
                                           const OpenOptions& options = {});

}  // namespace ferry::disk
