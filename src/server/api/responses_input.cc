// See responses_input.h.
#include "server/api/responses_input.h"

#include <fmt/format.h>

#include "base/quote_name.h"
#include "server/api/chat_messages.h"
#include "server/api/tools.h"

namespace ferry::server::api {
namespace {

class InputReader {
 public:
  InputReader(Failure& failure, Json& messages) : failure_(failure), messages_(messages) {}

  void item(const Json& json, std::string path) {
    Fields fields(json, std::move(path), failure_);
    const std::string type = fields.string("type").value_or("message");
    if (failure_.has_value()) return;
    if (type == "message") {
      message(fields);
    } else if (type == "reasoning") {
      reasoning(fields);
    } else if (type == "function_call" || type == "custom_tool_call") {
      call(fields, type == "custom_tool_call");
    } else if (type == "function_call_output" || type == "custom_tool_call_output") {
      output(fields);
    } else if (type == "item_reference") {
      fields.fail(unsupported_value(fields.path("type"),
                                    "nothing is stored here that could be referred to; send the "
                                    "item itself"));
    } else {
      fields.fail(unsupported_value(
          fields.path("type"), quote_name(type) + " is no type of item that this model knows"));
    }
  }

  // The assistant's turn ends.
  void flush() {
    if (turn_.is_null()) return;
    if (turn_["content"].is_null() && !turn_.contains("tool_calls")) turn_["content"] = "";
    messages_.push_back(std::move(turn_));
    turn_ = nullptr;
  }

 private:
  Json& turn() {
    if (turn_.is_null()) turn_ = {{"role", "assistant"}, {"content", nullptr}};
    return turn_;
  }

  std::string text(Fields& fields, std::string_view key,
                   std::initializer_list<std::string_view> types) {
    const Json* value = fields.find(key);
    if (value == nullptr) return {};
    return read_text(*value, fields.path(key), types, failure_).value_or("");
  }

  void message(Fields& fields) {
    const std::string role =
        fields.one_of("role", {"user", "assistant", "system", "developer"}).value_or("");
    if (role.empty()) fields.fail(missing_field(fields.path("role")));
    if (!fields.has("content")) fields.fail(missing_field(fields.path("content")));
    std::string content = text(fields, "content", {"input_text", "output_text", "text"});
    if (role != "assistant") {
      flush();
      messages_.push_back(
          {{"role", role == "developer" ? "system" : role}, {"content", std::move(content)}});
      return;
    }
    if (!turn()["content"].is_null() || turn().contains("tool_calls")) flush();
    turn()["content"] = std::move(content);
  }

  // Raw thoughts where the item has them, else their summary.
  void reasoning(Fields& fields) {
    std::string thoughts = text(fields, "content", {"reasoning_text", "text"});
    if (thoughts.empty()) thoughts = text(fields, "summary", {"summary_text", "text"});
    flush();
    if (!thoughts.empty()) turn()["reasoning_content"] = std::move(thoughts);
  }

  void call(Fields& fields, bool custom) {
    const std::string id = fields.required_string("call_id");
    const std::string name =
        shown_tool_name(fields.string("namespace").value_or(""), fields.required_string("name"));
    std::string arguments = fields.required_string(custom ? "input" : "arguments");
    if (custom) arguments = dump({{"input", arguments}});
    turn()["tool_calls"].push_back(tool_call_json(id, name, arguments));
  }

  void output(Fields& fields) {
    flush();
    const std::string id = fields.required_string("call_id");
    if (!fields.has("output")) fields.fail(missing_field(fields.path("output")));
    std::string content = text(fields, "output", {"input_text", "output_text", "text"});
    messages_.push_back({{"role", "tool"}, {"tool_call_id", id}, {"content", std::move(content)}});
  }

  Failure& failure_;
  Json& messages_;
  Json turn_;
};

void add_response_tool(const Json& json, std::string path, const std::string& name_space,
                       Failure& failure, ResponsesBody& out) {
  Fields tool(json, std::move(path), failure);
  const std::string type = tool.required_string("type");
  if (failure.has_value()) return;
  if (type == "namespace" && name_space.empty()) {
    const std::string name = tool.required_string("name");
    const Json* tools = tool.required_array("tools");
    for (size_t i = 0; tools != nullptr && i < tools->size(); ++i) {
      add_response_tool((*tools)[i], path_of(tool.path("tools"), i), name, failure, out);
    }
    return;
  }
  if (type != "function" && type != "custom") return;  // hosted by somebody else
  const std::string name = tool.required_string("name");
  Json shown = json;
  shown["name"] = shown_tool_name(name_space, name);
  if (type == "custom") {
    shown["parameters"] = {{"type", "object"},
                           {"properties", {{"input", {{"type", "string"}}}}},
                           {"required", {"input"}}};
  }
  Fields function(shown, tool.path(), failure);
  add_function(function, out.ask);
  out.origins[shown["name"].get<std::string>()] = {name, name_space, type == "custom"};
}

void read_response_choice(Fields& body, ResponsesBody& out) {
  const Json* choice = body.find("tool_choice");
  if (choice == nullptr) return;
  if (choice->is_string()) {
    if (!set_tool_choice(choice->get_ref<const std::string&>(), out.ask)) {
      body.one_of("tool_choice", {"none", "auto", "required"});
    }
  } else {
    Fields fields(*choice, "tool_choice", body.failure());
    const std::string type =
        fields.one_of("type", {"function", "custom", "allowed_tools"}).value_or("");
    if (type == "allowed_tools") {
      set_tool_choice(fields.one_of("mode", {"auto", "required"}).value_or("auto"), out.ask);
      read_allowed_tools(fields, out.ask);
    } else {
      const std::string name =
          shown_tool_name(fields.string("namespace").value_or(""), fields.required_string("name"));
      set_named_tool(name, fields.path("name"), body.failure(), out.ask);
    }
  }
  if (out.ask.tool_choice.kind == ToolChoice::kRequired && out.ask.tools.empty()) {
    body.fail(invalid_value("tool_choice", "\"required\" needs tools"));
  }
}

}  // namespace

std::string shown_tool_name(std::string_view name_space, std::string_view name) {
  return name_space.empty() ? std::string(name) : fmt::format("{}.{}", name_space, name);
}

void read_responses_input(Fields& body, ResponsesBody& out) {
  Json& messages = out.ask.messages;
  if (const auto instructions = body.string("instructions")) {
    messages.push_back({{"role", "system"}, {"content", *instructions}});
  }
  const Json* input = body.find("input");
  if (input == nullptr) {
    body.fail(missing_field("input"));
  } else if (input->is_string()) {
    messages.push_back({{"role", "user"}, {"content", *input}});
  } else if (!input->is_array()) {
    body.fail_type("input", "a text or an array of items", *input);
  } else {
    InputReader reader(body.failure(), messages);
    for (size_t i = 0; i < input->size() && !body.failure().has_value(); ++i) {
      reader.item((*input)[i], path_of("input", i));
    }
    reader.flush();
    if (messages.empty()) body.fail({400, "input: has no items", "input", "empty_array"});
  }
}

void read_responses_tools(Fields& body, ResponsesBody& out) {
  if (const Json* tools = body.array("tools")) {
    for (size_t i = 0; i < tools->size() && !body.failure().has_value(); ++i) {
      add_response_tool((*tools)[i], path_of("tools", i), {}, body.failure(), out);
    }
  }
  if (body.failure().has_value()) return;
  read_response_choice(body, out);
  out.ask.parallel_tool_calls = body.boolean("parallel_tool_calls").value_or(true);
}

}  // namespace ferry::server::api
