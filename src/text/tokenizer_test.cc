// The built-in model's tokenizer against its reference ids; long hostile texts; many threads.
#include "text/tokenizer.h"

#include <gtest/gtest.h>

#include <fstream>
#include <random>
#include <sstream>
#include <thread>

#include "base/json.h"

namespace ferry::text {
namespace {

std::string read_whole_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file.good()) << path;
  std::ostringstream out;
  out << file.rdbuf();
  return out.str();
}

const Tokenizer& demo() {
  static const Tokenizer tokenizer = [] {
    const std::string folder = std::string(FERRY_SOURCE_DIR) + "/demo/";
    auto loaded = Tokenizer::from_json(read_whole_file(folder + "tokenizer.json"),
                                       read_whole_file(folder + "tokenizer_config.json"));
    EXPECT_TRUE(loaded.ok()) << loaded.error().message;
    return std::move(loaded).value();
  }();
  return tokenizer;
}

TEST(Tokenizer, DemoModelMatchesItsReferenceIds) {
  auto cases =
      parse_json(read_whole_file(std::string(FERRY_SOURCE_DIR) + "/demo/goldens/tokens.json"));
  ASSERT_TRUE(cases.ok());
  ASSERT_GT(cases->size(), 10u);
  for (const Json& item : *cases) {
    const std::string text = item["text"];
    const std::vector<int32_t> ids = item["ids"];
    EXPECT_EQ(demo().encode(text), ids) << text;
    EXPECT_EQ(demo().decode(ids, false), text);
  }
}

TEST(Tokenizer, DemoModelSpecials) {
  EXPECT_EQ(demo().vocab_size(), 1024);
  EXPECT_EQ(demo().bos_id(), 0);
  EXPECT_EQ(demo().eos_id(), 1);
  EXPECT_TRUE(demo().add_bos());
  EXPECT_EQ(demo().token_id("<think>"), 1011);
  EXPECT_EQ(demo().encode("", {.add_special = true}), std::vector<int32_t>{0});
}

TEST(Tokenizer, DecodeUndoesEncodeOnRandomText) {
  std::mt19937 random(3);
  for (int round = 0; round < 500; ++round) {
    std::string text;
    for (int i = random() % 60; i > 0; --i) {
      constexpr const char* kParts[] = {"a", " ",  "  ",  "\n", "é", "中",
                                        "😀", "12", "'ll", ".",  "\t"};
      text += kParts[random() % std::size(kParts)];
    }
    EXPECT_EQ(demo().decode(demo().encode(text), false), text);
  }
}

TEST(Tokenizer, LongRunsTakeNoQuadraticTime) {
  for (const char* unit : {" ", "a", "\n", "1", "<", "中", "é", "!", " \n", "'"}) {
    std::string text;
    while (text.size() < 400'000) text += unit;
    for (const std::string& whole : {text, text + "x", "x" + text}) {
      EXPECT_EQ(demo().decode(demo().encode(whole), false), whole);
    }
  }
}

TEST(Tokenizer, ManyThreadsShareOne) {
  const std::string text = "How many r are in strawberry? 12 + 345, 'tis\n  so <think>";
  const auto expected = demo().encode(text);
  std::vector<std::thread> threads;
  std::vector<int> wrong(4, 0);
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 200; ++i) wrong[t] += demo().encode(text) != expected;
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<int>(4, 0));
}

}  // namespace
}  // namespace ferry::text
