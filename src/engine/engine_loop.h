// EngineLoop: the one thread that owns pages, scheduler and runner, and the bounded queue that
// leads to it. It moves tokens only; text is made and parsed by what the Generations carry along.
//
//   submit() ─ queue ─► loop: take in · cancel · schedule · forward · sample · publish ─► streams
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <thread>
#include <vector>

#include "engine/generation.h"
#include "engine/mask_thread.h"
#include "engine/runner.h"
#include "engine/scheduler.h"

namespace ferry::engine {

class EngineLoop {
 public:
  // What `runner` computes with must outlive the loop.
  EngineLoop(Runner runner, const SchedulerLimits& limits, int64_t max_waiting,
             Speculation speculation);
  // Cancels what is left and waits for the step that is running.
  ~EngineLoop();
  EngineLoop(const EngineLoop&) = delete;
  EngineLoop& operator=(const EngineLoop&) = delete;

  // Thread-safe, as is stats(). REQUIRES: the limits' pages hold generation.max_tokens()
  Result<std::shared_ptr<StreamState>> submit(GenerationInput input);
  EngineStats stats() const;

 private:
  using Generations = std::map<SequenceId, std::unique_ptr<Generation>>;

  void run();
  bool take_in();
  void drop_cancelled();
  void step();
  void pack_more(double seconds);
  nn::BatchInput input_of(const Chunk& chunk, Generation& generation) const;
  std::vector<SequenceId> deliver(const Schedule& schedule,
                                  std::span<const sample::LogitRow> logits);
  void look_up(SequenceId id, Generation& generation);
  Status predict(const Schedule& schedule, std::span<const SequenceId> ended);
  void count_step(int64_t num_tokens);
  void fail_all(const Error& error);
  void end(SequenceId id);
  void publish_stats();

  Runner runner_;
  MaskThread mask_thread_;
  Scheduler scheduler_;
  const int64_t block_size_;
  const int64_t kv_tokens_;
  const int64_t max_waiting_;
  const Speculation speculation_;
  const int64_t max_draft_step_tokens_;
  Generations live_;
  SequenceId last_id_ = 0;
  int64_t bytes_to_pack_;  // of weights
  int64_t prompt_tokens_total_ = 0;
  int64_t output_tokens_total_ = 0;
  int64_t num_steps_ = 0;
  int64_t step_tokens_total_ = 0;
  int64_t draft_tokens_total_ = 0;
  int64_t accepted_tokens_total_ = 0;
  std::array<int64_t, 16> steps_by_tokens_{};

  std::shared_ptr<Doorbell> doorbell_ = std::make_shared<Doorbell>();
  mutable std::mutex mutex_;  // guards what follows
  std::vector<std::unique_ptr<Generation>> queue_;
  EngineStats stats_;
  std::optional<Error> failure_;
  bool stopping_ = false;

  std::thread thread_;  // last: runs only when everything else is there
};

}  // namespace ferry::engine
