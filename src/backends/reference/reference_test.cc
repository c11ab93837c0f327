// The reference ops against formulas written a second time, in double and straight from their
// definition, and against each other: expanded and absorbed MLA are the same function, fused ops
// are their composites.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "device/conformance/cases_batches.h"
#include "device/conformance/rig.h"

namespace ferry {
namespace {

using Doubles = std::vector<double>;

struct ReferenceOps : ::testing::Test {
  void SetUp() override { ASSERT_TRUE(rig.ready()); }
  void TearDown() override {
    const Status status = rig.finish();
    EXPECT_TRUE(status.ok()) << status.error().message;
  }

  std::shared_ptr<Backend> backend = open_backend("reference", {}).value();
  Rig rig{*backend};
  Random random{42};
};

void expect_near(const std::vector<float>& got, const Doubles& want, double tolerance) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], want[i], tolerance) << "at " << i;
}

// softmax(scores) · values, values [n, size]
Doubles attend(const Doubles& scores, const std::vector<Doubles>& values) {
  const double largest = *std::max_element(scores.begin(), scores.end());
  double sum = 0;
  Doubles out(values[0].size(), 0.0);
  for (size_t s = 0; s < scores.size(); ++s) {
    const double p = std::exp(scores[s] - largest);
    sum += p;
    for (size_t i = 0; i < out.size(); ++i) out[i] += p * values[s][i];
  }
  for (double& o : out) o /= sum;
  return out;
}

double exact_dot(const float* a, const float* b, int64_t n) {
  return std::inner_product(a, a + n, b, 0.0, std::plus<>(),
                            [](float x, float y) { return static_cast<double>(x) * y; });
}

TEST_F(ReferenceOps, MatmulOfEveryFormat) {
  for (const quant::StorageFormat* format : weight_formats()) {
    for (bool scaled : {false, true}) {
      if (scaled && format->safetensors != "F8_E4M3") continue;
      const auto weight = make_weight(random, *format, 131, 256, scaled);
      const auto x = random.normals(3 * 256), bias = random.normals(131);
      const TensorView out = rig.output(Dtype::kF32, {3, 131});
      rig.stream().matmul({.x = rig.upload(x, {3, 256}),
                           .w = rig.import(weight),
                           .bias = rig.upload(bias, {131}),
                           .out = out});
      Doubles want;
      for (int64_t t = 0; t < 3; ++t) {
        for (int64_t n = 0; n < 131; ++n) {
          want.push_back(bias[n] + exact_dot(x.data() + t * 256, weight->row(n), 256));
        }
      }
      expect_near(rig.read(out), want, 1e-5);
    }
  }
}

TEST_F(ReferenceOps, BlockScalesByHand) {
  // 130 x 129: four blocks, two of them ragged. Each holds ones times its own scale.
  auto weight = std::make_shared<WeightData>();
  weight->format = quant::find_format("F8_E4M3");
  weight->rows = 130, weight->cols = 129, weight->scale_rows = weight->scale_cols = 128;
  weight->bytes.assign(130 * 129, 0x38);  // 1.0
  weight->scale = {1, 10, 100, 1000};
  const std::vector<float> x(129, 1.0f);
  const TensorView out = rig.output(Dtype::kF32, {1, 130});
  rig.stream().matmul({.x = rig.upload(x, {1, 129}), .w = rig.import(weight), .out = out});
  Doubles want(130, 128 + 10);
  want[128] = want[129] = 12800 + 1000;
  expect_near(rig.read(out), want, 0);
}

TEST_F(ReferenceOps, RmsNorm) {
  const auto x = random.normals(2 * 37, 3.0f), weight = random.normals(37);
  const TensorView out = rig.output(Dtype::kF32, {2, 37});
  rig.stream().rms_norm({.x = rig.upload(x, {2, 37}),
                         .weight = rig.upload(weight, {37}),
                         .epsilon = 0.25f,
                         .out = out});
  Doubles want;
  for (int64_t t = 0; t < 2; ++t) {
    const double mean = exact_dot(x.data() + t * 37, x.data() + t * 37, 37) / 37;
    for (int64_t i = 0; i < 37; ++i) {
      want.push_back(weight[i] * x[t * 37 + i] / std::sqrt(mean + 0.25));
    }
  }
  expect_near(rig.read(out), want, 2e-6);
}

