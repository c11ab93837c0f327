// safetensors: what is read is what was written; everything malformed is refused with one line that
// names the file and what is wrong.
#include "disk/safetensors.h"

#include <gmock/gmock.h>
#include <sys/resource.h>

#include <csignal>

#include "disk/safetensors_writer.h"
#include "disk/testing.h"

namespace ferry::disk {
namespace {

using testing::as_bytes;
using ::testing::HasSubstr;
using testing::safetensors_bytes;
using testing::TempDir;
using testing::write_bytes;

const quant::StorageFormat* float32() { return quant::find_format("F32"); }

// The error of reading one file with these bytes.
std::string refusal_of(std::string_view bytes) {
  TempDir dir;
  write_bytes(dir.file("model.safetensors"), bytes);
  auto file = MappedFile::open(dir.file("model.safetensors"));
  if (!file.ok()) return file.error().message;
  auto checkpoint = read_safetensors_file(*file);
  if (checkpoint.ok()) return "no error";
  EXPECT_THAT(checkpoint.error().message, HasSubstr("model.safetensors: "));
  EXPECT_EQ(checkpoint.error().message.find('\n'), std::string::npos);
  return checkpoint.error().message;
}

std::string header_error(std::string_view header, std::string_view data = {}) {
  return refusal_of(safetensors_bytes(header, data));
}

std::string entry(std::string_view name, std::string_view dtype, std::string_view shape, int begin,
                  int end) {
  return fmt::format(R"("{}": {{"dtype": "{}", "shape": {}, "data_offsets": [{}, {}]}})", name,
                     dtype, shape, begin, end);
}

std::string braces(std::string_view inside) { return fmt::format("{{{}}}", inside); }

TEST(Safetensors, RoundTrip) {
  TempDir dir;
  const std::vector<float> a = {1, 2, 3, 4, 5, 6};
  const std::vector<float> b = {7};
  auto writer = SafetensorsWriter::create(
      dir.file("m.safetensors"),
      {{"a", float32(), {2, 3}}, {"empty", float32(), {0, 3}}, {"b", float32(), {}}},
      {{"format", "pt"}});
  ASSERT_TRUE(writer.ok()) << writer.error().message;
  ASSERT_TRUE(writer->write(as_bytes(a).first(5)).ok());
  ASSERT_TRUE(writer->write(as_bytes(a).subspan(5)).ok());
  ASSERT_TRUE(writer->write(as_bytes(b)).ok());
  EXPECT_FALSE(std::filesystem::exists(dir.file("m.safetensors")));
  ASSERT_TRUE(writer->finish().ok());

  auto file = MappedFile::open(dir.file("m.safetensors"));
  ASSERT_TRUE(file.ok());
  auto read = read_safetensors_file(*file);
  ASSERT_TRUE(read.ok()) << read.error().message;
  ASSERT_EQ(read->tensors().size(), 3u);
  const FileTensor* tensor = read->find("a");
  ASSERT_NE(tensor, nullptr);
  EXPECT_EQ(tensor->shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(tensor->format->name, "F32");
  EXPECT_EQ(std::memcmp(tensor->data.data(), a.data(), 24), 0);
  EXPECT_EQ(std::memcmp((*file)->bytes().data() + tensor->offset, a.data(), 24), 0);
  EXPECT_EQ(read->find("b")->num_elements(), 1);
  EXPECT_EQ(read->find("empty")->num_elements(), 0);
  EXPECT_EQ(read->data_bytes(), 28);
  EXPECT_EQ(read->where(*tensor), dir.file("m.safetensors") + ": tensor \"a\"");
  EXPECT_THAT(read->get("c").error().message, HasSubstr("tensor \"c\" is missing"));
}

TEST(Safetensors, WriterDroppedLeavesNothing) {
  TempDir dir;
  {
    auto writer = SafetensorsWriter::create(dir.file("m.safetensors"), {{"a", float32(), {1}}});
    ASSERT_TRUE(writer.ok());
  }
  EXPECT_TRUE(std::filesystem::is_empty(dir.path()));
}

TEST(Safetensors, WriterRefuses) {
  TempDir dir;
  const auto message = [&](std::vector<TensorDecl> tensors) {
    auto writer = SafetensorsWriter::create(dir.file("m"), tensors);
    return writer.ok() ? "no error" : writer.error().message;
  };
  EXPECT_THAT(message({{"a", float32(), {1}}, {"a", float32(), {1}}}), HasSubstr("declared twice"));
  EXPECT_THAT(message({{"a", float32(), {INT64_MAX, 2}}}), HasSubstr("overflows"));
  EXPECT_THAT(message({{"a\xff", float32(), {1}}}), HasSubstr("expected UTF-8"));
  EXPECT_THAT(SafetensorsWriter::create(dir.file("no/such"), {}).error().message,
              HasSubstr("cannot create"));
}

// A limit on the size of files stands in for a full disk.
TEST(Safetensors, WriterReportsAFailedWrite) {
  TempDir dir;
  struct rlimit before {};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = ::signal(SIGXFSZ, SIG_IGN);
  const std::vector<float> values(1 << 19, 1.0f);
  auto writer = SafetensorsWriter::create(dir.file("m"), {{"a", float32(), {1 << 19}}});
  ASSERT_TRUE(writer.ok());
  struct rlimit small = before;
  small.rlim_cur = 1 << 16;
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const Status written = writer->write(as_bytes(values));
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  ::signal(SIGXFSZ, handler);
  ASSERT_FALSE(written.ok());
  EXPECT_EQ(written.error().kind, ErrorKind::kIo);
  EXPECT_THAT(written.error().message, HasSubstr("cannot write at byte"));
}

TEST(Safetensors, HeaderLength) {
  EXPECT_THAT(refusal_of("abc"), HasSubstr("too short"));
  std::string bytes = safetensors_bytes("{}");
  bytes[0] = 3;
  EXPECT_THAT(refusal_of(bytes), HasSubstr("header of 3 bytes, but only 2 follow"));
  bytes[3] = 0x40;  // 1 GiB
  EXPECT_THAT(refusal_of(bytes), HasSubstr("the limit is 100000000"));
  bytes[7] = '\xff';
  EXPECT_THAT(refusal_of(bytes), HasSubstr("the limit is 100000000"));
  EXPECT_THAT(refusal_of("version https://git-lfs.github.com/spec/v1\n"), HasSubstr("Git LFS"));
}

TEST(Safetensors, HeaderText) {
  EXPECT_THAT(header_error("{"), HasSubstr("header: not valid JSON at byte"));
  EXPECT_THAT(header_error("[]"), HasSubstr("expected a JSON object, found an array"));
  EXPECT_THAT(header_error("{\"a\": 1}"), HasSubstr("tensor \"a\": expected an object"));
  EXPECT_THAT(header_error(std::string(300, '[')), HasSubstr("nested deeper"));
  EXPECT_THAT(header_error(R"({"__metadata__": 3})"),
              HasSubstr("__metadata__: expected an object"));
  EXPECT_THAT(header_error(R"({"__metadata__": {"a": 3}})"), HasSubstr("expected a string"));
}

TEST(Safetensors, Entries) {
  const std::string data(8, '\0');
  EXPECT_THAT(header_error(R"({"a": {"shape": [1], "data_offsets": [0, 4]}})", data),
              HasSubstr("dtype: expected a string, found nothing"));
  EXPECT_THAT(header_error(braces(entry("a", "F33", "[2]", 0, 8)), data),
              HasSubstr("unknown dtype \"F33\""));
  EXPECT_THAT(header_error(braces(entry("a", "F32", "[-2]", 0, 8)), data),
              HasSubstr("shape: -2 is negative"));
  EXPECT_THAT(header_error(braces(entry("a", "F32", "[2.0]", 0, 8)), data),
              HasSubstr("shape: expected an integer, found a number"));
  EXPECT_THAT(header_error(braces(entry("a", "F32", "2", 0, 8)), data),
              HasSubstr("shape: expected an array"));
  EXPECT_THAT(header_error(braces(entry("a", "F32", "[4294967296,4294967296]", 0, 8)), data),
              HasSubstr("overflows"));
  EXPECT_THAT(header_error(braces(entry("a", "F32", "[18446744073709551615]", 0, 8)), data),
              HasSubstr("past any file"));
  EXPECT_THAT(header_error(braces(entry("a", "F32", "[3]", 0, 8)), data),
              HasSubstr("span 8 bytes, but F32 [3] needs 12"));
  EXPECT_THAT(header_error(braces(entry("a", "F32", "[3]", 0, 12)), data),
              HasSubstr("leave the file, which holds 8 bytes"));
  EXPECT_THAT(header_error(braces(entry("a", "F32", "[2]", 8, 0)), data), HasSubstr("leave"));
  EXPECT_THAT(header_error(R"({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0]}})", data),
              HasSubstr("expected an array of two offsets"));
  EXPECT_THAT(header_error(braces(entry("a\\n\\u0000", "F33", "[2]", 0, 8)), data),
              HasSubstr("tensor \"a\\x0a\\x00\""));
}

TEST(Safetensors, Cover) {
  const std::string data(12, '\0');
  const std::string a = entry("a", "F32", "[1]", 0, 4);
  EXPECT_THAT(header_error(braces(a + "," + entry("b", "F32", "[1]", 0, 4)), data),
              HasSubstr("tensor \"b\" at data offset 0 overlaps tensor \"a\", which ends at 4"));
  EXPECT_THAT(header_error(braces(a + "," + entry("b", "F32", "[1]", 8, 12)), data),
              HasSubstr("a hole of 4 bytes before tensor \"b\""));
  EXPECT_THAT(header_error(braces(a + "," + entry("b", "F32", "[1]", 4, 8)), data),
              HasSubstr("4 bytes after the last tensor"));
  EXPECT_THAT(header_error(braces(a + "," + entry("a", "F32", "[2]", 4, 12)), data),
              HasSubstr("key \"a\" appears twice"));
}

// A folder with two shards; the tests below break it one way each.
class SafetensorsShards : public ::testing::Test {
 protected:
  void SetUp() override {
    shard(1, "a");
    shard(2, "b");
    index(R"({"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"})");
  }
  void shard(int number, std::string_view tensor) {
    write_bytes(
        dir_.file(fmt::format("model-{:05}-of-00002.safetensors", number)),
        safetensors_bytes(fmt::format("{{{}}}", entry(tensor, "F32", "[1]", 0, 4)), "abcd"));
  }
  void index(std::string_view weight_map) {
    write_bytes(dir_.file(kSafetensorsIndexName),
                fmt::format("{{\"weight_map\": {}}}", weight_map));
  }
  std::string error() {
    auto folder = Folder::on_disk(dir_.path());
    auto checkpoint = read_safetensors_folder(*folder);
    return checkpoint.ok() ? "no error" : checkpoint.error().message;
  }
  TempDir dir_;
};

TEST_F(SafetensorsShards, AllThere) {
  auto checkpoint = read_safetensors_folder(*Folder::on_disk(dir_.path()));
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.error().message;
  EXPECT_EQ(checkpoint->files().size(), 2u);
  EXPECT_THAT(checkpoint->where(*checkpoint->find("b")),
              HasSubstr("model-00002-of-00002.safetensors: tensor \"b\""));
}

TEST_F(SafetensorsShards, WithoutIndex) {
  std::filesystem::remove(dir_.file(kSafetensorsIndexName));
  EXPECT_EQ(error(), "no error");
  std::filesystem::remove(dir_.file("model-00001-of-00002.safetensors"));
  EXPECT_THAT(error(), HasSubstr("1 of 2 shards missing: model-00001-of-00002.safetensors"));
  EXPECT_THAT(error(), HasSubstr("ferry pull"));
}

TEST_F(SafetensorsShards, MissingShard) {
  std::filesystem::remove(dir_.file("model-00002-of-00002.safetensors"));
  EXPECT_THAT(error(), HasSubstr("1 of 2 shards missing: model-00002-of-00002.safetensors"));
}

TEST_F(SafetensorsShards, TensorTwice) {
  shard(2, "a");
  EXPECT_THAT(error(), HasSubstr("tensor \"a\" appears twice, first in"));
}

TEST_F(SafetensorsShards, IndexAndShardsDisagree) {
  shard(2, "c");
  EXPECT_THAT(error(), HasSubstr("tensor \"b\" is not in it"));
  shard(2, "b");
  index(R"({"a": "model-00001-of-00002.safetensors", "b": "model-00001-of-00002.safetensors"})");
  EXPECT_THAT(error(), HasSubstr("model-00001-of-00002.safetensors: tensor \"b\" is not in it"));
  shard(2, "b");
  write_bytes(dir_.file("model-00001-of-00002.safetensors"),
              safetensors_bytes(
                  braces(entry("a", "F32", "[1]", 0, 4) + "," + entry("x", "F32", "[1]", 4, 8)),
                  "abcdefgh"));
  index(R"({"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"})");
  EXPECT_THAT(error(), HasSubstr("tensor \"x\": is not listed in"));
}

TEST_F(SafetensorsShards, IndexFields) {
  index("[]");
  EXPECT_THAT(error(), HasSubstr("weight_map: expected an object, found an array"));
  index("{}");
  EXPECT_THAT(error(), HasSubstr("weight_map is empty"));
  index(R"({"a": 1})");
  EXPECT_THAT(error(), HasSubstr("expected a file name, found an integer"));
  for (const char* name : {"../a", "/etc/passwd", "..", "", "a/b", "a\\u0000b"}) {
    index(fmt::format(R"({{"a": "{}"}})", name));
    EXPECT_THAT(error(), HasSubstr("is not a plain file name")) << name;
  }
}

TEST(SafetensorsFolder, WhichFile) {
  TempDir dir;
  const auto error = [&] {
    auto checkpoint = read_safetensors_folder(*Folder::on_disk(dir.path()));
    return checkpoint.ok() ? "no error" : checkpoint.error().message;
  };
  EXPECT_THAT(error(), HasSubstr("no *.safetensors file there"));
  const std::string bytes = safetensors_bytes(braces(entry("a", "F32", "[1]", 0, 4)), "abcd");
  write_bytes(dir.file("weights.safetensors"), bytes);
  EXPECT_EQ(error(), "no error");
  write_bytes(dir.file("other.safetensors"), bytes);
  EXPECT_THAT(error(), HasSubstr("2 *.safetensors files and no model.safetensors.index.json"));
  write_bytes(dir.file("model.safetensors"), bytes);
  EXPECT_EQ(error(), "no error");
}

TEST(SafetensorsGoldens, AllRead) {
  const std::string shared = testing::shared_folder();
  if (shared.empty()) GTEST_SKIP() << "no shared reference files here";
  int count = 0;
  for (const auto& item : std::filesystem::recursive_directory_iterator(shared)) {
    if (item.path().extension() != ".safetensors") continue;
    auto checkpoint = read_safetensors_file(MappedFile::open(item.path().string()).value());
    EXPECT_TRUE(checkpoint.ok()) << checkpoint.error().message;
    ++count;
  }
  EXPECT_GT(count, 8);
}

}  // namespace
}  // namespace ferry::disk
