// The three kinds of tool-call parsers, by the shape of the markup.
#pragma once

#include <memory>

#include "text/tool_calls.h"

namespace ferry::text {

// Markers around a name and a JSON text: DeepSeekV3, DeepSeekV31, KimiK2.
std::unique_ptr<ToolCallParser> make_marked_call_parser(ToolFormat format, ToolCallOptions options);
// An element for each argument: DeepSeekV32, DeepSeekV4, QwenXml.
std::unique_ptr<ToolCallParser> make_tagged_call_parser(ToolFormat format, ToolCallOptions options);
// A JSON object with name and arguments: Hermes, Llama3.
std::unique_ptr<ToolCallParser> make_json_call_parser(ToolFormat format, ToolCallOptions options);

}  // namespace ferry::text
