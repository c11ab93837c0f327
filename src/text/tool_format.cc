// See tool_format.h.
#include "text/tool_format.h"

namespace ferry::text {

std::optional<ToolFormat> tool_format_of_template(std::string_view source) {
  const auto has = [source](std::string_view text) {
    return source.find(text) != std::string_view::npos;
  };
  // Templates put DSML tags together from pieces, so only the names of the tags can be looked for.
  if (has("｜DSML｜")) {
    return has("function_calls>") ? ToolFormat::kDeepSeekV32 : ToolFormat::kDeepSeekV4;
  }
  if (has("<｜tool▁calls▁begin｜>")) {
    return has("```json") ? ToolFormat::kDeepSeekV3 : ToolFormat::kDeepSeekV31;
  }
  if (has("<|tool_calls_section_begin|>")) return ToolFormat::kKimiK2;
  if (has("<tool_call>")) return has("<function=") ? ToolFormat::kQwenXml : ToolFormat::kHermes;
  if (has("<|python_tag|>") || (has("<|start_header_id|>") && has("\"parameters\""))) {
    return ToolFormat::kLlama3;
  }
  return std::nullopt;
}

std::optional<ToolFormat> tool_format_of(DeepSeekFormat format) {
  switch (format) {
    case DeepSeekFormat::kV2: return std::nullopt;
    case DeepSeekFormat::kV3:
    case DeepSeekFormat::kR1: return ToolFormat::kDeepSeekV3;
    case DeepSeekFormat::kV31: return ToolFormat::kDeepSeekV31;
    case DeepSeekFormat::kV32: return ToolFormat::kDeepSeekV32;
    case DeepSeekFormat::kV4: return ToolFormat::kDeepSeekV4;
  }
  return std::nullopt;
}

std::vector<std::string_view> tool_markers(ToolFormat format) {
  switch (format) {
    case ToolFormat::kDeepSeekV3:
    case ToolFormat::kDeepSeekV31:
      return {"<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>", "<｜tool▁call▁begin｜>",
              "<｜tool▁call▁end｜>", "<｜tool▁sep｜>"};
    case ToolFormat::kDeepSeekV32:
    case ToolFormat::kDeepSeekV4: return {"｜DSML｜"};
    case ToolFormat::kHermes:
    case ToolFormat::kQwenXml: return {"<tool_call>", "</tool_call>"};
    case ToolFormat::kLlama3: return {"<|python_tag|>"};
    case ToolFormat::kKimiK2:
      return {"<|tool_calls_section_begin|>", "<|tool_calls_section_end|>", "<|tool_call_begin|>",
              "<|tool_call_argument_begin|>", "<|tool_call_end|>"};
  }
  return {};
}

namespace {

ToolCallSpelling dsml_spelling(std::string_view begin, std::string_view end) {
  return {.lead = "\n\n",
          .begin = begin,
          .before_name = "<｜DSML｜invoke name=\"",
          .before_arguments = "\">\n",
          .after_arguments = "</｜DSML｜invoke>",
          .between = "\n",
          .end = end,
          .elements = ElementSpelling{.begin = "<｜DSML｜parameter name=\"",
                                      .text = "\" string=\"true\">",
                                      .json = "\" string=\"false\">",
                                      .value_end = "",
                                      .end = "</｜DSML｜parameter>",
                                      .behind = "\n",
                                      .none = "\n",
                                      .typed = true}};
}

}  // namespace

ToolCallSpelling tool_call_spelling(ToolFormat format) {
  switch (format) {
    case ToolFormat::kDeepSeekV3:
      return {.begin = "<｜tool▁calls▁begin｜>",
              .before_name = "<｜tool▁call▁begin｜>function<｜tool▁sep｜>",
              .before_arguments = "\n```json\n",
              .after_arguments = "\n```<｜tool▁call▁end｜>",
              .between = "\n",
              .end = "<｜tool▁calls▁end｜>"};
    case ToolFormat::kDeepSeekV31:
      return {.begin = "<｜tool▁calls▁begin｜>",
              .before_name = "<｜tool▁call▁begin｜>",
              .before_arguments = "<｜tool▁sep｜>",
              .after_arguments = "<｜tool▁call▁end｜>",
              .between = "",
              .end = "<｜tool▁calls▁end｜>"};
    case ToolFormat::kDeepSeekV32:
      return dsml_spelling("<｜DSML｜function_calls>\n", "\n</｜DSML｜function_calls>");
    case ToolFormat::kDeepSeekV4:
      return dsml_spelling("<｜DSML｜tool_calls>\n", "\n</｜DSML｜tool_calls>");
    case ToolFormat::kHermes:
      return {.begin = "",
              .before_name = "<tool_call>\n{\"name\": \"",
              .before_arguments = "\", \"arguments\": ",
              .after_arguments = "}\n</tool_call>",
              .between = "\n",
              .end = ""};
    case ToolFormat::kQwenXml:
      return {.begin = "",
              .before_name = "<tool_call>\n<function=",
              .before_arguments = ">\n",
              .after_arguments = "</function>\n</tool_call>",
              .between = "\n",
              .end = "",
              .elements = ElementSpelling{.begin = "<parameter=",
                                          .text = ">\n",
                                          .json = ">\n",
                                          .value_end = "\n",
                                          .end = "</parameter>",
                                          .behind = "\n",
                                          .none = "",
                                          .typed = false}};
    case ToolFormat::kLlama3:
      return {.begin = "",
              .before_name = "{\"name\": \"",
              .before_arguments = "\", \"parameters\": ",
              .after_arguments = "}",
              .between = "; ",
              .end = ""};
    case ToolFormat::kKimiK2:
      return {.begin = "<|tool_calls_section_begin|>",
              .before_name = "<|tool_call_begin|>functions.",
              .before_arguments = "<|tool_call_argument_begin|>",
              .after_arguments = "<|tool_call_end|>",
              .between = "",
              .end = "<|tool_calls_section_end|>",
              .numbered = true};
  }
  return {};
}

}  // namespace ferry::text
