// The small parts: mapped files, folders, atomic writes, names.
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <memory>

#include "disk/atomic_file.h"
#include "disk/folder.h"
#include "disk/mapped_file.h"
#include "disk/shard_name.h"
#include "disk/testing.h"

namespace ferry::disk {
namespace {

using testing::as_bytes;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::read_bytes;
using testing::TempDir;
using testing::write_bytes;

std::string open_error(const std::string& path) {
  auto file = MappedFile::open(path);
  return file.ok() ? "no error" : file.error().message;
}

TEST(MappedFile, Bytes) {
  TempDir dir;
  const std::string text(10000, 'x');
  write_bytes(dir.file("f"), text);
  auto file = MappedFile::open(dir.file("f"));
  ASSERT_TRUE(file.ok());
  EXPECT_EQ((*file)->text(), text);
  EXPECT_EQ((*file)->path(), dir.file("f"));
  (*file)->will_need((*file)->bytes());
  (*file)->done_with((*file)->bytes());
  EXPECT_EQ((*file)->text(), text);
  // A file replaced by rename keeps its old bytes for whoever has mapped it.
  write_bytes(dir.file("g"), "y");
  std::filesystem::rename(dir.file("g"), dir.file("f"));
  EXPECT_EQ((*file)->text(), text);
}

TEST(MappedFile, View) {
  const std::string text = "abc";
  auto file = MappedFile::view("inside", as_bytes(text));
  EXPECT_EQ(file->text(), "abc");
  file->done_with(file->bytes());
}

TEST(MappedFile, ReadsPartsByWholeBlocks) {
  const TempDir dir;
  std::string bytes;
  for (int i = 0; i < 3 * 4096 + 77; ++i) bytes += static_cast<char>(i * 7 + i / 256);
  write_bytes(dir.file("a"), bytes);
  const auto file = MappedFile::open(dir.file("a"));
  ASSERT_TRUE(file.ok());
  const auto held = MappedFile::view("held", (*file)->bytes());
  const size_t room = 6 * 4096;
  std::unique_ptr<uint8_t, decltype(&std::free)> buffer(
      static_cast<uint8_t*>(std::aligned_alloc(4096, room)), std::free);
  for (const bool past_cache : {false, true}) {
    if (past_cache) (*file)->read_past_cache();
    for (const int64_t offset : {0, 1, 4095, 4096, 5000, 3 * 4096 + 5}) {
      for (const int64_t count : {0, 1, 72, 4096, 7000}) {
        if (offset + count > (*file)->size()) continue;
        for (const auto& from : {*file, held}) {
          std::fill_n(buffer.get(), room, 0);
          const auto data = from->read(offset, count, {buffer.get(), room});
          ASSERT_TRUE(data.ok()) << data.error().message;
          EXPECT_EQ(std::string_view(reinterpret_cast<const char*>(*data), count),
                    std::string_view(bytes).substr(offset, count))
              << offset << " " << count;
        }
      }
    }
  }
  std::filesystem::resize_file(dir.file("a"), 5000);
  EXPECT_TRUE((*file)->read(4096, 904, {buffer.get(), room}).ok());
  const auto beyond = (*file)->read(4096, 905, {buffer.get(), room});
  ASSERT_FALSE(beyond.ok());
  EXPECT_EQ(
      beyond.error().message,
      "cannot read 905 bytes at offset 4096: the file has become shorter since it was opened");
}

TEST(MappedFile, Refusals) {
  TempDir dir;
  EXPECT_THAT(open_error(dir.file("none")), HasSubstr("none: no such file"));
  EXPECT_THAT(open_error(dir.path()), HasSubstr("expected a file, found a directory"));
  write_bytes(dir.file("empty"), "");
  EXPECT_THAT(open_error(dir.file("empty")), HasSubstr("the file is empty"));
  ASSERT_EQ(::mkfifo(dir.file("pipe").c_str(), 0600), 0);
  EXPECT_THAT(open_error(dir.file("pipe")), HasSubstr("found a pipe"));
  EXPECT_THAT(open_error("/dev/null"), HasSubstr("pipe, socket or device"));
  write_bytes(dir.file("secret"), "x");
  ::chmod(dir.file("secret").c_str(), 0);
  if (::geteuid() != 0) {
    EXPECT_THAT(open_error(dir.file("secret")), HasSubstr("cannot open: Permission denied"));
  }
}

TEST(Folder, OnDiskAndInMemoryAlike) {
  TempDir dir;
  write_bytes(dir.file("b.json"), "{\"k\": 1}");
  write_bytes(dir.file("a.txt"), "text");
  std::filesystem::create_directory(dir.file("sub"));
  const std::string json = "{\"k\": 1}";
  const std::string text = "text";
  const Folder on_disk = Folder::on_disk(dir.path()).value();
  const Folder inside =
      Folder::in_memory("inside", {{"b.json", as_bytes(json)}, {"a.txt", as_bytes(text)}});
  for (const Folder* folder : {&on_disk, &inside}) {
    EXPECT_THAT(folder->names(), ElementsAre("a.txt", "b.json"));
    EXPECT_TRUE(folder->has("a.txt"));
    EXPECT_FALSE(folder->has("sub"));
    EXPECT_EQ(folder->file_bytes("a.txt"), 4);
    EXPECT_EQ(folder->file_bytes("none"), 0);
    EXPECT_EQ(folder->read_text("a.txt").value(), "text");
    EXPECT_EQ(folder->read_json("b.json").value()["k"], 1);
    EXPECT_THAT(folder->read_text("a.txt", 3).error().message,
                HasSubstr("4 bytes, the limit is 3"));
    EXPECT_THAT(folder->read_text("none").error().message, HasSubstr("/none: no such file"));
    EXPECT_THAT(folder->read_json("a.txt").error().message, HasSubstr("a.txt: not valid JSON"));
  }
  EXPECT_THAT(Folder::on_disk(dir.file("none")).error().message, HasSubstr("no such directory"));
  EXPECT_THAT(Folder::on_disk(dir.file("a.txt")).error().message,
              HasSubstr("expected a directory"));
}

TEST(AtomicFile, AppearsWhenDone) {
  TempDir dir;
  write_bytes(dir.file("f"), "old");
  {
    auto file = AtomicFile::create(dir.file("f"));
    ASSERT_TRUE(file.ok());
    ASSERT_TRUE(file->write("new").ok());
    ASSERT_TRUE(file->write_zeros(5000).ok());
    ASSERT_TRUE(file->write(std::string(3 << 20, 'z')).ok());
    EXPECT_EQ(file->position(), 3 + 5000 + (3 << 20));
    EXPECT_EQ(read_bytes(dir.file("f")), "old");
    ASSERT_TRUE(file->commit().ok());
  }
  EXPECT_EQ(read_bytes(dir.file("f")), "new" + std::string(5000, '\0') + std::string(3 << 20, 'z'));
  {
    auto file = AtomicFile::create(dir.file("f"));
    ASSERT_TRUE(file->write("dropped").ok());
  }
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dir.path()), {}), 1);
  EXPECT_THAT(write_file(dir.file("no/f"), "x").error().message, HasSubstr("cannot create"));
  std::filesystem::create_directory(dir.file("folder"));
  EXPECT_THAT(write_file(dir.file("folder"), "x").error().message, HasSubstr("cannot rename"));
}

