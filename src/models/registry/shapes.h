// Public shapes: the config.json of well-known open-weight models, by short name. Their numbers,
// not their weights: memory plans and `ferry synth` are made from them. One file each in
// data/shapes/.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "weights/shape_recorder.h"

namespace ferry::models {

struct PublicShape {
  std::string_view name;         // "deepseek-v2-lite", lower case
  std::string_view config_json;  // as the model's publisher has it, canonical keys
};

// Sorted by name, numbers in names by value.
std::span<const PublicShape> public_shapes();

// nullptr if unknown. Names compare without regard to case.
const PublicShape* find_public_shape(std::string_view name);

// The config of that name. Error: unknown; the message lists the names there are.
Result<Json> public_shape_config(std::string_view name);

struct TensorListOptions {
  bool split_kv_b = false;  // as GGUF has it (weights/shape_recorder.h)
  bool mtp = false;         // the tensors of multi-token prediction too
};

// Every tensor of a model with this config, in the order its architecture asks for them.
Result<std::vector<weights::TensorRecord>> list_tensors(const Json& config,
                                                        const TensorListOptions& options = {});

// Norms, biases and routers included; scales of quantised formats are not parameters.
int64_t count_parameters(std::span<const weights::TensorRecord> tensors);

}  // namespace ferry::models
