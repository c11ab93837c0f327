// libFuzzer: an answer in any format of tool calls, whole and cut where the input says. Both must
// give the same text and the same calls, and what is given must be in order. The first byte chooses
// the format, the second how many calls are wanted, the third the cuts.
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "text/tool_calls.h"

namespace {

using namespace ferry;

// Everything an answer gave, as one text.
std::string run(text::ToolFormat format, bool parallel, std::string_view input, size_t stride) {
  static const Json tools = Json::parse(R"([{"type": "function", "function": {"name": "f",
      "parameters": {"properties": {"s": {"type": "string"}, "n": {"type": "integer"}}}}}])");
  const auto parser = text::make_tool_call_parser(
      format, {.tools = tools, .new_id = [] { return std::string("id"); }, .parallel = parallel});
  std::string answer, calls;
  int64_t count = 0;
  const auto take = [&](const text::ToolCallParser::Output& output) {
    answer += output.text;
    for (const ToolCallPiece& piece : output.calls) {
      CHECK(piece.index == count || (piece.index == count - 1 && piece.name.empty()));
      if (piece.index == count) {
        CHECK(text::is_function_name(piece.name) && !piece.id.empty());
        calls += "\n" + piece.id + " " + piece.name + " ";
        ++count;
      }
      calls += piece.arguments;
    }
  };
  for (size_t at = 0; at < input.size(); at += stride) take(parser->push(input.substr(at, stride)));
  take(parser->finish());
  CHECK(parser->num_calls() == count);
  // Without a call every byte is text, but for space.
  if (count == 0) CHECK(answer.size() <= input.size());
  return answer + calls;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 3) return 0;
  const auto format = static_cast<text::ToolFormat>(data[0] % 8);
  const bool parallel = data[1] % 2 == 0;
  const size_t stride = data[2] % 16 + 1;
  const std::string_view input(reinterpret_cast<const char*>(data) + 3, size - 3);
  CHECK(run(format, parallel, input, input.size() + 1) == run(format, parallel, input, stride));
  return 0;
}
