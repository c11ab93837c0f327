// QuantMix: which storage format each tensor of a GGUF file gets when it is quantised under a name
// such as Q4_K_M, as the files that people publish have it: most matrices in one format, a better
// one where errors cost most (the output, attention values, down projections of some layers), plain
// F32 for norms, biases and routers. Blocks of 256 do not fit every width; such matrices get the
// format of blocks of 32 that is nearest in size.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "nn/model_spec.h"
#include "quant/storage_format.h"
#include "weights/shape_recorder.h"

namespace ferry::cmd {

struct MixEntry;

class QuantMix {
 public:
  // "Q4_K_M", "Q8_0", "BF16", …, in any case. `pure`: one format for every matrix, no better one
  // anywhere. Errors list the names there are.
  static Result<QuantMix> find(std::string_view name, bool pure);

  // REQUIRES: `tensor` is one of a model with this spec, under its Hugging Face name
  const quant::StorageFormat& format_of(const weights::TensorRecord& tensor,
                                        const nn::ModelSpec& spec) const;

  std::string_view name() const;
  uint32_t gguf_file_type() const;  // general.file_type

 private:
  QuantMix(const MixEntry* entry, bool pure) : entry_(entry), pure_(pure) {}
  std::string_view wanted(const weights::TensorRecord& tensor, const nn::ModelSpec& spec) const;

  const MixEntry* entry_;
  bool pure_;
};

// "model.layers.12.mlp…" or "layers.12.ffn…" → 12; -1: of no layer.
int64_t layer_of(std::string_view tensor_name);

// "Q2_K, Q3_K_S, …": for messages and help.
std::string quant_mix_names();

}  // namespace ferry::cmd
