// The table of architectures, generated from models/*.cc.
#pragma once

#include <span>
#include <string_view>

#include "nn/model.h"

namespace ferry::models {

using nn::Architecture;

}  // namespace ferry::models

#include "models_table.inc"

namespace ferry::models {

inline std::span<const Architecture* const> all_architectures() { return kArchitectureTable; }

// nullptr: no architecture of this build calls itself that.
inline const Architecture* find_architecture(std::string_view model_type) {
  for (const Architecture* architecture : all_architectures()) {
    for (std::string_view type : architecture->model_types) {
      if (type == model_type) return architecture;
    }
  }
  return nullptr;
}

}  // namespace ferry::models
