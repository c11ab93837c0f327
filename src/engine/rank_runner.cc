// See rank_runner.h.
#include "engine/rank_runner.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace ferry::engine {

RankRunner::RankRunner(std::shared_ptr<Backend> backend, const nn::Model& model, nn::KvCache cache,
                       nn::BatchMemory batch_memory)
    : backend_(std::move(backend)),
      model_(&model),
      cache_(std::move(cache)),
      batch_memory_(std::move(batch_memory)),
      vocab_size_(model.spec().vocab_size),
      hidden_size_(model.spec().hidden_size),
      own_state_size_(model.mtp_state_size()) {}

Result<RankRunner> RankRunner::create(const RunnerRank& rank, const RunnerLimits& limits,
                                      bool reports) {
  const nn::Model& model = *rank.model;
  Backend& chip = *rank.backend;
  FERRY_TRY(auto cache, nn::KvCache::allocate(chip, model.kv_layout(), limits.cache));
  FERRY_TRY(auto batch_memory, nn::BatchMemory::allocate(chip, limits.batch));
  RankRunner runner(rank.backend, model, std::move(cache), std::move(batch_memory));
  runner.reports_ = reports;
  runner.max_tokens_ = limits.batch.max_tokens;
  FERRY_TRY(runner.workspace_, chip.allocate(std::max<int64_t>(limits.workspace_bytes, 1)));
  const int64_t logits_bytes =
      limits.max_logit_rows * runner.vocab_size_ * static_cast<int64_t>(sizeof(float));
  if (reports) {
    FERRY_TRY(runner.logits_device_, chip.allocate(logits_bytes));
    FERRY_TRY(runner.logits_host_, chip.allocate_host(logits_bytes));
  }
  if (limits.mtp) {
    CHECK(model.num_mtp_modules() > 0);
    runner.mtp_ = true;
    const int64_t rows_bytes = limits.batch.max_tokens * dtype_bytes(Dtype::kI32);
    FERRY_TRY(runner.rows_device_, chip.allocate(rows_bytes));
    FERRY_TRY(runner.rows_host_, chip.allocate_host(rows_bytes));
  }
  FERRY_TRY(runner.stream_, chip.create_stream());
  runner.own_stream_ = runner.stream_.get();
  if (limits.watch && reports) runner.stream_ = limits.watch(std::move(runner.stream_));
  return runner;
}

// False: there is no memory for it, which synchronize() will say.
bool RankRunner::prepare_hidden_host() {
  hidden_status_ = {};
  if (hidden_host_.data != nullptr) return true;
  Result<Buffer> buffer =
      backend_->allocate_host(max_tokens_ * hidden_size_ * static_cast<int64_t>(sizeof(float)));
  if (!buffer.ok()) {
    hidden_status_ = buffer.error();
    return false;
  }
  hidden_host_ = std::move(buffer).value();
  return true;
}

TensorView RankRunner::logits_for(const BatchView& batch) {
  num_logit_rows_ = static_cast<int64_t>(batch.logit_rows.host.size());
  if (!reports_) return {};
  return TensorView::contiguous(logits_device_.data, Dtype::kF32, {num_logit_rows_, vocab_size_});
}

void RankRunner::copy_logits_out() {
  const int64_t bytes = num_logit_rows_ * vocab_size_ * static_cast<int64_t>(sizeof(float));
  if (bytes > 0 && reports_) stream_->copy_out(logits_host_.data, logits_device_.data, bytes);
}

// Collectives go to the device's queue beside the stream, which would not keep them in a step.
void RankRunner::begin_step() {
  if (communicator_ == nullptr) stream_->begin_step();
}

void RankRunner::end_step() {
  if (communicator_ == nullptr) stream_->end_step();
}

void RankRunner::launch(std::span<const nn::BatchInput> inputs, bool wants_hidden) {
  const BatchView& batch = batch_memory_.lay_out(*stream_, inputs);
  Workspace workspace(workspace_.data, workspace_.bytes);
  const bool copies_hidden = wants_hidden && reports_ && prepare_hidden_host();
  TensorView hidden, state;
  num_hidden_rows_ = batch.num_tokens;
  // In place of the scratch that a forward takes for the same rows when nobody wants them: the plan
  // of the workspace holds for both. launch_mtp() finds what it needs at the front.
  const bool own_state = mtp_ && own_state_size_ > 0;
  if (own_state) state = workspace.tensor(Dtype::kF32, {num_hidden_rows_, own_state_size_});
  if (copies_hidden || (mtp_ && !own_state)) {
    hidden = workspace.tensor(Dtype::kF32, {num_hidden_rows_, hidden_size_});
  }
  begin_step();
  model_->forward({.stream = *stream_,
                   .workspace = workspace,
                   .batch = batch,
                   .cache = cache_,
                   .logits = logits_for(batch),
                   .hidden = hidden,
                   .mtp_state = state,
                   .communicator = communicator_.get()});
  end_step();
  if (copies_hidden) {
    stream_->copy_out(hidden_host_.data, hidden.data,
                      num_hidden_rows_ * hidden_size_ * static_cast<int64_t>(sizeof(float)));
  }
  copy_logits_out();
}

void RankRunner::launch_mtp(std::span<const nn::BatchInput> inputs, std::span<const int32_t> rows) {
  const BatchView& batch = batch_memory_.lay_out(*stream_, inputs);
  const auto num_rows = static_cast<int64_t>(rows.size());
  CHECK(mtp_ && num_rows == batch.num_tokens && num_rows <= num_hidden_rows_);
  std::copy(rows.begin(), rows.end(), static_cast<int32_t*>(rows_host_.data));
  stream_->copy_in(rows_device_.data, rows_host_.data, num_rows * dtype_bytes(Dtype::kI32));
  Workspace workspace(workspace_.data, workspace_.bytes);
  const int64_t size = own_state_size_ > 0 ? own_state_size_ : hidden_size_;
  const TensorView states = workspace.tensor(Dtype::kF32, {num_hidden_rows_, size});
  const TensorView picked = workspace.tensor(Dtype::kF32, {num_rows, size});
  const TensorView picks = TensorView::contiguous(rows_device_.data, Dtype::kI32, {num_rows});
  stream_->gather_rows({.x = states, .rows = picks, .out = picked});
  begin_step();
  model_->forward_mtp({.stream = *stream_,
                       .workspace = workspace,
                       .batch = batch,
                       .cache = cache_,
                       .module = 0,
                       .state = picked,
                       .logits = logits_for(batch),
                       .state_out = {},
                       .communicator = communicator_.get()});
  end_step();
  copy_logits_out();
}

std::span<const float> RankRunner::hidden() const {
  return {static_cast<const float*>(hidden_host_.data),
          static_cast<size_t>(num_hidden_rows_ * hidden_size_)};
}

Status RankRunner::synchronize() {
  Status status = stream_->synchronize();
  if (status.ok() && communicator_ != nullptr) status = communicator_->status();
  if (!status.ok() && communicator_ != nullptr) communicator_->abort(status.error());
  FERRY_TRY_VOID(status);
  return std::exchange(hidden_status_, {});
}

std::span<float> RankRunner::logits() const {
  return {static_cast<float*>(logits_host_.data),
          static_cast<size_t>(num_logit_rows_ * vocab_size_)};
}

}  // namespace ferry::engine
