// BenchForward: forwards of a loaded model on a batch and a context of one's choice, timed. It has
// the engine's Runner, without scheduler, sampler and text, so that what is timed is the model
// alone: laying out the batch, the forward, and what an engine whose requests are greedy brings
// back to the host: the largest logits where the chip finds these, otherwise whole rows.
//
// Tokens are random ids of the vocabulary. A context is not prefilled: the pages hold normally
// distributed values instead, written once through the chip's own kv_write, in the format of the
// cache. Attention reads as many bytes of them as of real ones.
//
// Pages of sequences that run together take turns in memory, as those of sequences that grew
// together do: block b of sequence s is page b · batch + s. Pages of recent tokens are taken again
// once nothing looks back on them: block b has that of block b mod num_recent_blocks().
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <vector>

#include "device/profile_stream.h"
#include "engine/model_loader.h"
#include "engine/runner.h"

namespace ferry::cmd {

struct BenchLimits {
  int64_t chunk = 0;        // prompt tokens in one forward
  int64_t max_batch = 0;    // sequences
  int64_t max_context = 0;  // of one sequence, prompt and generated tokens included
  int64_t num_pages = 0;
  Dtype kv_dtype = Dtype::kF32;
};
inline constexpr int64_t kBenchBlockSize = 16;  // tokens a page, the engine's default

// What allocate() will take besides the weights.
nn::PlanLimits plan_limits(const nn::KvLayout& layout, const BenchLimits& limits);

class BenchForward {
 public:
  // `model` outlives this. Errors: not enough memory.
  static Result<std::unique_ptr<BenchForward>> create(const engine::LoadedModel& model,
                                                      const BenchLimits& limits);

  // Each returns the seconds it took, without those of `between`, which is called after each step.
  // REQUIRES: within the limits
  Result<double> prefill(int64_t context, int64_t tokens);
  Result<double> decode(int64_t batch, int64_t context, int64_t steps,
                        const std::function<void()>& between = {});

  // While on, ops go one by one and profile() accounts for them; off, the stream is the plain one.
  void set_profiling(bool on) { runner_->set_watched(on); }
  ProfileStream& profile() { return *profile_stream_; }

  OnDemandStats expert_stats() const { return model_.backend->on_demand_stats(); }

 private:
  BenchForward(const engine::LoadedModel& model, const BenchLimits& limits)
      : model_(model), limits_(limits) {}
  Status allocate();
  Status fill_cache();
  nn::BatchInput input(std::span<const int32_t> tokens, int64_t first_position,
                       const std::vector<int32_t>& pages,
                       const std::vector<int32_t>& recent_pages) const;
  Status step(std::span<const nn::BatchInput> inputs);
  std::vector<int32_t> random_tokens(int64_t count);
  std::vector<int32_t> pages_of(int64_t sequence, int64_t batch, int64_t context,
                                int64_t num_blocks) const;
  int64_t num_recent_blocks() const;

  const engine::LoadedModel& model_;
  const BenchLimits limits_;
  std::mt19937 random_{1};  // the same tokens in every run of the program
  std::optional<engine::Runner> runner_;
  ProfileStream* profile_stream_ = nullptr;  // the runner's
};

}  // namespace ferry::cmd
