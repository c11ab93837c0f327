// See responses.h.
#include "server/api/responses.h"

#include <fmt/format.h>

#include <algorithm>

#include "server/api/responses_answer.h"
#include "server/api/responses_input.h"
#include "server/api/sampling_fields.h"
#include "server/api/tools.h"

namespace ferry::server::api {
namespace {

constexpr int64_t kMaxResponseLogprobs = 20;
constexpr size_t kMaxMetadata = 16;

void refuse_stored(Fields& body) {
  constexpr std::string_view kStateless = "is not supported: this server keeps no responses";
  body.refuse("previous_response_id",
              "is not supported: this server keeps no responses; send the "
              "whole conversation as input");
  body.refuse("conversation", kStateless);
  body.refuse("prompt", kStateless);
  if (body.boolean("background").value_or(false)) body.refuse("background", kStateless);
  if (body.boolean("store").value_or(false)) body.refuse("store", kStateless);
}

void read_reasoning(Fields& body, const ServedModel& model, ResponsesBody& out) {
  Json effort, summary;
  if (const Json* reasoning = body.object("reasoning")) {
    Fields fields(*reasoning, "reasoning", body.failure());
    read_effort(fields, "effort", model, out.ask);
    fields.one_of("summary", {"auto", "concise", "detailed", "none"});
    if (fields.has("effort")) effort = *fields.find("effort");
    if (fields.has("summary")) summary = *fields.find("summary");
  }
  if (!out.ask.thinking.has_value()) out.ask.thinking = model.thinking;
  out.echo["reasoning"] = {{"effort", std::move(effort)}, {"summary", std::move(summary)}};
}

void read_text_format(Fields& body, ResponsesBody& out) {
  Json format{{"type", "text"}};
  if (const Json* text = body.object("text")) {
    Fields fields(*text, "text", body.failure());
    fields.one_of("verbosity", {"low", "medium", "high"});
    if (const Json* wanted = fields.object("format")) {
      Fields kind(*wanted, "text.format", body.failure());
      read_format(kind, "", out.ask);
      format = *wanted;
    }
  }
  out.echo["text"] = {{"format", std::move(format)}, {"verbosity", "medium"}};
}

void read_include(Fields& body, ResponsesBody& out) {
  const auto top = body.integer("top_logprobs", 0, kMaxResponseLogprobs);
  out.with_logprobs = top.value_or(0) > 0;
  if (const Json* include = body.array("include")) {
    const bool asked = std::find(include->begin(), include->end(),
                                 "message.output_text.logprobs") != include->end();
    out.with_logprobs = out.with_logprobs || asked;
  }
  if (out.with_logprobs) out.ask.sampling.logprobs = top.value_or(0);
  out.echo["top_logprobs"] = top.value_or(0);
}

void read_metadata(Fields& body, ResponsesBody& out) {
  const Json* metadata = body.object("metadata");
  if (metadata != nullptr && metadata->size() > kMaxMetadata) {
    body.fail(invalid_value("metadata", fmt::format("at most {} entries", kMaxMetadata)));
  }
  out.echo["metadata"] = metadata != nullptr ? *metadata : Json::object();
}

// Fields that a response repeats, as they came or as they are when they did not come.
void repeat_fields(Fields& body, ResponsesBody& out) {
  const auto repeat = [&](const char* key, Json otherwise) {
    const Json* value = body.find(key);
    out.echo[key] = value != nullptr ? *value : std::move(otherwise);
  };
  repeat("instructions", nullptr);
  repeat("max_output_tokens", nullptr);
  repeat("max_tool_calls", nullptr);
  repeat("parallel_tool_calls", true);
  repeat("prompt_cache_key", nullptr);
  repeat("safety_identifier", nullptr);
  repeat("tool_choice", "auto");
  repeat("tools", Json::array());
  repeat("truncation", "disabled");
  repeat("user", nullptr);
  out.echo["temperature"] = out.ask.sampling.temperature;
  out.echo["top_p"] = out.ask.sampling.top_p;
}

}  // namespace

ApiResult<ResponsesBody> read_responses_body(const ServedModel& model, std::string_view text) {
  ApiResult<Json> json = parse_body(text);
  if (!json.ok()) return std::move(json).error();
  Failure failure;
  Fields body(*json, "", failure);
  check_model(body, model);
  refuse_stored(body);
  ResponsesBody out;
  ChatAsk& ask = out.ask;
  read_responses_input(body, out);
  out.stream = body.boolean("stream").value_or(false);
  body.object("stream_options");
  ask.sampling = read_sampling(body, model);
  ask.stop = read_stop(body);
  ask.stop.max_tokens = body.integer("max_output_tokens", 1, INT64_MAX).value_or(0);
  body.integer("max_tool_calls", 1, INT64_MAX);
  body.one_of("truncation", {"disabled", "auto"});
  for (std::string_view key : {"service_tier", "prompt_cache_key", "safety_identifier"}) {
    body.string(key);
  }
  read_responses_tools(body, out);
  read_reasoning(body, model, out);
  read_text_format(body, out);
  read_include(body, out);
  read_metadata(body, out);
  ask.cache_scope = read_cache_scope(body);
  ask.priority = static_cast<int>(body.integer("priority", -1000, 1000).value_or(0));
  if (failure.has_value()) return *failure;
  repeat_fields(body, out);
  return out;
}

ApiResult<Reply> responses(const ServedModel& model, std::string_view text) {
  ApiResult<ResponsesBody> body = read_responses_body(model, text);
  if (!body.ok()) return std::move(body).error();
  Job job;
  job.requests = to_requests(body->ask, 1);
  job.stream = body->stream;
  job.answer = make_responses_answer(model, std::move(body).value());
  return Reply(std::move(job));
}

}  // namespace ferry::server::api
