// The planner on its shipped data: anchors derived by hand in docs/PLANNER.md, properties that must
// hold whatever the numbers are, and bad input.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "base/quote_name.h"
#include "nn/kv_cache.h"
#include "nn/memory_plan.h"
#include "plan/calibrate.h"
#include "plan/data.h"
#include "plan/rules.h"
#include "plan/search.h"
#include "plan/workload.h"

namespace ferry::plan {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr double kRounding = 1 + 1e-12;

class PlanTest : public ::testing::Test {
 protected:
  PlanTest()
      : catalogue_(builtin_catalogue().value()),
        v3_(find_model("deepseek-v3").value()),
        efficiency_(builtin_efficiency().value()) {}

  const Chip& chip(std::string_view name) { return *catalogue_.find(name).value(); }
  Deployment deploy(std::string_view name, int64_t tp, int64_t dp, int64_t ep) {
    return {.chip = &chip(name),
            .model = &v3_,
            .precision = find_precision("fp8").value(),
            .tp = tp,
            .ep = ep,
            .dp = dp};
  }

  Catalogue catalogue_;
  PlanModel v3_;
  EfficiencyTable efficiency_;
};

TEST_F(PlanTest, ParametersAndCacheOfKnownModels) {
  EXPECT_EQ(v3_.total_parameters(), 671026419200.0);
  EXPECT_EQ(v3_.kv_elements_per_token() * 2, 70272);
  EXPECT_EQ(find_model("deepseek-v3.2")->kv_elements_per_token() * 2, 85888);
  EXPECT_EQ(find_model("deepseek-v4-flash")->kv_elements_per_token() * 2, 6880);
  EXPECT_EQ(find_model("deepseek-v4-pro")->kv_elements_per_token() * 2, 9848);
  EXPECT_EQ(find_model("qwen3-32b")->kv_elements_per_token() * 2, 262144);
  EXPECT_NEAR(find_model("deepseek-v4-flash")->total_parameters(), 284332240471.0, 1e7);
}

TEST_F(PlanTest, MemoryAddsUp) {
  const MemoryUse one = memory_of(deploy("H800", 1, 1, 1)).value();
  const MemoryUse ep32 = memory_of(deploy("H800", 1, 32, 32)).value();
  EXPECT_DOUBLE_EQ(ep32.expert_weights * 32, one.expert_weights);
  EXPECT_DOUBLE_EQ(ep32.other_weights, one.other_weights);
  EXPECT_EQ(one.max_sequences(1000, 1), 0);
  EXPECT_GT(ep32.max_sequences(4096, 32), 0);
  EXPECT_NEAR(ep32.weights() + ep32.workspace + ep32.reserve + ep32.free_for_kv(), 80e9, 1);
}

// Experts stay in the file where they are more than a machine's memory.
TEST_F(PlanTest, LargerThanMemory) {
  const PlanModel kimi = find_model("kimi-k2").value();
  Deployment d{.chip = &chip("Xeon 6980P"), .model = &kimi};
  d.precision = find_precision("bf16").value();
  const Efficiency& e = efficiency_.of(*d.chip, "general");
  const MemoryUse use = memory_of(d).value();
  const std::optional<HotSet> set = hot_set(d, e, 8192).value();
  ASSERT_TRUE(set.has_value());
  EXPECT_DOUBLE_EQ(set->stay_bytes + set->expert_bytes, use.weights());
  EXPECT_GT(use.weights(), use.total);
  // What is left of 1536 GB: the others, a reserve of a sixteenth, one sequence and scratch taken.
  EXPECT_NEAR(set->kept_bytes,
              1536e9 * 15 / 16 - set->stay_bytes - use.workspace - 8192 * use.kv_per_token, 1e6);
  EXPECT_DOUBLE_EQ(set->wanted_bytes, set->expert_bytes * 8 / 384);
  EXPECT_DOUBLE_EQ(set->read_bytes(),
                   set->wanted_bytes * (1 - set->kept_bytes / set->expert_bytes));
  EXPECT_EQ(set->tokens_s(0), std::nullopt);
  const double disk = set->read_bytes() / 10;  // ten seconds a token
  EXPECT_DOUBLE_EQ(*set->tokens_s(disk), 0.1);
  EXPECT_EQ(set->tokens_s(1e18), set->computed_tokens_s);
  d.precision = find_precision("Q4_K").value();
  EXPECT_FALSE(hot_set(d, e, 8192)->has_value());  // it fits
  d.chip = &chip("H20");
  EXPECT_FALSE(hot_set(d, e, 8192)->has_value());  // can't read on demand
}

TEST_F(PlanTest, MemoryIsWhatTheEngineAllocates) {
  const std::shared_ptr<Backend> backend = open_backend("cpu", {}).value();
  for (const char* name :
       {"deepseek-v2-lite", "qwen3-0.6b", "r1-distill-llama-8b", "qwen3-30b-a3b"}) {
    const PlanModel model = find_model(name).value();
    for (const char* kv : {"bf16", "f16", "f32", "int8"}) {
      const Deployment d{
          .chip = &chip("H800"), .model = &model, .precision = find_precision("bf16", kv).value()};
      constexpr int64_t kPages = 4, kPage = 16;
      const nn::KvCacheSpec spec{
          .dtype = *d.precision.kv_dtype, .block_size = kPage, .num_pages = kPages};
      const nn::KvCache cache =
          nn::KvCache::allocate(*backend, model.measured->kv_layout(), spec).value();
      int64_t rows = 0;  // bytes of all planes, which start on multiples of 256
      for (size_t i = 0; i < model.measured->kv_layout().planes.size(); ++i) {
        const TensorView plane = cache.plane(static_cast<int64_t>(i));
        rows += plane.shape[0] * plane.stride[0] * dtype_bytes(plane.dtype);
      }
      const MemoryUse use = memory_of(d, {.step_tokens = 64}).value();
      EXPECT_NEAR(use.kv_per_token * kPages * kPage, static_cast<double>(rows),
                  static_cast<double>(rows) * (std::string(kv) == "int8" ? 0.01 : 0))
          << name << " " << kv;
      const nn::PlanLimits limits{
          .batch = {.max_tokens = 64, .max_sequences = 1, .max_context = 64, .block_size = kPage},
          .cache = {.dtype = spec.dtype, .block_size = kPage, .num_pages = 1}};
      const nn::MemoryPlan plan = nn::plan_memory(*model.measured, 0, limits);
      EXPECT_EQ(use.workspace,
                static_cast<double>(plan.workspace_bytes + plan.logits_bytes + plan.index_bytes))
          << name << " " << kv;
    }
  }
}

TEST_F(PlanTest, HeadsAreWiderThanTheRest) {
  const double q6 = 210.0 / 256;
  for (const auto& [name, other, expert, head] :
       {std::tuple{"Q4_0", 18.0 / 32, 18.0 / 32, q6},
        std::tuple{"Q8_0", 34.0 / 32, 34.0 / 32, 34.0 / 32},
        {"int8", 1.0, 1.0, 2.0},
        {"Q8_0+Q4_K", 34.0 / 32, 144.0 / 256, 34.0 / 32},
        {"fp8+mxfp4", 1 + 4.0 / 16384, 17.0 / 32, 2.0}}) {
    const Precision p = find_precision(name).value();
    EXPECT_DOUBLE_EQ(p.other_bytes, other) << name;
    EXPECT_DOUBLE_EQ(p.expert_bytes, expert) << name;
    EXPECT_DOUBLE_EQ(p.head_bytes, head) << name;
  }
  for (const char* name : {"", "+", "Q8_0+", "+fp8", "Q8_0+Q4_9", "fp8+I64"}) {
    EXPECT_FALSE(find_precision(name).ok()) << name;
  }
  // A step reads so many bytes of a small dense model: 1.31 · 10⁹ weights and a head of 2.3 · 10⁸.
  const PlanModel qwen = find_model("qwen-1.5b").value();
  const Chip& cpu = chip("Xeon 6980P");
  const Deployment d{.chip = &cpu, .model = &qwen, .precision = find_precision("Q4_0").value()};
  const Efficiency e{.memory = 0.5};
  const double bytes = decode_step(d, e, 1, 1)->memory * cpu.memory_gbs->value * 1e9 * e.memory;
  EXPECT_NEAR(bytes, qwen.other_parameters * 18 / 32 + 151936.0 * 1536 * q6, 1e6);
}

TEST_F(PlanTest, DevicesOfOneChipHoldCopiesUnlessTheyAreCut) {
  Chip one = chip("H800");
  Chip two = one;
  two.devices = 2;
  Deployment a = deploy("H800", 1, 32, 32), b = a;
  b.chip = &two;
  EXPECT_DOUBLE_EQ(memory_of(b)->other_weights, 2 * memory_of(a)->other_weights);
  EXPECT_DOUBLE_EQ(memory_of(b)->expert_weights, memory_of(a)->expert_weights);
  EXPECT_DOUBLE_EQ(memory_of(b)->kv_per_token, memory_of(a)->kv_per_token);
  const Efficiency& e = efficiency_.of(one, "tuned");
  EXPECT_GT(decode_step(b, e, 64, 4096)->memory, decode_step(a, e, 64, 4096)->memory);
  a = b = deploy("H800", 8, 1, 1);
  b.chip = &two;
  EXPECT_DOUBLE_EQ(memory_of(b)->other_weights, memory_of(a)->other_weights);
  EXPECT_DOUBLE_EQ(memory_of(b)->kv_per_token, 2 * memory_of(a)->kv_per_token);  // MLA
}

TEST_F(PlanTest, FormatsThatAChipDoesNotMultiply) {
  const Chip& mx = chip("Ascend 950DT");
  EXPECT_EQ(peak_ops(mx, Compute::kFp8).value(), mx.bf16_tflops->value);
  EXPECT_EQ(peak_ops(mx, Compute::kMxFp8).value(), mx.fp8_tflops->value);
  EXPECT_EQ(peak_ops(chip("H800"), Compute::kFp8).value(), chip("H800").fp8_tflops->value);
  // Unpacking through memory moves the weights three times.
  Chip through = chip("H800");
  through.unpacks_in_memory = true;
  Deployment a = deploy("H800", 8, 1, 1);
  a.precision = find_precision("int4").value();
  Deployment b = a;
  b.chip = &through;
  const Efficiency& e = efficiency_.of(through, "tuned");
  EXPECT_GT(decode_step(b, e, 64, 128)->memory, 3 * decode_step(a, e, 64, 128)->memory);
  b.precision = a.precision = find_precision("bf16").value();
  EXPECT_DOUBLE_EQ(decode_step(b, e, 64, 128)->memory, decode_step(a, e, 64, 128)->memory);
}

constexpr const char* kHereText = R"json({"chips": [{"name": "here", "kind": "cpu",
  "memory_gb": 64, "memory_gbs": 50, "bf16_tflops": 1, "measured": {
    "matmul": [{"format": "Q4_0", "tokens": [1, 4, 512], "ns": [15000, 18000, 900000]},
               {"format": "Q6_K", "tokens": [1, 512], "ns": [20000, 1000000]}],
    "experts": [{"format": "Q4_0", "tokens": [1, 4], "ns": [16000, 20000]}],
    "gqa_prefill_gops": 500, "gqa_decode_gops": 50, "mla_prefill_gops": 500,
    "mla_decode_gops": 100, "element_ns": 0.2, "layer_us": 30, "pass_us": 100}}]})json";

