// OpenAI chat messages: checked, and brought to the one form that chat templates are written for:
//   {"role": "system" | "user" | "assistant" | "tool", "content": text or null,
//    "name"?, "reasoning_content"?, "tool_calls"?: [{"id", "type", "function": {"name",
//    "arguments": text}}], "tool_call_id"?}
// Text parts are joined, the developer's role is the system's, fields that nothing reads are gone.
#pragma once

#include "server/api/chat_ask.h"

namespace ferry::server::api {

// The "messages" of a body, into ask.messages and ask.continue_last.
void read_messages(Fields& body, ChatAsk& ask);

// Text of `value`: a string, or an array of parts {"type": one of `text_types`, "text"}. Refusals
// count as text; images, audio and files are refused by name. nullopt after a failure.
std::optional<std::string> read_text(const Json& value, const std::string& path,
                                     std::initializer_list<std::string_view> text_types,
                                     Failure& failure);

// An entry of tool_calls.
Json tool_call_json(const std::string& id, const std::string& name, const std::string& arguments);

}  // namespace ferry::server::api
