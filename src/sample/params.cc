// Ranges of the sampling and stop fields (include/ferry/sampling.h states them).
#include "sample/params.h"

#include <cmath>
#include <unordered_set>

#include "base/quote_name.h"

namespace ferry::sample {
namespace {

Status in_range(const char* field, double value, double low, double high) {
  if (std::isfinite(value) && value >= low && value <= high) return {};
  return invalid_input("{}: {} is not between {} and {}", field, value, low, high);
}

Status above_zero(const char* field, double value, double high) {
  if (std::isfinite(value) && value > 0 && value <= high) return {};
  return invalid_input("{}: {} is not above 0 and at most {}", field, value, high);
}

Status known_id(const char* field, int64_t id, int64_t vocab_size) {
  if (id >= 0 && id < vocab_size) return {};
  return invalid_input("{}: {} is not a token id of this model (0 to {})", field, id,
                       vocab_size - 1);
}

}  // namespace

Status validate(const SamplingParams& params, int64_t vocab_size) {
  FERRY_TRY_VOID(in_range("temperature", params.temperature, 0, 100));
  if (params.top_k < 0) {
    return invalid_input("top_k: {} is negative; expected 0 (off) or more", params.top_k);
  }
  FERRY_TRY_VOID(above_zero("top_p", params.top_p, 1));
  FERRY_TRY_VOID(in_range("min_p", params.min_p, 0, 1));
  FERRY_TRY_VOID(in_range("presence_penalty", params.presence_penalty, -2, 2));
  FERRY_TRY_VOID(in_range("frequency_penalty", params.frequency_penalty, -2, 2));
  FERRY_TRY_VOID(above_zero("repetition_penalty", params.repetition_penalty, 100));
  if (params.logprobs < -1 || params.logprobs > kMaxLogprobs) {
    return invalid_input("logprobs: {} is not between 0 and {}", params.logprobs, kMaxLogprobs);
  }
  std::unordered_set<int32_t> seen;
  for (const auto& [id, bias] : params.logit_bias) {
    FERRY_TRY_VOID(known_id("logit_bias", id, vocab_size));
    FERRY_TRY_VOID(in_range("logit_bias", bias, -100, 100));
    if (!seen.insert(id).second) return invalid_input("logit_bias: token id {} is there twice", id);
  }
  return {};
}

Status validate(const StopConditions& stop, int64_t vocab_size) {
  if (stop.strings.size() > kMaxStopStrings) {
    return invalid_input("stop: {} strings; at most {} are allowed", stop.strings.size(),
                         kMaxStopStrings);
  }
  for (const std::string& text : stop.strings) {
    if (text.empty()) return invalid_input("stop: an empty string would stop at once");
    if (text.size() > kMaxStopStringBytes) {
      return invalid_input("stop: a string of {} bytes; at most {} are allowed", text.size(),
                           kMaxStopStringBytes);
    }
    // A stop string that no text can contain is a mistake.
    if (!is_utf8(text)) return invalid_input("stop: a string is not valid UTF-8");
  }
  if (stop.token_ids.size() > kMaxStopTokenIds) {
    return invalid_input("stop_token_ids: {} ids; at most {} are allowed", stop.token_ids.size(),
                         kMaxStopTokenIds);
  }
  for (int32_t id : stop.token_ids) FERRY_TRY_VOID(known_id("stop_token_ids", id, vocab_size));
  if (stop.max_tokens < 0) {
    return invalid_input("max_tokens: {} is negative; expected 0 (no limit) or more",
                         stop.max_tokens);
  }
  if (stop.min_tokens < 0) {
    return invalid_input("min_tokens: {} is negative; expected 0 or more", stop.min_tokens);
  }
  if (stop.max_tokens > 0 && stop.min_tokens > stop.max_tokens) {
    return invalid_input("min_tokens: {} is more than max_tokens ({})", stop.min_tokens,
                         stop.max_tokens);
  }
  return {};
}

}  // namespace ferry::sample
