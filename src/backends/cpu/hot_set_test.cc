#include "backends/cpu/hot_set.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <random>

namespace ferry::cpu {
namespace {

constexpr int64_t kCols = 1024;
constexpr int64_t kBytes = kCols * 4;       // of a matrix, one block of a file
constexpr int64_t kBuffer = kBytes + 4096;  // and what its buffer has

// A row of f32 that all are `value`, at an odd place of the buffer.
class FakeSource : public WeightSource {
 public:
  explicit FakeSource(float value) : value_(value) {}
  int64_t buffer_bytes() const override { return kBuffer; }
  Result<const uint8_t*> read(std::span<uint8_t> buffer) const override {
    ++reads;
    EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer.data()) % kAlignment, 0u);
    while (slow) std::this_thread::yield();
    if (broken) return io_error("weight {}: gone", value_);
    const std::vector<float> row(kCols, value_);
    std::memcpy(buffer.data() + 4, row.data(), kBytes);
    return buffer.data() + 4;
  }
  mutable std::atomic<int> reads = 0;
  std::atomic<bool> broken = false;
  std::atomic<bool> slow = false;

 private:
  const float value_;
};

class HotSetTest : public ::testing::Test {
 protected:
  explicit HotSetTest(int count = 6) {
    static const std::vector<uint8_t> mapped(kBytes);  // stands for the file; never read
    for (int i = 0; i < count; ++i) {
      sources.push_back(std::make_shared<FakeSource>(static_cast<float>(i)));
      weights.push_back(set->add({.format = quant::find_format("F32"),
                                  .data = mapped,
                                  .rows = 1,
                                  .cols = kCols,
                                  .source = sources.back()}));
    }
  }
  ColdWeight* cold(size_t i) { return cold_weight(weights[i].view); }
  std::vector<ColdWeight*> colds(std::initializer_list<size_t> which) {
    std::vector<ColdWeight*> out;
    for (size_t i : which) out.push_back(cold(i));
    return out;
  }
  // Uses all of them, and says in which pieces.
  std::vector<std::vector<size_t>> use(std::initializer_list<size_t> which) {
    HotReads reads(colds(which));
    std::vector<std::vector<size_t>> pieces;
    while (true) {
      const auto ready = reads.next(0, which.size(), which.size());
      EXPECT_TRUE(ready.ok());
      if (ready->empty()) return pieces;
      pieces.emplace_back(ready->begin(), ready->end());
      for (size_t i : *ready) {
        float value = -1;
        std::memcpy(&value, cold(which.begin()[i])->data + kBytes - 4, sizeof value);
        EXPECT_EQ(value, static_cast<float>(which.begin()[i]));
      }
      EXPECT_LE(set->stats().kept_bytes, set->stats().limit_bytes);
      reads.done();
    }
  }
  std::vector<int> reads_so_far() const {
    std::vector<int> reads;
    for (const auto& source : sources) reads.push_back(source->reads);
    return reads;
  }

  std::shared_ptr<HotSet> set = std::make_shared<HotSet>();
  std::vector<std::shared_ptr<FakeSource>> sources;
  std::vector<Weight> weights;
};

TEST_F(HotSetTest, KeepsWhatWasUsedLast) {
  set->set_limit(3 * kBuffer);
  use({0, 1, 2});
  use({0});
  use({3});  // 1 has to go
  use({0, 2, 3});
  EXPECT_EQ(reads_so_far(), (std::vector<int>{1, 1, 1, 1, 0, 0}));
  use({1});  // for 0
  use({2, 3, 1});
  EXPECT_EQ(reads_so_far(), (std::vector<int>{1, 2, 1, 1, 0, 0}));
  const OnDemandStats stats = set->stats();
  EXPECT_EQ(stats.misses, 5);
  EXPECT_EQ(stats.hits, 7);
  EXPECT_EQ(stats.read_bytes, 5 * kBuffer);
  EXPECT_EQ(stats.kept_bytes, 3 * kBuffer);
}

