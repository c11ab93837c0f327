// GET models and models/{id}; POST tokenize and detokenize. Lists of models satisfy both OpenAI's
// and Anthropic's clients: the fields of the two do not collide.
#pragma once

#include <string_view>

#include "server/api/exchange.h"
#include "server/api/served_model.h"

namespace ferry::server::api {

Reply list_models(const ServedModel& model);
// Errors: 404 model_not_found.
ApiResult<Reply> get_model(const ServedModel& model, std::string_view id);

// {"prompt": text} or {"messages", "tools"?} → {"tokens", "count", "max_model_len"}, with
// "token_strs" where return_token_strs is true. "content" is another name for "prompt".
ApiResult<Reply> tokenize_text(const ServedModel& model, std::string_view body);
// {"tokens"} → {"prompt", "content"}, which are the same text under the names of two other servers.
ApiResult<Reply> detokenize_ids(const ServedModel& model, std::string_view body);

}  // namespace ferry::server::api
