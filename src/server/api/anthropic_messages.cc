// See anthropic_messages.h.
#include "server/api/anthropic_messages.h"

#include "server/api/anthropic_answer.h"
#include "server/api/anthropic_input.h"
#include "server/api/sampling_fields.h"

namespace ferry::server::api {
namespace {

void read_thinking_budget(Fields& body, const ServedModel& model, AnthropicBody& out) {
  std::optional<std::string> type;
  if (const Json* thinking = body.object("thinking")) {
    Fields fields(*thinking, "thinking", body.failure());
    type = fields.one_of("type", {"enabled", "disabled", "adaptive"});
    if (!type.has_value()) fields.fail(missing_field("thinking.type"));
    fields.integer("budget_tokens", 1, INT64_MAX);
  }
  // Without a word about it there is none, as in Anthropic's own API.
  const bool wanted = type.has_value() ? *type != "disabled" : model.thinking.value_or(false);
  out.show_thinking = wanted;
  // What a model without the choice makes of it is its own affair.
  if (model.can_think) out.ask.thinking = wanted;
}

// {"type": "json_schema", "schema": {…}}
void read_output_format(Fields& holder, std::string_view key, ChatAsk& ask) {
  const Json* format = holder.object(key);
  if (format == nullptr) return;
  Fields fields(*format, holder.path(key), holder.failure());
  if (!fields.one_of("type", {"json_schema"}).has_value()) {
    return fields.fail(missing_field(fields.path("type")));
  }
  const Json* schema = fields.object("schema");
  if (schema == nullptr) return fields.fail(missing_field(fields.path("schema")));
  ask.constraint =
      Constraint{.kind = Constraint::kJsonSchema, .text = dump(*schema), .choices = {}};
}

void read_output(Fields& body, const ServedModel& model, ChatAsk& ask) {
  read_output_format(body, "output_format", ask);
  const Json* config = body.object("output_config");
  if (config == nullptr) return;
  Fields fields(*config, "output_config", body.failure());
  read_effort(fields, "effort", model, ask);
  read_output_format(fields, "format", ask);
}

// metadata.user_id: who asks; the prefix cache is shared inside one user's requests only.
std::string read_user(Fields& body) {
  const Json* metadata = body.object("metadata");
  if (metadata == nullptr) return {};
  Fields fields(*metadata, "metadata", body.failure());
  return fields.string("user_id").value_or("").substr(0, 512);
}

}  // namespace

ApiResult<AnthropicBody> read_anthropic_body(const ServedModel& model, std::string_view text,
                                             bool counting) {
  ApiResult<Json> json = parse_body(text);
  if (!json.ok()) return std::move(json).error();
  Failure failure;
  Fields body(*json, "", failure);
  check_model(body, model);
  AnthropicBody out;
  ChatAsk& ask = out.ask;
  ask.stop.max_tokens = body.integer("max_tokens", 1, INT64_MAX).value_or(0);
  if (!counting && ask.stop.max_tokens == 0) body.fail(missing_field("max_tokens"));
  read_anthropic_messages(body, ask);
  read_anthropic_tools(body, ask);
  out.stream = body.boolean("stream").value_or(false);
  ask.sampling = read_sampling(body, model);
  ask.stop.strings = read_stop_strings(body, "stop_sequences");
  read_thinking_budget(body, model, out);
  read_output(body, model, ask);
  ask.cache_scope = read_user(body);
  if (failure.has_value()) return *failure;
  return out;
}

ApiResult<Reply> anthropic_messages(const ServedModel& model, std::string_view text) {
  ApiResult<AnthropicBody> body = read_anthropic_body(model, text, false);
  if (!body.ok()) return std::move(body).error();
  Job job;
  job.requests = to_requests(body->ask, 1);
  job.stream = body->stream;
  job.answer = make_anthropic_answer(model, *body);
  return Reply(std::move(job));
}

ApiResult<Reply> anthropic_count_tokens(const ServedModel& model, std::string_view text) {
  ApiResult<AnthropicBody> body = read_anthropic_body(model, text, true);
  if (!body.ok()) return std::move(body).error();
  const Result<std::vector<int32_t>> tokens =
      model.tokenize(to_requests(body->ask, 1).front().prompt);
  if (!tokens.ok()) return from_engine(tokens.error());
  return Reply(Body{dump({{"input_tokens", tokens->size()}})});
}

}  // namespace ferry::server::api
