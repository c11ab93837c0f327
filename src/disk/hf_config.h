// The configuration of a model, in one form whatever it came from: the keys of a Hugging Face
// config.json. The file itself is made canonical in the few places where exporters disagree, and
// the key-values of a GGUF file are translated.
//
// Beyond what Hugging Face has, a config made from GGUF may hold
//   "rope_interleaved": true            q and k are permuted for interleaved rotation (arch llama)
//   "rope_frequency_factors": [number]  divisors of the rotary frequencies (rope_freqs.weight)
#pragma once

#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"
#include "disk/folder.h"
#include "disk/gguf_metadata.h"
#include "disk/gguf_writer.h"
#include "disk/tensor_file.h"

namespace ferry::disk {

// Reads and canonicalises config.json. Errors begin with its path.
Result<Json> read_hf_config(const Folder& folder);

// `rope_parameters` (transformers 5) becomes `rope_theta` and `rope_scaling`; the scaling's type
// stands under both "type" and "rope_type", and a scaling of type "default" is null; a
// `q_lora_rank` of 0 is null. `path` is for messages.
Result<Json> canonical_config(Json config, const std::string& path);

// Translates the key-values of a GGUF file. `checkpoint` has Hugging Face names already
// (gguf_names.h): whether the output is tied, how large the vocabulary is, is seen there.
// Errors: an architecture without a dictionary (by name), keys that are missing or of a wrong type.
Result<Json> config_from_gguf(const GgufMetadata& metadata, const Checkpoint& checkpoint);

// Layers of the model in a GGUF file, without those of prediction modules behind them. Errors: keys
// that are missing or of a wrong type, as many modules as blocks.
Result<int64_t> gguf_num_layers(const GgufMetadata& metadata, std::string_view architecture);

// The other way: the architecture's key-values for a GGUF export of a model with this config,
// general.architecture first. Tokenizer keys are the caller's.
// Errors: a model type that GGUF has no name for, keys that are missing or of a wrong type.
Result<GgufKeyValues> config_to_gguf(const Json& config);

}  // namespace ferry::disk
