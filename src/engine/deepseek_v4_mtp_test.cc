// DeepSeek-V4's prediction module, held to a model of one layer: with the module's layer, head and
// norms, and for each token an embedding that is what the module makes of that position, computed
// here with plain loops. And the states it reads, held to the logits that they give.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "engine/testing.h"
#include "nn/batch_memory.h"
#include "nn/memory_plan.h"

namespace ferry::engine {
namespace {

using namespace engine::testing;

constexpr int64_t kPositions = 60, kStreams = 4, kModuleBlock = 8;
constexpr double kNormEpsilon = 1e-6;

Json module_config() {
  for (const TinyModel& model : tiny_models()) {
    if (std::string_view(model.name) != "deepseek_v4") continue;
    Json config = parse(model.config);
    config["rms_norm_eps"] = kNormEpsilon;
    return config;
  }
  return {};
}

std::vector<double> normed(const float* x, const std::vector<float>& weight) {
  double squares = 0;
  for (size_t i = 0; i < weight.size(); ++i) squares += static_cast<double>(x[i]) * x[i];
  const double r = 1 / std::sqrt(squares / static_cast<double>(weight.size()) + kNormEpsilon);
  std::vector<double> out;
  for (size_t i = 0; i < weight.size(); ++i) out.push_back(x[i] * r * weight[i]);
  return out;
}

double dot_row(const std::vector<float>& matrix, int64_t row, const std::vector<double>& x) {
  double sum = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    sum += static_cast<double>(matrix[static_cast<size_t>(row) * x.size() + i]) * x[i];
  }
  return sum;
}

// One sequence on the cpu: forwards and steps of the module, with every logit.
class ModuleRun {
 public:
  explicit ModuleRun(const LoadedModel& model) : model_(model) {
    nn::PlanLimits limits;
    limits.batch = {.max_tokens = kPositions,
                    .max_sequences = 1,
                    .max_context = kPositions,
                    .block_size = kModuleBlock};
    limits.cache = {.block_size = kModuleBlock, .num_pages = ceil_div(kPositions, kModuleBlock)};
    limits.max_logit_rows = kPositions;
    limits.mtp = true;
    const nn::MemoryPlan plan = nn::plan_memory(*model.model, model.weights_bytes, limits);
    Backend& backend = *model.backend;
    cache_ = nn::KvCache::allocate(backend, model.model->kv_layout(), limits.cache).value();
    workspace_ = backend.allocate(plan.workspace_bytes).value();
    batch_memory_ = nn::BatchMemory::allocate(backend, limits.batch).value();
    stream_ = backend.create_stream().value();
    for (int32_t p = 0; p < limits.cache.num_pages; ++p) pages_.push_back(p);
  }

  // Logits [T, V]; with `state` [T, S · D] to be written by the model or read by the module.
  std::vector<float> run(std::span<const int32_t> tokens, int64_t first, std::span<float> state,
                         bool module, bool decode) {
    const nn::BatchInput input{.tokens = tokens,
                               .first_position = first,
                               .pages = pages_,
                               .decode = decode,
                               .logits = nn::WantedLogits::kAll};
    const BatchView& batch = batch_memory_.lay_out(*stream_, {&input, 1});
    const auto count = std::ssize(tokens);
    const int64_t vocab = model_.spec().vocab_size;
    std::vector<float> logits(static_cast<size_t>(count * vocab));
    Workspace workspace(workspace_.data, workspace_.bytes);
    const TensorView out = TensorView::contiguous(logits.data(), Dtype::kF32, {count, vocab});
    const TensorView states =
        TensorView::contiguous(state.data(), Dtype::kF32, {count, std::ssize(state) / count});
    if (module) {
      model_.model->forward_mtp({*stream_, workspace, batch, cache_, 0, states, out, {}});
    } else {
      model_.model->forward({*stream_, workspace, batch, cache_, out, {}, states});
    }
    EXPECT_TRUE(stream_->synchronize().ok());
    return logits;
  }

