// Packed copies: what is written comes back, for the very files and the very layout it was made
// from; whatever else lies there is refused, and what is not finished leaves nothing behind.
#include "weights/packed_copy.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>

#include <chrono>
#include <filesystem>
#include <random>

#include "disk/testing.h"
#include "weights/packed_copy_testing.h"

namespace ferry::weights {
namespace {

namespace fs = std::filesystem;
using disk::testing::TempDir;

std::vector<uint8_t> pattern(size_t bytes, uint8_t start) {
  std::vector<uint8_t> out(bytes);
  for (size_t i = 0; i < bytes; ++i) out[i] = static_cast<uint8_t>(start + i);
  return out;
}

constexpr PackedMatrix kMatrices[] = {{"model.a.weight", "Q8_0", 0, 16, 32},
                                      {"model.a.weight", "Q8_0", 16, 20, 64},
                                      {"lm_head.weight", "Q4_K", 0, 3, 256}};
constexpr size_t kSizes[] = {544, 2176, 2304};

class PackedCopyTest : public ::testing::Test {
 protected:
  PackedCopyTest() {
    disk::testing::write_bytes(model_, std::string(1000, 'w'));
    fs::create_directories(folder_);
  }

  disk::Checkpoint open_model() const {
    disk::Checkpoint checkpoint;
    checkpoint.add_file(disk::MappedFile::open(model_).value());
    return checkpoint;
  }
  Result<PackedCopyWriter> create(const disk::Checkpoint& checkpoint,
                                  std::function<bool()> stop = {}) const {
    return PackedCopyWriter::create(path_, checkpoint, "model", model_, "layout 1",
                                    std::move(stop));
  }
  void write_all() const {
    const disk::Checkpoint checkpoint = open_model();
    auto writer = create(checkpoint);
    ASSERT_TRUE(writer.ok());
    for (size_t i = 0; i < 3; ++i) {
      ASSERT_TRUE(writer->add(kMatrices[i], pattern(kSizes[i], static_cast<uint8_t>(i))).ok());
    }
    EXPECT_EQ(writer->num_matrices(), 3);
    ASSERT_TRUE(writer->finish().ok());
  }
  std::vector<uint8_t> written() const {
    const std::string text = disk::testing::read_bytes(path_);
    return {text.begin(), text.end()};
  }
  bool folder_is_empty() const {
    return fs::directory_iterator(folder_) == fs::directory_iterator();
  }

