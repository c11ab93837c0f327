// See chat_completions.h.
#include "server/api/chat_completions.h"

#include "server/api/chat_answer.h"
#include "server/api/chat_messages.h"
#include "server/api/sampling_fields.h"
#include "server/api/tools.h"

namespace ferry::server::api {
namespace {

constexpr int64_t kMaxTopLogprobs = 20;

void read_template_variables(Fields& body, ChatAsk& ask) {
  const Json* variables = body.object("chat_template_kwargs");
  if (variables == nullptr) return;
  ask.template_variables = *variables;
  Fields fields(*variables, "chat_template_kwargs", body.failure());
  for (std::string_view key : {"enable_thinking", "thinking"}) {
    if (const Json* value = fields.find(key); value != nullptr && value->is_boolean()) {
      ask.thinking = value->get<bool>();
    }
  }
}

// What is said more directly wins: thinking, then the template's variables, then the effort.
void read_thinking(Fields& body, const ServedModel& model, ChatAsk& ask) {
  read_template_variables(body, ask);
  if (const Json* thinking = body.object("thinking")) {
    Fields fields(*thinking, "thinking", body.failure());
    const auto type = fields.one_of("type", {"enabled", "disabled", "auto", "adaptive"});
    if (!type.has_value()) fields.fail(missing_field("thinking.type"));
    if (type == "enabled" || type == "disabled") ask.thinking = type == "enabled";
  }
  read_effort(body, "reasoning_effort", model, ask);
  if (!ask.thinking.has_value()) ask.thinking = model.thinking;
}

void read_logprobs(Fields& body, SamplingParams& sampling) {
  const bool wanted = body.boolean("logprobs").value_or(false);
  const auto top = body.integer("top_logprobs", 0, kMaxTopLogprobs);
  if (wanted) sampling.logprobs = top.value_or(0);
  if (!wanted && top.value_or(0) > 0) {
    body.fail(invalid_value("top_logprobs", "needs logprobs: true"));
  }
}

void read_stream(Fields& body, ChatBody& out) {
  out.stream = body.boolean("stream").value_or(false);
  const Json* options = body.object("stream_options");
  if (options == nullptr) return;
  if (!out.stream) {
    body.fail(invalid_value("stream_options", "is only allowed with stream: true"));
  }
  Fields fields(*options, "stream_options", body.failure());
  out.include_usage = fields.boolean("include_usage").value_or(false);
}

void refuse_modalities(Fields& body) {
  body.refuse("audio", "is not supported: this model writes text only");
  const Json* modalities = body.array("modalities");
  if (modalities == nullptr) return;
  for (const Json& modality : *modalities) {
    if (modality != "text") {
      body.fail(unsupported_value("modalities", "this model writes text only"));
    }
  }
}

}  // namespace

ApiResult<ChatBody> read_chat_body(const ServedModel& model, std::string_view text) {
  ApiResult<Json> json = parse_body(text);
  if (!json.ok()) return std::move(json).error();
  Failure failure;
  Fields body(*json, "", failure);
  check_model(body, model);
  ChatBody out;
  ChatAsk& ask = out.ask;
  read_messages(body, ask);
  read_stream(body, out);
  out.num_choices = body.integer("n", 1, kMaxChoices).value_or(1);
  ask.sampling = read_sampling(body, model);
  ask.stop = read_stop(body);
  const int64_t max_tokens = body.integer("max_tokens", 1, INT64_MAX).value_or(0);
  ask.stop.max_tokens = body.integer("max_completion_tokens", 1, INT64_MAX).value_or(max_tokens);
  read_logprobs(body, ask.sampling);
  read_chat_tools(body, ask);
  read_response_format(body, ask);
  read_thinking(body, model, ask);
  ask.cache_scope = read_cache_scope(body);
  ask.priority = static_cast<int>(body.integer("priority", -1000, 1000).value_or(0));
  refuse_modalities(body);
  if (failure.has_value()) return *failure;
  return out;
}

ApiResult<Reply> chat_completions(const ServedModel& model, std::string_view text) {
  ApiResult<ChatBody> body = read_chat_body(model, text);
  if (!body.ok()) return std::move(body).error();
  Job job;
  job.requests = to_requests(body->ask, static_cast<size_t>(body->num_choices));
  job.stream = body->stream;
  job.answer = make_chat_answer(model, *body);
  return Reply(std::move(job));
}

}  // namespace ferry::server::api
