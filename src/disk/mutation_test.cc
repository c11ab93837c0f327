// 1,000 seeded mutations of small checkpoints in both formats: each either opens, and then every
// byte it hands out may be read, or is refused with a message of one line.
#include <gtest/gtest.h>

#include <random>

#include "disk/exercise.h"
#include "disk/gguf_writer.h"
#include "disk/model_source.h"
#include "disk/safetensors.h"
#include "disk/safetensors_writer.h"
#include "disk/testing.h"

namespace ferry::disk {
namespace {

using testing::as_bytes;
using testing::read_bytes;
using testing::TempDir;

using Bytes = std::vector<uint8_t>;

class Mutator {
 public:
  explicit Mutator(uint64_t seed) : random_(seed) {}

  // One to three changes; what is at the front (headers) is hit most.
  void mutate(Bytes& bytes) {
    const int changes = 1 + static_cast<int>(below(3));
    for (int i = 0; i < changes && !bytes.empty(); ++i) change(bytes);
    bytes.shrink_to_fit();  // so that a sanitizer sees the end where the file ends
  }

 private:
  uint64_t below(uint64_t bound) { return random_() % bound; }
  size_t place(const Bytes& bytes) {
    return below(4) == 0 ? below(bytes.size()) : below(std::min<size_t>(bytes.size(), 1024));
  }

  void change(Bytes& bytes) {
    const size_t at = place(bytes);
    switch (below(7)) {
      case 0: bytes[at] ^= static_cast<uint8_t>(1u << below(8)); break;
      case 1: bytes[at] = static_cast<uint8_t>(random_()); break;
      case 2: bytes.resize(at); break;
      case 3: overwrite(bytes, at); break;
      case 4: swap_fields(bytes, at, place(bytes)); break;
      case 5: bytes.insert(bytes.begin() + at, 1 + below(9), bytes[at]); break;
      default: another_digit(bytes, at); break;
    }
  }
  // A field of 4 or 8 bytes gets a value from the edge.
  void overwrite(Bytes& bytes, size_t at) {
    static constexpr uint64_t kEdges[] = {
        0, 1, 2, 31, 255, 0x7fffffff, INT64_MAX, UINT64_MAX, UINT32_MAX, 1ull << 62, 1ull << 32};
    const uint64_t value = kEdges[below(std::size(kEdges))];
    const size_t size = std::min<size_t>(below(2) == 0 ? 4 : 8, bytes.size() - at);
    std::memcpy(bytes.data() + at, &value, size);
  }
  void swap_fields(Bytes& bytes, size_t a, size_t b) {
    const size_t size = std::min({size_t{8}, bytes.size() - a, bytes.size() - b});
    for (size_t i = 0; i < size; ++i) std::swap(bytes[a + i], bytes[b + i]);
  }
  // The next digit of a JSON header becomes another one, or a letter of a name another letter.
  void another_digit(Bytes& bytes, size_t at) {
    while (at < bytes.size() && std::isalnum(bytes[at]) == 0) ++at;
    if (at == bytes.size()) return;
    bytes[at] = std::isdigit(bytes[at]) != 0 ? static_cast<uint8_t>('0' + below(10))
                                             : static_cast<uint8_t>('a' + below(26));
  }

  std::mt19937_64 random_;
};

struct NamedBytes {
  std::string name;
  Bytes bytes;
};

NamedBytes load(const TempDir& dir, const std::string& name) {
  const std::string text = read_bytes(dir.file(name));
  return {name, Bytes(text.begin(), text.end())};
}

void write_shard(const std::string& path, const std::string& tensor) {
  const auto* f32 = quant::find_format("F32");
  auto writer = SafetensorsWriter::create(
      path, {{tensor + ".weight", f32, {4, 8}}, {tensor + ".bias", f32, {4}}});
  const std::vector<float> values(36, 0.5f);
  ASSERT_TRUE(writer.ok() && writer->write(as_bytes(values)).ok() && writer->finish().ok());
}

std::vector<NamedBytes> sharded_checkpoint() {
  TempDir dir;
  write_shard(dir.file("model-00001-of-00002.safetensors"), "model.layers.0.mlp.gate_proj");
  write_shard(dir.file("model-00002-of-00002.safetensors"), "model.layers.0.mlp.up_proj");
  testing::write_bytes(dir.file("config.json"),
                       R"({"model_type": "llama", "hidden_size": 8, "q_lora_rank": 0,
                           "rope_scaling": {"rope_type": "llama3", "factor": 8.0}})");
  testing::write_bytes(dir.file("tokenizer_config.json"), R"({"chat_template": "{{ messages }}"})");
  testing::write_bytes(dir.file(kSafetensorsIndexName), R"({"weight_map": {
      "model.layers.0.mlp.gate_proj.weight": "model-00001-of-00002.safetensors",
      "model.layers.0.mlp.gate_proj.bias": "model-00001-of-00002.safetensors",
      "model.layers.0.mlp.up_proj.weight": "model-00002-of-00002.safetensors",
      "model.layers.0.mlp.up_proj.bias": "model-00002-of-00002.safetensors"}})");
  return {load(dir, "model-00001-of-00002.safetensors"),
          load(dir, "model-00002-of-00002.safetensors"), load(dir, kSafetensorsIndexName),
          load(dir, "config.json"), load(dir, "tokenizer_config.json")};
}

