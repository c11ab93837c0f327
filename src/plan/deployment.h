// Deployment: a model in a precision, cut over chips in one way; and what it takes of each chip's
// memory.
//
//   chips = tp · dp · pp.  Attention and dense layers are cut over tp and repeated dp times (each
//   copy has its own sequences); routed experts lie once over all tp · dp chips, whole (ep = tp ·
//   dp) or cut further (ep smaller); pp cuts the layers.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "plan/catalogue.h"
#include "plan/model.h"

namespace ferry::plan {

// kFp8: with scales of blocks of 128 × 128, as DeepSeek publishes; kMxFp8: of 32 elements.
enum class Compute : uint8_t { kBf16, kFp8, kMxFp8, kInt8, kFp4 };

struct Precision {
  std::string name;
  std::string other_format = "BF16", expert_format = "BF16", head_format = "BF16";
  double other_bytes = 2;   // per parameter, scales included
  double unread_bytes = 0;  // of other weights, in all: they lie there and no step reads them
  double expert_bytes = 2;
  double head_bytes = 2;       // kept wider than the rest
  double embedding_bytes = 2;  // of the input table
  double kv_bytes = 2;         // per element of the cache; as int8 the engine's scales come on top
  Compute other_compute = Compute::kBf16;
  Compute expert_compute = Compute::kBf16;
  std::optional<Dtype> kv_dtype = Dtype::kBF16;  // nullopt: FP8, which the engine does not have
};

// "bf16", "fp8", "mxfp8", "int8", "fp4", "mxfp4", "int4" (experts, the rest in 8 or 16 bits), any
// format of quant/ for all weights ("Q4_K"; the head in Q6_K or better, as GGUF files have it), or
// two of these: "Q8_0+Q4_K" has its experts in the second. `kv` is "bf16", "fp8", "int8" or "f32".
Result<Precision> find_precision(std::string_view name, std::string_view kv = "bf16");

// The same, and "file" for models on disk: as the file stores each weight, to the byte.
Result<Precision> precision_for(const PlanModel& model, std::string_view name,
                                std::string_view kv = "bf16");

inline constexpr const char* kFilePrecision = "file";

struct Deployment {
  const Chip* chip = nullptr;
  const PlanModel* model = nullptr;
  Precision precision;
  int64_t tp = 1, ep = 1, dp = 1, pp = 1;
  int64_t mtp = 0;              // tokens drafted per step
  double accepted = 0;          // of them, on average
  std::string stack = "tuned";  // or "general": whose overheads apply
  bool balanced = false;        // every expert gets as many tokens, as in forced benchmarks

  int64_t chips() const { return tp * dp * pp; }

  // Of a chip of several devices: with tp, they are cut alike; without, each is a copy of its own.
  int64_t ranks() const { return tp > 1 ? tp * chip->devices : 1; }
  double weight_copies() const { return tp > 1 ? 1 : static_cast<double>(chip->devices); }
  // What a chip holds and reads of the cache of its copy's sequences.
  double kv_share() const;
};

// kInvalidInput for splits that can't be: heads, experts or layers that don't divide.
Status check_deployment(const Deployment& deployment);

struct MemoryOptions {
  int64_t step_tokens = 2048;      // of the largest step, per copy
  double reserve_fraction = 0.06;  // of the chip's memory, for its runtime and fragments
};

// Bytes per chip.
struct MemoryUse {
  double total = 0;
  double expert_weights = 0;
  double other_weights = 0;
  double embeddings = 0;
  double workspace = 0;
  double reserve = 0;
  double kv_per_token = 0;
  double kv_per_sequence = 0;  // whatever its length
  double free_for_kv() const {
    return total - expert_weights - other_weights - embeddings - workspace - reserve;
  }
  double weights() const { return expert_weights + other_weights + embeddings; }
  // Sequences of this length in the whole deployment of `dp` copies; 0 if the weights don't fit.
  int64_t max_sequences(double context, int64_t dp) const;
};

// kUnsupported if the chip's memory is not known.
Result<MemoryUse> memory_of(const Deployment& deployment, const MemoryOptions& options = {});

}  // namespace ferry::plan
