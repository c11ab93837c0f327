// A model for tests of the dialects: no engine, one token per byte, clocks that stand still.
#pragma once

#include <string>
#include <vector>

#include "server/api/exchange.h"
#include "server/api/served_model.h"

namespace ferry::server::api {

// Ids are bytes; 256 is <bos>, 257 <eos>, 258 to 260 the marks of a gap where `with_infill`.
inline ServedModel fake_model(bool with_infill = false) {
  ServedModel model;
  model.names = {"fake", "alias"};
  model.created = 1700000000;
  model.info.vocab_size = 300;
  model.info.max_context = 4096;
  model.info.hidden_size = 2;
  model.info.eos_token_ids = {257};
  model.can_think = true;
  model.token_bytes = [](int32_t id) -> std::string {
    if (id < 256) return std::string(1, static_cast<char>(id));
    if (id == 258) return "<｜fim▁begin｜>";
    if (id == 259) return "<｜fim▁hole｜>";
    if (id == 260) return "<｜fim▁end｜>";
    return {};
  };
  model.tokenize = [with_infill, bytes = model.token_bytes](
                       const Prompt& prompt) -> Result<std::vector<int32_t>> {
    std::string text;
    std::vector<int32_t> ids;
    if (const auto* plain = std::get_if<TextPrompt>(&prompt)) {
      text = plain->text;
      for (int32_t id = 258; with_infill && plain->parse_special && id <= 260; ++id) {
        if (text == bytes(id)) return std::vector<int32_t>{id};
      }
      if (plain->add_special) ids.push_back(256);
    } else if (const auto* chat = std::get_if<ChatPrompt>(&prompt)) {
      text = chat->messages_json + chat->tools_json;
    }
    for (const char byte : text) ids.push_back(static_cast<unsigned char>(byte));
    return ids;
  };
  model.detokenize = [bytes = model.token_bytes](const std::vector<int32_t>& ids) {
    std::string text;
    for (const int32_t id : ids) text += bytes(id);
    return Result<std::string>(text);
  };
  model.render_chat = [](const ChatPrompt& chat) {
    return Result<std::string>(chat.messages_json);
  };
  model.now = [] { return int64_t{1700000001}; };
  model.new_id = [](std::string_view prefix) { return std::string(prefix) + "1"; };
  return model;
}

// The events of a stream, in the order they came.
struct SentEvent {
  std::string name;  // empty: none was given
  Json data;         // null for [DONE]
};

inline std::vector<SentEvent> parse_events(const std::string& text) {
  std::vector<SentEvent> out;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = text.find("\n\n", begin);
    std::string block = text.substr(begin, end - begin);
    SentEvent event;
    if (block.starts_with("event: ")) {
      event.name = block.substr(7, block.find('\n') - 7);
      block.erase(0, block.find('\n') + 1);
    }
    const std::string data = block.substr(6);
    if (data != "[DONE]") event.data = Json::parse(data);
    out.push_back(std::move(event));
    begin = end + 2;
  }
  return out;
}

inline StreamEvent text_event(std::string text) {
  StreamEvent event;
  event.text = std::move(text);
  return event;
}

inline StreamEvent reasoning_event(std::string text) {
  StreamEvent event;
  event.reasoning = std::move(text);
  return event;
}

inline StreamEvent call_event(int64_t index, std::string id, std::string name,
                              std::string arguments) {
  StreamEvent event;
  event.tool_calls.push_back({index, std::move(id), std::move(name), std::move(arguments)});
  return event;
}

inline StreamEvent finish_event(FinishReason reason) {
  StreamEvent event;
  event.finish.emplace();
  event.finish->reason = reason;
  event.finish->prompt_tokens = 10;
  event.finish->cached_prompt_tokens = 4;
  event.finish->completion_tokens = 5;
  event.finish->reasoning_tokens = 2;
  return event;
}

// Drives the answer of one stream to its end; what it has sent altogether.
inline std::string drive(Answer& answer, const std::vector<StreamEvent>& events) {
  const int64_t prompt_tokens[] = {10};
  std::string out = answer.begin(prompt_tokens);
  for (const StreamEvent& event : events) {
    out += answer.event(0, event);
    if (answer.failure().has_value()) return out;
  }
  return out + answer.end();
}

}  // namespace ferry::server::api
