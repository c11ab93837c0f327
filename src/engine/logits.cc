// See logits.h.
#include "engine/logits.h"

#include <algorithm>
#include <optional>

#include "base/checked_math.h"
#include "engine/ranks.h"
#include "engine/runner.h"
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
  Run(std::span<const LoadedModel> shards, const LogitsOptions& options)
      : shards_(shards), options_(options) {}

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
    const int64_t vocab_size = shards_.front().spec().vocab_size;
    for (const std::vector<int32_t>& tokens : sequences) {
      FERRY_TRY_VOID(check_tokens(shards_.front(), tokens));
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
    const int64_t count = static_cast<int64_t>(rows_.size());
    nn::PlanLimits limits;
    limits.batch = {.max_tokens = count * chunk_,
                    .max_sequences = count,
                    .max_context = longest_,
                    .block_size = options_.block_size};
    limits.cache = {
        .dtype = options_.kv_dtype, .block_size = options_.block_size, .num_pages = num_pages_};
    limits.max_logit_rows = count * chunk_;
    const LoadedModel& first = shards_.front();
    const nn::MemoryPlan plan =
        nn::plan_memory(*first.model, first.weights_bytes, limits, first.backend.get());
    FERRY_TRY(auto runner,
              Runner::create(runner_ranks(shards_), {.batch = limits.batch,
                                                     .cache = limits.cache,
                                                     .max_logit_rows = limits.max_logit_rows,
                                                     .workspace_bytes = plan.workspace_bytes,
                                                     .scratch_bytes = plan.scratch_bytes,
                                                     .watch = options_.watch}));
    runner_.emplace(std::move(runner));
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
    const int64_t vocab_size = runner_->vocab_size();
    runner_->launch(inputs_);
    FERRY_TRY(const std::span<const sample::LogitRow> logits, runner_->wait());
    const float* from = logits.front().all.data();  // the rows lie behind each other
    for (size_t i = 0; i < inputs_.size(); ++i) {
      const int64_t count = static_cast<int64_t>(inputs_[i].tokens.size());
      std::copy_n(from, count * vocab_size,
                  order_[i]->logits.data() + order_[i]->done * vocab_size);
      from += count * vocab_size;
      order_[i]->done += count;
    }
    return {};
  }

  const std::span<const LoadedModel> shards_;
  const LogitsOptions& options_;
  std::vector<Row> rows_;
  int64_t longest_ = 0;
  int64_t num_pages_ = 0;
  int64_t chunk_ = 0;
  std::vector<nn::BatchInput> inputs_;
  std::vector<Row*> order_;
  std::optional<Runner> runner_;
};

}  // namespace

Result<std::vector<std::vector<float>>> compute_logits_together(
    std::span<const LoadedModel> shards, std::span<const std::vector<int32_t>> sequences,
    const LogitsOptions& options) {
  return Run(shards, options).run(sequences);
}

Result<std::vector<float>> compute_logits(std::span<const LoadedModel> shards,
                                          std::span<const int32_t> tokens,
                                          const LogitsOptions& options) {
  const std::vector<int32_t> one[] = {{tokens.begin(), tokens.end()}};
  FERRY_TRY(auto all, compute_logits_together(shards, one, options));
  return std::move(all.front());
}

Result<std::vector<float>> compute_logits(const LoadedModel& model, std::span<const int32_t> tokens,
                                          const LogitsOptions& options) {
  return compute_logits(std::span(&model, 1), tokens, options);
}

}  // namespace ferry::engine
