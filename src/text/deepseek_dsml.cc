// The chat formats of DeepSeek-V3.2 and V4. Calls are elements:
//
//   ⏎⏎<｜DSML｜function_calls>⏎<｜DSML｜invoke name="f">⏎
//   <｜DSML｜parameter name="k" string="true">text</｜DSML｜parameter>⏎
//   </｜DSML｜invoke>⏎</｜DSML｜function_calls>
//
// V4 says tool_calls for function_calls. In V3.2 the results follow the calls, in V4 they are a
// part of the user's next message.
#include <algorithm>
#include <utility>

#include "text/deepseek_messages.h"

namespace ferry::text {
namespace {

constexpr const char* kTools32 =
    "## Tools\n"
    "You have access to a set of tools you can use to answer the user's question.\n"
    "You can invoke functions by writing a \"<｜DSML｜function_calls>\" block like the "
    "following as part of your reply to the user:\n"
    "<｜DSML｜function_calls>\n"
    "<｜DSML｜invoke name=\"$FUNCTION_NAME\">\n"
    "<｜DSML｜parameter name=\"$PARAMETER_NAME\" "
    "string=\"true|false\">$PARAMETER_VALUE</｜DSML｜parameter>\n"
    "...\n"
    "</｜DSML｜invoke>\n"
    "<｜DSML｜invoke name=\"$FUNCTION_NAME2\">\n"
    "...\n"
    "</｜DSML｜invoke>\n"
    "</｜DSML｜function_calls>\n"
    "String and scalar parameters should be specified as is without any escaping or "
    "quotes, while lists and objects should use JSON format. The \"string\" attribute "
    "should be set to \"true\" for string type parameters and \"false\" for other types "
    "(numbers, booleans, arrays, objects).\n"
    "If the thinking_mode is enabled, then after function results you should "
    "strongly consider outputting a thinking block. Here is an example:\n"
    "<｜DSML｜function_calls>\n"
    "...\n"
    "</｜DSML｜function_calls>\n"
    "<function_results>\n"
    "...\n"
    "</function_results>\n"
    "<think>...thinking about results</think>\n"
    "Here are the functions available in JSONSchema format:\n"
    "<functions>\n";
constexpr const char* kToolsEnd32 = "</functions>\n";

constexpr const char* kTools4 =
    "## Tools\n"
    "\n"
    "You have access to a set of tools to help answer the user's question. You can "
    "invoke tools by writing a \"<｜DSML｜tool_calls>\" block like the following:\n"
    "\n"
    "<｜DSML｜tool_calls>\n"
    "<｜DSML｜invoke name=\"$TOOL_NAME\">\n"
    "<｜DSML｜parameter name=\"$PARAMETER_NAME\" "
    "string=\"true|false\">$PARAMETER_VALUE</｜DSML｜parameter>\n"
    "...\n"
    "</｜DSML｜invoke>\n"
    "<｜DSML｜invoke name=\"$TOOL_NAME2\">\n"
    "...\n"
    "</｜DSML｜invoke>\n"
    "</｜DSML｜tool_calls>\n"
    "\n"
    "String parameters should be specified as is and set `string=\"true\"`. For all "
    "other types (numbers, booleans, arrays, objects), pass the value in JSON format "
    "and set `string=\"false\"`.\n"
    "\n"
    "If thinking_mode is enabled (triggered by <think>), you MUST output your "
    "complete reasoning inside <think>...</think> BEFORE any tool calls or final response.\n"
    "\n"
    "Otherwise, output directly after </think> with tool calls or final response.\n"
    "\n"
    "### Available Tool Schemas\n"
    "\n";
constexpr const char* kToolsEnd4 =
    "\nYou MUST strictly follow the above defined tool name and parameter schemas to invoke tool "
    "calls.\n";

constexpr const char* kMostEffort4 =
    "Reasoning Effort: Absolute maximum with no shortcuts permitted.\n"
    "You MUST be very thorough in your thinking and comprehensively decompose the "
    "problem to resolve the root cause, rigorously stress-testing your logic against "
    "all potential paths, edge cases, and adversarial scenarios.\n"
    "Explicitly write out your entire deliberation process, documenting every "
    "intermediate step, considered alternative, and rejected hypothesis to ensure "
    "absolutely no assumption is left unchecked.\n"
    "\n";

Result<std::string> system_text(const std::vector<DeepSeekMessage>& messages,
                                const DeepSeekOptions& options, const char* begin,
                                const char* end) {
  std::string out = joined_system(messages);
  if (!has_tools(options)) return out;
  FERRY_TRY(const std::vector<Json> functions, tool_functions(options.tools));
  if (!out.empty()) out += "\n\n";
  out += begin;
  for (const Json& function : functions) out += python_json(function) + "\n";
  return out + end;
}

std::string parameter(std::string_view name, const Json& value) {
  const bool is_text = value.is_string();
  return fmt::format("<｜DSML｜parameter name=\"{}\" string=\"{}\">{}</｜DSML｜parameter>", name,
                     is_text, is_text ? value.get<std::string>() : python_json(value));
}

// Arguments that are no object are one text: models do write such.
std::string invocation(const DeepSeekCall& call) {
  const auto arguments = parse_json(call.arguments, {.max_bytes = 32 << 20});
  std::string out;
  if (arguments.ok() && arguments->is_object()) {
    for (const auto& [name, value] : arguments->items()) {
      out += (out.empty() ? "" : "\n") + parameter(name, value);
    }
  } else {
    out = parameter("arguments", Json(call.arguments));
  }
  return fmt::format("<｜DSML｜invoke name=\"{}\">\n{}\n</｜DSML｜invoke>", call.name, out);
}

std::string calls_block(const std::vector<DeepSeekCall>& calls, std::string_view section) {
  if (calls.empty()) return {};
  std::string out = fmt::format("\n\n<｜DSML｜{}>", section);
  for (const DeepSeekCall& call : calls) out += "\n" + invocation(call);
  return out + fmt::format("\n</｜DSML｜{}>", section);
}

// A message of V4: results and what the user says next are one.
struct Turn4 {
  std::string role;
  std::vector<DeepSeekMessage> parts;  // of the user; else one

