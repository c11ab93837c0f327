// The fields that say how tokens are chosen and when an answer ends; the OpenAI routes share them.
// What a request leaves out is as the model's own generation config has it.
#pragma once

#include "server/api/fields.h"
#include "server/api/served_model.h"

namespace ferry::server::api {

inline constexpr int64_t kMaxChoices = 16;  // "n"

// Fails where names are strict and "model" is none of them.
void check_model(Fields& body, const ServedModel& model);

// temperature, top_p, top_k, min_p, presence/frequency/repetition penalties, logit_bias, seed.
SamplingParams read_sampling(Fields& body, const ServedModel& model);

// stop, and what other servers have beside it: stop_token_ids, min_tokens, ignore_eos. Without
// max_tokens, which has several names.
StopConditions read_stop(Fields& body);

// `key`: a string or an array of strings, at most 16.
std::vector<std::string> read_stop_strings(Fields& body, std::string_view key);

// user_id and user: requests of different users share nothing in the prefix cache.
std::string read_cache_scope(Fields& body);

// Choices of one request draw apart: the seed of choice i is seed + i.
void offset_seed(SamplingParams& sampling, size_t choice);

}  // namespace ferry::server::api