// A quarter turn of the first pair and none of the second, in both layouts.
TEST_F(ReferenceOps, RopeByHand) {
  const std::vector<float> x = {1, 2, 3, 4}, table = {1, 1, 0, 0, /*position 1:*/ 0, 1, 1, 0};
  const std::vector<int32_t> position = {1};
  const TensorView positions = rig.upload(position, {1}), cos_sin = rig.upload(table, {2, 4});
  const TensorView pairs = rig.upload(x, {1, 1, 4}), halves = rig.upload(x, {1, 1, 4});
  rig.stream().rope(
      {.x = pairs, .positions = positions, .cos_sin = cos_sin, .layout = RopeLayout::kInterleaved});
  rig.stream().rope(
      {.x = halves, .positions = positions, .cos_sin = cos_sin, .layout = RopeLayout::kHalf});
  EXPECT_EQ(rig.read(pairs), (std::vector<float>{-2, 1, 3, 4}));
  EXPECT_EQ(rig.read(halves), (std::vector<float>{-3, 2, 1, 4}));
}

TEST_F(ReferenceOps, GroupedQueryAttention) {
  const int64_t heads = 6, kv_heads = 2, size = 24, width = kv_heads * size;
  for (const BatchShape& shape : batch_shapes()) {
    const BatchFixture batch(random, shape.sequences, shape.block_size);
    const int64_t tokens = batch.num_tokens();
    const auto k = batch.cache(random, Dtype::kF32, width);
    const auto v = batch.cache(random, Dtype::kF32, width);
    const auto q = random.normals(tokens * heads * size);
    const auto part = batch.part(rig, 0, tokens);
    const auto dims = {batch.num_pages(), batch.block_size(), width};
    const TensorView out = rig.output(Dtype::kF32, {tokens, heads, size});
    rig.stream().gqa_attention({.q = rig.upload(q, {tokens, heads, size}),
                                .k_pages = rig.upload(k, dims),
                                .v_pages = rig.upload(v, dims),
                                .num_kv_heads = kv_heads,
                                .scale = 0.3f,
                                .batch = &part->view,
                                .out = out});
    Doubles want;
    for (int64_t row = 0; row < tokens * heads; ++row) {
      const auto [sequence, position] = batch.place(row / heads);
      Doubles scores;
      std::vector<Doubles> values;
      for (int64_t s = 0; s <= position; ++s) {
        const int64_t at = batch.slot(sequence, s) * width + row % heads / 3 * size;
        scores.push_back(0.3f * exact_dot(q.data() + row * size, k.data() + at, size));
        values.emplace_back(v.begin() + at, v.begin() + at + size);
      }
      const Doubles mixed = attend(scores, values);
      want.insert(want.end(), mixed.begin(), mixed.end());
    }
    expect_near(rig.read(out), want, 5e-6);
  }
}

