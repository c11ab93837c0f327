// See completion_answer.h.
#include "server/api/completion_answer.h"

#include "server/api/answer_parts.h"

namespace ferry::server::api {
namespace {

// The four lists of the old API, one entry per token.
struct Logprobs {
  Json tokens = Json::array();
  Json token_logprobs = Json::array();
  Json top_logprobs = Json::array();
  Json text_offset = Json::array();

  void add(const ServedModel& model, const PositionLogprobs& position, int64_t offset) {
    tokens.push_back(model.token_bytes(position.chosen.token));
    token_logprobs.push_back(position.chosen.logprob);
    text_offset.push_back(offset);
    // An object by text: of two tokens with the same text the more probable one stays.
    Json top = Json::object();
    for (const TokenLogprob& token : position.top) {
      top.emplace(model.token_bytes(token.token), token.logprob);
    }
    top.emplace(model.token_bytes(position.chosen.token), position.chosen.logprob);
    top_logprobs.push_back(std::move(top));
  }
  Json take() {
    Json out{{"tokens", std::move(tokens)},
             {"token_logprobs", std::move(token_logprobs)},
             {"top_logprobs", std::move(top_logprobs)},
             {"text_offset", std::move(text_offset)}};
    *this = Logprobs();
    return out;
  }
};

class CompletionAnswer : public Answer {
 public:
  CompletionAnswer(const ServedModel& model, const CompletionBody& body)
      : model_(&model),
        id_(model.new_id("cmpl-")),
        created_(model.now()),
        with_logprobs_(body.sampling.logprobs >= 0),
        stream_(body.stream),
        include_usage_(body.include_usage),
        choices_per_prompt_(static_cast<size_t>(body.num_choices)),
        choices_(body.prompts.size() * choices_per_prompt_) {
    for (size_t i = 0; i < choices_.size() && !body.echoes.empty(); ++i) {
      choices_[i].text = body.echoes[i / choices_per_prompt_];
    }
  }

  std::string begin(std::span<const int64_t>) override { return {}; }

  std::string event(size_t index, const StreamEvent& event) override {
    if (failure_.has_value() || index >= choices_.size()) return {};
    Choice& choice = choices_[index];
    if (event.finish.has_value()) {
      if (event.finish->reason == FinishReason::kError) {
        return fail(finish_error(*event.finish));
      }
      usage_.add(*event.finish, index % choices_per_prompt_ == 0);
      choice.finish_reason = openai_finish_reason(event.finish->reason);
    }
    choice.text += event.reasoning + event.text;
    if (with_logprobs_) {
      for (const PositionLogprobs& position : answer_logprobs(*model_, event).content) {
        choice.logprobs.add(*model_, position, choice.offset);
        choice.offset += static_cast<int64_t>(model_->token_bytes(position.chosen.token).size());
      }
    }
    if (!stream_ || (choice.text.empty() && !event.finish.has_value())) return {};
    Json json = head();
    json["choices"] = Json::array({choice_json(index)});
    if (include_usage_) json["usage"] = nullptr;
    choice.text.clear();
    return sse_data(json);
  }

  std::string end() override {
    Json json = head();
    json["choices"] = Json::array();
    if (!stream_) {
      for (size_t i = 0; i < choices_.size(); ++i) json["choices"].push_back(choice_json(i));
    }
    json["usage"] = usage_json(usage_);
    if (!stream_) return dump(json);
    return (include_usage_ ? sse_data(json) : std::string()) + kSseDone;
  }

  std::string fail(const ApiError& error) override {
    failure_ = error;
    return stream_ ? sse_data(error_json(Dialect::kOpenAi, error)) : std::string();
  }

 private:
  struct Choice {
    std::string text;  // that nothing has carried yet
    Logprobs logprobs;
    int64_t offset = 0;  // bytes of text before the next token
    std::string finish_reason;
  };

  Json head() const {
    return {{"id", id_},
            {"object", "text_completion"},
            {"created", created_},
            {"model", model_->name()},
            {"system_fingerprint", "ferry"}};
  }

  Json choice_json(size_t index) {
    Choice& choice = choices_[index];
    return {{"text", choice.text},
            {"index", index},
            {"logprobs", with_logprobs_ ? choice.logprobs.take() : Json(nullptr)},
            {"finish_reason",
             choice.finish_reason.empty() ? Json(nullptr) : Json(choice.finish_reason)}};
  }

  const ServedModel* model_;
  std::string id_;
  int64_t created_;
  bool with_logprobs_;
  bool stream_;
  bool include_usage_;
  size_t choices_per_prompt_;
  std::vector<Choice> choices_;
  Usage usage_;
};

}  // namespace

std::unique_ptr<Answer> make_completion_answer(const ServedModel& model,
                                               const CompletionBody& body) {
  return std::make_unique<CompletionAnswer>(model, body);
}

}  // namespace ferry::server::api
