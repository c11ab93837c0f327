// libFuzzer: a hostile chat template over a plain conversation. It must be refused or rendered
// within its limits.
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "base/check_message.h"
#include "text/chat_format.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ferry;
  const std::string_view source(reinterpret_cast<const char*>(data), size);
  auto format = text::ChatFormat::from_template(source, "<s>", "</s>");
  if (!ok_or_told(format)) return 0;
  text::ChatRequest request;
  request.messages = {
      {{"role", "system"}, {"content", "Be brief."}},
      {{"role", "user"}, {"content", "Hi <b>"}},
      {{"role", "assistant"},
       {"content", nullptr},
       {"tool_calls", Json::array({{{"function", {{"name", "f"}, {"arguments", "{\"x\": 1}"}}}}})}},
      {{"role", "tool"}, {"content", "5"}}};
  request.tools = Json::array(
      {{{"type", "function"}, {"function", {{"name", "f"}, {"parameters", Json::object()}}}}});
  request.thinking = true;
  const text::RenderLimits limits{
      .max_steps = 20'000, .max_memory_bytes = 16 << 20, .max_output_bytes = 1 << 20};
  auto rendered = format->render(request, limits);
  if (ok_or_told(rendered)) {
    CHECK(static_cast<int64_t>(rendered->size()) <= limits.max_output_bytes);
  }
  return 0;
}