TEST_F(PlanTest, MeasuredKernelsSayWhatAStepTakes) {
  const Catalogue here = read_catalogue(kHereText).value();
  const PlanModel qwen = find_model("qwen-1.5b").value();
  const PlanModel lite = find_model("deepseek-v2-lite").value();
  Deployment d{.chip = &here.chips[0],
               .model = &qwen,
               .precision = find_precision("Q4_0").value(),
               .stack = "general"};
  const Efficiency& e = efficiency_.of(here.chips[0], "general");
  const double weights = qwen.other_parameters * 15e-12 + qwen.head_parameters * 20e-12;
  const double rest = 28 * 30e-6 + 100e-6 + 151936 * 8 / 50e9 + qwen.activations * 0.2e-9 +
                      qwen.attention_flops(100, true) / 50e9;
  EXPECT_NEAR(decode_step(d, e, 1, 100)->total(), weights + rest, 1e-9);
  EXPECT_NEAR(decode_step(d, e, 4, 1)->total() - decode_step(d, e, 1, 1)->total(),
              qwen.other_parameters * 3e-12 +
                  qwen.head_parameters * (1000000 - 20000) * 3 / 511 * 1e-15 +
                  3 * (151936 * 8 / 50e9 + qwen.activations * 0.2e-9 +
                       qwen.attention_flops(1, true) / 50e9),
              1e-9);
  for (const PlanModel* model : {&qwen, &lite}) {
    d.model = model;
    double before = 0;
    for (double batch = 1; batch < 3000; batch *= 2) {
      const double rate = batch / decode_step(d, e, batch, 64)->total();
      EXPECT_GE(rate, before * (1 - 1e-9)) << model->name << " " << batch;
      before = rate;
    }
  }
  d.precision = find_precision("Q4_K").value();
  EXPECT_THAT(decode_step(d, e, 1, 1).error().message, HasSubstr("Q4_K was not measured"));
  const std::string text = kHereText;
  for (const auto& [good, bad] : {std::pair{"[1, 4, 512]", "[1, 4]"},
                                  {"[1, 4, 512]", "[1, 4, 4]"},
                                  {"[1, 4, 512]", "[2, 4, 512]"},
                                  {"[1, 4, 512]", "7"},
                                  {"15000", "-1"},
                                  {"15000", "\"x\""},
                                  {"\"format\": \"Q6_K\"", "\"format\": \"Q6_K\", \"hidden\": 0"},
                                  {"\"pass_us\": 100", "\"pass_us\": 0"},
                                  {"\"element_ns\": 0.2,", ""}}) {
    std::string broken = text;
    broken.replace(broken.find(good), std::string(good).size(), bad);
    EXPECT_FALSE(read_catalogue(broken).ok()) << bad;
  }
  MeasuredKernels measured = *here.chips[0].measured;
  // Wider layers, of which there are times for their own.
  measured.matmul.push_back({.format = "Q4_0", .hidden = 8192, .tokens = {1}, .ns = {14000}});
  const auto of_width = [&measured](double hidden) {
    return (*MeasuredKernels::find(measured.matmul, "Q4_0", hidden))->at(1);
  };
  EXPECT_EQ(of_width(1024), 15000);
  EXPECT_EQ(of_width(4000), 15000);
  EXPECT_EQ(of_width(4200), 14000);
  EXPECT_EQ(measured_to_json(read_measured(measured_to_json(measured)).value()),
            measured_to_json(measured));
}

