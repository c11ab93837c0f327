// See tools.h.
#include "server/api/tools.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/quote_name.h"

namespace ferry::server::api {
namespace {

constexpr size_t kMaxTools = 512;
constexpr size_t kMaxNameBytes = 128;
constexpr size_t kMaxChoiceConstraint = 4096;

bool is_tool_name(std::string_view name) {
  return !name.empty() && name.size() <= kMaxNameBytes &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '_' || c == '-' || c == '.';
         });
}

bool has_tool(const ChatAsk& ask, std::string_view name) {
  return std::any_of(ask.tools.begin(), ask.tools.end(), [&](const Json& tool) {
    return tool["function"]["name"].get_ref<const std::string&>() == name;
  });
}

void read_choice_object(const Json& choice, Fields& body, ChatAsk& ask) {
  Fields fields(choice, body.path("tool_choice"), body.failure());
  const std::string type =
      fields.one_of("type", {"function", "allowed_tools"}).value_or("function");
  const Json* inner = fields.object(type);
  if (inner == nullptr) {
    fields.fail(missing_field(fields.path(type)));
    return;
  }
  Fields named(*inner, fields.path(type), body.failure());
  if (type == "function") {
    set_named_tool(named.required_string("name"), named.path("name"), body.failure(), ask);
    return;
  }
  const std::string mode = named.one_of("mode", {"auto", "required"}).value_or("auto");
  read_allowed_tools(named, ask);
  set_tool_choice(mode, ask);
}

void read_choice(Fields& body, ChatAsk& ask) {
  const Json* choice = body.find("tool_choice");
  if (choice == nullptr) return;
  if (choice->is_object()) {
    read_choice_object(*choice, body, ask);
  } else if (!choice->is_string()) {
    body.fail_type("tool_choice", "a string or an object", *choice);
  } else if (!set_tool_choice(choice->get_ref<const std::string&>(), ask)) {
    body.one_of("tool_choice", {"none", "auto", "required"});
  }
  if (ask.tool_choice.kind == ToolChoice::kRequired && ask.tools.empty()) {
    body.fail(invalid_value("tool_choice", "\"required\" needs tools"));
  }
}

void set_constraint(Fields& fields, std::string_view key, Constraint constraint, ChatAsk& ask) {
  if (ask.constraint.has_value()) {
    fields.fail(invalid_value(fields.path(key), "the answer has another constraint already"));
  }
  ask.constraint = std::move(constraint);
}

// The names under which other servers take constraints that OpenAI's fields do not express.
void read_structure(Fields& fields, std::string_view json_key, std::string_view regex_key,
                    std::string_view choice_key, ChatAsk& ask) {
  if (const Json* schema = fields.find(json_key)) {
    // As JSON text, too.
    const std::string text =
        schema->is_string() ? schema->get_ref<const std::string&>() : dump(*schema);
    set_constraint(fields, json_key, {.kind = Constraint::kJsonSchema, .text = text, .choices = {}},
                   ask);
  }
  if (const auto regex = fields.string(regex_key)) {
    set_constraint(fields, regex_key, {.kind = Constraint::kRegex, .text = *regex, .choices = {}},
                   ask);
  }
  const Json* choices = fields.array(choice_key);
  if (choices == nullptr) return;
  Constraint constraint{.kind = Constraint::kChoice, .text = {}, .choices = {}};
  for (const Json& choice : *choices) {
    if (!choice.is_string()) {
      fields.fail_type(choice_key, "an array of strings", choice);
      return;
    }
    constraint.choices.push_back(choice.get<std::string>());
  }
  if (constraint.choices.empty() || constraint.choices.size() > kMaxChoiceConstraint) {
    fields.fail(invalid_value(fields.path(choice_key),
                              fmt::format("expected 1 to {} choices", kMaxChoiceConstraint)));
  }
  set_constraint(fields, choice_key, std::move(constraint), ask);
}

}  // namespace

void add_function(Fields& function, ChatAsk& ask) {
  const std::string name = function.required_string("name");
  Json out;
  out["name"] = name;
  out["description"] = function.string("description").value_or("");
  const Json* parameters = function.object("parameters");
  out["parameters"] = parameters != nullptr
                          ? *parameters
                          : Json{{"type", "object"}, {"properties", Json::object()}};
  if (const auto strict = function.boolean("strict"); strict.value_or(false)) out["strict"] = true;
  if (!is_tool_name(name)) {
    function.fail(invalid_value(
        function.path("name"),
        fmt::format("expected 1 to {} letters, digits, '_', '-' and '.'", kMaxNameBytes)));
  }
  if (function.failure().has_value()) return;
  if (has_tool(ask, name)) {
    function.fail(invalid_value(function.path("name"),
                                quote_name(name) + " is the name of another tool already"));
  }
  if (ask.tools.size() >= kMaxTools) {
    function.fail(
        {400, fmt::format("tools: more than {}", kMaxTools), "tools", "array_above_max_length"});
  }
  ask.tools.push_back({{"type", "function"}, {"function", std::move(out)}});
}

