// Stop strings are few and short (sample/params.h), and so is what is held back: comparing at every
// byte is cheaper than building an automaton for each request.
#include "sample/stop_matcher.h"

#include <algorithm>

namespace ferry::sample {

std::string StopMatcher::push(std::string_view text) {
  if (matched()) return {};
  if (stops_.empty()) return std::string(text);
  const size_t before = held_.size();
  held_ += text;
  for (size_t end = before + 1; end <= held_.size(); ++end) {
    const std::string_view so_far(held_.data(), end);
    for (size_t i = 0; i < stops_.size(); ++i) {
      if (!so_far.ends_with(stops_[i])) continue;
      if (!matched() || stops_[i].size() > stops_[match_].size()) match_ = static_cast<int>(i);
    }
    if (!matched()) continue;
    std::string out = held_.substr(0, end - stops_[match_].size());
    held_.clear();
    return out;
  }
  const size_t keep = undecided(held_.size());
  std::string out = held_.substr(0, held_.size() - keep);
  held_.erase(0, out.size());
  return out;
}

std::string StopMatcher::finish() {
  std::string out = matched() ? std::string() : std::move(held_);
  held_.clear();
  return out;
}

size_t StopMatcher::undecided(size_t end) const {
  size_t longest = 0;
  for (const std::string& stop : stops_) {
    for (size_t length = std::min(stop.size() - 1, end); length > longest; --length) {
      if (std::string_view(held_).substr(end - length, length) ==
          std::string_view(stop).substr(0, length)) {
        longest = length;
        break;
      }
    }
  }
  return longest;
}

}  // namespace ferry::sample
