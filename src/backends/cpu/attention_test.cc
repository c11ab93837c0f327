// Attention: the bits of a token do not depend on how its prompt was cut, on who else is in the
// batch, on the page size, or on the number of threads; and the numbers are the reference's.
#include <gtest/gtest.h>

#include <limits>

#include "backends/cpu/testing.h"
#include "base/half.h"
#include "device/int8_rows.h"

namespace ferry::cpu {

namespace {

constexpr int64_t kLength = 150;  // more than two tiles of keys
using Sequences = std::vector<TestBatch::Sequence>;

class AttentionTest : public ::testing::TestWithParam<Machine> {};
INSTANTIATE_TEST_SUITE_P(Levels, AttentionTest, ::testing::ValuesIn(machines()), machine_of_test);

// Cached rows of every sequence of a batch (all the same kLength rows) in pages.
struct Pages {
  std::vector<uint16_t> halves;
  std::vector<float> floats;
  std::vector<int8_t> bytes;
  TensorView view;

  Pages(const std::vector<float>& rows, int64_t width, const TestBatch& batch, Dtype dtype,
        int64_t group) {
    const BatchView& b = batch.view;
    const int64_t num_pages = b.num_sequences * b.max_blocks;
    floats.assign(static_cast<size_t>(num_pages * b.block_size * width), 1e30f);
    for (int64_t s = 0; s < b.num_sequences; ++s) {
      // Only what has been written so far; the rest would spoil any sum it got into.
      for (int64_t i = 0; i < b.context_lengths.host[s]; ++i) {
        const int64_t page = b.block_tables.host[s * b.max_blocks + i / b.block_size];
        std::copy_n(rows.begin() + i * width, width,
                    floats.begin() + (page * b.block_size + i % b.block_size) * width);
      }
    }
    view = TensorView::contiguous(floats.data(), Dtype::kF32, {num_pages, b.block_size, width});
    if (dtype == Dtype::kF32) return;
    if (dtype == Dtype::kI8) {
      bytes.resize(static_cast<size_t>(num_pages * int8_page_bytes(b.block_size, width, group)));
      view = int8_pages(bytes.data(), num_pages, b.block_size, width, group);
      for (int64_t slot = 0; slot < num_pages * b.block_size; ++slot) {
        int8_write_row(view, slot, group, floats.data() + slot * width);
      }
      return;
    }
    for (float x : floats) halves.push_back(dtype == Dtype::kF16 ? f32_to_f16(x) : f32_to_bf16(x));
    view.data = halves.data();
    view.dtype = dtype;
  }
};

int64_t blocks_for(int64_t length, int64_t block_size) {
  return (length + block_size - 1) / block_size;
}

// One attention op with everything but the batch fixed. Queries are those of the positions that
// are computed, the same in every sequence.
struct Gqa {
  int64_t heads = 6, kv_heads = 2, size = 40;
  bool decode = false;
  Dtype dtype = Dtype::kF32;
  int64_t length;
  std::vector<float> q, k, v;
  explicit Gqa(int64_t num_positions = kLength)
      : length(num_positions),
        q(random_floats(length * heads * size, 1)),
        k(random_floats(length * kv_heads * size, 2)),
        v(random_floats(length * kv_heads * size, 3)) {}
  int64_t row_size() const { return heads * size; }