TEST_F(PlanTest, TheBusiestCopyIsBetweenTheMeanAndAll) {
  EXPECT_EQ(busiest_copy(3, 1), 1);
  EXPECT_EQ(busiest_copy(1, 8), 8);
  double before = 8;
  for (double prompts = 1; prompts < 1e6; prompts *= 4) {
    const double share = busiest_copy(prompts, 8);
    EXPECT_GE(share, 1);
    EXPECT_LE(share, before);
    before = share;
  }
  EXPECT_LT(before, 1.02);
}

TEST_F(PlanTest, MoreCopiesDoNotComputeOnePromptFaster) {
  const Efficiency& e = efficiency_.of(chip("H800"), "tuned");
  const double one = steady_state(deploy("H800", 8, 1, 8), e, 1, 4096, 100)->ttft_s;
  const double many = steady_state(deploy("H800", 8, 16, 128), e, 1, 4096, 100)->ttft_s;
  EXPECT_GT(many, one * 0.8);
}

TEST_F(PlanTest, ChipsForPromptsAlone) {
  SearchOptions options{.workload = {.input = 4000, .output = 500}, .max_chips = 256};
  options.chips = {&chip("H800")};
  options.precisions = {"fp8"};
  options.tp = 1;
  options.chips_exactly = 32;
  options.batch = 2048;
  const Option shared = search(v3_, options)->options.at(0);
  options.disaggregated = true;
  const Option apart = search(v3_, options)->options.at(0);
  EXPECT_EQ(shared.prefill_replicas, 0);
  EXPECT_GT(apart.prefill_replicas, 0);
  EXPECT_EQ(apart.chips(), 32 * (1 + apart.prefill_replicas));
  EXPECT_LT(apart.steady.tpot_s, shared.steady.tpot_s);
  EXPECT_DOUBLE_EQ(apart.steady.tpot_s, apart.steady.decode.total());
  // Those that compute prompts keep up with those that answer.
  EXPECT_LE(apart.steady.requests_s * apart.steady.prefill.total(),
            static_cast<double>(apart.prefill_replicas));
  EXPECT_DOUBLE_EQ(apart.tokens_s_per_chip * static_cast<double>(apart.chips()),
                   apart.steady.output_tokens_s);
  options.max_chips = 32;
  EXPECT_TRUE(search(v3_, options)->options.empty());
}

