// See anthropic_answer.h.
#include "server/api/anthropic_answer.h"

#include <utility>

#include "server/api/answer_parts.h"

namespace ferry::server::api {
namespace {

// Clients send thinking blocks back only with a signature. Nothing here depends on what it says.
constexpr const char* kSignature = "ZmVycnk=";

Json usage(int64_t prompt_tokens, int64_t cached, int64_t output) {
  return {{"input_tokens", prompt_tokens - cached},
          {"cache_creation_input_tokens", 0},
          {"cache_read_input_tokens", cached},
          {"output_tokens", output}};
}

Json usage(const Finish& finish) {
  return usage(finish.prompt_tokens, finish.cached_prompt_tokens, finish.completion_tokens);
}

struct StopReason {
  Json reason;
  Json sequence;  // the stop sequence that was met, or null
};

StopReason stop_reason(const Finish& finish) {
  if (!finish.stop_string.empty()) return {"stop_sequence", finish.stop_string};
  switch (finish.reason) {
    case FinishReason::kLength: return {"max_tokens", nullptr};
    case FinishReason::kToolCalls: return {"tool_use", nullptr};
    case FinishReason::kStop:
    case FinishReason::kCancelled:
    case FinishReason::kError: break;
  }
  return {"end_turn", nullptr};
}

// An event that ends a request without an answer, as what the client is told.
std::optional<ApiError> broken(const StreamEvent& event) {
  if (!event.finish.has_value()) return std::nullopt;
  if (event.finish->reason == FinishReason::kError) return finish_error(*event.finish);
  if (event.finish->reason != FinishReason::kCancelled) return std::nullopt;
  return ApiError{503, "the server gave the request up", {}, {}};
}

class AnthropicAnswer : public Answer {
 public:
  AnthropicAnswer(const ServedModel& model, const AnthropicBody& body)
      : id_(model.new_id("msg_")), model_(model.name()), show_thinking_(body.show_thinking) {}

 protected:
  Json message(Json content, const StopReason& stop, Json used) const {
    return {{"id", id_},
            {"type", "message"},
            {"role", "assistant"},
            {"model", model_},
            {"content", std::move(content)},
            {"stop_reason", stop.reason},
            {"stop_sequence", stop.sequence},
            {"usage", std::move(used)}};
  }

  std::string id_;
  std::string model_;
  bool show_thinking_;
};

class WholeAnthropicAnswer : public AnthropicAnswer {
 public:
  using AnthropicAnswer::AnthropicAnswer;

  std::string begin(std::span<const int64_t>) override { return {}; }

  std::string event(size_t, const StreamEvent& event) override {
    if (failure_.has_value()) return {};
    failure_ = broken(event);
    whole_.add(event);
    return {};
  }

  std::string end() override {
    const Finish finish = whole_.finish.value_or(Finish{});
    Json content = Json::array();
    if (show_thinking_ && !whole_.reasoning.empty()) {
      content.push_back(
          {{"type", "thinking"}, {"thinking", whole_.reasoning}, {"signature", kSignature}});
    }
    if (!whole_.text.empty()) content.push_back({{"type", "text"}, {"text", whole_.text}});
    for (const GatheredCall& call : whole_.calls) {
      auto input = parse_json(call.arguments);
      if (!input.ok() || !input->is_object()) {
        // Cut off, it is no call that could be answered; what is no JSON is shown as it is.
        if (finish.reason == FinishReason::kLength) continue;
        input = Json{{"arguments", call.arguments}};
      }
      content.push_back({{"type", "tool_use"},
                         {"id", call.id},
                         {"name", call.name},
                         {"input", std::move(input).value()}});
    }
    return dump(message(std::move(content), stop_reason(finish), usage(finish)));
  }

  std::string fail(const ApiError& error) override {
    failure_ = error;
    return {};
  }

 private:
  Gathered whole_;
};

class StreamedAnthropicAnswer : public AnthropicAnswer {
 public:
  using AnthropicAnswer::AnthropicAnswer;

  std::string begin(std::span<const int64_t> prompt_tokens) override {
    const int64_t count = prompt_tokens.empty() ? 0 : prompt_tokens.front();
    emit("message_start",
         {{"message", message(Json::array(), {nullptr, nullptr}, usage(count, 0, 0))}});
    emit("ping", Json::object());
    return take();
  }

  std::string event(size_t, const StreamEvent& event) override {
    if (failure_.has_value()) return {};
    if (const auto error = broken(event)) return fail(*error);
    if (show_thinking_ && !event.reasoning.empty()) {
      open(Block::kThinking, {{"type", "thinking"}, {"thinking", ""}, {"signature", ""}});
      delta({{"type", "thinking_delta"}, {"thinking", event.reasoning}});
    }
    if (!event.text.empty()) {
      open(Block::kText, {{"type", "text"}, {"text", ""}});
      delta({{"type", "text_delta"}, {"text", event.text}});
    }
    for (const ToolCallPiece& piece : event.tool_calls) add_call_piece(piece);
    if (event.finish.has_value()) finish(*event.finish);
    return take();
  }

  std::string end() override { return {}; }

  std::string fail(const ApiError& error) override {
    failure_ = error;
    return take() + sse_event("error", error_json(Dialect::kAnthropic, error));
  }

 private:
  enum class Block { kNone, kThinking, kText, kCall };

  std::string take() { return std::exchange(out_, {}); }

  void emit(std::string_view type, Json fields) {
    Json json{{"type", type}};
    json.update(fields);
    out_ += sse_event(type, json);
  }

  // The open block is of this kind from here on.
  void open(Block kind, Json block) {
    if (block_ == kind && kind != Block::kCall) return;
    close();
    block_ = kind;
    emit("content_block_start", {{"index", index_}, {"content_block", std::move(block)}});
  }

  void delta(Json delta) {
    emit("content_block_delta", {{"index", index_}, {"delta", std::move(delta)}});
  }

  void close() {
    if (block_ == Block::kNone) return;
    if (block_ == Block::kThinking) {
      delta({{"type", "signature_delta"}, {"signature", kSignature}});
    }
    emit("content_block_stop", {{"index", index_++}});
    block_ = Block::kNone;
  }

  void add_call_piece(const ToolCallPiece& piece) {
    if (block_ != Block::kCall || piece.index != call_) {
      call_ = piece.index;
      open(Block::kCall, {{"type", "tool_use"},
                          {"id", piece.id},
                          {"name", piece.name},
                          {"input", Json::object()}});
    }
    if (piece.arguments.empty()) return;
    delta({{"type", "input_json_delta"}, {"partial_json", piece.arguments}});
  }

  void finish(const Finish& finish) {
    close();
    const StopReason stop = stop_reason(finish);
    emit("message_delta",
         {{"delta", {{"stop_reason", stop.reason}, {"stop_sequence", stop.sequence}}},
          {"usage", usage(finish)}});
    emit("message_stop", Json::object());
  }

  std::string out_;  // events that nobody has taken yet
  Block block_ = Block::kNone;
  int64_t index_ = 0;  // of the open block, or of the next
  int64_t call_ = -1;  // the call that the open block is
};

}  // namespace

std::unique_ptr<Answer> make_anthropic_answer(const ServedModel& model, const AnthropicBody& body) {
  if (body.stream) return std::make_unique<StreamedAnthropicAnswer>(model, body);
  return std::make_unique<WholeAnthropicAnswer>(model, body);
}

}  // namespace ferry::server::api
