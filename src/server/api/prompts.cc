// See prompts.h.
#include "server/api/prompts.h"

#include <fmt/format.h>

namespace ferry::server::api {
namespace {

// "prompt: expected …": one entry of an array, or the value itself.
std::optional<Prompt> read_prompt(const Json& value, const std::string& path,
                                  const ServedModel& model, Failure& failure) {
  if (value.is_string()) return Prompt(TextPrompt{value.get<std::string>()});
  if (value.is_array()) {
    auto ids = read_token_ids(value, path, model, failure);
    if (!ids.has_value()) return std::nullopt;
    return Prompt(*std::move(ids));
  }
  if (!failure.has_value()) {
    failure = {400,
               fmt::format("{}: expected a text or an array of token ids, found {}", path,
                           json_type_name(value)),
               path, "invalid_type"};
  }
  return std::nullopt;
}

}  // namespace

std::optional<std::vector<int32_t>> read_token_ids(const Json& list, const std::string& path,
                                                   const ServedModel& model, Failure& failure) {
  if (failure.has_value()) return std::nullopt;
  std::vector<int32_t> ids;
  ids.reserve(list.size());
  for (size_t i = 0; i < list.size(); ++i) {
    const Json& id = list[i];
    const bool known = id.is_number_integer() && id.get<int64_t>() >= 0 &&
                       id.get<int64_t>() < model.info.vocab_size;
    if (!known) {
      failure = invalid_value(path_of(path, i), fmt::format("expected a token id of 0 to {}",
                                                            model.info.vocab_size - 1));
      return std::nullopt;
    }
    ids.push_back(id.get<int32_t>());
  }
  if (ids.empty()) {
    failure = {400, fmt::format("{}: has no tokens; at least one is needed", path), path,
               "empty_array"};
    return std::nullopt;
  }
  return ids;
}

std::vector<Prompt> read_prompts(Fields& body, std::string_view key, const ServedModel& model,
                                 size_t max_prompts) {
  const Json* value = body.find(key);
  if (value == nullptr) {
    body.fail(missing_field(body.path(key)));
    return {};
  }
  const std::string path = body.path(key);
  std::vector<Prompt> out;
  const bool one = !value->is_array() || value->empty() || (*value)[0].is_number();
  const size_t count = one ? 1 : value->size();
  if (count > max_prompts) {
    body.fail({400, fmt::format("{}: {} entries; at most {}", path, count, max_prompts), path,
               "array_above_max_length"});
    return {};
  }
  for (size_t i = 0; i < count; ++i) {
    auto prompt = one ? read_prompt(*value, path, model, body.failure())
                      : read_prompt((*value)[i], path_of(path, i), model, body.failure());
    if (!prompt.has_value()) return {};
    out.push_back(*std::move(prompt));
  }
  return out;
}

}  // namespace ferry::server::api
