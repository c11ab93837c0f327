// See answer_parts.h.
#include "server/api/answer_parts.h"

#include <algorithm>

namespace ferry::server::api {

void Gathered::add(const StreamEvent& event) {
  text += event.text;
  reasoning += event.reasoning;
  for (const ToolCallPiece& piece : event.tool_calls) {
    if (piece.index == static_cast<int64_t>(calls.size())) calls.push_back({});
    if (piece.index < 0 || piece.index >= static_cast<int64_t>(calls.size())) continue;
    GatheredCall& call = calls[static_cast<size_t>(piece.index)];
    call.id += piece.id;
    call.name += piece.name;
    call.arguments += piece.arguments;
  }
  if (event.finish.has_value()) finish = event.finish;
}

EventLogprobs answer_logprobs(const ServedModel& model, const StreamEvent& event) {
  size_t count = event.logprobs.size();
  const bool ended_itself = event.finish.has_value() && event.finish->stop_string.empty() &&
                            event.finish->reason != FinishReason::kLength;
  const auto& eos = model.info.eos_token_ids;
  if (ended_itself && count > 0 &&
      std::find(eos.begin(), eos.end(), event.logprobs.back().chosen.token) != eos.end()) {
    --count;
  }
  EventLogprobs out;
  for (size_t i = 0; i < count; ++i) {
    const bool thought = static_cast<int64_t>(i) < event.num_reasoning_tokens;
    (thought ? out.reasoning : out.content).push_back(event.logprobs[i]);
  }
  return out;
}

Json token_logprob_json(const ServedModel& model, const TokenLogprob& token) {
  const std::string bytes = model.token_bytes(token.token);
  Json list = Json::array();
  for (const char byte : bytes) list.push_back(static_cast<int>(static_cast<unsigned char>(byte)));
  // dump() turns bytes that are no UTF-8 into U+FFFD, which is what "bytes" is there for.
  return {{"token", bytes}, {"logprob", token.logprob}, {"bytes", std::move(list)}};
}

Json position_logprobs_json(const ServedModel& model, const PositionLogprobs& position) {
  Json out = token_logprob_json(model, position.chosen);
  out["top_logprobs"] = Json::array();
  for (const TokenLogprob& token : position.top) {
    out["top_logprobs"].push_back(token_logprob_json(model, token));
  }
  return out;
}

void Usage::add(const Finish& finish, bool first_of_prompt) {
  completion_tokens += finish.completion_tokens;
  reasoning_tokens += finish.reasoning_tokens;
  if (!first_of_prompt) return;
  prompt_tokens += finish.prompt_tokens;
  cached_tokens += finish.cached_prompt_tokens;
}

Json usage_json(const Usage& usage) {
  return {{"prompt_tokens", usage.prompt_tokens},
          {"completion_tokens", usage.completion_tokens},
          {"total_tokens", usage.prompt_tokens + usage.completion_tokens},
          {"prompt_tokens_details", {{"cached_tokens", usage.cached_tokens}}},
          {"completion_tokens_details", {{"reasoning_tokens", usage.reasoning_tokens}}},
          {"prompt_cache_hit_tokens", usage.cached_tokens},
          {"prompt_cache_miss_tokens", usage.prompt_tokens - usage.cached_tokens}};
}

std::string_view openai_finish_reason(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop: return "stop";
    case FinishReason::kLength: return "length";
    case FinishReason::kToolCalls: return "tool_calls";
    case FinishReason::kCancelled:
    case FinishReason::kError: break;
  }
  return "insufficient_system_resource";
}

ApiError finish_error(const Finish& finish) {
  if (finish.error.has_value()) return from_engine(*finish.error);
  return {500, "the request failed in the engine", {}, {}};
}

}  // namespace ferry::server::api
