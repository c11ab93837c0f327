// See chat_answer.h.
#include "server/api/chat_answer.h"

#include "server/api/answer_parts.h"

namespace ferry::server::api {
namespace {

struct Head {
  std::string id;
  int64_t created = 0;
  std::string model;

  Json json(const char* object) const {
    return {{"id", id},
            {"object", object},
            {"created", created},
            {"model", model},
            {"system_fingerprint", "ferry"}};
  }
};

struct ChoiceLogprobs {
  Json content = Json::array();
  Json reasoning = Json::array();

  bool empty() const { return content.empty() && reasoning.empty(); }
  void add(const ServedModel& model, const EventLogprobs& event) {
    for (const auto& position : event.content) {
      content.push_back(position_logprobs_json(model, position));
    }
    for (const auto& position : event.reasoning) {
      reasoning.push_back(position_logprobs_json(model, position));
    }
  }
  // Thoughts have a list of their own, as DeepSeek's API has it.
  Json take() {
    Json out{{"content", std::move(content)}, {"refusal", nullptr}};
    if (!reasoning.empty()) out["reasoning_content"] = std::move(reasoning);
    *this = ChoiceLogprobs();
    return out;
  }
};

Json call_json(const GatheredCall& call) {
  return {{"id", call.id},
          {"type", "function"},
          {"function", {{"name", call.name}, {"arguments", call.arguments}}}};
}

class ChatAnswer : public Answer {
 public:
  ChatAnswer(const ServedModel& model, const ChatBody& body)
      : model_(&model),
        head_{model.new_id("chatcmpl-"), model.now(), model.name()},
        with_logprobs_(body.ask.sampling.logprobs >= 0),
        choices_(static_cast<size_t>(body.num_choices)) {}

  std::string begin(std::span<const int64_t>) override { return {}; }

 protected:
  struct Choice {
    Gathered whole;
    ChoiceLogprobs logprobs;  // that no chunk has carried yet
    bool began = false;
  };

  // Takes an event into its choice; nullptr when the exchange has failed with it.
  Choice* take(size_t index, const StreamEvent& event) {
    if (failure_.has_value() || index >= choices_.size()) return nullptr;
    Choice& choice = choices_[index];
    if (event.finish.has_value()) {
      if (event.finish->reason == FinishReason::kError) {
        failure_ = finish_error(*event.finish);
        return nullptr;
      }
      usage_.add(*event.finish, index == 0);
    }
    if (with_logprobs_) choice.logprobs.add(*model_, answer_logprobs(*model_, event));
    return &choice;
  }

  const ServedModel* model_;
  Head head_;
  bool with_logprobs_;
  std::vector<Choice> choices_;
  Usage usage_;
};

class WholeChatAnswer : public ChatAnswer {
 public:
  using ChatAnswer::ChatAnswer;

  std::string event(size_t index, const StreamEvent& event) override {
    if (Choice* choice = take(index, event)) choice->whole.add(event);
    return {};
  }

  std::string end() override {
    Json body = head_.json("chat.completion");
    body["choices"] = Json::array();
    for (size_t i = 0; i < choices_.size(); ++i) body["choices"].push_back(choice_json(i));
    body["usage"] = usage_json(usage_);
    return dump(body);
  }

  std::string fail(const ApiError& error) override {
    failure_ = error;
    return {};
  }

 private:
  Json choice_json(size_t index) {
    Choice& choice = choices_[index];
    const Gathered& whole = choice.whole;
    Json message{{"role", "assistant"}};
    const bool no_text = whole.text.empty() && !whole.calls.empty();
    message["content"] = no_text ? Json(nullptr) : Json(whole.text);
    message["refusal"] = nullptr;
    if (!whole.reasoning.empty()) message["reasoning_content"] = whole.reasoning;
    for (const GatheredCall& call : whole.calls) message["tool_calls"].push_back(call_json(call));
    const FinishReason reason =
        whole.finish.has_value() ? whole.finish->reason : FinishReason::kCancelled;
    return {{"index", index},
            {"message", std::move(message)},
            {"logprobs", with_logprobs_ ? choice.logprobs.take() : Json(nullptr)},
            {"finish_reason", openai_finish_reason(reason)}};
  }
};

class StreamedChatAnswer : public ChatAnswer {
 public:
  StreamedChatAnswer(const ServedModel& model, const ChatBody& body)
      : ChatAnswer(model, body), include_usage_(body.include_usage) {}

  std::string event(size_t index, const StreamEvent& event) override {
    Choice* choice = take(index, event);
    if (choice == nullptr) return failure_.has_value() ? fail(*failure_) : std::string();
    std::string out;
    if (!choice->began) {
      choice->began = true;
      out += chunk(index, {{"role", "assistant"}, {"content", ""}});
    }
    if (!event.reasoning.empty()) {
      out += chunk(index, {{"reasoning_content", event.reasoning}}, choice);
    }
    if (!event.text.empty()) out += chunk(index, {{"content", event.text}}, choice);
    for (const ToolCallPiece& piece : event.tool_calls) {
      out += chunk(index, {{"tool_calls", Json::array({piece_json(piece)})}});
    }
    if (event.finish.has_value()) {
      if (!choice->logprobs.empty()) out += chunk(index, {{"content", ""}}, choice);
      out += chunk(index, Json::object(), nullptr, openai_finish_reason(event.finish->reason));
    }
    return out;
  }

  std::string end() override {
    std::string out;
    if (include_usage_) {
      Json json = head_.json("chat.completion.chunk");
      json["choices"] = Json::array();
      json["usage"] = usage_json(usage_);
      out = sse_data(json);
    }
    return out + kSseDone;
  }

  std::string fail(const ApiError& error) override {
    failure_ = error;
    return sse_data(error_json(Dialect::kOpenAi, error));
  }

 private:
  static Json piece_json(const ToolCallPiece& piece) {
    Json out{{"index", piece.index}};
    if (!piece.id.empty()) {
      out["id"] = piece.id;
      out["type"] = "function";
    }
    if (!piece.name.empty()) out["function"]["name"] = piece.name;
    out["function"]["arguments"] = piece.arguments;
    return out;
  }

  // `with`: the choice whose log-probabilities ride along.
  std::string chunk(size_t index, Json delta, Choice* with = nullptr,
                    std::string_view finish_reason = {}) {
    Json logprobs;
    if (with_logprobs_ && with != nullptr) logprobs = with->logprobs.take();
    Json json = head_.json("chat.completion.chunk");
    json["choices"] = Json::array(
        {{{"index", index},
          {"delta", std::move(delta)},
          {"logprobs", std::move(logprobs)},
          {"finish_reason", finish_reason.empty() ? Json(nullptr) : Json(finish_reason)}}});
    if (include_usage_) json["usage"] = nullptr;
    return sse_data(json);
  }

  bool include_usage_;
};

}  // namespace

std::unique_ptr<Answer> make_chat_answer(const ServedModel& model, const ChatBody& body) {
  if (body.stream) return std::make_unique<StreamedChatAnswer>(model, body);
  return std::make_unique<WholeChatAnswer>(model, body);
}

}  // namespace ferry::server::api
