// Four-bit integers as compressed-tensors packs them ("pack-quantized", Kimi-K2-Thinking's
// experts), beside what is not packed:
//   NAME.weight_packed  I32 [rows, cols / 8], eight codes in each
//   NAME.weight_scale   [rows, cols / group], a scale per group of columns
//   NAME.weight_shape   [2]: rows, cols
#pragma once

#include "base/json.h"
#include "disk/tensor_file.h"

namespace ferry::disk {

// Makes every NAME.weight_packed the NAME.weight [rows, cols] in format INT4 that it stands for, if
// `config` says that the checkpoint is one of compressed-tensors; the scales and the shape keep
// their names. Errors: a packed tensor of another type or shape, a NAME.weight there already.
Status unpack_int4_names(const Json& config, Checkpoint* checkpoint);

}  // namespace ferry::disk
