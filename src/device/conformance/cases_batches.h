// The batches that attention cases run on: what a scheduler sends, and its edges.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "device/conformance/data.h"

namespace ferry {

struct BatchShape {
  std::string_view name;
  int64_t block_size;
  std::vector<SequenceShape> sequences;
};

std::span<const BatchShape> batch_shapes();
// Prompts of some hundred tokens, as kernels for long ones take them in tiles of queries and pieces
// of keys.
std::span<const BatchShape> long_prompt_shapes();

}  // namespace ferry
