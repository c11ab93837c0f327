// What `ferry bench serve` sends and when: prompts of a wanted length, made from a seed, and the
// times they arrive at. Nothing here touches the network.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"

namespace ferry::cmd {

// One request of a load: how long, and when (seconds after the start; 0 in a closed loop).
struct LoadItem {
  int64_t input_tokens = 0;
  int64_t output_tokens = 0;
  double due_s = 0;
};

// How many tokens a prompt of so many words becomes at a server: overhead + words · per_word. The
// tokenizer is the server's own, so that this is measured (two probes), not known.
struct WordRate {
  double overhead = 0;
  double per_word = 1;

  static WordRate from_probes(int64_t words_a, int64_t tokens_a, int64_t words_b, int64_t tokens_b);
  int64_t words_for(int64_t tokens) const;
};

// `words` common English words. The first `shared` depend on the seed alone, so that they are a
// prefix that all prompts of a run share; the others on `seed` and `index`.
std::string make_prompt(uint64_t seed, uint64_t index, int64_t words, int64_t shared);

// Sets due_s: a Poisson process of `rate` arrivals per second. The same seed, the same times.
void arrive_at_random(std::vector<LoadItem>& items, double rate, uint64_t seed);

// A trace: one JSON object a line, {"timestamp": ms, "input_length": tokens, "output_length":
// tokens}, other keys ignored. Times count from the first. Errors name the file and the line.
Result<std::vector<LoadItem>> parse_trace(std::string_view text, const std::string& path);

}  // namespace ferry::cmd
