// The answer of the Responses API: a response object whose output are items (reasoning, message,
// function_call, custom_tool_call), and, where it is streamed, the events that build it up:
//
//   response.created, response.in_progress
//   per item    response.output_item.added … deltas … response.output_item.done
//   at the end  response.completed | response.incomplete | response.failed
//
// Every event carries the next sequence_number; there is no [DONE].
#pragma once

#include <memory>

#include "server/api/responses.h"

namespace ferry::server::api {

std::unique_ptr<Answer> make_responses_answer(const ServedModel& model, ResponsesBody body);

}  // namespace ferry::server::api