  std::vector<float> run(TestDevice& device, const Sequences& sequences, int64_t block_size) const {
    TestBatch batch(sequences, block_size, blocks_for(length, block_size));
    if (decode) {
      batch.view.num_decode_sequences = batch.view.num_sequences;
      batch.view.num_decode_tokens = batch.view.num_tokens;
    }
    const Pages keys(k, kv_heads * size, batch, dtype, size);
    const Pages values(v, kv_heads * size, batch, dtype, size);
    std::vector<float> queries, out(static_cast<size_t>(batch.view.num_tokens * row_size()));
    for (const auto& s : sequences) {
      queries.insert(queries.end(), q.begin() + s.before * row_size(),
                     q.begin() + (s.before + s.now) * row_size());
    }
    const int64_t tokens = batch.view.num_tokens;
    device.stream->gqa_attention({.q = view_of(queries, {tokens, heads, size}),
                                  .k_pages = keys.view,
                                  .v_pages = values.view,
                                  .num_kv_heads = kv_heads,
                                  .scale = 0.9f,
                                  .batch = &batch.view,
                                  .out = view_of(out, {tokens, heads, size})});
    return out;
  }
};

struct Mla {
  int64_t heads = 5, rank = 64, rope = 24, nope = 48, value = 40;
  bool decode = false;
  bool stored_transposed = false;
  Dtype dtype = Dtype::kF32;
  const char* format = "F32";
  int64_t length;
  std::vector<float> q, q_rope, latents;
  explicit Mla(int64_t num_positions = kLength)
      : length(num_positions),
        q(random_floats(length * heads * (64 + 24 + 48), 1)),
        q_rope(random_floats(length * heads * 24, 4)),
        latents(random_floats(length * (64 + 24), 2)) {}
  int64_t query_size() const { return decode ? rank : nope + rope; }
  int64_t row_size() const { return heads * (decode ? rank : value); }

