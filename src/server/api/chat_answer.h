// The answer of chat/completions: one object at the end, or chunks
//   data: {"object": "chat.completion.chunk", "choices": [{"index", "delta", "finish_reason"}]}
// with a role, then reasoning_content, content and tool_calls, a finish reason, the usage where it
// was asked for, and [DONE].
#pragma once

#include <memory>

#include "server/api/chat_completions.h"

namespace ferry::server::api {

std::unique_ptr<Answer> make_chat_answer(const ServedModel& model, const ChatBody& body);

}  // namespace ferry::server::api
