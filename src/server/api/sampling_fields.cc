// See sampling_fields.h.
#include "server/api/sampling_fields.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>

namespace ferry::server::api {
namespace {

constexpr size_t kMaxStopStrings = 16;
constexpr size_t kMaxStopStringBytes = 1024;
constexpr size_t kMaxStopTokenIds = 256;
constexpr size_t kMaxBiases = 4096;
constexpr size_t kMaxUserBytes = 512;
// Clients write 0 for "the most probable token only"; the engine's range begins above it.
constexpr double kSmallestTopP = 1e-9;

void read_logit_bias(Fields& body, const ServedModel& model, SamplingParams& sampling) {
  const Json* biases = body.object("logit_bias");
  if (biases == nullptr) return;
  const std::string path = body.path("logit_bias");
  if (biases->size() > kMaxBiases) {
    body.fail(
        invalid_value(path, fmt::format("{} entries; at most {}", biases->size(), kMaxBiases)));
    return;
  }
  sampling.logit_bias.clear();
  for (const auto& [key, value] : biases->get_ref<const Json::object_t&>()) {
    int32_t id = -1;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
    if (error != std::errc() || end != key.data() + key.size() || id < 0 ||
        id >= model.info.vocab_size) {
      body.fail(invalid_value(
          path, fmt::format("expected token ids of 0 to {} as keys", model.info.vocab_size - 1)));
      return;
    }
    if (!value.is_number() || !(std::abs(value.get<double>()) <= 100)) {
      body.fail(invalid_value(path, "expected numbers of -100 to 100 as values"));
      return;
    }
    sampling.logit_bias.emplace_back(id, static_cast<float>(value.get<double>()));
  }
}

void read_stop_token_ids(Fields& body, StopConditions& stop) {
  const Json* ids = body.array("stop_token_ids");
  if (ids == nullptr) return;
  for (const Json& id : *ids) {
    if (ids->size() > kMaxStopTokenIds || !id.is_number_integer() || id.get<int64_t>() < 0 ||
        id.get<int64_t>() > INT32_MAX) {
      body.fail(invalid_value("stop_token_ids",
                              fmt::format("expected at most {} token ids", kMaxStopTokenIds)));
      return;
    }
    stop.token_ids.push_back(id.get<int32_t>());
  }
}

}  // namespace

void check_model(Fields& body, const ServedModel& model) {
  const auto name = body.string("model");
  if (!model.strict_names) return;
  if (!name.has_value()) body.fail(missing_field("model"));
  if (const auto error = check_model_name(model, name.value_or(""))) body.fail(*error);
}

SamplingParams read_sampling(Fields& body, const ServedModel& model) {
  SamplingParams sampling = model.info.default_sampling;
  sampling.temperature = body.number("temperature", 0, 2).value_or(sampling.temperature);
  if (const auto top_p = body.number("top_p", 0, 1)) {
    sampling.top_p = std::max(*top_p, kSmallestTopP);
  }
  // -1 is how some servers spell "off".
  if (const auto top_k = body.integer("top_k", -1, INT64_MAX)) {
    sampling.top_k = std::max<int64_t>(*top_k, 0);
  }
  sampling.min_p = body.number("min_p", 0, 1).value_or(sampling.min_p);
  sampling.presence_penalty =
      body.number("presence_penalty", -2, 2).value_or(sampling.presence_penalty);
  sampling.frequency_penalty =
      body.number("frequency_penalty", -2, 2).value_or(sampling.frequency_penalty);
  if (const auto penalty = body.number("repetition_penalty", 0, 100)) {
    if (*penalty == 0) {
      body.fail(invalid_value(body.path("repetition_penalty"), "expected more than 0"));
    }
    sampling.repetition_penalty = *penalty;
  }
  read_logit_bias(body, model, sampling);
  if (const auto seed = body.integer("seed", INT64_MIN, INT64_MAX)) {
    sampling.seed = static_cast<uint64_t>(*seed);
  }
  return sampling;
}

std::vector<std::string> read_stop_strings(Fields& body, std::string_view key) {
  const Json* value = body.find(key);
  if (value == nullptr) return {};
  const std::string path = body.path(key);
  if (!value->is_string() && !value->is_array()) {
    body.fail_type(key, "a string or an array of strings", *value);
    return {};
  }
  const Json list = value->is_array() ? *value : Json::array({*value});
  if (list.size() > kMaxStopStrings) {
    body.fail({400, fmt::format("{}: {} strings; at most {}", path, list.size(), kMaxStopStrings),
               path, "array_above_max_length"});
    return {};
  }
  std::vector<std::string> out;
  for (size_t i = 0; i < list.size(); ++i) {
    if (!list[i].is_string()) {
      body.fail({400,
                 fmt::format("{}: expected a string, found {}", path_of(path, i),
                             json_type_name(list[i])),
                 path_of(path, i), "invalid_type"});
      return {};
    }
    out.push_back(list[i].get<std::string>());
    if (out.back().empty() || out.back().size() > kMaxStopStringBytes) {
      // An empty one in place of none is what forms send.
      if (out.back().empty() && value->is_string()) return {};
      body.fail(invalid_value(
          path_of(path, i),
          fmt::format("expected 1 to {} bytes, found {}", kMaxStopStringBytes, out.back().size())));
      return {};
    }
  }
  return out;
}

StopConditions read_stop(Fields& body) {
  StopConditions stop;
  stop.strings = read_stop_strings(body, "stop");
  read_stop_token_ids(body, stop);
  stop.min_tokens = body.integer("min_tokens", 0, INT64_MAX).value_or(0);
  stop.ignore_eos = body.boolean("ignore_eos").value_or(false);
  return stop;
}

std::string read_cache_scope(Fields& body) {
  const std::string user = body.string("user").value_or("");
  std::string scope = body.string("user_id").value_or(user);
  if (scope.size() > kMaxUserBytes) {
    const std::string key = body.has("user_id") ? "user_id" : "user";
    body.fail({400, fmt::format("{}: {} bytes; at most {}", key, scope.size(), kMaxUserBytes), key,
               "string_above_max_length"});
  }
  return scope;
}

void offset_seed(SamplingParams& sampling, size_t choice) {
  if (sampling.seed.has_value()) *sampling.seed += choice;
}

}  // namespace ferry::server::api
