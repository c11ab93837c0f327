// The built-in model (demo/): a small DeepSeek-V3-architecture reasoning model that is part of the
// binary, so that `ferry run` answers before anything was downloaded.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "ferry/ferry.h"

namespace ferry::cmd {

// What commands call the model when none was named, and the name that asks for it.
inline constexpr std::string_view kBuiltinModelName = "demo";

std::vector<ModelFile> builtin_model_files();

// True for "" and "demo": the built-in model is meant.
bool is_builtin_model(std::string_view argument);

}  // namespace ferry::cmd
