// See responses_answer.h.
#include "server/api/responses_answer.h"

#include <utility>

#include "server/api/answer_parts.h"

namespace ferry::server::api {
namespace {

enum class ItemKind { kNone, kReasoning, kMessage, kCall };

// The item that is being written.
struct OpenItem {
  ItemKind kind = ItemKind::kNone;
  std::string id;
  std::string text;  // of its part, or the arguments of its call
  Json logprobs = Json::array();
  std::string call_id;
  ToolOrigin tool;
  int64_t call_index = -1;
};

Json text_part(const std::string& text, Json logprobs) {
  return {{"type", "output_text"},
          {"text", text},
          {"annotations", Json::array()},
          {"logprobs", std::move(logprobs)}};
}

// The one argument of a custom tool; what is no such object is passed on as it is.
std::string custom_input(const std::string& arguments) {
  const auto json = parse_json(arguments, {.max_bytes = 32 << 20});
  if (json.ok() && json->is_object() && json->contains("input") && (*json)["input"].is_string()) {
    return (*json)["input"].get<std::string>();
  }
  return arguments;
}

class ResponsesAnswer : public Answer {
 public:
  ResponsesAnswer(const ServedModel& model, ResponsesBody body)
      : model_(&model),
        id_(model.new_id("resp_")),
        created_(model.now()),
        stream_(body.stream),
        with_logprobs_(body.with_logprobs),
        origins_(std::move(body.origins)),
        echo_(std::move(body.echo)) {}

  std::string begin(std::span<const int64_t>) override {
    emit("response.created", {{"response", response_json("in_progress")}});
    emit("response.in_progress", {{"response", response_json("in_progress")}});
    return take();
  }

  std::string event(size_t, const StreamEvent& event) override {
    if (failure_.has_value() || finish_.has_value()) return {};
    if (event.finish.has_value() && event.finish->reason == FinishReason::kError) {
      return fail(finish_error(*event.finish));
    }
    Json logprobs = Json::array();
    if (with_logprobs_) {
      for (const auto& position : answer_logprobs(*model_, event).content) {
        logprobs.push_back(position_logprobs_json(*model_, position));
      }
    }
    if (!event.reasoning.empty()) add_reasoning(event.reasoning);
    if (!event.text.empty() || (!logprobs.empty() && item_.kind == ItemKind::kMessage)) {
      add_text(event.text, std::move(logprobs));
    }
    for (const ToolCallPiece& piece : event.tool_calls) add_call_piece(piece);
    if (event.finish.has_value()) finish(*event.finish);
    return take();
  }

  std::string end() override { return stream_ ? std::string() : dump(response_json(status_)); }

  std::string fail(const ApiError& error) override {
    failure_ = error;
    status_ = "failed";
    Json response = response_json(status_);
    response["error"] = {{"code", error.code.empty() ? "server_error" : error.code},
                         {"message", error.message}};
    emit("response.failed", {{"response", std::move(response)}});
    return take();
  }

 private:
  std::string take() { return std::exchange(out_, {}); }

  void emit(std::string_view type, Json fields) {
    if (!stream_) return;
    Json json{{"type", type}, {"sequence_number", sequence_number_++}};
    json.update(fields);
    out_ += sse_event(type, json);
  }

  // Of the open item: its id and places.
  Json place(bool with_part) const {
    Json json{{"item_id", item_.id}, {"output_index", output_.size()}};
    if (with_part) json["content_index"] = 0;
    return json;
  }
  void emit_in_item(std::string_view type, bool in_part, Json fields) {
    Json json = place(in_part);
    json.update(fields);
    emit(type, std::move(json));
  }

  void add_reasoning(const std::string& text) {
    if (item_.kind != ItemKind::kReasoning) {
      open({.kind = ItemKind::kReasoning, .id = model_->new_id("rs_")});
      emit_in_item("response.content_part.added", true,
                   {{"part", {{"type", "reasoning_text"}, {"text", ""}}}});
    }
    item_.text += text;
    emit_in_item("response.reasoning_text.delta", true, {{"delta", text}});
  }

  void add_text(const std::string& text, Json logprobs) {
    if (item_.kind != ItemKind::kMessage) {
      open({.kind = ItemKind::kMessage, .id = model_->new_id("msg_")});
      emit_in_item("response.content_part.added", true, {{"part", text_part("", Json::array())}});
    }
    item_.text += text;
    for (const Json& entry : logprobs) item_.logprobs.push_back(entry);
    emit_in_item("response.output_text.delta", true,
                 {{"delta", text}, {"logprobs", std::move(logprobs)}});
  }

  void add_call_piece(const ToolCallPiece& piece) {
    if (item_.kind != ItemKind::kCall || item_.call_index != piece.index) {
      OpenItem item{.kind = ItemKind::kCall, .call_index = piece.index};
      item.tool = origin_of(piece.name);
      item.id = model_->new_id(item.tool.custom ? "ctc_" : "fc_");
      item.call_id = piece.id.empty() ? model_->new_id("call_") : piece.id;
      open(std::move(item));
    }
    if (piece.arguments.empty()) return;
    item_.text += piece.arguments;
    if (!item_.tool.custom) {
      emit_in_item("response.function_call_arguments.delta", false, {{"delta", piece.arguments}});
    }
  }

