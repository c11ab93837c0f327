// See load_plan.h.
#include "cmd/load_plan.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <random>

#include "base/json.h"

namespace ferry::cmd {
namespace {

// Short and frequent, so that most tokenizers know each as one token.
constexpr const char* kWords[] = {
    "the",   "of",    "and",   "to",     "in",   "is",   "you",   "that",  "it",    "was",
    "for",   "on",    "are",   "as",     "with", "they", "at",    "be",    "this",  "have",
    "from",  "or",    "one",   "had",    "by",   "word", "but",   "not",   "what",  "all",
    "were",  "we",    "when",  "your",   "can",  "said", "there", "use",   "each",  "which",
    "she",   "do",    "how",   "their",  "if",   "will", "up",    "other", "about", "out",
    "many",  "then",  "them",  "these",  "so",   "some", "her",   "would", "make",  "like",
    "time",  "into",  "has",   "look",   "two",  "more", "write", "go",    "see",   "number",
    "no",    "way",   "could", "people", "my",   "than", "first", "water", "been",  "call",
    "who",   "oil",   "its",   "now",    "find", "long", "down",  "day",   "did",   "get",
    "come",  "made",  "may",   "part",   "over", "new",  "sound", "take",  "only",  "little",
    "work",  "know",  "place", "year",   "live", "me",   "back",  "give",  "most",  "very",
    "after", "thing", "our",   "just",   "name", "good", "man",   "think", "say",   "great"};

constexpr int64_t kTraceLengthMax = int64_t{1} << 24;

std::string_view draw_word(std::mt19937_64& random) { return kWords[random() % std::size(kWords)]; }

Result<LoadItem> parse_line(std::string_view line, double& timestamp_ms) {
  FERRY_TRY(const Json entry, parse_json(line, {.max_bytes = 1 << 20, .max_depth = 8}));
  if (!entry.is_object()) {
    return invalid_input("expected an object, found {}", json_type_name(entry));
  }
  LoadItem item;
  FERRY_TRY(timestamp_ms, json_number(entry, "timestamp"));
  FERRY_TRY(item.input_tokens, json_int(entry, "input_length"));
  FERRY_TRY(item.output_tokens, json_int(entry, "output_length"));
  for (const auto& [key, value] : {std::pair{"input_length", item.input_tokens},
                                   std::pair{"output_length", item.output_tokens}}) {
    if (value < 1 || value > kTraceLengthMax) {
      return invalid_input("{}: {} is not between 1 and {}", key, value, kTraceLengthMax);
    }
  }
  return item;
}

}  // namespace

WordRate WordRate::from_probes(int64_t words_a, int64_t tokens_a, int64_t words_b,
                               int64_t tokens_b) {
  const auto slope = static_cast<double>(tokens_b - tokens_a) /
                     static_cast<double>(std::max<int64_t>(words_b - words_a, 1));
  WordRate rate;
  rate.per_word = slope > 0.1 ? slope : 1;  // a server that counts nonsense
  rate.overhead =
      std::max(0.0, static_cast<double>(tokens_b) - rate.per_word * static_cast<double>(words_b));
  return rate;
}

int64_t WordRate::words_for(int64_t tokens) const {
  const double words = (static_cast<double>(tokens) - overhead) / per_word;
  return std::max<int64_t>(1, std::llround(words));
}

std::string make_prompt(uint64_t seed, uint64_t index, int64_t words, int64_t shared) {
  std::seed_seq common{seed, seed >> 32};
  std::seed_seq own{seed, seed >> 32, index + 1, (index + 1) >> 32};
  std::mt19937_64 common_random(common), own_random(own);
  std::string text;
  for (int64_t i = 0; i < words; ++i) {
    if (i > 0) text += ' ';
    text += draw_word(i < shared ? common_random : own_random);
  }
  return text;
}

void arrive_at_random(std::vector<LoadItem>& items, double rate, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::exponential_distribution<double> gap(rate);
  double now = 0;
  for (LoadItem& item : items) {
    item.due_s = now;
    now += gap(random);
  }
}

Result<std::vector<LoadItem>> parse_trace(std::string_view text, const std::string& path) {
  std::vector<LoadItem> items;
  double first_ms = 0, last_ms = 0;
  for (int64_t number = 1; !text.empty(); ++number) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    double timestamp_ms = 0;
    Result<LoadItem> item = parse_line(line, timestamp_ms);
    if (!item.ok()) return item.error().in(fmt::format("{}: line {}", path, number));
    if (items.empty()) first_ms = last_ms = timestamp_ms;
    if (timestamp_ms < last_ms) {
      return invalid_input("{}: line {}: timestamp {} comes after {}; they must not go back", path,
                           number, timestamp_ms, last_ms);
    }
    last_ms = timestamp_ms;
    item->due_s = (timestamp_ms - first_ms) / 1e3;
    items.push_back(*item);
  }
  if (items.empty()) return invalid_input("{}: no requests in it", path);
  return items;
}

}  // namespace ferry::cmd
