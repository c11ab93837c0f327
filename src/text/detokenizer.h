// Token ids to text as they are sampled. A character may be spread over several tokens, so what is
// not yet a whole character is held back; bytes that can no longer become one are U+FFFD, exactly
// as Tokenizer::decode() writes them. The pushes and finish() together give decode()'s text.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "text/tokenizer.h"

namespace ferry::text {

class Detokenizer {
 public:
  // `kept`: special tokens that are written all the same.
  Detokenizer(Tokenizer tokenizer, bool skip_special, std::vector<int32_t> kept = {})
      : tokenizer_(std::move(tokenizer)), skip_special_(skip_special), kept_(std::move(kept)) {}

  // The text that this token completes: whole characters, perhaps none.
  std::string push(int32_t id);

  // What is still held back, as U+FFFD. The detokenizer is as new afterwards.
  std::string finish();

 private:
  Tokenizer tokenizer_;
  bool skip_special_;
  std::vector<int32_t> kept_;
  std::string held_;  // the beginning of a character: at most 3 bytes
};

}  // namespace ferry::text