TEST_F(PlanTest, MoreBandwidthNeverSlowsAndLargerBatchesNeverYieldLess) {
  for (const Chip& known : catalogue_.chips) {
    if (!known.memory_gbs || !peak_ops(known, Compute::kFp8).ok()) continue;
    const Efficiency& e = efficiency_.of(known, "tuned");
    Chip faster = known;
    faster.memory_gbs->value *= 1.5;
    Deployment d = deploy(known.name, 1, 32, 32);
    Deployment f = d;
    f.chip = &faster;
    double before = 0;
    for (double batch = 1; batch <= 65536; batch *= 4) {
      const double step = decode_step(d, e, batch, 4096)->total();
      EXPECT_LE(decode_step(f, e, batch, 4096)->total(), step) << known.name;
      EXPECT_GE(batch / step, before * (1 - 1e-9)) << known.name;
      before = batch / step;
    }
  }
}

TEST_F(PlanTest, BetterChipsAndBalanceNeverSlow) {
  const Efficiency& e = efficiency_.of(chip("H800"), "tuned");
  for (MaybeKnown Chip::*field : {&Chip::memory_gbs, &Chip::bf16_tflops, &Chip::fp8_tflops,
                                  &Chip::link_gbs, &Chip::scaleout_gbs}) {
    Chip better = chip("H800");
    (better.*field)->value *= 2;
    for (const auto& [tp, dp] : {std::pair{8, 1}, {1, 8}, {4, 16}, {1, 144}}) {
      const Deployment d = deploy("H800", tp, dp, tp * dp);
      Deployment b = d;
      b.chip = &better;
      for (double batch : {1.0, 64.0, 10000.0}) {
        EXPECT_LE(decode_step(b, e, batch, 4096)->total(),
                  decode_step(d, e, batch, 4096)->total() * kRounding);
        EXPECT_LE(prefill_step(b, e, batch * 100, 4096)->total(),
                  prefill_step(d, e, batch * 100, 4096)->total() * kRounding);
      }
    }
  }
  // One token chooses 8 experts: of 32 chips the busiest has one at least, not a quarter of one.
  Deployment d = deploy("H800", 1, 32, 32);
  const double one = decode_step(d, e, 1, 1)->memory;
  const double expert_s =
      58 * v3_.expert_parameters * d.precision.expert_bytes / (3350e9 * e.memory);
  const double dense_s =
      (v3_.other_parameters * d.precision.other_bytes + v3_.head_parameters * 2) /
      (3350e9 * e.memory);
  EXPECT_GE(one, dense_s + expert_s);
  for (double batch : {256.0, 4096.0, 65536.0}) {
    const double random = decode_step(d, e, batch, 4096)->total();
    d.balanced = true;
    EXPECT_LE(decode_step(d, e, batch, 4096)->total(), random * kRounding);
    d.balanced = false;
  }
}

