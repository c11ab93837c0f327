// StopMatcher: finds the first stop string in a text that arrives in pieces, and never lets out a
// piece of one. Text that may still become a stop string is held back until that is decided.
//
// "First" is the match that ends first; of those that end together, the longest. This is decided
// byte by byte, so that the result never depends on how the text was cut. Stop strings and text are
// valid UTF-8, which is why a match, and what is held back, begins and ends between characters.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace ferry::sample {

class StopMatcher {
 public:
  // REQUIRES: validate(StopConditions) passed
  explicit StopMatcher(std::vector<std::string> stops) : stops_(std::move(stops)) {}

  // Takes more text; returns what is certain to be output. After a match: nothing.
  std::string push(std::string_view text);
  // The text has ended: what was held back.
  std::string finish();

  bool matched() const { return match_ >= 0; }
  // REQUIRES: matched()
  const std::string& matched_string() const { return stops_[match_]; }

 private:
  // Bytes at the end of held_[0, end) that are the start of a stop string.
  size_t undecided(size_t end) const;

  std::vector<std::string> stops_;
  std::string held_;
  int match_ = -1;
};

}  // namespace ferry::sample