std::vector<NamedBytes> gguf_checkpoint() {
  TempDir dir;
  GgufKeyValues keys;
  keys.add_string("general.architecture", "llama");
  keys.add_u32("general.alignment", 32);
  keys.add_u32("llama.block_count", 1);
  keys.add_u32("llama.context_length", 64);
  keys.add_u32("llama.embedding_length", 8);
  keys.add_u32("llama.attention.head_count", 2);
  keys.add_f32("llama.attention.layer_norm_rms_epsilon", 1e-5f);
  const std::vector<std::string> tokens = {"a", "bc", "def"};
  keys.add_strings("tokenizer.ggml.tokens", tokens);
  const std::vector<int32_t> types = {1, 3, 1};
  keys.add_i32s("tokenizer.ggml.token_type", types);
  keys.add_bool("tokenizer.ggml.add_bos_token", false);
  keys.add_string("tokenizer.chat_template", "{{ messages }}");
  const auto* f32 = quant::find_format("F32");
  auto writer = GgufWriter::create(dir.file("m.gguf"), keys,
                                   {{"token_embd.weight", f32, {3, 8}},
                                    {"rope_freqs.weight", f32, {2}},
                                    {"blk.0.attn_q.weight", f32, {8, 8}}});
  for (int count : {24, 2, 64}) {
    const std::vector<float> values(count, 0.5f);
    EXPECT_TRUE(writer.ok() && writer->write(as_bytes(values)).ok());
  }
  EXPECT_TRUE(writer->finish().ok());
  return {load(dir, "m.gguf")};
}

// Packed INT4, which becomes another tensor than the file declares.
std::vector<NamedBytes> packed_checkpoint() {
  TempDir dir;
  const auto* f32 = quant::find_format("F32");
  const auto* i32 = quant::find_format("I32");
  auto writer =
      SafetensorsWriter::create(dir.file("model.safetensors"), {{"a.weight_packed", i32, {4, 8}},
                                                                {"a.weight_scale", f32, {4, 2}},
                                                                {"a.weight_shape", i32, {2}},
                                                                {"b.weight_packed", i32, {2, 4}}});
  const std::vector<float> values(32 + 8 + 2 + 8, 0.5f);
  EXPECT_TRUE(writer.ok() && writer->write(as_bytes(values)).ok() && writer->finish().ok());
  testing::write_bytes(dir.file("config.json"), R"({"model_type": "kimi_k2",
      "quantization_config": {"quant_method": "compressed-tensors"}})");
  return {load(dir, "model.safetensors"), load(dir, "config.json")};
}

Result<ModelSource> open(const std::vector<NamedBytes>& files) {
  std::vector<MemoryFile> views;
  for (const NamedBytes& file : files) views.push_back({file.name, file.bytes});
  return open_model_from_memory("mutated", views);
}

// Runs `count` mutations; returns how many still opened.
int run(const std::vector<NamedBytes>& original, uint64_t first_seed, int count) {
  EXPECT_TRUE(open(original).ok());
  int opened = 0;
  for (int i = 0; i < count; ++i) {
    Mutator mutator(first_seed + i);
    std::vector<NamedBytes> files = original;
    mutator.mutate(files[i % files.size()].bytes);
    const auto source = open(files);
    exercise(source);
    opened += source.ok() ? 1 : 0;
  }
  return opened;
}

TEST(Mutations, Safetensors) {
  const int opened = run(sharded_checkpoint(), 1, 500);
  EXPECT_GT(opened, 10);   // changed weights and texts are nobody's business here
  EXPECT_LT(opened, 400);  // but most changes are seen
}

TEST(Mutations, Gguf) {
  const int opened = run(gguf_checkpoint(), 1'000'001, 500);
  EXPECT_GT(opened, 10);
  EXPECT_LT(opened, 400);
}

TEST(Mutations, PackedInt4) {
  const auto good = open(packed_checkpoint());
  ASSERT_TRUE(good.ok()) << good.error().message;
  const FileTensor* packed = good->checkpoint.find("a.weight");
  ASSERT_NE(packed, nullptr);
  EXPECT_EQ(packed->format->name, "INT4");
  EXPECT_EQ(packed->shape_text(), "[4, 64]");
  const int opened = run(packed_checkpoint(), 3'000'001, 500);
  EXPECT_GT(opened, 10);
  EXPECT_LT(opened, 400);
}

}  // namespace
}  // namespace ferry::disk
