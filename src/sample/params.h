// Checks on sampling and stop fields, before a request is taken. Messages begin with the name of
// the field and say what was found and what is allowed, so that a server can point at it.
#pragma once

#include "base/result.h"
#include "ferry/sampling.h"

namespace ferry::sample {

inline constexpr int64_t kMaxLogprobs = 20;
inline constexpr size_t kMaxStopStrings = 16;
inline constexpr size_t kMaxStopStringBytes = 1024;
inline constexpr size_t kMaxStopTokenIds = 256;

// `vocab_size`: ids the tokenizer knows.
Status validate(const SamplingParams& params, int64_t vocab_size);
Status validate(const StopConditions& stop, int64_t vocab_size);

}  // namespace ferry::sample
