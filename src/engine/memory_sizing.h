// How long the context and how large the cache of an engine shall be, given the memory there is.
#pragma once

#include <string>

#include "device/backend.h"
#include "ferry/ferry.h"
#include "nn/memory_plan.h"

namespace ferry::engine {

inline constexpr int64_t kDefaultMaxContext = 8192;
// Below, "does not fit" is the better answer.
inline constexpr int64_t kSmallestDefaultContext = 512;

// A step with guesses computes no more tokens than this: on every chip that ferry knows so few cost
// less than as many steps, whatever the model.
inline constexpr int64_t kDraftStepTokens = 16;
// The same for these options; 0: nothing is guessed.
int64_t max_draft_step_tokens(const EngineOptions& options);

// Ranges of the numbers in the options; messages begin with the field.
Status check_options(const EngineOptions& options);

struct Sizing {
  nn::PlanLimits limits;
  nn::MemoryPlan plan;
};

// `model` may come from a measuring loader of `chip`. What the options leave open (0) is chosen:
// the context is halved until one sequence fits, then the cache grows to max_sequences of them as
// long as it takes no more than half of what is left. Errors: kOutOfMemory with the parts of the
// plan and what is free.
Result<Sizing> choose_sizes(const nn::Model& model, const Backend& chip, int64_t weights_bytes,
                            int64_t file_bytes, const EngineOptions& options,
                            const MemoryInfo& memory);

// "file 13.3 MiB; memory: weights 0.1 MiB + cache 42.0 MiB (8192 tokens) + …", one line for people.
// Weights that are used where the file is mapped count in the file only.
std::string describe_plan(const Sizing& sizing, const MemoryInfo& memory, int64_t file_bytes);

Dtype kv_dtype_of(KvDtype dtype);

}  // namespace ferry::engine
