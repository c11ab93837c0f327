// The MODEL argument of commands that look into a model instead of running it.
#pragma once

#include <string>

#include "base/result.h"
#include "disk/model_source.h"

namespace ferry::cmd {

// disk::open_model, and the built-in model for "" and "demo".
Result<disk::ModelSource> open_model_argument(const std::string& argument,
                                              const disk::OpenOptions& options = {});

inline constexpr const char* kModelHelp =
    "A directory, a .gguf, an alias, or org/name in the Hugging Face cache; "
    "without one, the built-in model";

}  // namespace ferry::cmd
