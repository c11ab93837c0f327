// Bodies of POST /plan. A search that goes on is stopped, as for a client that went away.
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "base/check_message.h"
#include "base/json.h"
#include "cmd/plan_request.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  constexpr int kPatience = 20;  // questions whether to stop
  const std::string_view body(reinterpret_cast<const char*>(data), size);
  int asked = 0;
  const auto answer =
      ferry::cmd::answer_plan_request(body, [&asked] { return ++asked > kPatience; });
  if (answer.ok()) {
    CHECK(ferry::parse_json(answer->json).ok());
  } else {
    CHECK(answer.error().status >= 400);
    ferry::check_message(answer.error().message);
  }
  return 0;
}
