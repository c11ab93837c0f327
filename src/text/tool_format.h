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

// The fixed text around one call whose arguments are JSON:
//   begin  before_name NAME before_arguments JSON after_arguments  (between  …)*  end
struct ToolCallSpelling {
  std::string_view begin;
  std::string_view before_name;
  std::string_view before_arguments;
  std::string_view after_arguments;
  std::string_view between;
  std::string_view end;
};

// nullopt: the format writes arguments as elements of their own (DSML, QwenXml), or numbers its
// calls through the conversation (KimiK2).
std::optional<ToolCallSpelling> tool_call_spelling(ToolFormat format);

}  // namespace ferry::text
