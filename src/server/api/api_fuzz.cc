// Bodies of every route, from whoever sends them: the first byte chooses the route, the rest is the
// body. What is accepted is driven to its end, streamed answers must be events.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/check.h"
#include "base/check_message.h"
#include "server/api/anthropic_messages.h"
#include "server/api/chat_completions.h"
#include "server/api/completions.h"
#include "server/api/embeddings.h"
#include "server/api/model_routes.h"
#include "server/api/responses.h"
#include "server/api/testing.h"

namespace ferry::server::api {
namespace {

ApiResult<Reply> answer(const ServedModel& model, uint8_t route, std::string_view body) {
  switch (route % 8) {
    case 0: return chat_completions(model, body);
    case 1: return completions(model, body);
    case 2: return responses(model, body);
    case 3: return embeddings(model, body);
    case 4: return tokenize_text(model, body);
    case 5: return detokenize_ids(model, body);
    case 6: return anthropic_messages(model, body);
    default: return anthropic_count_tokens(model, body);
  }
}

void drive_all(Job& job) {
  const std::vector<int64_t> prompt_tokens(job.requests.size(), 10);
  std::string out = job.answer->begin(prompt_tokens);
  const std::vector<StreamEvent> events = {
      reasoning_event("so"), text_event("\xc3\xa9"), call_event(0, "c1", "f", "{\"a\":"),
      call_event(0, "", "", "1}"), finish_event(FinishReason::kToolCalls)};
  for (const StreamEvent& event : events) {
    for (size_t i = 0; i < job.requests.size(); ++i) out += job.answer->event(i, event);
  }
  if (!job.answer->failure().has_value()) out += job.answer->end();
  if (job.stream) {
    if (out.size() < 2 || out.substr(out.size() - 2) != "\n\n") std::abort();
  } else if (!job.answer->failure().has_value() && !parse_json(out).ok()) {
    std::abort();
  }
}

}  // namespace
}  // namespace ferry::server::api

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ferry::server::api;
  static const ServedModel model = fake_model(true);
  if (size == 0) return 0;
  const std::string_view body(reinterpret_cast<const char*>(data + 1), size - 1);
  ApiResult<Reply> reply = answer(model, data[0], body);
  if (!reply.ok()) {
    CHECK(reply.error().status >= 400);
    ferry::check_message(reply.error().message);
    return 0;
  }
  // A body may ask for thousands of answers; some are as good as all.
  if (auto* job = std::get_if<Job>(&*reply); job != nullptr && job->requests.size() <= 64) {
    drive_all(*job);
  }
  return 0;
}
