// See memory_sizing.h.
#include "engine/memory_sizing.h"

#include <algorithm>

#include "base/checked_math.h"

namespace ferry::engine {
namespace {

constexpr int64_t kMiB = 1 << 20;
constexpr int64_t kMostTokens = 1 << 30;  // places in the cache are 32-bit numbers

nn::PlanLimits limits_for(const nn::Model& model, const EngineOptions& options, int64_t context,
                          int64_t num_pages) {
  nn::PlanLimits limits;
  limits.batch = {.max_tokens = options.max_batch_tokens,
                  .max_sequences = options.max_sequences,
                  .max_context = context,
                  .block_size = options.block_size};
  limits.cache = {
      .dtype = kv_dtype_of(options.kv_dtype),
      .block_size = options.block_size,
      .num_pages = num_pages,
      .num_recent_pages = nn::num_recent_pages(model.kv_layout(), limits.batch, num_pages)};
  limits.batch.recent_pages = limits.cache.num_recent_pages > 0;
  limits.mtp = options.speculation == Speculation::kMtp;
  limits.top_logits = kMaxTopLogits;
  limits.max_logit_rows = std::max(options.max_sequences, max_draft_step_tokens(options));
  return limits;
}

bool fits(int64_t bytes, const MemoryInfo& memory) {
  return memory.total_bytes == 0 || bytes <= memory.free_bytes;  // 0: the backend can't say
}

std::string mib(int64_t bytes) {
  return fmt::format("{:.1f} MiB", static_cast<double>(bytes) / static_cast<double>(kMiB));
}

}  // namespace

Dtype kv_dtype_of(KvDtype dtype) {
  switch (dtype) {
    case KvDtype::kF32: return Dtype::kF32;
    case KvDtype::kF16: return Dtype::kF16;
    case KvDtype::kBF16: return Dtype::kBF16;
    case KvDtype::kInt8: return Dtype::kI8;
  }
  return Dtype::kF32;
}

int64_t max_draft_step_tokens(const EngineOptions& options) {
  if (options.speculation == Speculation::kOff) return 0;
  return std::min(kDraftStepTokens, options.max_batch_tokens);
}

std::string describe_plan(const Sizing& sizing, const MemoryInfo& memory, int64_t file_bytes) {
  const nn::MemoryPlan& plan = sizing.plan;
  const nn::KvCacheSpec& cache = sizing.limits.cache;
  std::string text = fmt::format(
      "file {}; memory: weights {} + cache {} ({} tokens, {} each sequence at most{}) + "
      "workspace {} + {}logits {} = {}",
      mib(file_bytes), mib(plan.weights_bytes), mib(plan.kv_bytes),
      cache.num_pages * cache.block_size, sizing.limits.batch.max_context,
      plan.kv_recent_bytes > 0 ? "; of it " + mib(plan.kv_recent_bytes) + " for windows" : "",
      mib(plan.workspace_bytes),
      plan.scratch_bytes > 0 ? "scratch of ops " + mib(plan.scratch_bytes) + " + " : "",
      mib(plan.logits_bytes + plan.index_bytes), mib(plan.total_bytes()));
  if (memory.total_bytes > 0) {
    text += fmt::format("; free: {} of {}", mib(memory.free_bytes), mib(memory.total_bytes));
  }
  return text;
}

Status check_options(const EngineOptions& options) {
  const auto in_range = [](const char* name, int64_t value, int64_t low, int64_t high) -> Status {
    if (value >= low && value <= high) return {};
    return invalid_input("{}: {} is not between {} and {}", name, value, low, high);
  };
  FERRY_TRY_VOID(in_range("threads", options.threads, 0, 1024));
  FERRY_TRY_VOID(in_range("device", options.device, 0, 1024));
  FERRY_TRY_VOID(in_range("tensor_parallel_size", options.tensor_parallel_size, 1, 64));
  FERRY_TRY_VOID(in_range("max_context", options.max_context, 0, kMostTokens));
  FERRY_TRY_VOID(in_range("block_size", options.block_size, 1, 1024));
  FERRY_TRY_VOID(in_range("max_sequences", options.max_sequences, 1, 1024));
  FERRY_TRY_VOID(
      in_range("max_batch_tokens", options.max_batch_tokens, options.max_sequences, 1 << 20));
  FERRY_TRY_VOID(in_range("max_waiting", options.max_waiting, 1, 1 << 20));
  FERRY_TRY_VOID(in_range("draft_tokens", options.draft_tokens, 1, kDraftStepTokens - 1));
  FERRY_TRY_VOID(in_range("min_match", options.min_match, 1, 16));
  FERRY_TRY_VOID(in_range("expert_memory", options.expert_memory, 0, int64_t{1} << 50));
  FERRY_TRY_VOID(in_range("kv_tokens", options.kv_tokens, 0, kMostTokens));
  if (options.kv_tokens > 0 && options.kv_tokens < options.max_context) {
    return invalid_input("kv_tokens: {} is less than max_context ({}); one sequence must fit",
                         options.kv_tokens, options.max_context);
  }
  return {};
}

Result<Sizing> choose_sizes(const nn::Model& model, const Backend& chip, int64_t weights_bytes,
                            int64_t file_bytes, const EngineOptions& options,
                            const MemoryInfo& memory) {
  const int64_t block = options.block_size;
  int64_t context = options.max_context > 0
                        ? options.max_context
                        : std::min(model.spec().max_position_embeddings, kDefaultMaxContext);
  Sizing sizing;
  while (true) {
    const int64_t tokens = std::max(context, options.kv_tokens);
    sizing.limits = limits_for(model, options, context, ceil_div(tokens, block));
    sizing.plan = nn::plan_memory(model, weights_bytes, sizing.limits, &chip);
    if (fits(sizing.plan.total_bytes(), memory)) break;
    const bool may_shrink = options.max_context == 0 && options.kv_tokens == 0;
    if (!may_shrink || context / 2 < kSmallestDefaultContext) {
      return out_of_memory("{}", describe_plan(sizing, memory, file_bytes));
    }
    context /= 2;
  }
  if (options.kv_tokens > 0) return sizing;

  const int64_t wanted =
      std::min(ceil_div(context, block) * options.max_sequences, kMostTokens / block);
  const int64_t page_bytes = std::max<int64_t>(sizing.plan.kv_bytes_per_token * block, 1);
  const int64_t left = memory.free_bytes - (sizing.plan.total_bytes() - sizing.plan.kv_bytes) -
                       sizing.plan.kv_recent_bytes;
  const int64_t affordable = memory.total_bytes == 0 ? wanted : left / 2 / page_bytes;
  const int64_t num_pages = std::max(sizing.limits.cache.num_pages, std::min(wanted, affordable));
  sizing.limits = limits_for(model, options, context, num_pages);
  sizing.plan = nn::plan_memory(model, weights_bytes, sizing.limits, &chip);
  return sizing;
}

}  // namespace ferry::engine
