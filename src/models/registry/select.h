// Which architecture runs a config.json; and, in this one place, which ones are refused by name and
// why.
#pragma once

#include "base/json.h"
#include "base/result.h"
#include "nn/model.h"

namespace ferry::models {

// By model_type, else by architectures[0]. kUnsupported with the reason for models that ferry knows
// and cannot run.
Result<const nn::Architecture*> select_architecture(const Json& config);

// How much of a matrix one scale is for: FP8's quantization_config.weight_block_size, 128 × 128 if
// not given; one row of group_size columns for the packed INT4 of compressed-tensors. Refuses
// quantisation methods that ferry does not read.
struct ScaleBlock {
  int64_t rows = 128;
  int64_t cols = 128;
};
Result<ScaleBlock> read_scale_block(const Json& config);

}  // namespace ferry::models
