// RankRunner: one forward after the other, of one rank on its device. It lays the batch out for the
// chip, runs its shard of the model and, if it is the first rank, brings the logits back: whole
// rows, or only their largest where these will do and the device's memory is not the host's.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "device/backend.h"
#include "device/communicator.h"
#include "device/workspace.h"
#include "nn/batch_memory.h"
#include "nn/kv_cache.h"
#include "nn/model.h"
#include "sample/sampler.h"

namespace ferry::engine {

// `model` outlives the runner.
struct RunnerRank {
  std::shared_ptr<Backend> backend;
  const nn::Model* model = nullptr;
};

struct RunnerLimits {
  nn::BatchLimits batch;
  nn::KvCacheSpec cache;
  int64_t max_logit_rows = 0;    // of one step
  int64_t num_known_tokens = 0;  // ids that may be chosen; 0: only whole rows will be wanted
  bool mtp = false;              // launch_mtp() will be called; the model has a module for it
  int64_t workspace_bytes = 0;   // what the memory plan says a forward takes
  int64_t scratch_bytes = 0;     // and what ops take for themselves
  // What the ops of the first rank go through, made of the backend's own stream, unless
  // set_watched() says otherwise; empty: that itself.
  std::function<std::unique_ptr<Stream>(std::unique_ptr<Stream>)> watch;
};

class RankRunner {
 public:
  // `reports`: logits and hidden() will be asked for.
  static Result<RankRunner> create(const RunnerRank& rank, const RunnerLimits& limits,
                                   bool reports);

  // As Runner's.
  void launch(std::span<const nn::BatchInput> inputs, bool wants_hidden = false);
  void launch_mtp(std::span<const nn::BatchInput> inputs, std::span<const int32_t> rows);

  // Returns when the step is done. After an error other ranks that wait for this one fail too.
  Status synchronize();
  // REQUIRES: reports, and synchronize() came back without an error
  std::span<const sample::LogitRow> logits() const { return logit_rows_; }

  std::span<const float> hidden() const;

  // Whether ops go through what `watch` made.
  void set_watched(bool on) { watched_ = on; }
  const nn::KvCache& cache() const { return cache_; }

  const std::shared_ptr<Backend>& backend() const { return backend_; }
  // The backend's own, whatever `watch` made of it.
  Stream* own_stream() const { return own_stream_; }
  void join(std::unique_ptr<Communicator> communicator) { communicator_ = std::move(communicator); }
  int64_t vocab_size() const { return vocab_size_; }
  int64_t num_top_logits() const { return num_top_logits_; }
  int64_t hidden_size() const { return hidden_size_; }

 private:
  RankRunner(std::shared_ptr<Backend> backend, const nn::Model& model, nn::KvCache cache,
             nn::BatchMemory batch_memory);

  std::shared_ptr<Backend> backend_;
  const nn::Model* model_;
  nn::KvCache cache_;
  nn::BatchMemory batch_memory_;
  bool prepare_hidden_host();
  TensorView logits_for(std::span<const nn::BatchInput> inputs);
  TensorView find_top_logits(const TensorView& logits, Workspace& workspace);
  void copy_logits_out(const TensorView& logits, const TensorView& top);
  void begin_step();
  void end_step();
  Stream& stream() { return watched_ ? *stream_ : *own_stream_; }

  int64_t vocab_size_ = 0;
  int64_t hidden_size_ = 0;
  int64_t own_state_size_ = 0;  // Model::mtp_state_size()
  int64_t max_tokens_ = 0;
  Buffer workspace_;
  Buffer logits_device_;
  Buffer logits_host_;
  std::vector<sample::LogitRow> logit_rows_;  // of the last launch
  int64_t num_known_tokens_ = 0;
  int64_t num_top_logits_ = 0;
  Buffer top_host_;              // values, then ids: [2, rows, num_top_logits]
  Buffer hidden_host_;           // made when first wanted: most engines never embed
  int64_t num_hidden_rows_ = 0;  // of the last launch()
  bool mtp_ = false;
  Buffer rows_device_;  // of launch_mtp()
  Buffer rows_host_;
  Status hidden_status_;
  bool reports_ = false;
  bool watched_ = true;
  Stream* own_stream_ = nullptr;
  std::unique_ptr<Stream> stream_;              // gone before the memory it works on
  std::unique_ptr<Communicator> communicator_;  // gone before its stream; nullptr: the only rank
};

}  // namespace ferry::engine