  TempDir dir_;
  std::string model_ = dir_.file("model.gguf"), folder_ = dir_.file("copies"),
              path_ = folder_ + "/model.packed";
};

TEST_F(PackedCopyTest, WhatIsWrittenComesBack) {
  write_all();
  const auto copy = PackedCopy::open(path_);
  ASSERT_TRUE(copy.ok()) << copy.error().message;
  EXPECT_TRUE((*copy)->check(open_model(), "layout 1").ok());
  EXPECT_EQ((*copy)->model(), "model");
  EXPECT_EQ((*copy)->model_path(), model_);
  ASSERT_EQ((*copy)->entries().size(), 3U);
  for (size_t i = 0; i < 3; ++i) {
    const auto data = (*copy)->find(kMatrices[i], static_cast<int64_t>(kSizes[i]));
    ASSERT_EQ(data.size(), kSizes[i]);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(data.data()) % 64, 0U);
    EXPECT_EQ(std::vector(data.begin(), data.end()), pattern(kSizes[i], static_cast<uint8_t>(i)));
  }
  EXPECT_TRUE(exercise(written()));
}

TEST_F(PackedCopyTest, AnotherMatrixIsNotFound) {
  write_all();
  const auto copy = PackedCopy::open(path_).value();
  const PackedMatrix good = kMatrices[1];
  const auto bytes = static_cast<int64_t>(kSizes[1]);
  ASSERT_FALSE(copy->find(good, bytes).empty());
  EXPECT_TRUE(copy->find(good, bytes - 1).empty());
  PackedMatrix other[] = {good, good, good, good, good};
  other[0].tensor = "model.b.weight";
  other[1].format = "Q4_0";
  other[2].first_row = 17;
  other[3].rows = 21;
  other[4].cols = 32;
  for (const PackedMatrix& matrix : other) EXPECT_TRUE(copy->find(matrix, bytes).empty());
}

TEST_F(PackedCopyTest, HoldsForTheVeryFilesAndLayoutOnly) {
  write_all();
  const auto copy = PackedCopy::open(path_).value();
  EXPECT_FALSE(copy->check(open_model(), "layout 2").ok());
  disk::Checkpoint more = open_model();
  more.add_file(disk::MappedFile::open(model_).value());
  EXPECT_FALSE(copy->check(more, "layout 1").ok());
  EXPECT_FALSE(copy->check({}, "layout 1").ok());
  fs::last_write_time(model_, fs::last_write_time(model_) + std::chrono::milliseconds(1));
  const Status touched = copy->check(open_model(), "layout 1");
  ASSERT_FALSE(touched.ok());
  EXPECT_NE(touched.error().message.find("not what they were"), std::string::npos);
}

TEST_F(PackedCopyTest, WhatIsNotFinishedLeavesNothing) {
  const disk::Checkpoint checkpoint = open_model();
  {
    auto dropped = create(checkpoint);
    ASSERT_TRUE(dropped.ok() && dropped->add(kMatrices[0], pattern(544, 1)).ok());
    EXPECT_FALSE(folder_is_empty());
  }
  EXPECT_TRUE(folder_is_empty());
  {
    bool stop = false;
    auto stopped = create(checkpoint, [&] { return stop; });
    ASSERT_TRUE(stopped.ok() && stopped->add(kMatrices[0], pattern(544, 1)).ok());
    stop = true;
    const Status refused = stopped->add(kMatrices[1], pattern(544, 1));
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().kind, ErrorKind::kCancelled);
  }
  EXPECT_TRUE(folder_is_empty());
  {
    auto late = create(checkpoint);
    ASSERT_TRUE(late.ok() && late->add(kMatrices[0], pattern(544, 1)).ok());
    fs::last_write_time(model_, fs::last_write_time(model_) + std::chrono::milliseconds(1));
    EXPECT_FALSE(late->finish().ok());
  }
  EXPECT_TRUE(folder_is_empty());
  // Bytes of the program: nothing would say whether they are still the same.
  disk::Checkpoint in_memory;
  const std::vector<uint8_t> bytes(100);
  in_memory.add_file(disk::MappedFile::view("built in", bytes));
  EXPECT_FALSE(create(in_memory).ok());
  EXPECT_TRUE(folder_is_empty());
}

