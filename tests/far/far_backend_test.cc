// The far backend keeps its promises (it is out of reach, late, noisy and strict), and passes the
// conformance suite, which shows that the suite itself only touches device memory through copies.
#include "far/far_backend.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <vector>

#include "device/conformance/conformance.h"

namespace ferry::far {
namespace {

struct Far : ::testing::Test {
  void SetUp() override {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    stream = backend->create_stream().value();
  }
  // [1, n], its copy queued; the source stays in `sources`.
  TensorView floats(std::vector<float> values) {
    sources.push_back(std::move(values));
    return send(sources.back().data(), Dtype::kF32, static_cast<int64_t>(sources.back().size()));
  }
  IndexView index(const std::vector<int32_t>& host, const std::vector<int32_t>& device) {
    const TensorView view = send(device.data(), Dtype::kI32, static_cast<int64_t>(device.size()));
    return {.host = host, .device = view};
  }
  TensorView send(const void* values, Dtype dtype, int64_t count) {
    buffers.push_back(backend->allocate(count * 4).value());
    stream->copy_in(buffers.back().data, values, count * 4);
    return TensorView::contiguous(buffers.back().data, dtype, {1, count});
  }
  // Attention of one token with one head over a cache of one page that is its own query.
  void attend(const BatchView& batch, const TensorView& two_floats) {
    const TensorView x = TensorView::contiguous(two_floats.data, Dtype::kF32, {1, 1, 2});
    stream->gqa_attention({.q = x,
                           .k_pages = x,
                           .v_pages = x,
                           .num_kv_heads = 1,
                           .scale = 1,
                           .batch = &batch,
                           .out = x});
  }

  std::shared_ptr<Backend> backend = make_far_backend();
  std::vector<Buffer> buffers;
  std::deque<std::vector<float>> sources;
  std::unique_ptr<Stream> stream;
};

TEST_F(Far, TheHostCantReachIt) {
  Buffer buffer = backend->allocate(100).value();
  volatile char* data = static_cast<char*>(buffer.data);
  EXPECT_DEATH(static_cast<void>(data[0]), "");
  EXPECT_DEATH(data[99] = 1, "");
}

TEST_F(Far, NorWhenAStreamHasRun) {
  const TensorView x = floats({1, 2, 3});
  ASSERT_TRUE(stream->synchronize().ok());
  EXPECT_DEATH(static_cast<void>(*static_cast<volatile float*>(x.data)), "");
}

TEST_F(Far, NothingRunsBeforeItIsSynchronised) {
  const TensorView x = floats({1, 2}), y = floats({10, 20});
  stream->add({.a = x, .b = y, .out = x});
  std::vector<float> out = {0, 0};
  stream->copy_out(out.data(), x.data, 8);
  EXPECT_NE(out, (std::vector<float>{11, 22}));
  ASSERT_TRUE(stream->synchronize().ok());
  EXPECT_EQ(out, (std::vector<float>{11, 22}));
}

TEST_F(Far, SourcesMustNotChangeBeforeItRuns) {
  floats({1, 2, 3});
  sources.back()[1] = 7;
  const Status status = stream->synchronize();
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().message,
            "far: copy_in: host memory changed between the call and its run");
  EXPECT_FALSE(stream->synchronize().ok());  // it sticks
}

TEST_F(Far, TheBatchMayGoButItsArraysMustNotChange) {
  const std::vector<int32_t> starts = {0, 1}, zero = {0};
  std::vector<int32_t> lengths = {1};
  const TensorView x = floats({1, 2});
  BatchView batch{.num_tokens = 1,
                  .num_sequences = 1,
                  .block_size = 1,
                  .query_start = index(starts, starts),
                  .context_lengths = index(lengths, lengths),
                  .block_tables = index(zero, zero),
                  .max_blocks = 1};
  const BatchView kept = batch;
  attend(batch, x);
  batch = {};
  ASSERT_TRUE(stream->synchronize().ok());
  attend(kept, x);
  lengths[0] = 5;
  EXPECT_FALSE(stream->synchronize().ok());
}

TEST_F(Far, HostAndDeviceArraysOfABatchMustAgree) {
  const std::vector<int32_t> starts = {0, 1}, other = {0, 2}, one = {1}, zero = {0};
  const TensorView x = floats({1, 2});
  const BatchView batch{.num_tokens = 1,
                        .num_sequences = 1,
                        .block_size = 1,
                        .query_start = index(starts, other),
                        .context_lengths = index(one, one),
                        .block_tables = index(zero, zero),
                        .max_blocks = 1};
  attend(batch, x);
  const Status status = stream->synchronize();
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().message,
            "far: gqa_attention: query_start differs between host and device");
}

