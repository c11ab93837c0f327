// The pool hands out pieces again, only when nobody uses them, and gives them back when the runtime
// runs out.
#include "device/memory_pool.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <map>

namespace ferry {
namespace {

constexpr int64_t kMiB = int64_t{1} << 20;

struct Counts {
  int taken = 0, given_back = 0, waits = 0;
  int64_t used = 0;
};

class FakeMemory : public RawMemory {
 public:
  FakeMemory(int64_t total, Counts& counts) : total_(total), counts_(counts) {}
  Result<void*> take(int64_t bytes) override {
    if (counts_.used + bytes > total_) return out_of_memory("no more");
    ++counts_.taken;
    counts_.used += bytes;
    next_ += bytes;
    sizes_[next_] = bytes;
    return reinterpret_cast<void*>(next_);
  }
  void give_back(void* data) override {
    ++counts_.given_back;
    counts_.used -= sizes_.at(reinterpret_cast<int64_t>(data));
  }
  void wait_idle() override { ++counts_.waits; }
  Result<MemoryInfo> info() override {
    return MemoryInfo{.total_bytes = total_, .free_bytes = total_ - counts_.used};
  }

 private:
  int64_t total_;
  Counts& counts_;
  int64_t next_ = 4096;
  std::map<int64_t, int64_t> sizes_;
};

struct Pool : ::testing::Test {
  Counts counts;
  std::shared_ptr<MemoryPool> pool =
      std::make_shared<MemoryPool>("chip", std::make_unique<FakeMemory>(64 * kMiB, counts));
};

TEST_F(Pool, SizesAreRounded) {
  EXPECT_EQ(MemoryPool::piece_bytes(0), 512);
  EXPECT_EQ(MemoryPool::piece_bytes(513), 1024);
  EXPECT_EQ(MemoryPool::piece_bytes(kMiB), kMiB);
  EXPECT_EQ(MemoryPool::piece_bytes(kMiB + 1), 2 * kMiB);
}

TEST_F(Pool, APieceServesAgainWhenTheDeviceIsIdle) {
  const void* first = pool->allocate(1000, nullptr).value().data;  // let go at once
  EXPECT_EQ(counts.waits, 0);
  const Buffer again = pool->allocate(900, nullptr).value();
  EXPECT_EQ(again.data, first);
  EXPECT_EQ(again.bytes, 900);
  EXPECT_EQ(counts.taken, 1);
  EXPECT_EQ(counts.waits, 1);
}

TEST_F(Pool, APieceThatIsMuchTooLargeDoesNot) {
  { const Buffer large = pool->allocate(20 * kMiB, nullptr).value(); }
  const Buffer small = pool->allocate(10 * kMiB, nullptr).value();
  EXPECT_EQ(counts.taken, 2);
  EXPECT_EQ(pool->info().value().free_bytes, 54 * kMiB);  // the large one counts as free
}

TEST_F(Pool, WhatIsKeptGoesBackBeforeMemoryRunsOut) {
  { const Buffer one = pool->allocate(40 * kMiB, nullptr).value(); }
  const auto two = pool->allocate(60 * kMiB, nullptr);
  ASSERT_TRUE(two.ok());
  EXPECT_EQ(counts.given_back, 1);
}

TEST_F(Pool, RunningOutSaysTheNumbersAndWhatToChange) {
  const Buffer one = pool->allocate(40 * kMiB, nullptr).value();
  const auto two = pool->allocate(30 * kMiB, nullptr);
  ASSERT_FALSE(two.ok());
  EXPECT_EQ(two.error().kind, ErrorKind::kOutOfMemory);
  EXPECT_EQ(two.error().message,
            "chip: 30.0 MiB of device memory asked for, 24.0 MiB of 64.0 MiB free, 40.0 MiB taken "
            "by this program; a shorter --context, a narrower --kv-dtype, a smaller model or "
            "another --device needs less");
}

TEST_F(Pool, BuffersKeepThePoolAndTheOwnerAlive) {
  auto owner = std::make_shared<int>(1);
  const std::weak_ptr<int> watched = owner;
  {
    const Buffer buffer = pool->allocate(10, owner).value();
    owner.reset();
    pool.reset();
    EXPECT_FALSE(watched.expired());
    EXPECT_EQ(counts.given_back, 0);
  }
  EXPECT_TRUE(watched.expired());
  EXPECT_EQ(counts.given_back, 1);
}

}  // namespace
}  // namespace ferry
