// See model_routes.h.
#include "server/api/model_routes.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>

#include "base/quote_name.h"
#include "server/api/chat_completions.h"
#include "server/api/chat_messages.h"
#include "server/api/prompts.h"
#include "server/api/sampling_fields.h"
#include "server/api/tools.h"

namespace ferry::server::api {
namespace {

Json model_json(const ServedModel& model, const std::string& name) {
  return {{"id", name},
          {"object", "model"},
          {"created", model.created},
          {"owned_by", "ferry"},
          {"max_model_len", model.info.max_context},
          {"type", "model"},
          {"display_name", name},
          {"created_at", fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(model.created))}};
}

Prompt read_tokenize_prompt(Fields& body, const ServedModel& model) {
  if (body.has("messages")) {
    ChatAsk ask;
    read_messages(body, ask);
    read_chat_tools(body, ask);
    ask.thinking = model.thinking;
    return to_requests(ask, 1)[0].prompt;
  }
  TextPrompt prompt;
  const std::string key = body.has("content") ? "content" : "prompt";
  prompt.text = body.required_string(key);
  const bool special = body.boolean("add_special_tokens").value_or(true);
  prompt.add_special = body.boolean("add_special").value_or(special);
  prompt.parse_special = body.boolean("parse_special").value_or(true);
  return prompt;
}

}  // namespace

Reply list_models(const ServedModel& model) {
  Json body{{"object", "list"}, {"data", Json::array()}};
  for (const std::string& name : model.names) body["data"].push_back(model_json(model, name));
  body["has_more"] = false;
  body["first_id"] = model.names.front();
  body["last_id"] = model.names.back();
  return Body{dump(body)};
}

ApiResult<Reply> get_model(const ServedModel& model, std::string_view id) {
  const auto found = std::find(model.names.begin(), model.names.end(), id);
  if (found != model.names.end()) return Reply(Body{dump(model_json(model, *found))});
  return ApiError{
      404,
      fmt::format("model: {} is not served here; {} is", quote_name(id), quote_name(model.name())),
      "model", "model_not_found"};
}

ApiResult<Reply> tokenize_text(const ServedModel& model, std::string_view text) {
  ApiResult<Json> json = parse_body(text);
  if (!json.ok()) return std::move(json).error();
  Failure failure;
  Fields body(*json, "", failure);
  check_model(body, model);
  const Prompt prompt = read_tokenize_prompt(body, model);
  const bool with_strings = body.boolean("return_token_strs").value_or(false);
  if (failure.has_value()) return *failure;
  const auto ids = model.tokenize(prompt);
  if (!ids.ok()) return from_engine(ids.error());
  Json out{{"count", ids->size()}, {"max_model_len", model.info.max_context}, {"tokens", *ids}};
  if (with_strings) {
    out["token_strs"] = Json::array();
    for (const int32_t id : *ids) out["token_strs"].push_back(model.token_bytes(id));
  }
  return Reply(Body{dump(out)});
}

ApiResult<Reply> detokenize_ids(const ServedModel& model, std::string_view text) {
  ApiResult<Json> json = parse_body(text);
  if (!json.ok()) return std::move(json).error();
  Failure failure;
  Fields body(*json, "", failure);
  check_model(body, model);
  std::vector<int32_t> ids;
  const Json* tokens = body.required_array("tokens");
  if (tokens != nullptr && !tokens->empty()) {
    ids = read_token_ids(*tokens, "tokens", model, failure).value_or(std::vector<int32_t>());
  }
  if (failure.has_value()) return *failure;
  const auto out = model.detokenize(ids);
  if (!out.ok()) return from_engine(out.error());
  return Reply(Body{dump({{"prompt", *out}, {"content", *out}})});
}

}  // namespace ferry::server::api
