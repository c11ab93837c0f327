// GGUF: what is read is what was written, single and split; everything malformed is refused with
// one line that names the file and what is wrong.
#include "disk/gguf.h"

#include <gmock/gmock.h>

#include "disk/gguf_writer.h"
#include "disk/testing.h"

namespace ferry::disk {
namespace {

using testing::as_bytes;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::TempDir;
using testing::write_bytes;

const quant::StorageFormat* f32() { return quant::find_format("F32"); }

template <typename T>
std::string raw(T value) {
  return {reinterpret_cast<const char*>(&value), sizeof value};
}
std::string text(std::string_view value) {
  return raw<uint64_t>(value.size()) + std::string(value);
}
std::string tensor_info(std::string_view name, std::vector<uint64_t> dims, uint32_t type,
                        uint64_t offset) {
  std::string out = text(name) + raw<uint32_t>(dims.size());
  for (uint64_t dim : dims) out += raw(dim);
  return out + raw(type) + raw(offset);
}

// Header, key-values, tensor infos, padding, data: each as given.
std::string gguf_bytes(uint64_t num_keys, std::string_view keys, uint64_t num_tensors,
                       std::string_view tensors, size_t data_bytes, uint32_t version = 3) {
  std::string out = "GGUF";
  out += raw(version) + raw(num_tensors) + raw(num_keys);
  out += keys;
  out += tensors;
  out.resize((out.size() + 31) / 32 * 32 + data_bytes, '\0');
  return out;
}

std::string error_of(std::string_view bytes) {
  TempDir dir;
  write_bytes(dir.file("m.gguf"), bytes);
  auto file = read_gguf(dir.file("m.gguf"));
  if (file.ok()) return "no error";
  EXPECT_THAT(file.error().message, HasSubstr("m.gguf: "));
  EXPECT_EQ(file.error().message.find('\n'), std::string::npos);
  return file.error().message;
}

std::string keys_error(uint64_t count, std::string_view keys) {
  return error_of(gguf_bytes(count, keys, 0, "", 0));
}
std::string tensors_error(uint64_t count, std::string_view tensors, size_t data_bytes) {
  return error_of(gguf_bytes(0, "", count, tensors, data_bytes));
}

GgufKeyValues some_keys() {
  GgufKeyValues keys;
  keys.add_string("general.architecture", "qwen2");
  keys.add_u32("u32", 7);
  keys.add_u64("u64", UINT64_MAX);
  keys.add_i32("i32", -7);
  keys.add_f32("f32", 1e-6f);
  keys.add_bool("bool", true);
  const std::vector<std::string> strings = {"a", "", "ccc"};
  keys.add_strings("strings", strings);
  const std::vector<int32_t> ints = {1, -2};
  keys.add_i32s("i32s", ints);
  const std::vector<float> floats = {0.707f};
  keys.add_f32s("f32s", floats);
  return keys;
}

TEST(Gguf, RoundTrip) {
  TempDir dir;
  const std::vector<float> a = {1, 2, 3, 4, 5, 6};
  const std::vector<float> b = {7};
  auto writer = GgufWriter::create(dir.file("m.gguf"), some_keys(),
                                   {{"a", f32(), {2, 3}}, {"none", f32(), {0}}, {"b", f32(), {1}}});
  ASSERT_TRUE(writer.ok()) << writer.error().message;
  ASSERT_TRUE(writer->write(as_bytes(a).first(7)).ok());
  ASSERT_TRUE(writer->write(as_bytes(a).subspan(7)).ok());
  ASSERT_TRUE(writer->write(as_bytes(b)).ok());
  ASSERT_TRUE(writer->finish().ok());

  auto file = read_gguf(dir.file("m.gguf"));
  ASSERT_TRUE(file.ok()) << file.error().message;
  EXPECT_EQ(file->version, 3);
  const FileTensor* tensor = file->checkpoint.find("a");
  ASSERT_NE(tensor, nullptr);
  EXPECT_THAT(tensor->shape, ElementsAre(2, 3));
  EXPECT_EQ(std::memcmp(tensor->data.data(), a.data(), 24), 0);
  EXPECT_EQ(std::memcmp(file->checkpoint.find("b")->data.data(), b.data(), 4), 0);
  EXPECT_EQ(file->checkpoint.find("b")->offset % 32, 0);
  EXPECT_EQ(file->checkpoint.find("none")->num_elements(), 0);
}

TEST(Gguf, TypedGetters) {
  TempDir dir;
  auto writer = GgufWriter::create(dir.file("m.gguf"), some_keys(), {});
  ASSERT_TRUE(writer.ok() && writer->finish().ok());
  auto file = read_gguf(dir.file("m.gguf"));
  ASSERT_TRUE(file.ok()) << file.error().message;
  const GgufMetadata& metadata = file->metadata;
  EXPECT_EQ(metadata.keys().size(), 9u);
  EXPECT_EQ(metadata.get_string("general.architecture").value(), "qwen2");
  EXPECT_EQ(metadata.get_u64("u32").value(), 7u);
  EXPECT_EQ(metadata.get_u64("u64").value(), UINT64_MAX);
  EXPECT_EQ(metadata.get_i64("i32").value(), -7);
  EXPECT_EQ(metadata.get_f64("f32").value(), 1e-6);
  EXPECT_EQ(metadata.get_f64("u32").value(), 7.0);
  EXPECT_TRUE(metadata.get_bool("bool").value());
  EXPECT_THAT(metadata.get_strings("strings").value(), ElementsAre("a", "", "ccc"));
  EXPECT_THAT(metadata.get_ints("i32s").value(), ElementsAre(1, -2));
  EXPECT_THAT(metadata.get_floats("f32s").value(), ElementsAre(0.707));
  EXPECT_EQ(metadata.get_u64_or("absent", 3).value(), 3u);
  EXPECT_THAT(metadata.get_u64("absent").error().message,
              HasSubstr("m.gguf: key \"absent\" is missing, expected an integer"));
  EXPECT_THAT(metadata.get_i64("u64").error().message, HasSubstr("does not fit"));
  EXPECT_THAT(metadata.get_u64("i32").error().message, HasSubstr("not negative, found -7"));
  EXPECT_THAT(metadata.get_u64("f32").error().message, HasSubstr("found f32"));
  EXPECT_THAT(metadata.get_bool_or("u32", true).error().message,
              HasSubstr("expected a bool, found u32"));
  EXPECT_THAT(metadata.get_string("strings").error().message, HasSubstr("found array of string"));
  EXPECT_THAT(metadata.get_ints("strings").error().message,
              HasSubstr("expected an array of integers, found array of string"));
  EXPECT_THAT(metadata.get_strings("i32s").error().message, HasSubstr("found array of i32"));
  EXPECT_THAT(metadata.get_ints("f32s").error().message, HasSubstr("found array of f32"));
}

TEST(Gguf, CopyOfKeys) {
  TempDir dir;
  auto writer = GgufWriter::create(dir.file("m.gguf"), some_keys(), {});
  ASSERT_TRUE(writer.ok() && writer->finish().ok());
  auto file = read_gguf(dir.file("m.gguf"));
  GgufKeyValues copy;
  for (const std::string& key : file->metadata.keys()) {
    copy.add_value(key, *file->metadata.find(key));
  }
  EXPECT_EQ(copy.encoded(), some_keys().encoded());
}

TEST(Gguf, Version) {
  EXPECT_THAT(error_of("GGUX\3\0\0\0"), HasSubstr("not a GGUF file"));
  EXPECT_THAT(error_of("GG"), HasSubstr("truncated"));
  EXPECT_THAT(error_of(gguf_bytes(0, "", 0, "", 0, 1)),
              HasSubstr("GGUF version 1, expected 2 or 3"));
  EXPECT_THAT(error_of(gguf_bytes(0, "", 0, "", 0, 4)), HasSubstr("GGUF version 4"));
  EXPECT_THAT(error_of(gguf_bytes(0, "", 0, "", 0, 0x03000000)), HasSubstr("big-endian"));
  EXPECT_EQ(error_of(gguf_bytes(0, "", 0, "", 0, 2)), "no error");
}

TEST(Gguf, Keys) {
  const std::string key = text("k") + raw<uint32_t>(4) + raw<uint32_t>(1);
  EXPECT_THAT(keys_error(2, key + key), HasSubstr("key \"k\" appears twice"));
  EXPECT_THAT(keys_error(UINT64_MAX, key), HasSubstr("truncated"));
  EXPECT_THAT(keys_error(1, text("k") + raw<uint32_t>(13)), HasSubstr("unknown value type 13"));
  EXPECT_THAT(keys_error(1, text("k") + raw<uint32_t>(7) + "\2"), HasSubstr("expected a bool"));
  EXPECT_THAT(keys_error(1, raw<uint64_t>(70000)), HasSubstr("70000 bytes long, the limit"));
  EXPECT_THAT(keys_error(1, text("k") + raw<uint32_t>(8) + raw(UINT64_MAX)),
              HasSubstr("bytes long, the limit"));
  const std::string array = text("k") + raw<uint32_t>(9);
  EXPECT_THAT(keys_error(1, array + raw<uint32_t>(4) + raw(UINT64_MAX)),
              HasSubstr("array of 18446744073709551615 u32 elements"));
  EXPECT_THAT(keys_error(1, array + raw<uint32_t>(8) + raw(UINT64_MAX)), HasSubstr("truncated"));
  EXPECT_THAT(keys_error(1, array + raw<uint32_t>(7) + raw<uint64_t>(1) + "\7"),
              HasSubstr("key \"k\": expected a bool (0 or 1), found 7"));
  std::string nested = array;
  for (int i = 0; i < 6; ++i) nested += raw<uint32_t>(9) + raw<uint64_t>(1);
  EXPECT_THAT(keys_error(1, nested), HasSubstr("nested deeper than 4"));
  EXPECT_EQ(keys_error(1, array + raw<uint32_t>(9) + raw<uint64_t>(1) + raw<uint32_t>(0) +
                              raw<uint64_t>(2) + "ab"),
            "no error");
}

TEST(Gguf, Alignment) {
  const auto error = [](uint32_t alignment) {
    return keys_error(1, text("general.alignment") + raw<uint32_t>(4) + raw(alignment));
  };
  EXPECT_THAT(error(0), HasSubstr("expected a power of two"));
  EXPECT_THAT(error(24), HasSubstr("found 24"));
  EXPECT_THAT(error(1u << 31), HasSubstr("expected a power of two up to"));
  EXPECT_EQ(error(64), "no error");
  EXPECT_THAT(keys_error(1, text("general.alignment") + raw<uint32_t>(6) + raw(32.0f)),
              HasSubstr("expected an integer that is not negative, found f32"));
}

TEST(Gguf, Tensors) {
  const uint64_t big = uint64_t{1} << 62;
  EXPECT_THAT(tensors_error(1, tensor_info("t", {1, 1, 1, 1, 1}, 0, 0), 64),
              HasSubstr("5 dimensions, the limit is 4"));
  EXPECT_THAT(tensors_error(1, tensor_info("t", {1}, 999, 0), 64),
              HasSubstr("tensor \"t\": unknown storage type 999"));
  EXPECT_THAT(tensors_error(1, tensor_info("t", {1}, UINT32_MAX, 0), 64),
              HasSubstr("unknown storage type 4294967295"));
  EXPECT_THAT(tensors_error(1, tensor_info("t", {UINT64_MAX}, 0, 0), 64), HasSubstr("overflows"));
  EXPECT_THAT(tensors_error(1, tensor_info("t", {big, 4}, 0, 0), 64), HasSubstr("overflows"));
  EXPECT_THAT(tensors_error(1, tensor_info("t", {big, 1}, 0, 0), 64), HasSubstr("overflows"));
  EXPECT_THAT(tensors_error(1, tensor_info("t", {16}, 0, 8), 128),
              HasSubstr("offset 8 is not a multiple of the alignment 32"));
  EXPECT_THAT(tensors_error(1, tensor_info("t", {16}, 0, 32), 64),
              HasSubstr("64 bytes (F32 [16]) at data offset 32 leave the file, which holds 64"));
  EXPECT_THAT(tensors_error(1, tensor_info("t", {1}, 0, UINT64_MAX), 64), HasSubstr("past any"));
  EXPECT_THAT(tensors_error(1, tensor_info("t", {1}, 0, INT64_MAX - 31), 64), HasSubstr("leave"));
  EXPECT_THAT(tensors_error(2, tensor_info("t", {1}, 0, 0) + tensor_info("t", {1}, 0, 32), 64),
              HasSubstr("tensor \"t\" appears twice"));
  EXPECT_THAT(tensors_error(2, tensor_info("t", {16}, 0, 0) + tensor_info("u", {1}, 0, 32), 64),
              HasSubstr("tensor \"u\" at byte"));
  EXPECT_THAT(tensors_error(UINT64_MAX, "", 64), HasSubstr("of 18446744073709551615"));
  EXPECT_THAT(tensors_error(1, text(std::string(2000, 'x')), 64), HasSubstr("the limit is 1024"));
}

TEST(Gguf, BlocksDivideTheInnermostDimension) {
  const quant::StorageFormat* q8 = quant::find_gguf_type(8);
  if (q8 == nullptr) GTEST_SKIP() << "no block format in this build";
  EXPECT_THAT(tensors_error(1, tensor_info("t", {33, 2}, 8, 0), 96),
              HasSubstr("33 is not a multiple of the 32 elements of a Q8_0 block"));
  EXPECT_EQ(tensors_error(1, tensor_info("t", {32, 2}, 8, 0), 68), "no error");
}

TEST(Gguf, WriterRefuses) {
  TempDir dir;
  const auto message = [&](std::vector<TensorDecl> tensors) {
    auto writer = GgufWriter::create(dir.file("m.gguf"), {}, tensors);
    return writer.ok() ? "no error" : writer.error().message;
  };
  EXPECT_THAT(message({{"a", f32(), {1}}, {"a", f32(), {1}}}), HasSubstr("declared twice"));
  EXPECT_THAT(message({{"a", f32(), {1, 1, 1, 1, 1}}}), HasSubstr("at most 4"));
  EXPECT_THAT(message({{"a", f32(), {INT64_MAX / 4}}, {"b", f32(), {64}}}), HasSubstr("overflows"));
}

// Three parts with one tensor each; the tests below break the set one way each.
class GgufSplit : public ::testing::Test {
 protected:
  void SetUp() override {
    for (int i = 0; i < 3; ++i) part(i, i, 3, 3);
  }
  std::string name(int number) const { return fmt::format("m-{:05}-of-00003.gguf", number + 1); }
  void part(int number, uint32_t split_no, uint32_t split_count, int32_t num_tensors) {
    GgufKeyValues keys;
    keys.add_u32("split.no", split_no);
    keys.add_u32("split.count", split_count);
    keys.add_i32("split.tensors.count", num_tensors);
    auto writer = GgufWriter::create(dir_.file(name(number)), keys,
                                     {{fmt::format("t{}", split_no), f32(), {1}}});
    ASSERT_TRUE(writer.ok() && writer->write(as_bytes("abcd")).ok() && writer->finish().ok());
  }
  std::string error(int number = 0) {
    auto file = read_gguf(dir_.file(name(number)));
    return file.ok() ? "no error" : file.error().message;
  }
  TempDir dir_;
};

TEST_F(GgufSplit, AnyPartWillDo) {
  for (int i = 0; i < 3; ++i) {
    auto file = read_gguf(dir_.file(name(i)));
    ASSERT_TRUE(file.ok()) << file.error().message;
    EXPECT_EQ(file->checkpoint.tensors().size(), 3u);
    EXPECT_THAT(file->checkpoint.where(*file->checkpoint.find("t2")), HasSubstr(name(2)));
    EXPECT_EQ(file->metadata.get_u64("split.no").value(), 0u);
  }
}

TEST_F(GgufSplit, Refusals) {
  part(1, 1, 4, 3);
  EXPECT_THAT(error(), HasSubstr("expected part 2 of 3, found part 2 of 4"));
  part(1, 2, 3, 3);
  EXPECT_THAT(error(), HasSubstr("expected part 2 of 3, found part 3 of 3"));
  part(1, 1, 3, 3);
  part(0, 0, 3, 4);
  EXPECT_THAT(error(), HasSubstr("3 tensors in all 3 parts, but split.tensors.count says 4"));
  std::filesystem::remove(dir_.file(name(1)));
  EXPECT_THAT(error(), HasSubstr("1 of 3 parts missing: m-00002-of-00003.gguf"));
  std::filesystem::rename(dir_.file(name(0)), dir_.file("m.gguf"));
  EXPECT_THAT(read_gguf(dir_.file("m.gguf")).error().message, HasSubstr("its name must end in"));
  auto one = read_gguf_file(*MappedFile::open(dir_.file("m.gguf")));
  EXPECT_THAT(one.error().message, HasSubstr("one of 3 parts"));
}

TEST(GgufGoldens, AllRead) {
  const std::string shared = testing::shared_folder();
  if (shared.empty()) GTEST_SKIP() << "no shared reference files here";
  int count = 0;
  for (const auto& item : std::filesystem::recursive_directory_iterator(shared)) {
    if (item.path().extension() != ".gguf") continue;
    auto file = read_gguf(item.path().string());
    EXPECT_TRUE(file.ok()) << file.error().message;
    ++count;
  }
  EXPECT_GT(count, 10);
}

}  // namespace
}  // namespace ferry::disk
