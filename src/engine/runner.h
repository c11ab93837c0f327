// Runner: one forward after the other, on one device or on several that have a shard of the model
// each (tensor parallelism). All ranks are given the same batch and the same pages, compute side by
// side and meet in collectives; logits come from the first.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "engine/rank_runner.h"
#include "engine/rank_team.h"

namespace ferry::engine {

class Runner {
 public:
  // In the order of ranks, the shards of one model on devices of one backend.
  static Result<Runner> create(std::span<const RunnerRank> ranks, const RunnerLimits& limits);

  // Puts a step on the streams. `wants_hidden`: hidden() is wanted of this step.
  // REQUIRES: decode inputs first, no more rows of logits than max_logit_rows; the step before was
  // waited for; only_top_logits nowhere if num_top_logits() is 0
  void launch(std::span<const nn::BatchInput> inputs, bool wants_hidden = false);
  // Puts a step of the prediction module on the streams, behind a launch() that was waited for. The
  // inputs have the positions of tokens of that launch and the tokens *behind* these; `rows` says
  // which tokens of the launch these are, one for each token of the inputs. What wait() gives are
  // then guesses of what comes behind the inputs' tokens. REQUIRES: limits.mtp
  void launch_mtp(std::span<const nn::BatchInput> inputs, std::span<const int32_t> rows);

  // Logits of the rows that the inputs want, in their order, vocab_size() of each, or
  // num_top_logits() where the input wants no others. The caller may write on them until the next
  // launch().
  Result<std::span<const sample::LogitRow>> wait();

  // State [T, hidden_size] of the step's tokens after the last layer and its norm, in the order of
  // the inputs. REQUIRES: it was wanted, wait() has come back without an error
  std::span<const float> hidden() const { return ranks_.front().hidden(); }

  // Between steps: packs weights that were loaded to be packed later, for about so many seconds.
  // Returns the bytes that are left.
  int64_t pack_more(double seconds);

  // Between steps: whether the ops of the first rank go through what limits.watch made, as they do
  // unless this says otherwise, or straight to the stream.
  void set_watched(bool on) { ranks_.front().set_watched(on); }
  // Of the first rank.
  const nn::KvCache& cache() const { return ranks_.front().cache(); }
  Stream& own_stream() { return *ranks_.front().own_stream(); }

  // 0: whole rows cost nothing more, as the host sees the device's memory, or it finds no others.
  int64_t num_top_logits() const { return ranks_.front().num_top_logits(); }
  int64_t vocab_size() const { return ranks_.front().vocab_size(); }
  int64_t hidden_size() const { return ranks_.front().hidden_size(); }

 private:
  Runner() = default;
  // work(rank's runner), on a thread for each.
  void on_each(const std::function<void(RankRunner& rank)>& work);

  std::vector<RankRunner> ranks_;
  std::unique_ptr<RankTeam> team_;
};

}  // namespace ferry::engine