TEST_F(PlanTest, ParagraphsByArithmetic) {
  EXPECT_THAT(position_of(chip("H20"), kFactsEnd).paragraphs, ElementsAre("none"));
  EXPECT_THAT(position_of(chip("H800"), kFactsEnd).paragraphs, ElementsAre("3A090.a.1"));
  EXPECT_THAT(position_of(chip("Ascend 910B4"), kFactsEnd).paragraphs, ElementsAre("3A090.a.2"));
  EXPECT_THAT(position_of(chip("C550"), kFactsEnd).paragraphs,
              ElementsAre("3A090.a.2", "3A090.b.1", "none"));
  EXPECT_THAT(position_of(chip("RTX 4090"), kFactsEnd).paragraphs,
              ElementsAre("3A090.a (NAC/ACA)"));
  EXPECT_TRUE(position_of(chip("Ascend 910C"), "2025-05-13").named_in_gp10);
  EXPECT_FALSE(position_of(chip("Ascend 910C"), "2025-05-12").named_in_gp10);
  EXPECT_EQ(position_of(chip("H200"), "2026-01-15").case_by_case_figures, true);
  EXPECT_EQ(position_of(chip("B200"), "2026-01-15").case_by_case_figures, false);
  EXPECT_FALSE(position_of(chip("H200"), "2026-01-14").case_by_case_figures.has_value());
  EXPECT_THAT(position_of(chip("H800"), "2022-12-01").paragraphs, ElementsAre("none"));
  EXPECT_THAT(position_of(chip("H100"), "2022-12-01").paragraphs, ElementsAre("3A090"));
  EXPECT_FALSE(check_date("2025-02-29").ok());
  EXPECT_TRUE(check_date("2024-02-29").ok());
}

