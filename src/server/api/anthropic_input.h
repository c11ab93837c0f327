// The conversation of an Anthropic request: system, messages made of blocks, and tools, brought to
// the one form of ChatAsk. A user's message may carry the results of tools beside its text; they
// become messages of their own, in front of it. An assistant's message at the end is a beginning
// that the answer goes on from.
#pragma once

#include "server/api/chat_ask.h"

namespace ferry::server::api {

void read_anthropic_messages(Fields& body, ChatAsk& ask);

// tools and tool_choice.
void read_anthropic_tools(Fields& body, ChatAsk& ask);

}  // namespace ferry::server::api
