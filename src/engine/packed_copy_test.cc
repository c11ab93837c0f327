// Models from packed copies (weights/packed_copy.h): the same logits, no memory for weights, no
// look at what the copy holds; and when weights are packed at all.
#include <gtest/gtest.h>

#include <chrono>

#include "engine/testing.h"
#include "engine/weight_packing.h"

namespace ferry::engine {
namespace {

using namespace engine::testing;
namespace fs = std::filesystem;

constexpr const char* kPackedModel = "qwen3_moe";

// Matrices in Q8_0, one after the other, with experts in one tensor.
std::vector<StoredTensor> q8_tensors(const Json& config) {
  TinyWeights tiny = random_weights(config, 11);
  std::vector<StoredTensor> tensors;
  for (const weights::TensorRecord& record : tiny.records) {
    const bool matrix = record.shape.size() > 1 && record.role != weights::TensorRole::kRouter;
    tensors.push_back(store(gguf_name(kPackedModel, record.name), matrix ? "Q8_0" : "F32",
                            record.shape, tiny.values[record.name]));
  }
  return tensors;
}

Json config_of_model() {
  for (const TinyModel& model : tiny_models()) {
    if (model.name == std::string_view(kPackedModel)) return parse(model.config);
  }
  CHECK(false);
  return {};
}

class PackedModels : public ::testing::Test {
 protected:
  PackedModels() {
    tensors_ = q8_tensors(config_);
    path_ = write_gguf(dir_, "model.gguf", config_, tensors_);
  }

  // At the generic level nothing is packed, and no copy looked for.
  bool packs() {
    if (!backend_->spec().packed_layout.empty()) return true;
    EXPECT_EQ(load_with(path_, {.pack = true}).packed_bytes, 0);
    EXPECT_EQ(find(path_), nullptr);
    return false;
  }
  LoadedModel load_with(const std::string& path, LoadOptions options) const {
    auto model = load_model(open_source(path), backend_, options);
    if (!model.ok()) ADD_FAILURE() << model.error().message;
    CHECK(model.ok());
    return *std::move(model);
  }
  std::string copy_path(const disk::ModelSource& source) const {
    return weights::packed_copy_path(dir_.path(), source.name, source.checkpoint);
  }
  weights::PackedCopyWriter writer_for(const disk::ModelSource& source) const {
    auto writer =
        weights::PackedCopyWriter::create(copy_path(source), source.checkpoint, source.name,
                                          source.path, backend_->spec().packed_layout);
    CHECK(writer.ok());
    return *std::move(writer);
  }
  // What `ferry pack` does.
  void pack() const {
    const disk::ModelSource source = open_source(path_);
    weights::PackedCopyWriter writer = writer_for(source);
    const auto packed = load_model(source, backend_, {.pack = true, .packed_writer = &writer});
    ASSERT_TRUE(packed.ok()) << packed.error().message;
    EXPECT_EQ(packed->weights_bytes, load_with(path_, {}).weights_bytes);
    ASSERT_TRUE(writer.finish().ok());
  }
  std::shared_ptr<const weights::PackedCopy> find(const std::string& path) {
    return find_packed_copy(dir_.path(), open_source(path), *backend_,
                            [&](const std::string& line) { notices_.push_back(line); });
  }

