// Attention of prompts by tiles of 64 queries, where every key shows: a probability is a power of 2
// that its position says, some positions have a value of their own, and what comes out is known in
// closed form. Those with a value lie at edges of tiles, stages and pieces of expanded keys: one
// that is seen too often, or by tokens before it, or not, shows in a number of its own.
#include <cmath>
#include <numeric>
#include <vector>

#include "base/half.h"
#include "vendor/cuda/emulated_driver.h"

namespace ferry::cuda {
namespace {

constexpr int64_t kValues = 16;      // positions that have a value: number i of it is theirs
constexpr float kValue = 4096;       // exact in bf16
constexpr double kMostError = 1e-5;  // of sums in f32, relative; a key is 4e-5 of all at least
constexpr int64_t kPageTokens = 16;

// log2 of what a key weighs: its most in the middle of three pieces.
int weight_of(int64_t position) {
  return static_cast<int>(position * 7 % 4) + (position >= 2048 && position < 4096 ? 1 : 0);
}

// The last `tokens` tokens of a context, as the one prompt of a batch, and where its keys lie.
class LongPrompt {
 public:
  LongPrompt(Backend& backend, int64_t tokens, int64_t context,
             std::vector<int64_t> positions_with_values)
      : backend_(backend),
        stream_(backend.create_stream().value()),
        tokens_(tokens),
        context_(context),
        edges_(std::move(positions_with_values)),
        starts_{0, static_cast<int32_t>(tokens)},
        lengths_{static_cast<int32_t>(context)},
        pages_(static_cast<size_t>((context + kPageTokens - 1) / kPageTokens)) {
    std::iota(pages_.rbegin(), pages_.rend(), 0);  // the last page first
    batch_ = {.num_tokens = tokens,
              .num_sequences = 1,
              .max_query_length = tokens,
              .max_context_length = context,
              .block_size = kPageTokens,
              .max_blocks = num_pages()};
    batch_.query_start = {starts_, send(starts_, Dtype::kI32, {2})};
    batch_.context_lengths = {lengths_, send(lengths_, Dtype::kI32, {1})};
    batch_.block_tables = {pages_, send(pages_, Dtype::kI32, {1, num_pages()})};
  }

  Stream& stream() { return *stream_; }
  const BatchView& batch() const { return batch_; }
  int64_t num_pages() const { return static_cast<int64_t>(pages_.size()); }

  template <typename T>
  TensorView send(const std::vector<T>& values, Dtype dtype, std::initializer_list<int64_t> dims) {
    const auto bytes = static_cast<int64_t>(values.size() * sizeof(T));
    memory_.push_back(backend_.allocate(bytes).value());
    stream_->copy_in(memory_.back().data, values.data(), bytes);
    EXPECT_TRUE(stream_->synchronize().ok());  // the caller's values may go now
    return TensorView::contiguous(memory_.back().data, dtype, dims);
  }

  // A plane in bf16 with a row of `width` numbers for each position: its weight in column
  // weight_column, its value from value_column on, both if they are not negative.
  TensorView plane(int64_t width, int64_t weight_column, int64_t value_column) {
    std::vector<uint16_t> rows(static_cast<size_t>(num_pages() * kPageTokens * width));
    for (int64_t s = 0; s < context_; ++s) {
      const int64_t slot =
          pages_[static_cast<size_t>(s / kPageTokens)] * kPageTokens + s % kPageTokens;
      uint16_t* row = rows.data() + slot * width;
      if (weight_column >= 0) row[weight_column] = f32_to_bf16(static_cast<float>(weight_of(s)));
      for (size_t i = 0; value_column >= 0 && i < edges_.size(); ++i) {
        if (edges_[i] == s) row[value_column + static_cast<int64_t>(i)] = f32_to_bf16(kValue);
      }
    }
    return send(rows, Dtype::kBF16, {num_pages(), kPageTokens, width});
  }

  // Queries of `size` numbers that ask for number `column` of a key alone.
  TensorView queries(int64_t heads, int64_t size, int64_t column) {
    std::vector<float> q(static_cast<size_t>(tokens_ * heads * size));
    for (size_t i = static_cast<size_t>(column); i < q.size(); i += static_cast<size_t>(size)) {
      q[i] = 1;
    }
    return send(q, Dtype::kF32, {tokens_, heads, size});
  }

  // out [tokens, heads, size] has the values in its first columns and nothing in the others.
  void expect_values(const TensorView& out) {
    std::vector<float> got(static_cast<size_t>(out.shape[0] * out.shape[1] * out.shape[2]));
    stream_->copy_out(got.data(), out.data, out.extent_bytes());
    ASSERT_TRUE(stream_->synchronize().ok());
    double total = 0;
    for (int64_t s = 0; s < context_; ++s) {
      total += std::exp2(weight_of(s));
      const int64_t token = s - (context_ - tokens_);
      for (int64_t h = 0; token >= 0 && h < out.shape[1]; ++h) {
        for (int64_t i = 0; i < out.shape[2]; ++i) {
          const bool seen = i < kValues && edges_[static_cast<size_t>(i)] <= s;
          const double expected =
              seen ? kValue * std::exp2(weight_of(edges_[static_cast<size_t>(i)])) / total : 0;
          const auto at = static_cast<size_t>((token * out.shape[1] + h) * out.shape[2] + i);
          ASSERT_NEAR(got[at], expected, kMostError * expected)
              << "token " << token << " head " << h << " number " << i;
        }
      }
    }
  }

