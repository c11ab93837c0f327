// Every storage format we know against the shared golden blocks (goldens/quants: blocks of each
// type and their values, made by another implementation). Skipped where they are not installed.
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "base/json.h"
#include "quant/storage_format.h"

namespace ferry::quant {
namespace {

std::string shared_folder() {
  const char* folder = std::getenv("FERRY_SHARED");
  return (folder != nullptr ? folder : FERRY_SOURCE_DIR "/../shared") +
         std::string("/goldens/quants/");
}

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST(SharedGoldens, DecodeToTheSameBits) {
  const std::string index = read_file(shared_folder() + "index.json");
  if (index.empty()) GTEST_SKIP() << "no shared goldens in " << shared_folder();
  auto json = parse_json(index);
  ASSERT_TRUE(json.ok()) << json.error().message;
  int num_compared = 0;
  for (const auto& [name, type] : (*json)["types"].items()) {
    SCOPED_TRACE(name);
    const StorageFormat* format = find_format(name);
    if (format == nullptr) continue;  // a type that ferry does not read
    EXPECT_EQ(format, find_gguf_type(type["ggml_type"].get<int>()));
    const int64_t per_block = type["values_per_block"].get<int64_t>();
    ASSERT_EQ(0, per_block % format->block_elements);
    ASSERT_EQ(type["bytes_per_block"].get<int64_t>(), format->bytes_for(per_block));

    const std::string blocks = read_file(shared_folder() + name + ".bin");
    const std::string values = read_file(shared_folder() + name + ".f32");
    const int64_t num_values = static_cast<int64_t>(values.size() / sizeof(float));
    ASSERT_GT(num_values, 0);
    ASSERT_EQ(static_cast<int64_t>(blocks.size()), format->bytes_for(num_values));
    std::vector<float> expected(num_values);
    std::memcpy(expected.data(), values.data(), values.size());
    std::vector<float> found(num_values);
    format->decode(reinterpret_cast<const uint8_t*>(blocks.data()), found.data(),
                   num_values / format->block_elements);
    for (int64_t i = 0; i < num_values; ++i) ASSERT_EQ(expected[i], found[i]) << "value " << i;
    ++num_compared;
  }
  EXPECT_GE(num_compared, 14);
}

}  // namespace
}  // namespace ferry::quant