  disk::testing::TempDir dir_;
  const Json config_ = config_of_model();
  const std::shared_ptr<Backend> backend_ = backend_named("cpu", 2);
  std::vector<StoredTensor> tensors_;
  std::string path_;
  std::vector<std::string> notices_;
};

TEST_F(PackedModels, TheSameLogitsAndNoMemory) {
  if (!packs()) return;
  pack();
  const auto copy = find(path_);
  ASSERT_NE(copy, nullptr);
  EXPECT_TRUE(notices_.empty());
  const LoadedModel plain = load_with(path_, {});
  const LoadedModel packed = load_with(path_, {.pack = true});
  const LoadedModel mapped = load_with(path_, {.pack = true, .packed_copy = copy.get()});
  EXPECT_EQ(mapped.weights_bytes, plain.weights_bytes);
  EXPECT_EQ(packed.weights_bytes, plain.weights_bytes + packed.packed_bytes);
  EXPECT_GT(packed.packed_bytes, 0);
  EXPECT_EQ(packed.copied_bytes, 0);
  EXPECT_EQ(mapped.packed_bytes, 0);
  EXPECT_EQ(mapped.copied_bytes, packed.packed_bytes);
  EXPECT_EQ(mapped.replaced_bytes, packed.replaced_bytes);
  const std::vector<int32_t> tokens = random_tokens(9, 96, 3);
  const std::vector<float> expected = logits_of(plain, tokens);
  EXPECT_EQ(logits_of(packed, tokens), expected);
  EXPECT_EQ(logits_of(mapped, tokens), expected);
  const std::string said = describe_packing(WeightPacking::kAuto, mapped, copy.get());
  EXPECT_NE(said.find("mapped from " + dir_.path()), std::string::npos) << said;
}

// A file with a matrix that would be refused, and a copy of it whose matrices are those of the good
// one: it is neither looked through nor used.
TEST_F(PackedModels, WhatTheCopyHoldsIsNotReadFromTheFile) {
  if (!packs()) return;
  pack();
  const auto good = find(path_);
  ASSERT_NE(good, nullptr);
  const std::string name = gguf_name(kPackedModel, "model.layers.1.self_attn.q_proj.weight");
  for (StoredTensor& tensor : tensors_) {
    if (tensor.decl.name != name) continue;
    tensor.bytes[0] = 0x00;
    tensor.bytes[1] = 0x7e;  // the scale of its first block is NaN
  }
  const std::string bad_path = write_gguf(dir_, "bad.gguf", config_, tensors_);
  const disk::ModelSource source = open_source(bad_path);
  const auto refused = load_model(source, backend_, {.pack = true});
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.error().message.find("not finite"), std::string::npos);
  weights::PackedCopyWriter writer = writer_for(source);
  for (const auto& entry : good->entries()) ASSERT_TRUE(writer.add(entry.matrix, entry.data).ok());
  ASSERT_TRUE(writer.finish().ok());
  const auto copy = find(bad_path);
  ASSERT_NE(copy, nullptr);
  const LoadedModel mapped = load_with(bad_path, {.pack = true, .packed_copy = copy.get()});
  const std::vector<int32_t> tokens = random_tokens(9, 96, 3);
  EXPECT_EQ(logits_of(mapped, tokens), logits_of(load_with(path_, {}), tokens));
}

TEST_F(PackedModels, WhatDoesNotHoldIsSaidAndLeftAlone) {
  if (!packs()) return;
  EXPECT_EQ(find(path_), nullptr);
  EXPECT_TRUE(notices_.empty());
  pack();
  const std::string copy = copy_path(open_source(path_));
  fs::last_write_time(path_, fs::last_write_time(path_) + std::chrono::milliseconds(1));
  EXPECT_EQ(find(path_), nullptr);
  ASSERT_EQ(notices_.size(), 1U);
  EXPECT_NE(notices_[0].find("not what they were"), std::string::npos) << notices_[0];
  pack();
  ASSERT_NE(find(path_), nullptr);
  fs::resize_file(copy, fs::file_size(copy) - 1);
  EXPECT_EQ(find(path_), nullptr);
  ASSERT_EQ(notices_.size(), 2U);
  EXPECT_NE(notices_[1].find(copy), std::string::npos) << notices_[1];
  EXPECT_EQ(find_packed_copy("", open_source(path_), *backend_, {}), nullptr);
  // A backend that computes without strips does not look.
  const auto exact = backend_named("cpu", 1, true);
  EXPECT_EQ(find_packed_copy(dir_.path(), open_source(path_), *exact, {}), nullptr);
}

// Weights that are packed later: the same logits before, in between and then.
TEST_F(PackedModels, BetweenStepsIsTheSame) {
  if (!packs()) return;
  const std::vector<int32_t> tokens = random_tokens(9, 96, 3);
  const std::vector<float> expected = logits_of(load_with(path_, {}), tokens);
  const LoadedModel later = load_with(path_, {.pack = true, .pack_later = true});
  EXPECT_EQ(backend_->pack_more(0), later.packed_bytes);
  int64_t left = later.packed_bytes, calls = 0;
  while (left > 0) {
    EXPECT_EQ(logits_of(later, tokens), expected);
    left = backend_->pack_more(1e-9);
    ++calls;
  }
  EXPECT_GT(calls, 10);  // a matrix at a time
  EXPECT_EQ(logits_of(later, tokens), expected);
  EXPECT_NE(describe_packing(WeightPacking::kAuto, later, nullptr).find("between steps"),
            std::string::npos);
}

TEST(WeightPackingChoice, MemoryDecidesUnlessACopyTakesNone) {
  constexpr int64_t kGiB = int64_t{1} << 30;
  const MemoryInfo memory{.total_bytes = 16 * kGiB, .free_bytes = 12 * kGiB};
  LoadedModel packed;
  packed.weights_bytes = packed.packed_bytes = 8 * kGiB;
  packed.replaced_bytes = 8 * kGiB;
  const auto chosen = [&](WeightPacking wanted, int64_t file_bytes, bool on_demand = false) {
    return choose_packing(wanted, packed, file_bytes, kGiB / 2, on_demand, memory);
  };
  EXPECT_TRUE(chosen(WeightPacking::kAuto, 9 * kGiB));
  EXPECT_FALSE(chosen(WeightPacking::kCopy, 9 * kGiB));
  EXPECT_FALSE(chosen(WeightPacking::kAuto, 9 * kGiB, true));
  EXPECT_FALSE(chosen(WeightPacking::kAuto, 12 * kGiB));  // 4 of them stay in the file
  EXPECT_TRUE(chosen(WeightPacking::kAlways, 12 * kGiB));
  EXPECT_FALSE(chosen(WeightPacking::kNever, 9 * kGiB));
  // Half of it lies in a copy: that takes the place of the file.
  packed.weights_bytes = packed.packed_bytes = packed.copied_bytes = 4 * kGiB;
  EXPECT_TRUE(chosen(WeightPacking::kAuto, 9 * kGiB));
  EXPECT_FALSE(chosen(WeightPacking::kAuto, 12 * kGiB));
  // All of it does.
  packed.weights_bytes = packed.packed_bytes = 0;
  packed.copied_bytes = 8 * kGiB;
  EXPECT_TRUE(chosen(WeightPacking::kAuto, 12 * kGiB));
  EXPECT_TRUE(chosen(WeightPacking::kAuto, 12 * kGiB, true));
  EXPECT_FALSE(chosen(WeightPacking::kNever, 9 * kGiB));
  packed.copied_bytes = 0;  // nothing is packed
  EXPECT_FALSE(chosen(WeightPacking::kAlways, 9 * kGiB));
}

}  // namespace
}  // namespace ferry::engine