 private:
  Backend& backend_;
  std::unique_ptr<Stream> stream_;
  int64_t tokens_, context_;
  std::vector<int64_t> edges_;
  std::vector<int32_t> starts_, lengths_, pages_;
  std::vector<Buffer> memory_;
  BatchView batch_;
};

const float kLn2 = std::log(2.0f);

// Latents of 64 numbers, the value's first; a matrix takes these, none takes anything for the key.
TEST(CudaLongPrompts, SeeEachExpandedKeyOnce) {
  use_driver("current");
  const auto backend = open_on_driver();
  ASSERT_NE(backend, nullptr);
  constexpr int64_t kHeads = 2, kNope = 16, kRope = 8, kRank = 64, kTokens = 90, kContext = 4150;
  LongPrompt prompt(
      *backend, kTokens, kContext,
      {0, 31, 32, 127, 128, 2046, 2047, 2048, 2049, 4060, 4061, 4095, 4096, 4124, 4125, 4149});
  std::vector<uint16_t> matrices(static_cast<size_t>(kHeads * (kNope + kValues) * kRank));
  for (int64_t h = 0; h < kHeads; ++h) {
    for (int64_t i = 0; i < kValues; ++i) {
      const int64_t row = h * (kNope + kValues) + kNope + i;
      matrices[static_cast<size_t>(row * kRank + i)] = f32_to_bf16(1);
    }
  }
  const auto* bytes = reinterpret_cast<const uint8_t*>(matrices.data());
  const Weight up = backend
                        ->import_weight({.format = quant::find_format("BF16"),
                                         .data = {bytes, matrices.size() * sizeof(uint16_t)},
                                         .rows = kHeads * (kNope + kValues),
                                         .cols = kRank})
                        .value();
  HeadMatrixView up_k{.weight = up.view,
                      .num_heads = kHeads,
                      .rows = kNope,
                      .cols = kRank,
                      .first_row = 0,
                      .head_stride = kNope + kValues};
  HeadMatrixView up_v = up_k;
  up_v.rows = kValues;
  up_v.first_row = kNope;
  const TensorView out = prompt.queries(kHeads, kValues, 0);  // to be written over
  const int64_t expanded = kernel_launches("ferry_expand_latents");
  const int64_t attended = kernel_launches("ferry_flash_attention_64");
  prompt.stream().mla_prefill_attention({.q = prompt.queries(kHeads, kNope + kRope, kNope + 3),
                                         .pages = prompt.plane(kRank + kRope, kRank + 3, 0),
                                         .up_k = up_k,
                                         .up_v = up_v,
                                         .scale = kLn2,
                                         .batch = &prompt.batch(),
                                         .first_sequence = 0,
                                         .num_sequences = 1,
                                         .out = out});
  prompt.expect_values(out);
  EXPECT_EQ(kernel_launches("ferry_expand_latents") - expanded, 6);
  EXPECT_EQ(kernel_launches("ferry_flash_attention_64") - attended, 3);
}

void expect_each_key_once(int64_t size, const char* kernel) {
  const auto backend = open_on_driver();
  ASSERT_NE(backend, nullptr);
  constexpr int64_t kHeads = 3, kTokens = 70, kContext = 333;  // 21 tokens are a tile
  LongPrompt prompt(*backend, kTokens, kContext,
                    {0, 1, 15, 16, 31, 32, 63, 64, 263, 264, 283, 284, 304, 305, 331, 332});
  const TensorView out = prompt.queries(kHeads, size, 0);
  const int64_t attended = kernel_launches(kernel);
  prompt.stream().gqa_attention({.q = prompt.queries(kHeads, size, size - 1),
                                 .k_pages = prompt.plane(size, size - 1, -1),
                                 .v_pages = prompt.plane(size, -1, 0),
                                 .num_kv_heads = 1,
                                 .scale = kLn2,
                                 .batch = &prompt.batch(),
                                 .out = out});
  prompt.expect_values(out);
  EXPECT_EQ(kernel_launches(kernel) - attended, 1);
}

TEST(CudaLongPrompts, SeeEachKeyOfHeadsOf64Once) {
  use_driver("current");
  expect_each_key_once(64, "ferry_flash_attention_64");
}

TEST(CudaLongPrompts, SeeEachKeyOfHeadsOf128Once) {
  use_driver("current");
  expect_each_key_once(128, "ferry_flash_attention_128");
}

// Two blocks share the columns of such values.
TEST(CudaLongPrompts, SeeEachKeyOfHeadsOf192Once) {
  use_driver("current");
  expect_each_key_once(192, "ferry_flash_attention_192");
}

}  // namespace
}  // namespace ferry::cuda
