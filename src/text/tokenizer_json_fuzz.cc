// libFuzzer: a hostile tokenizer.json and a text for it. The input is the JSON, and after the last
// zero byte, if there is one, the text.
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "base/check_message.h"
#include "text/detokenizer.h"
#include "text/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ferry;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t cut = input.rfind('\0');
  const std::string_view json = input.substr(0, cut);
  const std::string_view sample =
      cut == std::string_view::npos ? "Hello, 12 wörld! \n\n  你好" : input.substr(cut + 1);
  auto tokenizer = text::Tokenizer::from_json(json, "");
  if (!ok_or_told(tokenizer)) return 0;
  const std::vector<int32_t> ids = tokenizer->encode(sample, {.add_special = true});
  text::Detokenizer stream(*tokenizer, false);
  std::string streamed;
  for (int32_t id : ids) {
    CHECK(id >= 0 && id < tokenizer->vocab_size());
    streamed += stream.push(id);
  }
  streamed += stream.finish();
  CHECK(streamed == tokenizer->decode(ids, false));
  return 0;
}
