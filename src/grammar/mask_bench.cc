// What a constraint costs per token, with a vocabulary of the size that large models have: masks
// from the cache, the first walk over the vocabulary, and compiling.
#include <benchmark/benchmark.h>

#include <random>
#include <string>

#include "grammar/compile.h"

namespace ferry::grammar {
namespace {

constexpr int32_t kVocabSize = 129'280;  // of DeepSeek-V3

constexpr const char* kSchema = R"({"type": "object", "properties": {
    "name": {"type": "string"}, "age": {"type": "integer", "minimum": 0, "maximum": 150},
    "tags": {"type": "array", "items": {"enum": ["red", "green", "blue"]}, "maxItems": 8},
    "address": {"type": "object", "properties": {"street": {"type": "string"},
    "city": {"type": "string", "maxLength": 40}}, "required": ["street", "city"]}},
    "required": ["name", "age", "tags", "address"]})";

constexpr const char* kText = R"({"name": "Ada Lovelace", "age": 36, "tags": ["red", "blue"],
 "address": {"street": "12 St James's Square", "city": "London"}})";

// All bytes, then words with and without a space in front, some ending in JSON's punctuation.
VocabularyRef large_vocabulary() {
  static const VocabularyRef vocabulary = [] {
    std::mt19937 random(1);
    std::vector<VocabularyToken> tokens;
    for (int byte = 0; byte < 256; ++byte) {
      tokens.push_back({std::string(1, static_cast<char>(byte))});
    }
    const char* const ends[] = {"", "", "", "", "", "\"", "\",", "\":", "{\"", "}", "]", "\n"};
    while (tokens.size() + 1 < kVocabSize) {
      std::string text(random() % 2, ' ');
      for (uint32_t n = 1 + random() % 9; n > 0; --n) {
        text += static_cast<char>((random() % 20 == 0 ? '0' : 'a') + random() % 10);
      }
      tokens.push_back({text + ends[random() % std::size(ends)]});
    }
    tokens.push_back({"<end>", true});
    const std::vector<int32_t> end_ids{kVocabSize - 1};
    return std::make_shared<const Vocabulary>(std::move(tokens), end_ids);
  }();
  return vocabulary;
}

ConstraintText schema() {
  ConstraintText text;
  text.kind = ConstraintText::Kind::kJsonSchema;
  text.text = kSchema;
  return text;
}

void walk(const GrammarRef& grammar, std::vector<uint32_t>& mask) {
  Matcher matcher(grammar);
  for (const char* c = kText; *c != 0; ++c) {
    matcher.fill_mask(mask);
    benchmark::DoNotOptimize(mask.data());
    if (!matcher.accept(static_cast<uint8_t>(*c))) std::abort();
  }
}

void MaskPerToken(benchmark::State& state) {
  const GrammarRef grammar = *compile(schema(), large_vocabulary());
  std::vector<uint32_t> mask(large_vocabulary()->mask_words());
  walk(grammar, mask);
  int64_t tokens = 0;
  for (auto _ : state) {
    walk(grammar, mask);
    tokens += static_cast<int64_t>(std::char_traits<char>::length(kText));
  }
  state.SetItemsProcessed(tokens);
}
BENCHMARK(MaskPerToken);

void FirstMasksOfASchema(benchmark::State& state) {
  std::vector<uint32_t> mask(large_vocabulary()->mask_words());
  for (auto _ : state) {
    const GrammarRef grammar = *compile(schema(), large_vocabulary());
    walk(grammar, mask);
  }
}
BENCHMARK(FirstMasksOfASchema)->Unit(benchmark::kMillisecond);

void CompileASchema(benchmark::State& state) {
  large_vocabulary();
  for (auto _ : state) benchmark::DoNotOptimize(*compile(schema(), large_vocabulary()));
}
BENCHMARK(CompileASchema)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace ferry::grammar