// Both forms on the same sequences: U^K moved to the query and U^V to the output change nothing;
// and both are the formula of the paper.
TEST_F(ReferenceOps, ExpandedAndAbsorbedMlaAreTheSame) {
  const int64_t heads = 3, nope = 20, rope = 8, value = 12, rank = 48, width = rank + rope;
  for (bool transposed : {false, true}) {
    BatchFixture batch(random, {{5, 40, false}, {1, 7, false}, {33, 33, false}}, 16);
    const int64_t tokens = batch.num_tokens();
    const auto cache = batch.cache(random, Dtype::kF32, width);
    const auto q = random.normals(tokens * heads * (nope + rope));
    const quant::StorageFormat& f32 = *quant::find_format("F32");
    const auto k_data =
        make_weight(random, f32, heads * (transposed ? rank : nope), transposed ? nope : rank);
    const auto v_data = make_weight(random, f32, heads * value, rank);
    const int64_t k_rows = transposed ? rank : nope;
    const HeadMatrixView up_k{.weight = rig.import(k_data),
                              .num_heads = heads,
                              .rows = k_rows,
                              .cols = k_data->cols,
                              .head_stride = k_rows,
                              .transposed = transposed};
    const HeadMatrixView up_v{.weight = rig.import(v_data),
                              .num_heads = heads,
                              .rows = value,
                              .cols = rank,
                              .head_stride = value};
    const auto part = batch.part(rig, 0, tokens);
    const TensorView pages = rig.upload(cache, {batch.num_pages(), batch.block_size(), width});
    const TensorView queries = rig.upload(q, {tokens, heads, nope + rope});

    const TensorView expanded = rig.output(Dtype::kF32, {tokens, heads, value});
    rig.stream().mla_prefill_attention({.q = queries,
                                        .pages = pages,
                                        .up_k = up_k,
                                        .up_v = up_v,
                                        .scale = 0.2f,
                                        .batch = &part->view,
                                        .num_sequences = 3,
                                        .out = expanded});
    const TensorView q_latent = rig.output(Dtype::kF32, {tokens, heads, rank});
    const TensorView mixed = rig.output(Dtype::kF32, {tokens, heads, rank});
    const TensorView absorbed = rig.output(Dtype::kF32, {tokens, heads, value});
    rig.stream().per_head_matmul(
        {.x = queries.slice(2, 0, nope), .u = up_k, .apply_transposed = true, .out = q_latent});
    rig.stream().mla_decode_attention({.q_latent = q_latent,
                                       .q_rope = queries.slice(2, nope, rope),
                                       .pages = pages,
                                       .scale = 0.2f,
                                       .batch = &part->view,
                                       .num_sequences = 3,
                                       .out = mixed});
    rig.stream().per_head_matmul({.x = mixed, .u = up_v, .out = absorbed});

    Doubles want;
    for (int64_t row = 0; row < tokens * heads; ++row) {
      const auto [sequence, position] = batch.place(row / heads);
      const int64_t h = row % heads;
      Doubles scores;
      std::vector<Doubles> values;
      for (int64_t s = 0; s <= position; ++s) {
        const float* c = cache.data() + batch.slot(sequence, s) * width;
        const float* query = q.data() + row * (nope + rope);
        double score = exact_dot(query + nope, c + rank, rope);
        for (int64_t j = 0; j < nope; ++j) {
          for (int64_t r = 0; r < rank; ++r) {
            score += query[j] * c[r] *
                     (transposed ? k_data->row(h * rank + r)[j] : k_data->row(h * nope + j)[r]);
          }
        }
        scores.push_back(0.2f * score);
        Doubles v;
        for (int64_t i = 0; i < value; ++i)
          v.push_back(exact_dot(v_data->row(h * value + i), c, rank));
        values.push_back(std::move(v));
      }
      const Doubles out = attend(scores, values);
      want.insert(want.end(), out.begin(), out.end());
    }
    expect_near(rig.read(expanded), want, 1e-5);
    expect_near(rig.read(absorbed), want, 1e-5);
  }
}

