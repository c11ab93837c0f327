// Tools and answer formats of the OpenAI APIs: checked and brought to the one form that the engine
// takes, {"type": "function", "function": {"name", "description", "parameters", "strict"?}}.
#pragma once

#include "server/api/chat_ask.h"

namespace ferry::server::api {

// chat/completions: tools, tool_choice, parallel_tool_calls, response_format, and the fields by
// which other servers take a schema, a regex or a list of choices.
void read_chat_tools(Fields& body, ChatAsk& ask);
void read_response_format(Fields& body, ChatAsk& ask);

// One function: its fields under `function`, as both APIs have them. Adds it to ask.tools.
void add_function(Fields& function, ChatAsk& ask);

// "none", "auto" or "required". False: another word.
bool set_tool_choice(std::string_view word, ChatAsk& ask);
// The one tool that must be called. `path`: of the field that names it.
void set_named_tool(const std::string& name, const std::string& path, Failure& failure,
                    ChatAsk& ask);

// The "tools" of a tool_choice that allows some of them: ask.tools keeps only those.
void read_allowed_tools(Fields& fields, ChatAsk& ask);

// {"type": "text" | "json_object" | "json_schema", …}; the fields of the schema are under
// `schema_key` ("json_schema"), or beside the type where that is empty.
void read_format(Fields& format, std::string_view schema_key, ChatAsk& ask);

}  // namespace ferry::server::api