  const std::string& task() const { return parts.back().task; }
};

std::vector<Turn4> turns_of(const std::vector<DeepSeekMessage>& messages) {
  std::vector<Turn4> out;
  for (const DeepSeekMessage& message : messages) {
    if (message.role == "system") continue;
    const bool is_user = message.role != "assistant";
    // What asks for a task takes nothing in.
    if (is_user && !out.empty() && out.back().role == "user" && out.back().task().empty()) {
      out.back().parts.push_back(message);
    } else {
      out.push_back({is_user ? "user" : "assistant", {message}});
    }
  }
  return out;
}

// Results in the order of the calls, in the places where results are.
void sort_results(Turn4& turn, const std::vector<DeepSeekCall>& calls) {
  const auto order = [&calls](const DeepSeekMessage& result) {
    return std::find_if(calls.begin(), calls.end(),
                        [&result](const DeepSeekCall& call) { return call.id == result.call_id; }) -
           calls.begin();
  };
  std::vector<DeepSeekMessage> results;
  for (const DeepSeekMessage& part : turn.parts) {
    if (part.role == "tool") results.push_back(part);
  }
  std::stable_sort(
      results.begin(), results.end(),
      [&order](const DeepSeekMessage& a, const DeepSeekMessage& b) { return order(a) < order(b); });
  size_t next = 0;
  for (DeepSeekMessage& part : turn.parts) {
    if (part.role == "tool") part = results[next++];
  }
}

std::string user_text(const Turn4& turn) {
  std::string out;
  for (size_t i = 0; i < turn.parts.size(); ++i) {
    const DeepSeekMessage& part = turn.parts[i];
    if (i > 0) out += "\n\n";
    out += part.role == "tool" ? fmt::format("<tool_result>{}</tool_result>", part.content)
                               : part.content;
  }
  return out;
}

// What the model goes on from behind a turn.
std::string opening(const Turn4& turn, bool thinking, bool thoughts) {
  if (!turn.task().empty() && turn.task() != "action") return fmt::format("<｜{}｜>", turn.task());
  if (turn.task() == "action") {
    return fmt::format("{}{}<｜action｜>", kAssistantMark,
                       thinking ? kOpenThoughts : kCloseThoughts);
  }
  if (turn.role != "user") return {};
  return fmt::format("{}{}", kAssistantMark, thoughts ? kOpenThoughts : kCloseThoughts);
}

}  // namespace

Result<std::string> encode_deepseek_v32(const std::vector<DeepSeekMessage>& messages,
                                        const DeepSeekOptions& options) {
  FERRY_TRY(const std::string system, system_text(messages, options, kTools32, kToolsEnd32));
  std::string out = options.bos + system;
  const int64_t last_user = last_user_index(messages);
  size_t calls_left = 0;  // whose results have not come
  for (size_t i = 0; i < messages.size(); ++i) {
    const DeepSeekMessage& message = messages[i];
    const bool is_last = i + 1 == messages.size();
    const bool opens = !is_last || options.add_generation_prompt;
    const bool now = static_cast<int64_t>(i) >= last_user && options.thinking;
    const char* marker = now ? kOpenThoughts : kCloseThoughts;
    if (message.role == "user") {
      out += kUserMark + message.content;
      if (opens) out += fmt::format("{}{}", kAssistantMark, marker);
    } else if (message.role == "assistant") {
      if (now) out += message.reasoning + kCloseThoughts;
      out += message.content + calls_block(message.calls, "function_calls") + options.eos;
      calls_left = message.calls.size();
    } else if (message.role == "tool") {
      if (calls_left == 0) {
        return invalid_input("messages[{}]: the result of a call that nobody made", i);
      }
      if (messages[i - 1].role == "assistant") out += "\n\n<function_results>";
      out += fmt::format("\n<result>{}</result>", message.content);
      if (--calls_left > 0 && !is_last && messages[i + 1].role == "tool") continue;
      out += "\n</function_results>";
      if (opens) out += fmt::format("\n\n{}", marker);
    }
  }
  return out;
}

Result<std::string> encode_deepseek_v4(const std::vector<DeepSeekMessage>& messages,
                                       const DeepSeekOptions& options) {
  FERRY_TRY(const std::string system, system_text(messages, options, kTools4, kToolsEnd4));
  std::string out = options.bos;
  if (options.thinking && options.most_effort) out += kMostEffort4;
  out += system;
  std::vector<Turn4> turns = turns_of(messages);
  size_t last_user = 0;
  for (size_t i = 0; i < turns.size(); ++i) {
    if (turns[i].role == "user") last_user = i;
  }
  for (size_t i = 0; i < turns.size(); ++i) {
    Turn4& turn = turns[i];
    const bool is_last = i + 1 == turns.size();
    const bool thoughts = options.thinking && (has_tools(options) || i >= last_user);
    if (turn.role == "user") {
      if (i > 0) sort_results(turn, turns[i - 1].parts[0].calls);
      out += kUserMark + user_text(turn);
    } else {
      const DeepSeekMessage& said = turn.parts[0];
      const bool did_task = i > 0 && !turns[i - 1].task().empty();
      if (thoughts && !did_task) out += said.reasoning + kCloseThoughts;
      out += said.content + calls_block(said.calls, "tool_calls") + options.eos;
    }
    const bool opens = is_last ? options.add_generation_prompt : turns[i + 1].role == "assistant";
    if (opens) out += opening(turn, options.thinking, thoughts);
  }
  return out;
}

}  // namespace ferry::text
