// Runner: one forward after the other. It lays the batch out for the chip, runs the model and
// brings the logits back.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "device/backend.h"
#include "device/workspace.h"
#include "nn/batch_memory.h"
#include "nn/kv_cache.h"
#include "nn/model.h"

namespace ferry::engine {

struct RunnerLimits {
  nn::BatchLimits batch;
  nn::KvCacheSpec cache;
  int64_t max_logit_rows = 0;   // of one step
  bool mtp = false;             // launch_mtp() will be called; the model has a module for it
  int64_t workspace_bytes = 0;  // what the memory plan says a forward takes
};

class Runner {
 public:
  // `model` outlives the runner.
  static Result<Runner> create(std::shared_ptr<Backend> backend, const nn::Model& model,
                               const RunnerLimits& limits);

  // Puts a step on the stream. `wants_hidden`: hidden() is wanted of this step.
  // REQUIRES: decode inputs first, no more rows of logits than max_logit_rows; the step before was
  // waited for
  void launch(std::span<const nn::BatchInput> inputs, bool wants_hidden = false);
  // Puts a step of the prediction module on the stream, behind a launch() that was waited for. The
  // inputs have the positions of tokens of that launch and the tokens *behind* these; `rows` says
  // which tokens of the launch these are, one for each token of the inputs. What wait() gives are
  // then guesses of what comes behind the inputs' tokens. REQUIRES: limits.mtp
  void launch_mtp(std::span<const nn::BatchInput> inputs, std::span<const int32_t> rows);

  // Logits [R, vocab_size] of the rows that the inputs want, in their order; the caller may write
  // on them until the next launch().
  Result<std::span<float>> wait();

  // State [T, hidden_size] of the step's tokens after the last layer and its norm, in the order of
  // the inputs. REQUIRES: it was wanted, wait() has come back without an error
  std::span<const float> hidden() const;

  int64_t vocab_size() const { return vocab_size_; }
  int64_t hidden_size() const { return hidden_size_; }

 private:
  Runner(std::shared_ptr<Backend> backend, const nn::Model& model, nn::KvCache cache,
         nn::BatchMemory batch_memory);

  std::shared_ptr<Backend> backend_;
  const nn::Model* model_;
  nn::KvCache cache_;
  nn::BatchMemory batch_memory_;
  bool prepare_hidden_host();
  TensorView logits_for(const BatchView& batch);
  void copy_logits_out();

  int64_t vocab_size_ = 0;
  int64_t hidden_size_ = 0;
  int64_t own_state_size_ = 0;  // Model::mtp_state_size()
  int64_t max_tokens_ = 0;
  Buffer workspace_;
  Buffer logits_device_;
  Buffer logits_host_;
  int64_t num_logit_rows_ = 0;
  Buffer hidden_host_;           // made when first wanted: most engines never embed
  int64_t num_hidden_rows_ = 0;  // of the last launch()
  bool mtp_ = false;
  Buffer rows_device_;  // of launch_mtp()
  Buffer rows_host_;
  Status hidden_status_;
  std::unique_ptr<Stream> stream_;  // last: gone before the memory it works on
};

}  // namespace ferry::engine
