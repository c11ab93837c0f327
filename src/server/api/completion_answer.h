// The answer of completions: {"object": "text_completion", "choices": [{"text", "index",
// "logprobs", "finish_reason"}]}, whole or in chunks of the same form, with [DONE] at the end.
// Choices are numbered through: those of the first prompt, then those of the second, …
#pragma once

#include <memory>

#include "server/api/completions.h"

namespace ferry::server::api {

std::unique_ptr<Answer> make_completion_answer(const ServedModel& model,
                                               const CompletionBody& body);

}  // namespace ferry::server::api
