// What a narrower cache costs: logits of the built-in model in its own conversations, against those
// over a cache in f32. Prints the figures of docs/PERFORMANCE.md.
#include <algorithm>
#include <cmath>

#include "engine/demo_engine.h"
#include "engine/testing.h"

namespace ferry::engine {
namespace {

struct Cost {
  double error = 0;       // mean squared error of the logits, relative to their size
  double divergence = 0;  // mean Kullback-Leibler divergence of the next token, in nats
  double agreement = 0;   // how often the likeliest token is the same
};

std::vector<double> log_probabilities(std::span<const float> logits) {
  const double largest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (float x : logits) sum += std::exp(x - largest);
  std::vector<double> result;
  for (float x : logits) result.push_back(x - largest - std::log(sum));
  return result;
}

Cost compare(const std::vector<float>& logits, const std::vector<float>& exact, size_t vocab) {
  Cost cost;
  double error = 0, size = 0;
  for (size_t i = 0; i < exact.size(); i += vocab) {
    const auto ours = log_probabilities(std::span(logits).subspan(i, vocab));
    const auto theirs = log_probabilities(std::span(exact).subspan(i, vocab));
    for (size_t k = 0; k < vocab; ++k) {
      error += std::pow(double{logits[i + k]} - exact[i + k], 2);
      size += std::pow(double{exact[i + k]}, 2);
      cost.divergence += std::exp(theirs[k]) * (theirs[k] - ours[k]);
    }
    const auto best = [](const std::vector<double>& p) {
      return std::max_element(p.begin(), p.end()) - p.begin();
    };
    cost.agreement += best(ours) == best(theirs);
  }
  const double positions = static_cast<double>(exact.size() / vocab);
  return {error / size, cost.divergence / positions, cost.agreement / positions};
}

// Question and answer, three times.
std::vector<std::vector<int32_t>> conversations() {
  const Engine engine = load_engine(demo_options());
  std::vector<std::vector<int32_t>> texts;
  for (const char* text : {"What is 347 + 589?", "How many r are in strawberry?",
                           "Sort these words: river, apple, stone, banana."}) {
    const Request request = greedy(question(text), 120);
    std::vector<int32_t> tokens = engine.tokenize(request.prompt).value();
    const std::vector<int32_t> answer = complete(engine, request).tokens;
    tokens.insert(tokens.end(), answer.begin(), answer.end());
    texts.push_back(std::move(tokens));
  }
  return texts;
}

TEST(KvAccuracy, NarrowCachesOfTheBuiltInModel) {
  const LoadedModel model =
      testing::load(demo_options().model, testing::backend_named(demo_options().backend));
  const size_t vocab = static_cast<size_t>(model.model->spec().vocab_size);
  const auto texts = conversations();
  for (bool generated : {false, true}) {
    const auto all_logits = [&](Dtype dtype) {
      std::vector<float> all;
      for (const auto& tokens : texts) {
        const auto logits =
            testing::logits_of(model, tokens, {.prefill = generated ? 1 : -1, .kv_dtype = dtype});
        all.insert(all.end(), logits.begin(), logits.end());
      }
      return all;
    };
    const std::vector<float> exact = all_logits(Dtype::kF32);
    for (Dtype dtype : {Dtype::kF16, Dtype::kBF16, Dtype::kI8}) {
      const Cost cost = compare(all_logits(dtype), exact, vocab);
      fmt::print("{} cache, {}: NMSE {:.2e}, KL {:.2e} nats, same choice {:.2f} % of {}\n",
                 dtype_name(dtype), generated ? "generated" : "prompt", cost.error, cost.divergence,
                 100 * cost.agreement, exact.size() / vocab);
      EXPECT_LT(cost.error, 1e-3);
      EXPECT_LT(cost.divergence, 1e-3);
      EXPECT_GT(cost.agreement, 0.97);
    }
  }
}

}  // namespace
}  // namespace ferry::engine