// Sorting experts by (allowed group, biased score, lower index) in double must give the same ids.
TEST_F(ReferenceOps, Gate) {
  for (GateScore score : {GateScore::kSoftmax, GateScore::kSigmoid, GateScore::kSqrtSoftplus}) {
    for (GroupScore group_score : {GroupScore::kMax, GroupScore::kSumOfTopTwo}) {
      const GateSpec spec{.score = score,
                          .num_experts = 24,
                          .top_k = 5,
                          .num_groups = 6,
                          .top_k_groups = 3,
                          .group_score = group_score,
                          .renormalize = true,
                          .scale = 2.5f};
      const auto logits = random.normals(50 * 24, 2.0f), bias = random.normals(24, 0.1f);
      const TensorView ids = rig.output(Dtype::kI32, {50, 5});
      const TensorView weights = rig.output(Dtype::kF32, {50, 5});
      rig.stream().moe_gate({.logits = rig.upload(logits, {50, 24}),
                             .bias = rig.upload(bias, {24}),
                             .spec = spec,
                             .ids = ids,
                             .weights = weights});
      const auto got_ids = rig.read_integers(ids);
      const auto got_weights = rig.read(weights);
      for (int64_t t = 0; t < 50; ++t) {
        Doubles s(24), biased(24), groups(6);
        for (int e = 0; e < 24; ++e) {
          const double z = std::exp(static_cast<double>(logits[t * 24 + e]));
          s[e] = score == GateScore::kSigmoid        ? z / (1 + z)
                 : score == GateScore::kSqrtSoftplus ? std::sqrt(std::log(1 + z))
                                                     : z;
        }
        const double all = std::accumulate(s.begin(), s.end(), 0.0);
        for (int e = 0; e < 24; ++e) {
          if (score == GateScore::kSoftmax) s[e] /= all;
          biased[e] = s[e] + bias[e];
        }
        for (int g = 0; g < 6; ++g) {
          Doubles four(biased.begin() + 4 * g, biased.begin() + 4 * g + 4);
          std::sort(four.rbegin(), four.rend());
          groups[g] = group_score == GroupScore::kMax ? four[0] : four[0] + four[1];
        }
        Doubles ranked = groups;
        std::sort(ranked.rbegin(), ranked.rend());
        std::vector<int> order;
        for (int e = 0; e < 24; ++e) {
          if (groups[e / 4] >= ranked[2]) order.push_back(e);
        }
        std::sort(order.begin(), order.end(), [&](int a, int b) { return biased[a] > biased[b]; });
        double sum = 0;
        for (int k = 0; k < 5; ++k) sum += s[order[k]];
        for (int k = 0; k < 5; ++k) {
          EXPECT_EQ(got_ids[t * 5 + k], order[k]);
          EXPECT_NEAR(got_weights[t * 5 + k], 2.5 * s[order[k]] / sum, 2e-6);
        }
      }
    }
  }
}

TEST_F(ReferenceOps, GateTiesGoToTheLowerIndex) {
  const std::vector<float> logits(8, 0.5f);
  const GateSpec spec{.num_experts = 8, .top_k = 3, .num_groups = 4, .top_k_groups = 2};
  const TensorView ids = rig.output(Dtype::kI32, {1, 3});
  const TensorView weights = rig.output(Dtype::kF32, {1, 3});
  rig.stream().moe_gate(
      {.logits = rig.upload(logits, {1, 8}), .spec = spec, .ids = ids, .weights = weights});
  EXPECT_EQ(rig.read_integers(ids), (std::vector<int32_t>{0, 1, 2}));
  EXPECT_EQ(rig.read(weights), (std::vector<float>{0.125f, 0.125f, 0.125f}));
}

TEST_F(ReferenceOps, PermuteByHand) {
  const std::vector<int32_t> ids = {2, 0, 0, 2, 3, 2};  // three tokens, two choices each
  const TensorView token_of_row = rig.output(Dtype::kI32, {6});
  const TensorView row_of_choice = rig.output(Dtype::kI32, {3, 2});
  const TensorView offsets = rig.output(Dtype::kI32, {5});
  rig.stream().moe_permute({.ids = rig.upload(ids, {3, 2}),
                            .num_experts = 4,
                            .token_of_row = token_of_row,
                            .row_of_choice = row_of_choice,
                            .expert_offsets = offsets});
  EXPECT_EQ(rig.read_integers(offsets), (std::vector<int32_t>{0, 2, 2, 5, 6}));
  EXPECT_EQ(rig.read_integers(token_of_row), (std::vector<int32_t>{0, 1, 0, 1, 2, 2}));
  EXPECT_EQ(rig.read_integers(row_of_choice), (std::vector<int32_t>{2, 0, 1, 3, 5, 4}));
}

