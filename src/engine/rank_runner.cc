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
  const OpQuery query{.op = Op::kTopLogits, .rows = kMaxTopLogits, .cols = limits.num_known_tokens};
  const bool finds_top = limits.num_known_tokens > 0 && !chip.spec().host_memory;
  if (reports && finds_top && chip.supports(query)) {
    CHECK(limits.num_known_tokens <= runner.vocab_size_);
    runner.num_known_tokens_ = limits.num_known_tokens;
    runner.num_top_logits_ = kMaxTopLogits;
    FERRY_TRY(runner.top_host_, chip.allocate_host(2 * limits.max_logit_rows * kMaxTopLogits *
                                                   dtype_bytes(Dtype::kF32)));
  }
  if (limits.mtp) {
    CHECK(model.num_mtp_modules() > 0);
    runner.mtp_ = true;
    const int64_t rows_bytes = limits.batch.max_tokens * dtype_bytes(Dtype::kI32);
    FERRY_TRY(runner.rows_device_, chip.allocate(rows_bytes));
    FERRY_TRY(runner.rows_host_, chip.allocate_host(rows_bytes));
  }
  FERRY_TRY(runner.stream_, chip.create_stream());
  FERRY_TRY_VOID(runner.stream_->reserve_scratch(limits.scratch_bytes));
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

// Also says where on the host each row will be.
TensorView RankRunner::logits_for(std::span<const nn::BatchInput> inputs) {
  logit_rows_.clear();
  if (!reports_) return {};
  std::vector<bool> only_top;
  for (const nn::BatchInput& input : inputs) {
    CHECK(!input.only_top_logits || num_top_logits_ > 0);
    only_top.insert(only_top.end(), static_cast<size_t>(nn::num_logit_rows(input)),
                    input.only_top_logits);
  }
  const auto num_rows = static_cast<int64_t>(only_top.size());
  const auto width = static_cast<size_t>(vocab_size_);
  const auto top = static_cast<size_t>(num_top_logits_);
  auto* all = static_cast<float*>(logits_host_.data);
  const auto* values = static_cast<const float*>(top_host_.data);
  const auto* ids = reinterpret_cast<const int32_t*>(values + only_top.size() * top);
  for (size_t r = 0; r < only_top.size(); ++r) {
    sample::LogitRow row;
    if (only_top[r]) row.top = {{values + r * top, top}, {ids + r * top, top}};
    if (!only_top[r]) row.all = {all + r * width, width};
    logit_rows_.push_back(row);
  }
  return TensorView::contiguous(logits_device_.data, Dtype::kF32, {num_rows, vocab_size_});
}

// Of all rows, if any is looked at no further: the step is the same then, whichever these are.
TensorView RankRunner::find_top_logits(const TensorView& logits, Workspace& workspace) {
  const auto is_top = [](const sample::LogitRow& row) { return row.all.empty(); };
  if (std::none_of(logit_rows_.begin(), logit_rows_.end(), is_top)) return {};
  const int64_t rows = logits.shape[0];
  const TensorView both = workspace.tensor(Dtype::kF32, {2, rows, num_top_logits_});
  const auto part = [&](int64_t i, Dtype dtype) {
    void* data = static_cast<float*>(both.data) + i * both.stride[0];
    return TensorView::contiguous(data, dtype, {rows, num_top_logits_});
  };
  stream().top_logits({.x = logits.slice(1, 0, num_known_tokens_),
                       .values = part(0, Dtype::kF32),
                       .ids = part(1, Dtype::kI32)});
  return both;
}

void RankRunner::copy_logits_out(const TensorView& logits, const TensorView& top) {
  if (!top.empty()) stream().copy_out(top_host_.data, top.data, top.extent_bytes());
  const size_t row_bytes = static_cast<size_t>(vocab_size_) * sizeof(float);
  for (size_t first = 0, end = 0; first < logit_rows_.size(); first = end) {
    const bool whole = !logit_rows_[first].all.empty();
    while (end < logit_rows_.size() && !logit_rows_[end].all.empty() == whole) ++end;
    if (!whole) continue;
    stream().copy_out(logit_rows_[first].all.data(),
                      static_cast<const char*>(logits.data) + first * row_bytes,
                      static_cast<int64_t>((end - first) * row_bytes));
  }
}

// Collectives go to the device's queue beside the stream, which would not keep them in a step.
void RankRunner::begin_step() {
  if (communicator_ == nullptr) stream().begin_step();
}

void RankRunner::end_step() {
  if (communicator_ == nullptr) stream().end_step();
}

void RankRunner::launch(std::span<const nn::BatchInput> inputs, bool wants_hidden) {
  const BatchView& batch = batch_memory_.lay_out(stream(), inputs);
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
  const TensorView logits = logits_for(inputs);
  begin_step();
  model_->forward({.stream = stream(),
                   .workspace = workspace,
                   .batch = batch,
                   .cache = cache_,
                   .logits = logits,
                   .hidden = hidden,
                   .mtp_state = state,
                   .communicator = communicator_.get()});
  const TensorView top = find_top_logits(logits, workspace);
  end_step();
  if (copies_hidden) {
    stream().copy_out(hidden_host_.data, hidden.data,
                      num_hidden_rows_ * hidden_size_ * static_cast<int64_t>(sizeof(float)));
  }
  copy_logits_out(logits, top);
}

void RankRunner::launch_mtp(std::span<const nn::BatchInput> inputs, std::span<const int32_t> rows) {
  const BatchView& batch = batch_memory_.lay_out(stream(), inputs);
  const auto num_rows = static_cast<int64_t>(rows.size());
  CHECK(mtp_ && num_rows == batch.num_tokens && num_rows <= num_hidden_rows_);
  std::copy(rows.begin(), rows.end(), static_cast<int32_t*>(rows_host_.data));
  stream().copy_in(rows_device_.data, rows_host_.data, num_rows * dtype_bytes(Dtype::kI32));
  Workspace workspace(workspace_.data, workspace_.bytes);
  const int64_t size = own_state_size_ > 0 ? own_state_size_ : hidden_size_;
  const TensorView states = workspace.tensor(Dtype::kF32, {num_hidden_rows_, size});
  const TensorView picked = workspace.tensor(Dtype::kF32, {num_rows, size});
  const TensorView picks = TensorView::contiguous(rows_device_.data, Dtype::kI32, {num_rows});
  stream().gather_rows({.x = states, .rows = picks, .out = picked});
  const TensorView logits = logits_for(inputs);
  begin_step();
  model_->forward_mtp({.stream = stream(),
                       .workspace = workspace,
                       .batch = batch,
                       .cache = cache_,
                       .module = 0,
                       .state = picked,
                       .logits = logits,
                       .state_out = {},
                       .communicator = communicator_.get()});
  const TensorView top = find_top_logits(logits, workspace);
  end_step();
  copy_logits_out(logits, top);
}

std::span<const float> RankRunner::hidden() const {
  return {static_cast<const float*>(hidden_host_.data),
          static_cast<size_t>(num_hidden_rows_ * hidden_size_)};
}

Status RankRunner::synchronize() {
  Status status = stream().synchronize();
  if (status.ok() && communicator_ != nullptr) status = communicator_->status();
  if (!status.ok() && communicator_ != nullptr) communicator_->abort(status.error());
  FERRY_TRY_VOID(status);
  return std::exchange(hidden_status_, {});
}

}  // namespace ferry::engine
