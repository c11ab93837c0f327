// See served_model.h.
#include "server/api/served_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <random>

#include "base/quote_name.h"

namespace ferry::server::api {
namespace {

int64_t unix_seconds() {
  return std::chrono::duration_cast<std::chrono::seconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

// 128 random bits: ids must not collide between servers behind one balancer.
std::string random_id(std::string_view prefix) {
  thread_local std::mt19937_64 generator([] {
    std::random_device device;
    std::seed_seq seed{device(), device(), device(), device()};
    return std::mt19937_64(seed);
  }());
  const uint64_t high = generator();
  return fmt::format("{}{:016x}{:016x}", prefix, high, generator());
}

bool thinking_changes_prompt(const Engine& engine) {
  ChatPrompt chat{.messages_json = R"([{"role":"user","content":"hello"}])",
                  .tools_json = {},
                  .thinking = true,
                  .extra_json = {}};
  const auto with = engine.render_chat(chat);
  chat.thinking = false;
  const auto without = engine.render_chat(chat);
  return with.ok() && (!without.ok() || *with != *without);
}

}  // namespace

ServedModel serve_engine(const Engine& engine, std::vector<std::string> names) {
  ServedModel model;
  model.names = std::move(names);
  model.created = unix_seconds();
  model.info = engine.info();
  model.can_think = thinking_changes_prompt(engine);
  model.tokenize = [&engine](const Prompt& prompt) { return engine.tokenize(prompt); };
  model.detokenize = [&engine](const std::vector<int32_t>& ids) { return engine.detokenize(ids); };
  model.token_bytes = [&engine](int32_t id) { return engine.token_bytes(id); };
  model.render_chat = [&engine](const ChatPrompt& chat) { return engine.render_chat(chat); };
  model.now = unix_seconds;
  model.new_id = random_id;
  return model;
}

std::optional<ApiError> check_model_name(const ServedModel& model, std::string_view name) {
  if (!model.strict_names) return std::nullopt;
  if (std::find(model.names.begin(), model.names.end(), name) != model.names.end()) {
    return std::nullopt;
  }
  return ApiError{404,
                  fmt::format("model: {} is not served here; {} is", quote_name(name),
                              quote_name(model.name())),
                  "model", "model_not_found"};
}

}  // namespace ferry::server::api