TEST(ShardName, Forms) {
  const auto shard = parse_shard_name("a-b-00002-of-00013.gguf");
  ASSERT_TRUE(shard.has_value());
  EXPECT_EQ(shard->stem, "a-b");
  EXPECT_EQ(shard->number, 2);
  EXPECT_EQ(shard->count, 13);
  EXPECT_EQ(shard->with_number(11), "a-b-00011-of-00013.gguf");
  for (const char* name : {"", "a", "a.gguf", "-00001-of-00002.gguf", "a-00003-of-00002.gguf",
                           "a-00000-of-00002.gguf", "a-0001-of-0002.gguf", "a-+0001-of-00002.gguf",
                           "a_00001-of-00002.gguf", "a-00001-of-00002"}) {
    EXPECT_FALSE(parse_shard_name(name).has_value()) << name;
  }
}

TEST(Names, PlainFileNames) {
  EXPECT_TRUE(is_plain_file_name("a.b"));
  for (const char* name : {"", ".", "..", "a/b", "/"}) EXPECT_FALSE(is_plain_file_name(name));
  EXPECT_FALSE(is_plain_file_name(std::string_view("a\0b", 3)));
  EXPECT_EQ(split_path("a/b").first, "a");
  EXPECT_EQ(split_path("b").first, ".");
  EXPECT_EQ(split_path("/b").first, "/");
}

}  // namespace
}  // namespace ferry::disk
