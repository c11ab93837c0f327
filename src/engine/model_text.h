// The text side of a model: its tokenizer, where its texts end and how it wants to be sampled, read
// from whatever the checkpoint has (tokenizer.json and generation_config.json, or GGUF key-values).
#pragma once

#include <cstdint>
#include <vector>

#include "disk/model_source.h"
#include "ferry/sampling.h"
#include "text/tokenizer.h"

namespace ferry::engine {

Result<text::Tokenizer> read_tokenizer(const disk::ModelSource& source);

// eos_token_id of generation_config.json, config.json and the tokenizer, each once, ascending: any
// of them ends a text. Errors: ids that are no integers.
Result<std::vector<int32_t>> read_eos_token_ids(const disk::ModelSource& source,
                                                const text::Tokenizer& tokenizer);

// generation_config.json. do_sample: false is greedy. A file that says nothing about sampling, or
// that is not there, gives temperature 0.7 and top_p 0.95: models are seldom at their best without
// any filter. Errors: values of a wrong type or out of their range.
Result<SamplingParams> read_default_sampling(const disk::ModelSource& source);

}  // namespace ferry::engine
