// The built-in model against the logits it was published with, computed by the program that it was
// trained with (demo/goldens): the model itself, and its prediction module.
#include <cmath>
#include <numeric>

#include "engine/demo_engine.h"
#include "engine/runner.h"
#include "engine/testing.h"

namespace ferry::engine {
namespace {

// What the reference differed by from a further implementation is 1.2e-5; logits go up to 14.
constexpr float kTolerance = 1e-4f;

class DemoGoldens {
 public:
  DemoGoldens() : bytes_(disk::testing::read_bytes(kFile)) {
    uint64_t length = 0;
    std::memcpy(&length, bytes_.data(), sizeof length);
    header_ = testing::parse(std::string_view(bytes_).substr(8, length));
    data_ = 8 + length;
  }
  template <typename T>
  std::vector<T> read(const std::string& name) const {
    const auto offsets = header_.at(name).at("data_offsets").get<std::vector<size_t>>();
    std::vector<T> values((offsets.at(1) - offsets.at(0)) / sizeof(T));
    std::memcpy(values.data(), bytes_.data() + data_ + offsets.at(0), values.size() * sizeof(T));
    return values;
  }

 private:
  static constexpr const char* kFile = FERRY_SOURCE_DIR "/demo/goldens/logits.safetensors";
  std::string bytes_;
  Json header_;
  size_t data_ = 0;
};

void expect_near(std::span<const float> actual, std::span<const float> expected) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < actual.size(); ++i) {
    ASSERT_NEAR(actual[i], expected[i], kTolerance) << "at " << i;
  }
}

TEST(DemoLogits, AsPublished) {
  const DemoGoldens goldens;
  for (const std::string& name : host_backends()) {
    SCOPED_TRACE(name);
    const LoadedModel model =
        testing::load(demo_options().model, testing::backend_named(name, 1, true));
    for (const char* text : {"0", "1", "2"}) {
      SCOPED_TRACE(text);
      const auto tokens = goldens.read<int32_t>(std::string("ids.") + text);
      const auto expected = goldens.read<float>(std::string("logits.") + text);
      expect_near(testing::logits_of(model, tokens), expected);
      expect_near(testing::logits_of(model, tokens, {.prefill = 3}), expected);
    }
  }
}

// Row i of the goldens has the state after token i and token i + 1, and predicts token i + 2.
TEST(DemoLogits, PredictionModuleAsPublished) {
  const DemoGoldens goldens;
  const auto tokens = goldens.read<int32_t>("ids.2");
  const auto expected = goldens.read<float>("mtp_logits.2");
  const auto count = static_cast<int64_t>(tokens.size());
  const std::vector<int32_t> pages = {3, 0, 2, 1};
  std::vector<int32_t> rows(tokens.size() - 1);
  std::iota(rows.begin(), rows.end(), 0);
  for (const std::string& name : host_backends()) {
    SCOPED_TRACE(name);
    const auto backend = testing::backend_named(name, 1, true);
    const LoadedModel model = testing::load(demo_options().model, backend);
    const nn::PlanLimits limits{
        .batch = {.max_tokens = count, .max_sequences = 1, .max_context = 64},
        .cache = {.dtype = Dtype::kF32, .block_size = 16, .num_pages = 4},
        .max_logit_rows = count,
        .mtp = true};
    const nn::MemoryPlan plan = nn::plan_memory(*model.model, 0, limits);
    const RunnerRank rank{backend, model.model.get()};
    auto runner = Runner::create({&rank, 1}, {.batch = limits.batch,
                                              .cache = limits.cache,
                                              .max_logit_rows = count,
                                              .mtp = true,
                                              .workspace_bytes = plan.workspace_bytes,
                                              .watch = {}});
    ASSERT_TRUE(runner.ok());
    const nn::BatchInput prompt{.tokens = tokens, .pages = pages};
    runner->launch({&prompt, 1});
    ASSERT_TRUE(runner->wait().ok());
    const nn::BatchInput behind{
        .tokens = std::span(tokens).subspan(1), .pages = pages, .logits = nn::WantedLogits::kAll};
    runner->launch_mtp({&behind, 1}, rows);
    const auto logits = runner->wait();
    ASSERT_TRUE(logits.ok());
    std::vector<float> rows_in_order;
    for (const sample::LogitRow& row : *logits) {
      rows_in_order.insert(rows_in_order.end(), row.all.begin(), row.all.end());
    }
    expect_near(rows_in_order, expected);
  }
}

}  // namespace
}  // namespace ferry::engine