  // Models leave the namespace out now and then: where only one tool is called so, it is that.
  ToolOrigin origin_of(const std::string& name) const {
    const auto shown = origins_.find(name);
    if (shown != origins_.end()) return shown->second;
    const ToolOrigin* found = nullptr;
    for (const auto& [_, origin] : origins_) {
      if (origin.name != name) continue;
      if (found != nullptr) return {.name = name};
      found = &origin;
    }
    return found != nullptr ? *found : ToolOrigin{.name = name};
  }

  void open(OpenItem item) {
    close("completed");
    item_ = std::move(item);
    emit("response.output_item.added",
         {{"output_index", output_.size()}, {"item", item_json("in_progress", false)}});
  }

  void close(std::string_view status) {
    if (item_.kind == ItemKind::kNone) return;
    if (item_.kind == ItemKind::kReasoning) {
      emit_in_item("response.reasoning_text.done", true, {{"text", item_.text}});
      emit_in_item("response.content_part.done", true,
                   {{"part", {{"type", "reasoning_text"}, {"text", item_.text}}}});
    } else if (item_.kind == ItemKind::kMessage) {
      emit_in_item("response.output_text.done", true,
                   {{"text", item_.text}, {"logprobs", item_.logprobs}});
      emit_in_item("response.content_part.done", true,
                   {{"part", text_part(item_.text, item_.logprobs)}});
    } else if (item_.tool.custom) {
      const std::string input = custom_input(item_.text);
      emit_in_item("response.custom_tool_call_input.delta", false, {{"delta", input}});
      emit_in_item("response.custom_tool_call_input.done", false, {{"input", input}});
    } else {
      emit_in_item("response.function_call_arguments.done", false,
                   {{"name", item_.tool.name}, {"arguments", item_.text}});
    }
    Json json = item_json(status, true);
    emit("response.output_item.done", {{"output_index", output_.size()}, {"item", json}});
    output_.push_back(std::move(json));
    item_ = OpenItem();
  }

  // `filled`: with what has come; an item is announced empty.
  Json item_json(std::string_view status, bool filled) const {
    Json json{{"id", item_.id}};
    if (item_.kind == ItemKind::kReasoning) {
      json["type"] = "reasoning";
      json["summary"] = Json::array();
      json["content"] = Json::array();
      json["encrypted_content"] = nullptr;
      if (filled) json["content"].push_back({{"type", "reasoning_text"}, {"text", item_.text}});
    } else if (item_.kind == ItemKind::kMessage) {
      json["type"] = "message";
      json["role"] = "assistant";
      json["content"] = Json::array();
      if (filled) json["content"].push_back(text_part(item_.text, item_.logprobs));
    } else {
      json["type"] = item_.tool.custom ? "custom_tool_call" : "function_call";
      json["call_id"] = item_.call_id;
      json["name"] = item_.tool.name;
      if (!item_.tool.name_space.empty()) json["namespace"] = item_.tool.name_space;
      const std::string text = !filled             ? std::string()
                               : item_.tool.custom ? custom_input(item_.text)
                                                   : item_.text;
      json[item_.tool.custom ? "input" : "arguments"] = text;
    }
    json["status"] = status;
    return json;
  }

  void finish(const Finish& finish) {
    finish_ = finish;
    if (finish.reason == FinishReason::kCancelled) {
      const ApiError error{503, "the server gave the request up", {}, "server_error"};
      out_ += fail(error);
      return;
    }
    status_ = finish.reason == FinishReason::kLength ? "incomplete" : "completed";
    close(status_);
    emit("response." + status_, {{"response", response_json(status_)}});
  }

  Json response_json(std::string_view status) const {
    Json json{{"id", id_},
              {"object", "response"},
              {"created_at", created_},
              {"status", status},
              {"background", false},
              {"error", nullptr},
              {"incomplete_details", nullptr},
              {"model", model_->name()},
              {"output", output_},
              {"previous_response_id", nullptr},
              {"service_tier", "default"},
              {"store", false},
              {"usage", nullptr}};
    json.update(echo_);
    if (status == "incomplete") json["incomplete_details"] = {{"reason", "max_output_tokens"}};
    if (status == "completed") json["completed_at"] = model_->now();
    if (!finish_.has_value()) return json;
    json["usage"] = {{"input_tokens", finish_->prompt_tokens},
                     {"input_tokens_details", {{"cached_tokens", finish_->cached_prompt_tokens}}},
                     {"output_tokens", finish_->completion_tokens},
                     {"output_tokens_details", {{"reasoning_tokens", finish_->reasoning_tokens}}},
                     {"total_tokens", finish_->prompt_tokens + finish_->completion_tokens}};
    return json;
  }

  const ServedModel* model_;
  std::string id_;
  int64_t created_;
  bool stream_;
  bool with_logprobs_;
  std::map<std::string, ToolOrigin> origins_;
  Json echo_;

  std::string out_;  // events that nobody has taken yet
  int64_t sequence_number_ = 0;
  Json output_ = Json::array();  // items that are done
  OpenItem item_;
  std::string status_ = "in_progress";
  std::optional<Finish> finish_;
};

}  // namespace

std::unique_ptr<Answer> make_responses_answer(const ServedModel& model, ResponsesBody body) {
  return std::make_unique<ResponsesAnswer>(model, std::move(body));
}

}  // namespace ferry::server::api
