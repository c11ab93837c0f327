// Attention over contexts so long that several blocks share the keys of a head.
#include <vector>

#include "vendor/cuda/emulated_driver.h"

namespace ferry::cuda {
namespace {

constexpr int64_t kHeads = 4, kKvHeads = 2, kSize = 32, kBlock = 64;
constexpr int64_t kWidth = kKvHeads * kSize;

// One token of each of three sequences, of which two have more keys than a block takes.
class LongContexts {
 public:
  LongContexts() {
    for (size_t s = 0; s < lengths_.size(); ++s) {
      starts_.push_back(static_cast<int32_t>(s));
      for (int64_t b = 0; b < kBlocks; ++b) {
        // Pages of the sequences lie between each other.
        tables_.push_back(static_cast<int32_t>(b * static_cast<int64_t>(lengths_.size())) +
                          static_cast<int32_t>(s));
      }
    }
    starts_.push_back(static_cast<int32_t>(lengths_.size()));
    uint64_t state = 11;
    for (std::vector<float>* values : {&q_, &keys_, &values_}) {
      for (float& value : *values) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        value = static_cast<float>(static_cast<int8_t>(state >> 56)) * 0x1p-5f;  // exact in bf16
      }
    }
  }

  std::vector<float> attend(Backend& backend) const {
    auto stream = backend.create_stream().value();
    std::vector<Buffer> memory;
    const auto send = [&](const auto& values, Dtype dtype, std::initializer_list<int64_t> dims) {
      const auto bytes = static_cast<int64_t>(values.size() * 4);
      memory.push_back(backend.allocate(bytes).value());
      stream->copy_in(memory.back().data, values.data(), bytes);
      return TensorView::contiguous(memory.back().data, dtype, dims);
    };
    const TensorView q = send(q_, Dtype::kF32, {kTokens, kHeads, kSize});
    const TensorView keys = send(keys_, Dtype::kF32, {kPages, kBlock, kWidth});
    const TensorView values = send(values_, Dtype::kF32, {kPages, kBlock, kWidth});
    const TensorView out = send(q_, Dtype::kF32, {kTokens, kHeads, kSize});
    BatchView batch{.num_tokens = kTokens,
                    .num_sequences = kTokens,
                    .num_decode_tokens = kTokens,
                    .num_decode_sequences = kTokens,
                    .max_query_length = 1,
                    .max_context_length = lengths_[1],
                    .block_size = kBlock,
                    .max_blocks = kBlocks};
    batch.query_start = {starts_, send(starts_, Dtype::kI32, {kTokens + 1})};
    batch.context_lengths = {lengths_, send(lengths_, Dtype::kI32, {kTokens})};
    batch.block_tables = {tables_, send(tables_, Dtype::kI32, {kTokens, kBlocks})};
    stream->gqa_attention({.q = q,
                           .k_pages = keys,
                           .v_pages = values,
                           .num_kv_heads = kKvHeads,
                           .scale = 0.2f,
                           .batch = &batch,
                           .out = out});
    std::vector<float> result(q_.size());
    stream->copy_out(result.data(), out.data, out.extent_bytes());
    EXPECT_TRUE(stream->synchronize().ok());
    return result;
  }

 private:
  static constexpr int64_t kTokens = 3, kBlocks = 22, kPages = kTokens * kBlocks;

  std::vector<int32_t> lengths_ = {700, 1387, 5};
  std::vector<int32_t> starts_, tables_;
  std::vector<float> q_ = std::vector<float>(kTokens * kHeads * kSize);
  std::vector<float> keys_ = std::vector<float>(kPages * kBlock * kWidth);
  std::vector<float> values_ = std::vector<float>(kPages * kBlock * kWidth);
};

TEST(CudaAttention, OfLongContexts) {
  use_driver("current");
  const LongContexts contexts;
  const std::vector<float> expected = contexts.attend(*open_backend("reference", {}).value());
  for (const bool f32 : {true, false}) {
    const auto subject = open_on_driver({.f32_activations = f32});
    ASSERT_NE(subject, nullptr);
    const std::vector<float> got = contexts.attend(*subject);
    // On tensor cores probabilities are rounded to bf16, by 2^-9, and values are up to 4.
    const float most = f32 ? 4e-5f : 4 * 0x1p-9f;
    for (size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], expected[i], most) << i;
  }
}

}  // namespace
}  // namespace ferry::cuda
