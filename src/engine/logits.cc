// See logits.h.
#include "engine/logits.h"

#include <algorithm>

#include "base/checked_math.h"
#include "nn/batch_memory.h"

namespace ferry::engine {
namespace {

// One of the sequences that run side by side.
struct Row {
  std::span<const int32_t> tokens;
  int64_t prefill = 0;
  int64_t done = 0;
  std::vector<int32_t> pages;
  std::vector<float> logits;

  int64_t size() const { return static_cast<int64_t>(tokens.size()); }
  bool decoding() const { return done >= prefill; }
  int64_t next_count(int64_t chunk) const {
    if (decoding()) return std::min<int64_t>(size() - done, 1);
    return std::min(prefill - done, chunk);
  }
};

Status check_tokens(const LoadedModel& model, std::span<const int32_t> tokens) {
  const int64_t vocab_size = model.spec().vocab_size;
  if (tokens.empty()) return invalid_input("no tokens: expected at least one id");
  if (static_cast<int64_t>(tokens.size()) > model.max_context) {
    return invalid_input("{} tokens: the context of the model ends at {}", tokens.size(),
                         model.max_context);
  }
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i] < 0 || tokens[i] >= vocab_size) {
      return invalid_input("token {} of {}: found id {}, expected 0 to {}", i, tokens.size(),
                           tokens[i], vocab_size - 1);
    }
  }
  return {};
}

class Run {
 public:
  Run(const LoadedModel& model, const LogitsOptions& options) : model_(model), options_(options) {}

  Result<std::vector<std::vector<float>>> run(std::span<const std::vector<int32_t>> sequences) {
    FERRY_TRY_VOID(prepare(sequences));
    FERRY_TRY_VOID(allocate());
    while (collect()) FERRY_TRY_VOID(step());
    std::vector<std::vector<float>> out;
    for (Row& row : rows_) out.push_back(std::move(row.logits));
    return out;
  }

 private:
  // Pages of the sequences take turns, so that none lies in one piece.
  Status prepare(std::span<const std::vector<int32_t>> sequences) {
    const int64_t vocab_size = model_.spec().vocab_size;
    for (const std::vector<int32_t>& tokens : sequences) {
      FERRY_TRY_VOID(check_tokens(model_, tokens));
      Row row;
      row.tokens = tokens;
      const int64_t wanted = options_.prefill < 0 ? row.size() : options_.prefill;
      row.prefill = std::clamp<int64_t>(wanted, 1, row.size());
      longest_ = std::max(longest_, row.size());
      row.logits.resize(tokens.size() * static_cast<size_t>(vocab_size));
      rows_.push_back(std::move(row));
    }
    const int64_t blocks = ceil_div(longest_, options_.block_size);
    for (int64_t b = 0; b < blocks; ++b) {
      for (Row& row : rows_) {
        row.pages.push_back(static_cast<int32_t>(num_pages_++));
      }
    }
    chunk_ = options_.chunk > 0 ? std::min(options_.chunk, longest_) : longest_;
    return {};
  }

  Status allocate() {
    Backend& backend = *model_.backend;
    const int64_t count = static_cast<int64_t>(rows_.size());
    nn::PlanLimits limits;
    limits.batch = {.max_tokens = count * chunk_,
                    .max_sequences = count,
                    .max_context = longest_,
                    .block_size = options_.block_size};
    limits.cache = {
        .dtype = options_.kv_dtype, .block_size = options_.block_size, .num_pages = num_pages_};
    limits.max_logit_rows = count * chunk_;
    const nn::MemoryPlan plan = nn::plan_memory(*model_.model, model_.weights_bytes, limits);
    FERRY_TRY(cache_, nn::KvCache::allocate(backend, model_.model->kv_layout(), limits.cache));
    FERRY_TRY(workspace_, backend.allocate(std::max<int64_t>(plan.workspace_bytes, 1)));
    FERRY_TRY(logits_device_, backend.allocate(plan.logits_bytes));
    FERRY_TRY(logits_host_, backend.allocate_host(plan.logits_bytes));
    FERRY_TRY(batch_memory_, nn::BatchMemory::allocate(backend, limits.batch));
    FERRY_TRY(stream_, backend.create_stream());
    if (options_.watch) stream_ = options_.watch(std::move(stream_));
    return {};
  }

  // What the next forward computes, decoding sequences first; false when all is done.
  bool collect() {
    inputs_.clear();
    order_.clear();
    for (bool decode : {true, false}) {
      for (Row& row : rows_) {
        const int64_t count = row.next_count(chunk_);
        if (count == 0 || row.decoding() != decode) continue;
        inputs_.push_back({.tokens = row.tokens.subspan(static_cast<size_t>(row.done),
                                                        static_cast<size_t>(count)),
                           .first_position = row.done,
                           .pages = row.pages,
                           .decode = decode,
                           .logits = nn::WantedLogits::kAll});
        order_.push_back(&row);
      }
    }
    return !inputs_.empty();
  }

  Status step() {
    const int64_t vocab_size = model_.spec().vocab_size;
    const BatchView& batch = batch_memory_.lay_out(*stream_, inputs_);
    Workspace workspace(workspace_.data, workspace_.bytes);
    const TensorView logits =
        TensorView::contiguous(logits_device_.data, Dtype::kF32, {batch.num_tokens, vocab_size});
    model_.model->forward({.stream = *stream_,
                           .workspace = workspace,
                           .batch = batch,
                           .cache = cache_,
                           .logits = logits,
                           .hidden = {},
                           .mtp_state = {}});
    stream_->copy_out(logits_host_.data, logits_device_.data,
                      batch.num_tokens * vocab_size * dtype_bytes(Dtype::kF32));
    FERRY_TRY_VOID(stream_->synchronize());
    const float* from = static_cast<const float*>(logits_host_.data);
    for (size_t i = 0; i < inputs_.size(); ++i) {
      const int64_t count = static_cast<int64_t>(inputs_[i].tokens.size());
      std::copy_n(from, count * vocab_size,
                  order_[i]->logits.data() + order_[i]->done * vocab_size);
      from += count * vocab_size;
      order_[i]->done += count;
    }
    return {};
  }

  const LoadedModel& model_;
  const LogitsOptions& options_;
  std::vector<Row> rows_;
  int64_t longest_ = 0;
  int64_t num_pages_ = 0;
  int64_t chunk_ = 0;
  nn::KvCache cache_;
  Buffer workspace_;
  Buffer logits_device_;
  Buffer logits_host_;
  nn::BatchMemory batch_memory_;
  std::vector<nn::BatchInput> inputs_;
  std::vector<Row*> order_;
  std::unique_ptr<Stream> stream_;  // last: gone before the memory it works on
};

}  // namespace

Result<std::vector<std::vector<float>>> compute_logits_together(
    const LoadedModel& model, std::span<const std::vector<int32_t>> sequences,
    const LogitsOptions& options) {
  return Run(model, options).run(sequences);
}

Result<std::vector<float>> compute_logits(const LoadedModel& model, std::span<const int32_t> tokens,
                                          const LogitsOptions& options) {
  const std::vector<int32_t> one[] = {{tokens.begin(), tokens.end()}};
  FERRY_TRY(auto all, compute_logits_together(model, one, options));
  return std::move(all.front());
}

}  // namespace ferry::engine
