// See tool_calls.h.
#include "grammar/tool_calls.h"

#include <algorithm>

#include "grammar/free_text.h"
#include "grammar/json_schema.h"
#include "grammar/json_text.h"

namespace ferry::grammar {
namespace {

constexpr int64_t kTrialShare = 8;  // of the limits, to find out whether a schema can be honoured

bool can_be_called(std::string_view name) {
  return !name.empty() && std::none_of(name.begin(), name.end(), [](char c) {
    return static_cast<unsigned char>(c) < 0x20 || c == '"' || c == '\\' || c == '<' || c == '>';
  });
}

Result<ExprRef> add_any_arguments(RuleSet& rules, const ToolCallText& calls,
                                  const Vocabulary& vocabulary) {
  if (calls.elements.has_value()) return add_any_elements(rules, *calls.elements, vocabulary);
  return json_any_object(rules);
}

Result<ExprRef> add_schema(RuleSet& rules, const ToolCallText& calls, const Json& schema,
                           const Vocabulary& vocabulary) {
  if (!calls.elements.has_value()) return add_json_schema(rules, schema);
  return add_schema_elements(rules, schema, *calls.elements, vocabulary);
}

bool can_be_honoured(const ToolCallText& calls, const Json& schema, const Vocabulary& vocabulary,
                     CompileLimits limits) {
  limits.max_states /= kTrialShare;
  limits.max_work /= kTrialShare;
  Budget budget(limits);
  RuleSet rules(budget);
  Result<ExprRef> expr = add_schema(rules, calls, schema, vocabulary);
  return expr.ok() && rules.define(0, *expr).ok() && rules.link().ok();
}

Result<ExprRef> add_arguments(RuleSet& rules, const ToolCallText& calls,
                              const ToolCallText::Tool& tool, const Vocabulary& vocabulary) {
  if (tool.parameters.empty()) return add_any_arguments(rules, calls, vocabulary);
  const CompileLimits& limits = rules.budget().limits();
  FERRY_TRY(const Json schema, parse_json(tool.parameters, {.max_bytes = limits.max_text_bytes,
                                                            .max_depth = 128,
                                                            .max_values = 200'000}));
  if (!tool.strict && !can_be_honoured(calls, schema, vocabulary, limits)) {
    return add_any_arguments(rules, calls, vocabulary);
  }
  return add_schema(rules, calls, schema, vocabulary);
}

ExprRef number_of_call() {
  const ExprRef digit = chars(digit_chars());
  return sequence(
      {bytes(":"),
       choice({bytes("0"), sequence({chars(make_set({{'1', '9'}})), repeat(digit, 0, 3)})})});
}

// By which a call is told from other text: the first marker of it, whole.
std::string_view first_marker(const ToolCallText& calls) {
  const std::string_view text = calls.begin.empty() ? calls.before_name : calls.begin;
  return text.substr(0, text.find('>') + 1);  // none: empty
}

}  // namespace

Result<ExprRef> add_tool_calls(RuleSet& rules, const ToolCallText& calls, const ExprRef& otherwise,
                               const Vocabulary& vocabulary) {
  std::vector<ExprRef> ways;
  for (size_t i = 0; i < calls.tools.size(); ++i) {
    const ToolCallText::Tool& tool = calls.tools[i];
    const std::string path = "tools[" + std::to_string(i) + "].function";
    if (!can_be_called(tool.name)) {
      return invalid_input("{}.name: is empty or has characters that no call can hold", path);
    }
    Result<ExprRef> arguments = add_arguments(rules, calls, tool, vocabulary);
    if (!arguments.ok()) return arguments.error().in(path + ".parameters");
    ways.push_back(sequence({bytes(tool.name), calls.numbered ? number_of_call() : bytes(""),
                             spelled(calls.before_arguments, vocabulary), *std::move(arguments),
                             spelled(calls.after_arguments, vocabulary)}));
  }
  const ExprRef way = choice(std::move(ways));
  const ExprRef more =
      repeat(sequence({spelled(calls.between + calls.before_name, vocabulary), way}), 0,
             calls.parallel ? -1 : 0);
  const std::string opening = calls.begin + calls.before_name;
  const auto all_behind = [&](std::string_view rest) {
    return sequence({spelled(rest, vocabulary), way, more, spelled(calls.end, vocabulary)});
  };
  if (calls.required) return all_behind(calls.lead + opening);
  if (otherwise != nullptr) return choice({otherwise, all_behind(calls.lead + opening)});
  const std::string_view marker = first_marker(calls);
  if (marker.empty()) {
    return invalid_input("tools: calls of this model can't be told from its text in advance");
  }
  return choice({free_text_without({marker}, vocabulary),
                 sequence({free_text_until({marker}, vocabulary),
                           all_behind(std::string_view(opening).substr(marker.size()))})});
}

}  // namespace ferry::grammar
