// See similar_names.h.
#include "weights/similar_names.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/quote_name.h"

namespace ferry::weights {
namespace {

constexpr size_t kMaxNames = 20'000;
constexpr size_t kMaxLength = 120;
constexpr size_t kMaxShown = 3;

// Levenshtein's edit distance.
size_t distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i);
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t substituted = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = std::exchange(row[j], std::min({row[j] + 1, row[j - 1] + 1, substituted}));
    }
  }
  return row[b.size()];
}

}  // namespace

std::string describe_similar_names(std::string_view wanted,
                                   std::span<const std::string_view> names) {
  std::vector<std::pair<size_t, std::string_view>> close;
  for (std::string_view name : names.subspan(0, std::min(names.size(), kMaxNames))) {
    if (name.size() > kMaxLength || wanted.size() > kMaxLength) continue;
    const size_t edits = distance(wanted, name);
    if (edits <= wanted.size() / 3) close.emplace_back(edits, name);
  }
  std::stable_sort(close.begin(), close.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  std::string text;
  for (size_t i = 0; i < std::min(close.size(), kMaxShown); ++i) {
    text += (i == 0 ? "; similar: " : ", ") + quote_name(close[i].second);
  }
  return text;
}

}  // namespace ferry::weights