TEST_F(HotSetTest, AnOpThatWantsMoreThanFitsGetsItInPieces) {
  set->set_limit(2 * kBuffer);
  const auto pieces = use({0, 1, 2, 3, 4});
  EXPECT_GE(pieces.size(), 3u);
  EXPECT_EQ(reads_so_far(), (std::vector<int>{1, 1, 1, 1, 1, 0}));
  set->set_limit(kBuffer / 2);  // one at a time, beyond the limit
  EXPECT_EQ(set->stats().kept_bytes, 0);
  HotReads reads(colds({0, 1}));
  ASSERT_EQ(reads.next(0, 2, 2)->size(), 1u);
  reads.done();
  ASSERT_EQ(reads.next(0, 2, 2)->size(), 1u);
}

TEST_F(HotSetTest, WhatIsThereComesFirst) {
  set->set_limit(6 * kBuffer);
  use({1, 2});
  sources[0]->slow = true;
  HotReads reads({cold(0), nullptr, cold(1), cold(2)});
  const auto first = reads.next(0, 4, 1);
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(std::vector<size_t>(first->begin(), first->end()), (std::vector<size_t>{1, 2, 3}));
  reads.done();
  sources[0]->slow = false;
  EXPECT_EQ(reads.next(0, 4, 1)->front(), 0u);
  reads.done();
  EXPECT_TRUE(reads.next(0, 4, 1)->empty());
}

TEST_F(HotSetTest, GuessesAreReadBehindWhatIsWanted) {
  set->set_limit(8 * kBuffer);
  set->expect(colds({1, 2, 3, 4}));  // a quarter of the memory's worth counts
  EXPECT_EQ(sources[1]->reads, 0);
  use({0});
  while (set->stats().guesses < 2) std::this_thread::yield();
  use({2, 3});
  EXPECT_EQ(reads_so_far(), (std::vector<int>{1, 1, 1, 1, 0, 0}));
  EXPECT_EQ(set->stats().guesses, 2);
  EXPECT_EQ(set->stats().guesses_used, 1);
  EXPECT_EQ(set->stats().hits, 1);
}

TEST_F(HotSetTest, ErrorsComeOutAndAreNotKept) {
  set->set_limit(6 * kBuffer);
  sources[1]->broken = true;
  {
    HotReads reads(colds({0, 1}));
    const auto ready = reads.next(0, 2, 2);
    ASSERT_FALSE(ready.ok());
    EXPECT_EQ(ready.error().message, "weight 1: gone");
  }
  sources[1]->broken = false;
  EXPECT_EQ(use({0, 1}).size(), 1u);
}

TEST_F(HotSetTest, WeightsMayGoWhileTheyAreRead) {
  set->set_limit(6 * kBuffer);
  set->expect(colds({1}));
  sources[1]->slow = true;
  use({0});
  while (sources[1]->reads == 0) std::this_thread::yield();
  std::thread later([&] { sources[1]->slow = false; });
  weights.clear();
  later.join();
  EXPECT_EQ(set->stats().guesses, 1);
}

// Several streams at once, with less memory than they want together.
TEST_F(HotSetTest, StreamsShareIt) {
  set->set_limit(3 * kBuffer);
  std::vector<std::thread> streams;
  for (unsigned seed = 0; seed < 4; ++seed) {
    streams.emplace_back([&, seed] {
      std::mt19937 random(seed);
      for (int i = 0; i < 300; ++i) {
        std::vector<ColdWeight*> wanted;
        std::vector<float> values;
        for (size_t w = 0; w < weights.size(); ++w) {
          if (random() % 2 == 0) continue;
          wanted.push_back(cold(w));
          values.push_back(static_cast<float>(w));
        }
        if (i % 3 == 0) set->expect({cold(random() % weights.size())});
        HotReads reads(wanted);
        size_t seen = 0;
        while (true) {
          const auto ready = reads.next(0, wanted.size(), 1 + random() % 3);
          ASSERT_TRUE(ready.ok());
          if (ready->empty()) break;
          for (size_t index : *ready) {
            float value = -1;
            std::memcpy(&value, wanted[index]->data, sizeof value);
            ASSERT_EQ(value, values[index]);
          }
          seen += ready->size();
          reads.done();
        }
        ASSERT_EQ(seen, wanted.size());
      }
    });
  }
  for (std::thread& stream : streams) stream.join();
  while (set->stats().kept_bytes > 3 * kBuffer) {
    use({0});
  }
  use({0, 1, 2, 3, 4, 5});
}

}  // namespace
}  // namespace ferry::cpu