  std::vector<float> run(TestDevice& device, const Sequences& sequences, int64_t block_size) const {
    const TestBatch batch(sequences, block_size, blocks_for(length, block_size));
    const Pages pages(latents, rank + rope, batch, dtype, rank);
    const int64_t tokens = batch.view.num_tokens;
    const int64_t count = batch.view.num_sequences;
    std::vector<float> queries, ropes, out(static_cast<size_t>(tokens * row_size()));
    for (const auto& s : sequences) {
      const int64_t width = heads * query_size();
      queries.insert(queries.end(), q.begin() + s.before * width,
                     q.begin() + (s.before + s.now) * width);
      ropes.insert(ropes.end(), q_rope.begin() + s.before * heads * rope,
                   q_rope.begin() + (s.before + s.now) * heads * rope);
    }
    if (decode) {
      device.stream->mla_decode_attention({.q_latent = view_of(queries, {tokens, heads, rank}),
                                           .q_rope = view_of(ropes, {tokens, heads, rope}),
                                           .pages = pages.view,
                                           .scale = 0.5f,
                                           .batch = &batch.view,
                                           .first_sequence = 0,
                                           .num_sequences = count,
                                           .out = view_of(out, {tokens, heads, rank})});
      return out;
    }
    const auto* f = quant::find_format(format);
    auto head_matrix = [&](const TestWeight& w, int64_t features, int64_t first) {
      HeadMatrixView u{.weight = w.weight.view,
                       .num_heads = heads,
                       .rows = features,
                       .cols = rank,
                       .first_row = first,
                       .head_stride = nope + value};
      if (stored_transposed) {
        u.rows = rank, u.cols = features, u.first_row = 0, u.head_stride = rank;
        u.transposed = true;
      }
      return u;
    };
    const int64_t k_rows = stored_transposed ? heads * rank : heads * (nope + value);
    const TestWeight up_k(*device.backend, *f, k_rows, stored_transposed ? nope : rank, 6);
    const TestWeight up_v(*device.backend, *f, k_rows, stored_transposed ? value : rank, 7);
    device.stream->mla_prefill_attention({.q = view_of(queries, {tokens, heads, nope + rope}),
                                          .pages = pages.view,
                                          .up_k = head_matrix(up_k, nope, 0),
                                          .up_v = head_matrix(up_v, value, nope),
                                          .scale = 0.05f,
                                          .batch = &batch.view,
                                          .first_sequence = 0,
                                          .num_sequences = count,
                                          .out = view_of(out, {tokens, heads, value})});
    return out;
  }
};

// Runs the whole prompt at once on one thread; then cut into chunks, among other sequences, with
// other page sizes and more threads: every row must have the same bits.
template <typename Attention>
void expect_invariant(const Machine& machine, const Attention& attention) {
  TestDevice one = machine.open(1), three = machine.open(3);
  const std::vector<float> whole = attention.run(one, {{0, kLength}}, 16);
  const int64_t row = attention.row_size();
  auto expect_rows = [&](const std::vector<float>& out, int64_t out_row, int64_t first,
                         int64_t count) {
    const auto begin = whole.begin() + first * row;
    ASSERT_TRUE(std::equal(begin, begin + count * row, out.begin() + out_row * row))
        << "tokens " << first << " and " << count - 1 << " more";
  };
  expect_rows(attention.run(three, {{0, kLength}}, 7), 0, 0, kLength);
  for (int64_t chunk : {1, 7, 64, 70}) {
    for (int64_t first = 0; first < kLength; first += chunk) {
      const int64_t count = std::min(chunk, kLength - first);
      expect_rows(attention.run(three, {{first, count}}, 16), 0, first, count);
    }
  }
  const auto mixed = attention.run(three, {{149, 1}, {0, 1}, {3, 60}, {64, 1}, {63, 87}}, 32);
  expect_rows(mixed, 0, 149, 1);
  expect_rows(mixed, 1, 0, 1);
  expect_rows(mixed, 2, 3, 60);
  expect_rows(mixed, 62, 64, 1);
  expect_rows(mixed, 63, 63, 87);
}

// What rounding queries and probabilities to the cache's own type may cost, where that is done.
float rounding_of(Dtype dtype) {
  return dtype == Dtype::kI8 ? 2e-2f : dtype == Dtype::kBF16 ? 1e-2f : 2e-5f;
}

template <typename Attention>
void expect_like_reference(const Machine& machine, const Attention& attention) {
  TestDevice cpu = machine.open(2), reference = open_device("reference");
  TestDevice exact = machine.open(2, /*f32_activations=*/true);
  const Sequences sequences = {{100, 1}, {0, 2}, {30, 70}, {attention.length - 1, 1}};
  const std::vector<float> expected = attention.run(reference, sequences, 16);
  expect_near(attention.run(exact, sequences, 16), expected, 2e-5f);
  expect_near(attention.run(cpu, sequences, 16), expected, rounding_of(attention.dtype));
}

TEST_P(AttentionTest, Gqa) {
  Gqa gqa;
  for (Dtype dtype : {Dtype::kF32, Dtype::kF16, Dtype::kBF16, Dtype::kI8}) {
    gqa.dtype = dtype;
    expect_like_reference(GetParam(), gqa);
    if (dtype != Dtype::kF16) expect_invariant(GetParam(), gqa);
  }
}

// Generated tokens far into a context: its ranges of keys are separate tasks, or one after the
// other, depending on threads and company.
template <typename Attention>
void expect_invariant_far(const Machine& machine, const Attention& attention) {
  TestDevice one = machine.open(1), three = machine.open(3), nine = machine.open(9);
  Sequences all;
  for (int64_t before : {0, 254, 255, 256, 257, 700, 1023, 1024, 1279, 1599}) {
    const Sequences alone = {{before, 1}};
    const std::vector<float> expected = attention.run(one, alone, 16);
    EXPECT_EQ(attention.run(three, alone, 7), expected) << before;
    EXPECT_EQ(attention.run(nine, alone, 32), expected) << before;
    all.push_back({before, 1});
    if (all.size() < 4) continue;
    const std::vector<float> together = attention.run(three, all, 16);
    EXPECT_TRUE(std::equal(expected.begin(), expected.end(),
                           together.end() - static_cast<int64_t>(expected.size())))
        << before;
  }
  // Several generated tokens of one sequence, as when they are verified or computed again.
  const std::vector<float> four = attention.run(three, {{1022, 4}}, 16);
  for (int64_t i = 0; i < 4; ++i) {
    const std::vector<float> expected = attention.run(one, {{1022 + i, 1}}, 16);
    EXPECT_TRUE(
        std::equal(expected.begin(), expected.end(), four.begin() + i * attention.row_size()))
        << i;
  }
}

TEST_P(AttentionTest, GqaDecode) {
  Gqa gqa(1600);
  gqa.decode = true;
  for (Dtype dtype : {Dtype::kF32, Dtype::kF16, Dtype::kBF16, Dtype::kI8}) {
    gqa.dtype = dtype;
    expect_like_reference(GetParam(), gqa);
    if (dtype != Dtype::kF16) expect_invariant_far(GetParam(), gqa);
  }
}

TEST_P(AttentionTest, MlaDecodeFar) {
  Mla mla(1600);
  mla.decode = true;
  for (Dtype dtype : {Dtype::kF32, Dtype::kBF16, Dtype::kI8}) {
    mla.dtype = dtype;
    expect_like_reference(GetParam(), mla);
    expect_invariant_far(GetParam(), mla);
  }
}

// What a token may not see changes no bit of it, though it may be in the same tile: `values`, of
// the attention, that are not finite from some position on.
template <typename Attention>
void expect_unseen(const Machine& machine, const Attention& attention, std::vector<float>& values) {
  TestDevice device = machine.open(2);
  const std::vector<float> clean = attention.run(device, {{0, kLength}}, 16);
  const std::vector<float> finite = values;
  const int64_t width = static_cast<int64_t>(values.size()) / kLength;
  for (float bad : {std::numeric_limits<float>::infinity(), std::nanf("")}) {
    for (int64_t from : {139, 70}) {
      std::fill(values.begin() + from * width, values.end(), bad);
      const std::vector<float> spoilt = attention.run(device, {{0, kLength}}, 16);
      for (int64_t i = 0; i < from * attention.row_size(); ++i) ASSERT_EQ(spoilt[i], clean[i]) << i;
      EXPECT_FALSE(std::isfinite(spoilt.back()));
      values = finite;
    }
  }
}

TEST_P(AttentionTest, WhatATokenMayNotSee) {
  Gqa gqa;
  gqa.dtype = Dtype::kBF16;
  expect_unseen(GetParam(), gqa, gqa.v);
  Mla mla;
  mla.dtype = Dtype::kBF16;
  expect_unseen(GetParam(), mla, mla.latents);
}

// More query heads per KV head than a task has rows.
TEST_P(AttentionTest, GqaWithOneKvHeadForMany) {
  Gqa gqa;
  gqa.heads = 60;
  gqa.kv_heads = 1;
  gqa.size = 16;
  gqa.q = random_floats(kLength * 60 * 16, 8);
  expect_like_reference(GetParam(), gqa);
  expect_invariant(GetParam(), gqa);
}

TEST_P(AttentionTest, MlaPrefill) {
  Mla mla;
  for (bool transposed : {false, true}) {
    mla.stored_transposed = transposed;
    for (const char* format : {"F32", "BF16"}) {
      mla.format = format;
      mla.dtype = transposed ? Dtype::kF16 : Dtype::kF32;
      expect_like_reference(GetParam(), mla);
    }
  }
  expect_invariant(GetParam(), mla);
  for (Dtype dtype : {Dtype::kBF16, Dtype::kI8}) {
    mla.dtype = dtype;
    expect_like_reference(GetParam(), mla);
    expect_invariant(GetParam(), mla);
  }
}

TEST_P(AttentionTest, MlaDecode) {
  Mla mla;
  mla.decode = true;
  for (Dtype dtype : {Dtype::kF32, Dtype::kBF16, Dtype::kI8}) {
    mla.dtype = dtype;
    expect_like_reference(GetParam(), mla);
    expect_invariant(GetParam(), mla);
  }
}

// Sizes that no vector divides, odd ones among them, and more rotary elements than the latent has.
TEST_P(AttentionTest, RaggedSizes) {
  for (Dtype dtype : {Dtype::kF32, Dtype::kBF16, Dtype::kI8}) {
    for (int64_t size : {7, 18, 33, 66, 130}) {
      Gqa gqa;
      gqa.size = size;
      gqa.heads = 9;
      gqa.kv_heads = 1;
      gqa.dtype = dtype;
      gqa.q = random_floats(kLength * 9 * size, 1);
      gqa.k = random_floats(kLength * size, 2);
      gqa.v = random_floats(kLength * size, 3);
      for (bool decode : {false, true}) {
        gqa.decode = decode;
        expect_like_reference(GetParam(), gqa);
      }
    }
    Mla mla;
    mla.decode = true;
    mla.dtype = dtype;
    mla.rank = 21;
    mla.rope = 24;
    expect_like_reference(GetParam(), mla);
    mla.decode = false;
    mla.rank = 64;
    mla.rope = 23;
    expect_like_reference(GetParam(), mla);
  }
}

}  // namespace
}  // namespace ferry::cpu
