// The input of the Responses API: a text, or items that become chat messages. What one turn of the
// assistant is made of — reasoning, message, function calls, each an item of its own — becomes one
// message, as chat templates have it.
#pragma once

#include "server/api/responses.h"

namespace ferry::server::api {

// instructions and input, into ask.messages.
void read_responses_input(Fields& body, ResponsesBody& out);

// tools and tool_choice, into ask.tools and origins.
void read_responses_tools(Fields& body, ResponsesBody& out);

// The name that the model sees for a tool of a namespace.
std::string shown_tool_name(std::string_view name_space, std::string_view name);

}  // namespace ferry::server::api