TEST_F(PlanTest, ShippedParametersAreThoseOfTheShippedMeasurements) {
  const auto rows = read_published(published_csv(), catalogue_).value();
  const Calibration shipped = evaluate(rows, efficiency_);
  ASSERT_GT(shipped.residuals.size(), 60u);
  for (size_t i : {0, 1, 2}) {  // of complete conditions, of inferred ones, all
    EXPECT_LE(shipped.summary[i].median, 0.15) << shipped.summary[i].name;
    EXPECT_LE(shipped.summary[i].p90, 0.35) << shipped.summary[i].name;
  }
  const EfficiencyTable again = fit(rows);
  for (const Efficiency& e : again.classes) {
    const auto same = std::find_if(efficiency_.classes.begin(), efficiency_.classes.end(),
                                   [&e](const Efficiency& other) { return other.name == e.name; });
    ASSERT_NE(same, efficiency_.classes.end()) << e.name;
    EXPECT_NEAR(same->memory, e.memory, 0.02) << e.name;
    EXPECT_NEAR(same->layer_us, e.layer_us, 0.03 * e.layer_us) << e.name;
  }
}

TEST_F(PlanTest, SearchKeepsToTheLevels) {
  SearchOptions options{
      .workload = {.rate = 5}, .slo = {.tpot_s = 0.05, .ttft_s = 2}, .max_chips = 64};
  options.chips = {&chip("H800"), &chip("Ascend 910C"), &chip("Ascend 910D")};
  const SearchResult result = search(v3_, options).value();
  ASSERT_FALSE(result.options.empty());
  for (const Option& option : result.options) {
    EXPECT_LE(option.steady.tpot_s, 0.05);
    EXPECT_LE(option.ttft_s, 2);
    EXPECT_LE(option.chips(), 64);
    EXPECT_GE(option.steady.requests_s * static_cast<double>(option.replicas), 5);
    EXPECT_LE(option.batch, option.max_sequences);
  }
  EXPECT_THAT(result.rejected, ElementsAre(HasSubstr("910D")));
}

TEST_F(PlanTest, BadInputIsNamed) {
  EXPECT_THAT(catalogue_.find("H2O").error().message, HasSubstr("H20"));
  EXPECT_THAT(find_model("deepsek-v3").error().message, HasSubstr("deepseek-v3"));
  EXPECT_FALSE(check_deployment(deploy("H20", 3, 1, 1)).ok());
  EXPECT_FALSE(check_deployment(deploy("H20", 1, 8, 7)).ok());
  EXPECT_FALSE(check_deployment(deploy("H20", -1, 8, 1)).ok());
  for (const char* text :
       {"", "[]", "{\"chips\": 3}", "{\"chips\": [{}]}",
        "{\"chips\": [{\"name\": \"x\", \"kind\": \"toaster\"}]}",
        "{\"chips\": [{\"name\": \"x\", \"kind\": \"a\\nb\"}]}",
        "{\"chips\": [{\"name\": \"x\\ny\", \"kind\": \"gpu\"}]}",
        "{\"chips\": [{\"name\": \"x\", \"kind\": \"gpu\", \"aliases\": [\"x\\ny\"]}]}",
        "{\"chips\": [{\"name\": \"x\", \"kind\": \"gpu\", \"memory_gb\": -1}]}",
        "{\"chips\": [{\"name\": \"x\", \"kind\": \"gpu\", \"devices\": 0}]}",
        "{\"chips\": [{\"name\": \"x\", \"kind\": \"cpu\", \"cores\": 4000}]}",
        "{\"chips\": [{\"name\": \"x\", \"kind\": \"gpu\", \"memory_gb\": \"80\"}]}",
        "{\"chips\": [{\"name\": \"x\", \"kind\": \"gpu\"}, {\"name\": \"X\", \"kind\": "
        "\"gpu\"}]}"}) {
    const auto read = read_catalogue(text);
    ASSERT_FALSE(read.ok()) << text;
    EXPECT_TRUE(is_one_line(read.error().message)) << read.error().message;
  }
  EXPECT_FALSE(read_published("id\n1\n", catalogue_).ok());
  EXPECT_FALSE(read_published("id,group,model,chip,stage,metric,measured\n\"a", catalogue_).ok());
  EXPECT_FALSE(find_workload("chatt").ok());
}

}  // namespace
}  // namespace ferry::plan