bool set_tool_choice(std::string_view word, ChatAsk& ask) {
  if (word == "none") {
    ask.tool_choice.kind = ToolChoice::kNone;
  } else if (word == "auto") {
    ask.tool_choice.kind = ToolChoice::kAuto;
  } else if (word == "required") {
    ask.tool_choice.kind = ToolChoice::kRequired;
  } else {
    return false;
  }
  return true;
}

void set_named_tool(const std::string& name, const std::string& path, Failure& failure,
                    ChatAsk& ask) {
  if (failure.has_value()) return;
  if (!has_tool(ask, name)) {
    failure = invalid_value(path, quote_name(name) + " is none of the tools");
    return;
  }
  ask.tool_choice.kind = ToolChoice::kNamed;
  ask.tool_choice.name = name;
}

void read_allowed_tools(Fields& fields, ChatAsk& ask) {
  const Json* tools = fields.required_array("tools");
  if (tools == nullptr) return;
  Json kept = Json::array();
  for (size_t i = 0; i < tools->size(); ++i) {
    Fields tool((*tools)[i], path_of(fields.path("tools"), i), fields.failure());
    const Json* function = tool.object("function");
    std::string name;
    if (function != nullptr) {
      Fields named(*function, tool.path("function"), fields.failure());
      name = named.required_string("name");
    } else {
      name = tool.required_string("name");
    }
    for (const Json& known : ask.tools) {
      if (known["function"]["name"] == name) kept.push_back(known);
    }
  }
  if (kept.empty()) {
    fields.fail(invalid_value(fields.path("tools"), "names none of the tools of this request"));
  }
  ask.tools = std::move(kept);
}

void read_chat_tools(Fields& body, ChatAsk& ask) {
  body.refuse("functions", "is not supported; use tools");
  body.refuse("function_call", "is not supported; use tool_choice");
  if (const Json* tools = body.array("tools")) {
    for (size_t i = 0; i < tools->size(); ++i) {
      Fields tool((*tools)[i], path_of("tools", i), body.failure());
      tool.one_of("type", {"function"});
      const Json* function = tool.object("function");
      if (function == nullptr) {
        tool.fail(missing_field(tool.path("function")));
        return;
      }
      Fields fields(*function, tool.path("function"), body.failure());
      add_function(fields, ask);
    }
  }
  if (body.failure().has_value()) return;
  read_choice(body, ask);
  ask.parallel_tool_calls = body.boolean("parallel_tool_calls").value_or(true);
}

void read_format(Fields& format, std::string_view schema_key, ChatAsk& ask) {
  const std::string type =
      format.one_of("type", {"text", "json_object", "json_schema"}).value_or("");
  if (type.empty()) format.fail(missing_field(format.path("type")));
  if (type == "json_object") {
    set_constraint(format, "type", {.kind = Constraint::kJsonObject, .text = {}, .choices = {}},
                   ask);
  }
  if (type != "json_schema") return;
  const Json* holder = schema_key.empty() ? nullptr : format.object(schema_key);
  if (!schema_key.empty() && holder == nullptr) {
    format.fail(missing_field(format.path(schema_key)));
    return;
  }
  Fields fields =
      holder == nullptr ? format : Fields(*holder, format.path(schema_key), format.failure());
  fields.required_string("name");
  fields.boolean("strict");  // a schema is always kept to; the field is only checked
  const Json* schema = fields.object("schema");
  // Without a schema any object will do, which is what OpenAI's API makes of it.
  if (schema == nullptr) {
    set_constraint(format, "type", {.kind = Constraint::kJsonObject, .text = {}, .choices = {}},
                   ask);
    return;
  }
  set_constraint(fields, "schema",
                 {.kind = Constraint::kJsonSchema, .text = dump(*schema), .choices = {}}, ask);
}

void read_response_format(Fields& body, ChatAsk& ask) {
  if (const Json* format = body.object("response_format")) {
    Fields fields(*format, "response_format", body.failure());
    read_format(fields, "json_schema", ask);
  }
  read_structure(body, "guided_json", "guided_regex", "guided_choice", ask);
  if (const Json* structure = body.object("structured_outputs")) {
    Fields fields(*structure, "structured_outputs", body.failure());
    read_structure(fields, "json", "regex", "choice", ask);
  }
}

}  // namespace ferry::server::api
