// The plan of memory on an emulated chip, for the tests of every vendor's backend: over long
// prompts and answers to them no more of the device's memory is ever taken than the plan said
// before anything was loaded.
#pragma once

#include <dlfcn.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/memory_sizing.h"
#include "engine/runner.h"
#include "engine/testing.h"

namespace ferry::engine::testing {

// What the emulated library with the device's memory counts, which this process has opened.
inline int64_t emulated_count(const std::string& library_path, const char* of) {
  void* library = dlopen(library_path.c_str(), RTLD_NOW | RTLD_NOLOAD);
  EXPECT_NE(library, nullptr) << library_path;
  if (library == nullptr) return 0;
  return reinterpret_cast<int64_t (*)()>(dlsym(library, of))();
}

inline constexpr int64_t kPlanContext = 448, kPlanChunk = 160, kPlanBlock = 16;
inline constexpr size_t kPlanSequences = 2;

inline std::string config_of(std::string_view name, const std::string& from = "",
                             const std::string& to = "") {
  for (const TinyModel& tiny : tiny_models()) {
    std::string config = tiny.config;
    if (tiny.name == name) return config.replace(config.find(from), from.size(), to);
  }
  ADD_FAILURE() << name;
  return "";
}

class PlannedModel {
 public:
  // library_path: of the emulated library that has the device's memory. weights: what the file's
  // matrices are stored as.
  PlannedModel(const std::string& library_path, std::shared_ptr<Backend> backend,
               const std::string& config_text, const std::string& weights,
               KvDtype pages = KvDtype::kBF16)
      : library_path_(library_path), backend_(std::move(backend)) {
    const Json config = parse(config_text);
    TinyWeights values = random_weights(config, 7);
    const std::string path = write_hf(dir_, config, hf_tensors(values, weights));
    source_ = open_source(path);
    when_opened_ = count("ferry_emulated_taken_bytes");
    measured_ =
        load_model(source_, backend_, {.max_context = kPlanContext, .measure_only = true}).value();
    options_.max_context = kPlanContext;
    options_.kv_tokens = 2 * kPlanContext;
    options_.kv_dtype = pages;
    options_.block_size = kPlanBlock;
    options_.max_sequences = kPlanSequences;
    options_.max_batch_tokens = kPlanChunk;
    sizing_ = sizes(int64_t{1} << 40).value();
    EXPECT_EQ(taken(), 0);
  }

  const nn::MemoryPlan& plan() const { return sizing_.plan; }

  // As an engine chooses them where so much is free.
  Result<Sizing> sizes(int64_t free_bytes) const {
    return choose_sizes(*measured_.model, *backend_, measured_.weights_bytes,
                        source_.checkpoint.data_bytes(), options_,
                        {.total_bytes = int64_t{1} << 40, .free_bytes = free_bytes});
  }

  void start(int64_t scratch_bytes) {
    model_ = load_model(source_, backend_, {.max_context = kPlanContext}).value();
    const RunnerRank rank{backend_, model_->model.get()};
    auto runner = Runner::create({&rank, 1}, {.batch = sizing_.limits.batch,
                                              .cache = sizing_.limits.cache,
                                              .max_logit_rows = sizing_.limits.max_logit_rows,
                                              .num_known_tokens = model_->spec().vocab_size,
                                              .workspace_bytes = plan().workspace_bytes,
                                              .scratch_bytes = scratch_bytes,
                                              .watch = {}});
    ASSERT_TRUE(runner.ok()) << runner.error().message;
    runner_.emplace(*std::move(runner));
    tokens_ = random_tokens(kPlanContext, model_->spec().vocab_size, 3);
    pages_.assign(kPlanSequences, {});
    for (int32_t page = 0; page < 2 * kPlanContext / kPlanBlock; ++page)
      pages_[page % 2].push_back(page);
  }
  void stop() {
    runner_.reset();
    model_.reset();
  }

  // The last `count` tokens of `context` of them, of all of these sequences.
  void step(const std::vector<size_t>& sequences, int64_t context, int64_t count, bool decode) {
    std::vector<nn::BatchInput> inputs;
    for (const size_t sequence : sequences) {
      inputs.push_back({.tokens = std::span(tokens_).subspan(static_cast<size_t>(context - count),
                                                             static_cast<size_t>(count)),
                        .first_position = context - count,
                        .pages = pages_[sequence],
                        .decode = decode,
                        .logits = nn::WantedLogits::kLast,
                        .only_top_logits = runner_->num_top_logits() > 0});
    }
    runner_->launch(inputs);
    const auto logits = runner_->wait();
    ASSERT_TRUE(logits.ok()) << logits.error().message;
  }
  // Both sequences, one after the other in chunks, then both together token by token.
  void run_long_prompts() {
    constexpr int64_t kAnswer = 3, kPrompt = kPlanContext - kAnswer;
    for (size_t sequence = 0; sequence < kPlanSequences; ++sequence) {
      for (int64_t done = 0; done < kPrompt; done += kPlanChunk) {
        const int64_t count = std::min(kPlanChunk, kPrompt - done);
        step({sequence}, done + count, count, false);
      }
    }
    for (int64_t i = 1; i <= kAnswer; ++i) step({0, 1}, kPrompt + i, 1, true);
  }
  // Prompts short enough for other kernels than long ones, behind contexts of several lengths.
  void run_short_prompts() {
    for (const int64_t context : {73, 448}) {
      for (const int64_t count : {1, 14, 28, 60}) step({0, 1}, context, count, false);
    }
  }

  int64_t when_opened() const { return when_opened_; }
  int64_t taken() const { return count("ferry_emulated_taken_bytes") - when_opened_; }
  int64_t most_taken() const { return count("ferry_emulated_most_taken_bytes") - when_opened_; }
  int64_t free_bytes() const { return backend_->memory_info().value().free_bytes; }

 private:
  int64_t count(const char* of) const { return emulated_count(library_path_, of); }

  const std::string library_path_;
  const disk::testing::TempDir dir_;
  disk::ModelSource source_;
  std::shared_ptr<Backend> backend_;
  int64_t when_opened_ = 0;
  EngineOptions options_;
  LoadedModel measured_;
  Sizing sizing_;
  std::optional<LoadedModel> model_;
  std::optional<Runner> runner_;
  std::vector<int32_t> tokens_;
  std::vector<std::vector<int32_t>> pages_;
};

// All is taken when the runner is made, and nothing while it runs: neither more than the plan said
// nor less.
inline void expect_plan_is_kept(PlannedModel& model) {
  model.start(model.plan().scratch_bytes);
  const int64_t when_made = model.taken();
  model.run_long_prompts();
  EXPECT_LE(model.most_taken(), model.plan().total_bytes());
  // But for the arrays of experts.
  EXPECT_LE(model.most_taken() - when_made, 16 << 10);
  // But for what the pool had kept since the device was opened, and serves again.
  EXPECT_GE(model.most_taken(), model.plan().total_bytes() - 1024 - model.when_opened());
  model.stop();
}

// Where none was reserved, what ops took in the end is not much less than what was planned.
inline void expect_scratch_is_needed(PlannedModel& model, double most_times) {
  model.start(0);
  const int64_t before = model.free_bytes();
  model.run_long_prompts();
  model.run_short_prompts();
  const auto taken = static_cast<double>(before - model.free_bytes());
  EXPECT_EQ(taken > 0, model.plan().scratch_bytes > 0);
  EXPECT_LE(static_cast<double>(model.plan().scratch_bytes), most_times * taken);
  model.stop();
}

}  // namespace ferry::engine::testing
