// Which files of a repository `ferry pull` fetches.
//
// Without a name, of the top folder: config.json, generation_config.json, tokenizer*.json,
// chat_template*.{jinja,json}, *.safetensors and *.safetensors.index.json. A repository of GGUF
// files has many models in it; one of them is named by file, or by a part of its name ("Q4_K_M").
// All parts of a split model belong together.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "cmd/hub_api.h"

namespace ferry::cmd {

// A GGUF file with all its parts.
struct GgufModel {
  std::string path;  // of the first part
  int64_t bytes = 0;
  std::vector<HubFile> parts;
};

struct HubChoice {
  std::vector<HubFile> files;  // empty: nothing was chosen, `problem` says why
  std::string gguf;            // path of the first part when a GGUF model was chosen
  std::string problem;
  std::vector<GgufModel> candidates;  // what to choose from
};

// `wanted` is what stands behind the colon of ORG/NAME:FILE, "" for nothing.
// Error: there is no such file, nothing that ferry can read, or a part is missing.
Result<HubChoice> choose_files(const std::vector<HubFile>& files, const std::string& wanted);

}  // namespace ferry::cmd