TEST_F(PackedCopyTest, AFullDiskIsAnErrorAndLeavesNothing) {
  const disk::Checkpoint checkpoint = open_model();
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto old = signal(SIGXFSZ, SIG_IGN);
  const rlimit small{.rlim_cur = 1 << 20, .rlim_max = before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  Status last;
  {
    auto writer = create(checkpoint);
    ASSERT_TRUE(writer.ok());
    for (int64_t row = 0; row < 4 && last.ok(); ++row) {
      last = writer->add({"a", "Q8_0", row, 1, 1}, pattern(1 << 19, 0));
    }
    if (last.ok()) last = writer->finish();
  }
  setrlimit(RLIMIT_FSIZE, &before);
  signal(SIGXFSZ, old);
  ASSERT_FALSE(last.ok());
  EXPECT_NE(last.error().message.find("cannot write"), std::string::npos) << last.error().message;
  EXPECT_TRUE(folder_is_empty());
}

TEST_F(PackedCopyTest, TwoModelsOfOneNameHaveTwoCopies) {
  const std::string first = packed_copy_path(folder_, "mo del/../x", open_model());
  EXPECT_TRUE(first.starts_with(folder_ + "/mo_del_")) << first;
  EXPECT_EQ(fs::path(first).parent_path(), folder_);
  EXPECT_TRUE(first.ends_with(kPackedCopySuffix));
  fs::create_directories(dir_.file("other"));
  const std::string moved = dir_.file("other/model.gguf");
  fs::create_symlink(model_, moved);
  disk::Checkpoint linked, copied;
  linked.add_file(disk::MappedFile::open(moved).value());
  EXPECT_EQ(packed_copy_path(folder_, "mo del/../x", linked), first);
  fs::remove(moved);
  fs::copy_file(model_, moved);
  copied.add_file(disk::MappedFile::open(moved).value());
  EXPECT_NE(packed_copy_path(folder_, "mo del/../x", copied), first);
  EXPECT_EQ(fs::path(packed_copy_path(folder_, "..", copied)).parent_path(), folder_);
}

TEST_F(PackedCopyTest, CutOffAnywhereIsRefused) {
  write_all();
  const std::vector<uint8_t> good = written();
  for (size_t size = 0; size < good.size(); size += size < 4000 ? 97 : 1) {
    EXPECT_FALSE(exercise({good.begin(), good.begin() + static_cast<ptrdiff_t>(size)})) << size;
  }
}

TEST_F(PackedCopyTest, EveryFlippedBitOfHeaderAndIndexIsSeen) {
  write_all();
  const std::vector<uint8_t> good = written();
  const size_t data_end = 4096 + 576 + 2176 + 2304;  // the first rounded up to 64
  for (size_t i = 0; i < good.size(); i = i == 4095 ? data_end : i + 1) {
    for (int bit = 0; bit < 8; bit += i < 4096 ? 3 : 1) {
      std::vector<uint8_t> bad = good;
      bad[i] ^= static_cast<uint8_t>(1 << bit);
      ASSERT_FALSE(exercise(bad)) << i << ", bit " << bit;
    }
  }
  std::vector<uint8_t> in_data = good;
  in_data[5000] ^= 1;
  EXPECT_TRUE(exercise(in_data));
}

// Fields of the index with values from the edge, and a checksum that fits.
TEST_F(PackedCopyTest, NoIndexLeadsOutOfTheFile) {
  write_all();
  const std::vector<uint8_t> good = written();
  const size_t index = 4096 + 576 + 2176 + 2304;
  std::mt19937_64 random(1);
  const uint64_t edges[] = {0,    1,          63,         64,         4096,      4160,
                            6000, 1ull << 31, UINT32_MAX, 1ull << 32, INT64_MAX, UINT64_MAX};
  int read = 0;
  for (int i = 0; i < 20000; ++i) {
    std::vector<uint8_t> bad = good;
    const int changes = 1 + static_cast<int>(random() % 3);
    for (int c = 0; c < changes; ++c) {
      const size_t at = index + random() % (bad.size() - index);
      const uint64_t value = random() % 2 == 0 ? edges[random() % std::size(edges)] : random();
      const size_t size = std::min<size_t>(size_t{1} << random() % 4, bad.size() - at);
      std::memcpy(bad.data() + at, &value, size);
    }
    if (random() % 8 == 0) bad.resize(index + random() % (bad.size() - index));
    read += exercise(with_checksum(std::move(bad))) ? 1 : 0;
  }
  EXPECT_GT(read, 100);     // names may be any
  EXPECT_LT(read, 19'000);  // but most of the index may not
}

// What must not hold, one by one: the last entry of the index (lm_head.weight comes first).
TEST_F(PackedCopyTest, WhatIsWrongWithAnEntryIsSaid) {
  write_all();
  const std::vector<uint8_t> good = written();
  const auto with_last = [&](size_t field, int64_t value) {
    std::vector<uint8_t> bad = good;
    std::memcpy(bad.data() + bad.size() - 16 - 8 * (5 - field), &value, sizeof value);
    const auto copy = read_bytes_as_copy(with_checksum(std::move(bad)));
    return copy.ok() ? std::string() : copy.error().message;
  };
  const auto expect = [&](size_t field, int64_t value, const char* part) {
    const std::string message = with_last(field, value);
    EXPECT_NE(message.find(part), std::string::npos) << field << " = " << value << ": " << message;
  };
  EXPECT_EQ(with_last(0, 17), "");  // first row
  expect(0, -1, "no sense");
  expect(0, 0, "out of order");  // as the one before
  expect(1, 0, "no sense");      // rows
  expect(2, -5, "no sense");     // columns
  expect(3, 4096 + 1, "no sense");
  expect(3, 0, "no sense");
  expect(3, 4096, "over one another");
  expect(3, INT64_MAX - 63, "no sense");
  expect(4, 0, "no sense");  // bytes
  expect(4, INT64_MAX, "no sense");
  expect(4, 2177, "over one another");
}

}  // namespace
}  // namespace ferry::weights
