// ToolFormat: how a model writes down that it wants a tool called. Each family has its own markup;
// ⏎ is a newline, {n} the name, {a} the arguments as JSON:
//
//   DeepSeekV3 <｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>{n}⏎```json⏎{a}⏎```
//                <｜tool▁call▁end｜>⏎…<｜tool▁calls▁end｜>                            (V3, R1)
//   DeepSeekV31  …<｜tool▁call▁begin｜>{n}<｜tool▁sep｜>{a}<｜tool▁call▁end｜>…
//   DeepSeekV32  <｜DSML｜function_calls>⏎<｜DSML｜invoke name="{n}">⏎
//                <｜DSML｜parameter name="k" string="true">text</｜DSML｜parameter>⏎
//                </｜DSML｜invoke>⏎</｜DSML｜function_calls>
//   DeepSeekV4   the same with tool_calls for function_calls
//   Hermes       <tool_call>⏎{"name": "{n}", "arguments": {a}}⏎</tool_call>
//                                                                               (Qwen2.5, Qwen3)
//   QwenXml      <tool_call>⏎<function={n}>⏎<parameter=k>⏎text⏎</parameter>⏎</function>⏎
//                </tool_call>                                                      (Qwen3-Coder)
//   Llama3       {"name": "{n}", "parameters": {a}}, perhaps behind <|python_tag|>
//   KimiK2       <|tool_calls_section_begin|><|tool_call_begin|>functions.{n}:{index}
//                <|tool_call_argument_begin|>{a}<|tool_call_end|>…<|tool_calls_section_end|>
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "text/deepseek_encoding.h"

namespace ferry::text {

enum class ToolFormat : uint8_t {
  kDeepSeekV3,
  kDeepSeekV31,
  kDeepSeekV32,
  kDeepSeekV4,
  kHermes,
  kQwenXml,
  kLlama3,
  kKimiK2,
};

// By the markup that a chat template writes for the calls of earlier turns. nullopt: it writes none
// that is known.
std::optional<ToolFormat> tool_format_of_template(std::string_view source);

// nullopt: the format has no calls.
std::optional<ToolFormat> tool_format_of(DeepSeekFormat format);

// Markers that a vocabulary may count as special tokens, and that must be let through to a parser
// all the same.
std::vector<std::string_view> tool_markers(ToolFormat format);

// Where arguments are elements of their own, what stands around each value:
//   begin NAME text VALUE value_end end behind
struct ElementSpelling {
  std::string_view begin;
  std::string_view text, json;  // for a value that is a text, or JSON
  std::string_view value_end;   // may be left out behind a text
  std::string_view end;
  std::string_view behind;
  std::string_view none;  // stands where there are no arguments
  bool typed = false;     // text and json differ
};

// The fixed text around one call:
//   lead  begin  before_name NAME before_arguments ARGUMENTS after_arguments  (between  …)*  end
// ARGUMENTS are JSON, or `elements`.
struct ToolCallSpelling {
  std::string_view lead;  // between the beginning of an answer and calls
  std::string_view begin;
  std::string_view before_name;
  std::string_view before_arguments;
  std::string_view after_arguments;
  std::string_view between;
  std::string_view end;
  std::optional<ElementSpelling> elements;
  bool numbered = false;  // ":" and the number of the call stand behind the name
};

ToolCallSpelling tool_call_spelling(ToolFormat format);

}  // namespace ferry::text
