// See runner.h.
#include "engine/runner.h"

#include <algorithm>
#include <utility>

namespace ferry::engine {

Runner::Runner(std::shared_ptr<Backend> backend, const nn::Model& model, nn::KvCache cache,
               nn::BatchMemory batch_memory)
    : backend_(std::move(backend)),
      model_(&model),
      cache_(std::move(cache)),
      batch_memory_(std::move(batch_memory)),
      vocab_size_(model.spec().vocab_size),
      hidden_size_(model.spec().hidden_size) {}

Result<Runner> Runner::create(std::shared_ptr<Backend> backend, const nn::Model& model,
                              const RunnerLimits& limits) {
  FERRY_TRY(auto cache, nn::KvCache::allocate(*backend, model.kv_layout(), limits.cache));
  FERRY_TRY(auto batch_memory, nn::BatchMemory::allocate(*backend, limits.batch));
  Runner runner(std::move(backend), model, std::move(cache), std::move(batch_memory));
  runner.max_tokens_ = limits.batch.max_tokens;
  Backend& chip = *runner.backend_;
  FERRY_TRY(runner.workspace_, chip.allocate(std::max<int64_t>(limits.workspace_bytes, 1)));
  const int64_t logits_bytes =
      limits.max_logit_rows * runner.vocab_size_ * static_cast<int64_t>(sizeof(float));
  FERRY_TRY(runner.logits_device_, chip.allocate(logits_bytes));
  FERRY_TRY(runner.logits_host_, chip.allocate_host(logits_bytes));
  FERRY_TRY(runner.stream_, chip.create_stream());
  return runner;
}

// In place of the scratch that a forward takes for the same rows when nobody wants them: the plan
// of the workspace holds for both.
TensorView Runner::take_hidden(Workspace& workspace, int64_t num_tokens) {
  hidden_status_ = {};
  if (hidden_host_.data == nullptr) {
    Result<Buffer> buffer =
        backend_->allocate_host(max_tokens_ * hidden_size_ * static_cast<int64_t>(sizeof(float)));
    if (!buffer.ok()) {
      hidden_status_ = buffer.error();
      return {};
    }
    hidden_host_ = std::move(buffer).value();
  }
  num_hidden_rows_ = num_tokens;
  return workspace.tensor(Dtype::kF32, {num_tokens, hidden_size_});
}

void Runner::launch(std::span<const nn::BatchInput> inputs, bool wants_hidden) {
  const BatchView& batch = batch_memory_.lay_out(*stream_, inputs);
  num_logit_rows_ = static_cast<int64_t>(batch.logit_rows.host.size());
  const TensorView logits =
      TensorView::contiguous(logits_device_.data, Dtype::kF32, {num_logit_rows_, vocab_size_});
  Workspace workspace(workspace_.data, workspace_.bytes);
  TensorView hidden;
  if (wants_hidden) hidden = take_hidden(workspace, batch.num_tokens);
  model_->forward({.stream = *stream_,
                   .workspace = workspace,
                   .batch = batch,
                   .cache = cache_,
                   .logits = logits,
                   .hidden = hidden});
  const int64_t bytes = num_logit_rows_ * vocab_size_ * static_cast<int64_t>(sizeof(float));
  if (!hidden.empty()) {
    stream_->copy_out(hidden_host_.data, hidden.data,
                      num_hidden_rows_ * hidden_size_ * static_cast<int64_t>(sizeof(float)));
  }
  if (bytes > 0) stream_->copy_out(logits_host_.data, logits_device_.data, bytes);
}

std::span<const float> Runner::hidden() const {
  return {static_cast<const float*>(hidden_host_.data),
          static_cast<size_t>(num_hidden_rows_ * hidden_size_)};
}

Result<std::span<float>> Runner::wait() {
  FERRY_TRY_VOID(stream_->synchronize());
  FERRY_TRY_VOID(std::exchange(hidden_status_, {}));
  return std::span<float>(static_cast<float*>(logits_host_.data),
                          static_cast<size_t>(num_logit_rows_ * vocab_size_));
}

}  // namespace ferry::engine
