// A prompt or an input as OpenAI's completions and embeddings take it: a text, an array of token
// ids, or an array of either.
#pragma once

#include "server/api/fields.h"
#include "server/api/served_model.h"

namespace ferry::server::api {

// At least one prompt, unless there was a failure; at most `max_prompts`.
std::vector<Prompt> read_prompts(Fields& body, std::string_view key, const ServedModel& model,
                                 size_t max_prompts);

// An array of ids of this model's vocabulary.
std::optional<std::vector<int32_t>> read_token_ids(const Json& list, const std::string& path,
                                                   const ServedModel& model, Failure& failure);

}  // namespace ferry::server::api