 private:
  const LoadedModel& model_;
  nn::KvCache cache_;
  Buffer workspace_;
  nn::BatchMemory batch_memory_;
  std::vector<int32_t> pages_;
  std::unique_ptr<Stream> stream_;
};

// The one-layer model.
TinyWeights layer_alone(const Json& config, const TinyWeights& whole,
                        const std::vector<float>& embeddings) {
  TinyWeights alone = random_weights(config, 1);
  for (auto& [name, values] : alone.values) {
    std::string from = name;
    if (name.starts_with("layers.0.")) from = "mtp.0." + name.substr(9);
    if (name.starts_with("hc_head") || name == "norm.weight") from = "mtp.0." + name;
    values = name == "embed.weight" ? embeddings : whole.values.at(from);
  }
  return alone;
}

TEST(DeepseekV4Module, IsALayerOnStatesAndNextTokens) {
  const Json config = module_config();
  const int64_t size = config["hidden_size"].get<int64_t>();
  const int64_t vocab = config["vocab_size"].get<int64_t>();
  TinyWeights weights = random_weights(config, 41);
  disk::testing::TempDir dir, alone_dir;
  const auto backend = backend_named("cpu", 2);
  const LoadedModel model = load(write_hf(dir, config, hf_tensors(weights)), backend);
  ASSERT_EQ(model.model->num_mtp_modules(), 1);

  const std::vector<int32_t> next = random_tokens(kPositions, vocab, 8);
  std::mt19937_64 random(9);
  std::normal_distribution<float> normal(0, 3);
  std::vector<float> state;  // all streams of a position alike, as embeddings are
  std::vector<float> embeddings(static_cast<size_t>(vocab * size), 0.0f);
  for (size_t i = 0; i < static_cast<size_t>(kPositions); ++i) {
    std::vector<float> x;
    for (int64_t c = 0; c < size; ++c) x.push_back(normal(random));
    for (int64_t j = 0; j < kStreams; ++j) state.insert(state.end(), x.begin(), x.end());
    const float* embedded = weights.values["embed.weight"].data() + next[i] * size;
    const auto e = normed(embedded, weights.values["mtp.0.enorm.weight"]);
    const auto h = normed(x.data(), weights.values["mtp.0.hnorm.weight"]);
    for (int64_t c = 0; c < size; ++c) {
      embeddings[i * static_cast<size_t>(size) + static_cast<size_t>(c)] =
          static_cast<float>(dot_row(weights.values["mtp.0.e_proj.weight"], c, e) +
                             dot_row(weights.values["mtp.0.h_proj.weight"], c, h));
    }
  }
  Json one = config;
  one["num_hidden_layers"] = 1;
  one["num_hash_layers"] = 0;
  one["num_nextn_predict_layers"] = 0;
  one["compress_ratios"] = {0};
  TinyWeights alone = layer_alone(one, weights, embeddings);
  const LoadedModel layer = load(write_hf(alone_dir, one, hf_tensors(alone, "F32")), backend);
  std::vector<int32_t> ids(static_cast<size_t>(kPositions));
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int32_t>(i);
  const std::vector<float> expected = logits_of(layer, ids);

  ModuleRun run(model);
  std::vector<float> found;
  const auto width = static_cast<size_t>(kStreams * size);
  for (const auto& [first, count] : {std::pair<size_t, size_t>(0, 37), {37, 20}, {57, 3}}) {
    const auto part =
        run.run(std::span(next).subspan(first, count), static_cast<int64_t>(first),
                std::span(state).subspan(first * width, count * width), true, first > 40);
    found.insert(found.end(), part.begin(), part.end());
  }
  EXPECT_LE(max_difference(found, expected), 2e-4f);
  for (int64_t j = 0; j < kStreams; ++j) {  // every stream counts
    std::vector<float> other(state.begin(), state.begin() + kStreams * size);
    for (int64_t c = 0; c < size; ++c) other[static_cast<size_t>(j * size + c)] *= c % 2 ? 1 : -1;
    const auto changed = run.run(std::span(next).first(1), 0, other, true, false);
    EXPECT_GT(max_difference(changed, std::span(found).first(static_cast<size_t>(vocab))), 1e-3f);
  }
}

// Σ pre_j X_j of the states that a forward leaves gives its logits.
TEST(DeepseekV4Module, ReadsTheStreamsOfTheLastLayer) {
  const Json config = module_config();
  const int64_t size = config["hidden_size"].get<int64_t>();
  TinyWeights weights = random_weights(config, 42);
  disk::testing::TempDir dir;
  const LoadedModel model =
      load(write_hf(dir, config, hf_tensors(weights)), backend_named("cpu", 1));
  const std::vector<int32_t> tokens = random_tokens(20, model.spec().vocab_size, 8);
  std::vector<float> state(static_cast<size_t>(20 * kStreams * size));
  ModuleRun run(model);
  const std::vector<float> logits = run.run(tokens, 0, state, false, false);
  const std::vector<float> plain = logits_of(model, tokens);
  ASSERT_EQ(std::memcmp(logits.data(), plain.data(), plain.size() * sizeof(float)), 0);

  std::vector<float> expected;
  for (int64_t t = 0; t < 20; ++t) {
    const float* x = state.data() + t * kStreams * size;
    const std::vector<float> ones(static_cast<size_t>(kStreams * size), 1.0f);
    const std::vector<double> flat = normed(x, ones);
    std::vector<float> h(static_cast<size_t>(size), 0.0f);
    for (int64_t j = 0; j < kStreams; ++j) {
      const double m =
          dot_row(weights.values["hc_head_fn"], j, flat) * weights.values["hc_head_scale"][0] +
          weights.values["hc_head_base"][static_cast<size_t>(j)];
      const double pre = 1 / (1 + std::exp(-m)) + 1e-6;
      for (int64_t c = 0; c < size; ++c) {
        h[static_cast<size_t>(c)] += static_cast<float>(pre * x[j * size + c]);
      }
    }
    const std::vector<double> last = normed(h.data(), weights.values["norm.weight"]);
    for (int64_t v = 0; v < model.spec().vocab_size; ++v) {
      expected.push_back(static_cast<float>(dot_row(weights.values["head.weight"], v, last)));
    }
  }
  EXPECT_LE(max_difference(logits, expected), 2e-4f);
}

}  // namespace
}  // namespace ferry::engine
