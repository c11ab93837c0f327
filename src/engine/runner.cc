// See runner.h.
#include "engine/runner.h"

#include <algorithm>

#include "device/workspace.h"

namespace ferry::engine {

Runner::Runner(std::shared_ptr<Backend> backend, const nn::Model& model, nn::KvCache cache,
               nn::BatchMemory batch_memory)
    : backend_(std::move(backend)),
      model_(&model),
      cache_(std::move(cache)),
      batch_memory_(std::move(batch_memory)),
      vocab_size_(model.spec().vocab_size) {}

Result<Runner> Runner::create(std::shared_ptr<Backend> backend, const nn::Model& model,
                              const RunnerLimits& limits) {
  FERRY_TRY(auto cache, nn::KvCache::allocate(*backend, model.kv_layout(), limits.cache));
  FERRY_TRY(auto batch_memory, nn::BatchMemory::allocate(*backend, limits.batch));
  Runner runner(std::move(backend), model, std::move(cache), std::move(batch_memory));
  Backend& chip = *runner.backend_;
  FERRY_TRY(runner.workspace_, chip.allocate(std::max<int64_t>(limits.workspace_bytes, 1)));
  const int64_t logits_bytes =
      limits.batch.max_sequences * runner.vocab_size_ * static_cast<int64_t>(sizeof(float));
  FERRY_TRY(runner.logits_device_, chip.allocate(logits_bytes));
  FERRY_TRY(runner.logits_host_, chip.allocate_host(logits_bytes));
  FERRY_TRY(runner.stream_, chip.create_stream());
  return runner;
}

void Runner::launch(std::span<const nn::BatchInput> inputs) {
  const BatchView& batch = batch_memory_.lay_out(*stream_, inputs);
  num_logit_rows_ = static_cast<int64_t>(batch.logit_rows.host.size());
  const TensorView logits =
      TensorView::contiguous(logits_device_.data, Dtype::kF32, {num_logit_rows_, vocab_size_});
  Workspace workspace(workspace_.data, workspace_.bytes);
  model_->forward({.stream = *stream_,
                   .workspace = workspace,
                   .batch = batch,
                   .cache = cache_,
                   .logits = logits,
                   .hidden = {}});
  const int64_t bytes = num_logit_rows_ * vocab_size_ * static_cast<int64_t>(sizeof(float));
  if (bytes > 0) stream_->copy_out(logits_host_.data, logits_device_.data, bytes);
}

Result<std::span<float>> Runner::wait() {
  FERRY_TRY_VOID(stream_->synchronize());
  return std::span<float>(static_cast<float*>(logits_host_.data),
                          static_cast<size_t>(num_logit_rows_ * vocab_size_));
}

}  // namespace ferry::engine
