// ServedModel: what the API dialects need of the model behind them, as values and functions, so
// that parsing and answering can be tested and fuzzed without loading one. Thread safety: immutable
// once made; its functions may be called from any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ferry/ferry.h"
#include "server/api/api_error.h"

namespace ferry::server::api {

struct ServedModel {
  std::vector<std::string> names;  // that a client may ask for; answers carry the first
  bool strict_names = false;       // other names are refused
  int64_t created = 0;             // Unix seconds, for lists of models
  ModelInfo info;

  // The chat format writes something else when thinking is asked for.
  bool can_think = false;
  std::optional<bool> thinking;  // where a request says nothing; none: as the chat format has it

  std::function<Result<std::vector<int32_t>>(const Prompt&)> tokenize;
  std::function<Result<std::string>(const std::vector<int32_t>&)> detokenize;
  std::function<std::string(int32_t)> token_bytes;
  std::function<Result<std::string>(const ChatPrompt&)> render_chat;

  std::function<int64_t()> now;                                // Unix seconds
  std::function<std::string(std::string_view prefix)> new_id;  // "chatcmpl-" → "chatcmpl-4f…"

  const std::string& name() const { return names.front(); }
};

// `engine` outlives what is returned. REQUIRES: !names.empty()
ServedModel serve_engine(const Engine& engine, std::vector<std::string> names);

// Errors: 404 model_not_found where names are strict and `name` is none of them.
std::optional<ApiError> check_model_name(const ServedModel& model, std::string_view name);

}  // namespace ferry::server::api