// The composite against the sum that MoeExpertsArgs states.
TEST_F(ReferenceOps, ExpertsAreTheSumTheyAreSaidToBe) {
  const int64_t tokens = 9, experts = 5, top_k = 2, size = 32, inner = 64;
  const quant::StorageFormat& format = *quant::find_format("Q8_0");
  std::vector<std::shared_ptr<const WeightData>> gates, ups, downs;
  std::vector<WeightView> gate, up, down;
  for (int64_t e = 0; e < experts; ++e) {
    gates.push_back(make_weight(random, format, inner, size));
    ups.push_back(make_weight(random, format, inner, size));
    downs.push_back(make_weight(random, format, size, inner));
    gate.push_back(rig.import(gates.back()));
    up.push_back(rig.import(ups.back()));
    down.push_back(rig.import(downs.back()));
  }
  const auto x = random.normals(tokens * size), weights = random.normals(tokens * top_k);
  std::vector<int32_t> ids;
  for (int64_t t = 0; t < tokens; ++t) {
    const auto order = random.shuffled(experts);
    ids.insert(ids.end(), order.begin(), order.begin() + top_k);
  }
  Workspace workspace = rig.workspace(1 << 20);
  const TensorView out = rig.output(Dtype::kF32, {tokens, size});
  rig.stream().moe_experts({.x = rig.upload(x, {tokens, size}),
                            .ids = rig.upload(ids, {tokens, top_k}),
                            .weights = rig.upload(weights, {tokens, top_k}),
                            .gate = gate,
                            .up = up,
                            .down = down,
                            .workspace = &workspace,
                            .out = out});
  Doubles want(static_cast<size_t>(tokens * size), 0.0);
  for (int64_t c = 0; c < tokens * top_k; ++c) {
    const float* token = x.data() + c / top_k * size;
    std::vector<float> hidden;
    for (int64_t i = 0; i < inner; ++i) {
      const double g = exact_dot(gates[ids[c]]->row(i), token, size);
      const double u = exact_dot(ups[ids[c]]->row(i), token, size);
      hidden.push_back(static_cast<float>(g / (1 + std::exp(-g)) * u));
    }
    for (int64_t i = 0; i < size; ++i) {
      want[c / top_k * size + i] +=
          weights[c] * exact_dot(downs[ids[c]]->row(i), hidden.data(), inner);
    }
  }
  expect_near(rig.read(out), want, 1e-5);
}

TEST_F(ReferenceOps, AddRmsNormIsAddThenRmsNorm) {
  const auto a = random.normals(3 * 50), b = random.normals(3 * 50), weight = random.normals(50);
  const TensorView w = rig.upload(weight, {50}), delta = rig.upload(b, {3, 50});
  const TensorView fused = rig.upload(a, {3, 50}), split = rig.upload(a, {3, 50});
  const TensorView fused_out = rig.output(Dtype::kF32, {3, 50});
  const TensorView split_out = rig.output(Dtype::kF32, {3, 50});
  rig.stream().add_rms_norm(
      {.residual = fused, .delta = delta, .weight = w, .epsilon = 1e-6f, .out = fused_out});
  rig.stream().add({.a = split, .b = delta, .out = split});
  rig.stream().rms_norm({.x = split, .weight = w, .epsilon = 1e-6f, .out = split_out});
  EXPECT_EQ(rig.read(fused), rig.read(split));
  EXPECT_EQ(rig.read(fused_out), rig.read(split_out));
}

TEST(ReferenceBackend, RefusesWhatItCannotComputeWith) {
  auto backend = open_backend("reference", {}).value();
  const std::vector<uint8_t> bytes(64);
  const auto weight = backend->import_weight(
      {.format = quant::find_format("I64"), .data = bytes, .rows = 2, .cols = 4});
  ASSERT_FALSE(weight.ok());
  EXPECT_EQ(weight.error().kind, ErrorKind::kUnsupported);
  EXPECT_FALSE(open_backend("reference", {.device = 1}).ok());
  EXPECT_FALSE(open_backend("abacus", {}).ok());
  const auto buffer = backend->allocate(int64_t{1} << 60);
  ASSERT_FALSE(buffer.ok());
  EXPECT_EQ(buffer.error().kind, ErrorKind::kOutOfMemory);
}

}  // namespace
}  // namespace ferry