TEST_F(Far, TensorsMustLieInItsMemory) {
  const TensorView x = floats({1, 2, 3});
  TensorView wrong = x;
  wrong.data = sources.back().data();
  stream->add({.a = x, .b = wrong, .out = x});
  const Status status = stream->synchronize();
  ASSERT_FALSE(status.ok());
  EXPECT_NE(status.error().message.find("far: add: 12 bytes at"), std::string::npos);
}

TEST_F(Far, WaitingForAnEventRunsTheOtherStream) {
  auto other = backend->create_stream().value();
  const std::vector<float> a = {1, 2}, b = {5, 6};
  const TensorView x = floats(a);  // queued on `stream`
  const Event event = stream->record();
  const TensorView late = floats(b);
  other->wait(event);
  std::vector<float> out = {0, 0}, untouched = {0, 0};
  other->copy_out(out.data(), x.data, 8);
  other->copy_out(untouched.data(), late.data, 8);
  ASSERT_TRUE(other->synchronize().ok());
  EXPECT_EQ(out, a);
  EXPECT_NE(untouched, b);  // queued behind the event: still waits
  ASSERT_TRUE(stream->synchronize().ok());
}

TEST_F(Far, WeightsAreCopied) {
  auto data = std::make_shared<std::vector<float>>(std::vector<float>{1, 2, 3, 4});
  const HostWeight host{.format = quant::find_format("F32"),
                        .data = {reinterpret_cast<const uint8_t*>(data->data()), 16},
                        .rows = 2,
                        .cols = 2,
                        .keep_alive = data};
  EXPECT_EQ(backend->import_bytes(host), 16);
  const int64_t before = backend->memory_info().value().free_bytes;
  Weight weight = backend->import_weight(host).value();
  EXPECT_LE(backend->memory_info().value().free_bytes, before - 16);
  std::fill(data->begin(), data->end(), 0.0f);  // no longer of interest
  const TensorView x = floats({1, 1}), out = floats({0, 0});
  stream->matmul({.x = x, .w = weight.view, .out = out});
  std::vector<float> result(2);
  stream->copy_out(result.data(), out.data, 8);
  ASSERT_TRUE(stream->synchronize().ok());
  EXPECT_EQ(result, (std::vector<float>{3, 7}));
}

TEST_F(Far, MemoryRunsOut) {
  auto small = make_far_backend({.memory_bytes = 1000});
  auto first = small->allocate(600);
  ASSERT_TRUE(first.ok());
  const auto second = small->allocate(600);
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().kind, ErrorKind::kOutOfMemory);
  first = small->allocate(10);  // lets go of the first
  EXPECT_TRUE(small->allocate(600).ok());
}

TEST_F(Far, PassesTheConformanceSuite) {
  auto reference = open_backend("reference", {}).value();
  for (const ConformanceResult& result : run_conformance(*backend, *reference, {})) {
    EXPECT_TRUE(result.passed) << result.name << ": " << result.error << "; " << result.detail;
    EXPECT_EQ(result.error, 0) << result.name;
  }
}

}  // namespace
}  // namespace ferry::far
