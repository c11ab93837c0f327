// Notes of what was looked through: they hold from one start to the next, for the very same file,
// and whatever else lies in their place counts as nothing.
#include "weights/looked_through.h"

#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>

#include "disk/mapped_file.h"
#include "disk/testing.h"

namespace ferry::weights {
namespace {

namespace fs = std::filesystem;
using disk::testing::read_bytes;
using disk::testing::TempDir;
using disk::testing::write_bytes;

class LookedThroughTest : public ::testing::Test {
 protected:
  LookedThroughTest() { write_bytes(path_, std::string(100'000, 'w')); }

  // As the next start of the program would see it.
  struct Start {
    explicit Start(const LookedThroughTest& test, int64_t least_bytes = 0) {
      checkpoint.add_file(disk::MappedFile::open(test.path_).value());
      notes.emplace(checkpoint, test.folder_, least_bytes);
    }
    disk::Checkpoint checkpoint;
    std::optional<LookedThrough> notes;
  };

  void note_all() const {
    Start start(*this);
    start.notes->add(0, 0, 100'000);
    start.notes->save();
  }
  bool all_noted() const { return Start(*this).notes->covers(0, 0, 100'000); }
  std::string note_path() const { return fs::directory_iterator(folder_)->path(); }

  TempDir dir_;
  std::string path_ = dir_.file("model.gguf"), folder_ = dir_.file("cache/notes");
};

TEST_F(LookedThroughTest, WhatIsNotedHoldsForTheNextStart) {
  EXPECT_FALSE(all_noted());
  Start first(*this);
  first.notes->add(0, 5000, 1000);
  first.notes->add(0, 100, 400);
  first.notes->add(0, 6000, 500);  // right behind the first
  first.notes->add(0, 300, 300);   // over the end of the second
  first.notes->save();
  const Start next(*this);
  EXPECT_TRUE(next.notes->covers(0, 5000, 1500));
  EXPECT_TRUE(next.notes->covers(0, 5999, 2));
  EXPECT_TRUE(next.notes->covers(0, 100, 500));
  EXPECT_FALSE(next.notes->covers(0, 99, 2));
  EXPECT_FALSE(next.notes->covers(0, 599, 2));
  EXPECT_FALSE(next.notes->covers(0, 6499, 2));
  EXPECT_FALSE(next.notes->covers(0, 0, 100'000));
}

TEST_F(LookedThroughTest, AnotherFileInItsPlaceIsNotNoted) {
  note_all();
  ASSERT_TRUE(all_noted());
  write_bytes(dir_.file("other"), std::string(100'000, 'w'));
  fs::rename(dir_.file("other"), path_);
  EXPECT_FALSE(all_noted());
  note_all();
  ASSERT_TRUE(all_noted());
  fs::last_write_time(path_, fs::last_write_time(path_) + std::chrono::milliseconds(1));
  EXPECT_FALSE(all_noted());
}

TEST_F(LookedThroughTest, AFileThatChangesUnderTheProgramIsNotNoted) {
  Start start(*this);
  start.notes->add(0, 0, 100'000);
  fs::last_write_time(path_, fs::last_write_time(path_) + std::chrono::milliseconds(1));
  start.notes->save();
  EXPECT_FALSE(fs::exists(folder_));
}

TEST_F(LookedThroughTest, WhateverElseLiesThereCountsAsNothing) {
  note_all();
  const std::string good = read_bytes(note_path());
  const size_t ranges = good.find("0 100000");
  ASSERT_NE(ranges, std::string::npos) << good;
  for (const std::string& bad :
       {std::string(), std::string("x"), good.substr(0, ranges), "y" + good, good.substr(0, 10),
        good.substr(0, ranges) + "-5 100000\n", good.substr(0, ranges) + "100000 0\n",
        good.substr(0, ranges) + "0 99999999999999999999999\n"}) {
    write_bytes(note_path(), bad);
    EXPECT_FALSE(all_noted()) << bad;
  }
  write_bytes(note_path(), good);
  EXPECT_TRUE(all_noted());
}

TEST_F(LookedThroughTest, SmallFilesAndFoldersThatCannotBeMadeAreLeftAlone) {
  Start small(*this, LookedThrough::kLeastBytes);
  small.notes->add(0, 0, 100'000);
  small.notes->save();
  EXPECT_FALSE(fs::exists(folder_));
  write_bytes(dir_.file("cache"), "a file where a folder should be");
  note_all();
  EXPECT_FALSE(all_noted());
}

}  // namespace
}  // namespace ferry::weights
