// The answer of Anthropic's messages: a message whose content are blocks (thinking, text,
// tool_use), and, where it is streamed, the events that build it up:
//
//   message_start, ping
//   per block   content_block_start, content_block_delta …, content_block_stop
//   at the end  message_delta (stop_reason, usage), message_stop
//   or          error
#pragma once

#include <memory>

#include "server/api/anthropic_messages.h"

namespace ferry::server::api {

std::unique_ptr<Answer> make_anthropic_answer(const ServedModel& model, const AnthropicBody& body);

}  // namespace ferry::server::api
