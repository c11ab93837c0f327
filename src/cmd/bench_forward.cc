// See bench_forward.h.
#include "cmd/bench_forward.h"

#include <algorithm>
#include <chrono>

#include "base/checked_math.h"

namespace ferry::cmd {
namespace {

using BenchClock = std::chrono::steady_clock;

constexpr int64_t kFillTokens = 1024;  // random rows that the pages are filled with, over and over

double seconds_since(BenchClock::time_point start) {
  return std::chrono::duration<double>(BenchClock::now() - start).count();
}

// Blocks that a forward of so many tokens may look back on or write to.
int64_t recent_blocks(const nn::KvLayout& layout, const BenchLimits& limits) {
  return ceil_div(layout.recent_tokens() + limits.chunk, kBenchBlockSize) + 1;
}

}  // namespace

nn::PlanLimits plan_limits(const nn::KvLayout& layout, const BenchLimits& limits) {
  nn::PlanLimits plan;
  plan.batch = {.max_tokens = std::max(limits.chunk, limits.max_batch),
                .max_sequences = std::max<int64_t>(limits.max_batch, 1),
                .max_context = limits.max_context,
                .block_size = kBenchBlockSize};
  plan.top_logits = kMaxTopLogits;
  plan.cache = {
      .dtype = limits.kv_dtype, .block_size = kBenchBlockSize, .num_pages = limits.num_pages};
  const int64_t recent = recent_blocks(layout, limits) * plan.batch.max_sequences;
  if (layout.recent_tokens() > 0 && recent < limits.num_pages) {
    plan.cache.num_recent_pages = recent;
    plan.batch.recent_pages = true;
  }
  return plan;
}

Result<std::unique_ptr<BenchForward>> BenchForward::create(const engine::LoadedModel& model,
                                                           const BenchLimits& limits) {
  std::unique_ptr<BenchForward> bench(new BenchForward(model, limits));
  FERRY_TRY_VOID(bench->allocate());
  FERRY_TRY_VOID(bench->fill_cache());
  return bench;
}

Status BenchForward::allocate() {
  const nn::PlanLimits limits = plan_limits(model_.model->kv_layout(), limits_);
  const nn::MemoryPlan plan =
      nn::plan_memory(*model_.model, model_.weights_bytes, limits, model_.backend.get());
  const engine::RunnerRank rank{model_.backend, model_.model.get()};
  FERRY_TRY(auto runner, engine::Runner::create(
                             {&rank, 1}, {.batch = limits.batch,
                                          .cache = limits.cache,
                                          .max_logit_rows = limits.batch.max_sequences,
                                          .num_known_tokens = model_.spec().vocab_size,
                                          .workspace_bytes = plan.workspace_bytes,
                                          .scratch_bytes = plan.scratch_bytes,
                                          .watch = [this](std::unique_ptr<Stream> inner) {
                                            auto watched =
                                                std::make_unique<ProfileStream>(std::move(inner));
                                            profile_stream_ = watched.get();
                                            return watched;
                                          }}));
  runner_.emplace(std::move(runner));
  set_profiling(false);
  return {};
}

Status BenchForward::fill_cache() {
  const std::vector<nn::KvPlane>& planes = model_.model->kv_layout().planes;
  if (planes.empty()) return {};
  Backend& backend = *model_.backend;
  Stream& stream = runner_->own_stream();
  const nn::KvCache& cache = runner_->cache();
  int64_t width_max = 0;
  for (const nn::KvPlane& plane : planes) width_max = std::max(width_max, plane.width);
  FERRY_TRY(const Buffer rows_host,
            backend.allocate_host(kFillTokens * width_max * dtype_bytes(Dtype::kF32)));
  FERRY_TRY(const Buffer rows, backend.allocate(rows_host.bytes));
  FERRY_TRY(const Buffer slots_host, backend.allocate_host(kFillTokens * dtype_bytes(Dtype::kI32)));
  FERRY_TRY(const Buffer slots, backend.allocate(slots_host.bytes));

  std::normal_distribution<float> normal;
  auto* values = static_cast<float*>(rows_host.data);
  for (int64_t i = 0; i < kFillTokens * width_max; ++i) values[i] = normal(random_);
  stream.copy_in(rows.data, rows_host.data, rows.bytes);

  const int64_t places = limits_.num_pages * kBenchBlockSize;
  for (int64_t first = 0; first < places; first += kFillTokens) {
    const int64_t count = std::min(kFillTokens, places - first);
    auto* slot = static_cast<int32_t*>(slots_host.data);
    for (int64_t i = 0; i < count; ++i) slot[i] = static_cast<int32_t>(first + i);
    stream.copy_in(slots.data, slots_host.data, count * dtype_bytes(Dtype::kI32));
    for (int64_t plane = 0; plane < static_cast<int64_t>(planes.size()); ++plane) {
      const TensorView pages = cache.plane(plane);  // some have fewer rows than tokens
      const int64_t fitting = std::min(count, pages.shape[0] * pages.shape[1] - first);
      if (fitting <= 0) continue;
      stream.kv_write(
          {.rows = TensorView::contiguous(rows.data, Dtype::kF32, {fitting, pages.shape[2]}),
           .slots = TensorView::contiguous(slots.data, Dtype::kI32, {fitting}),
           .pages = pages,
           .group = cache.group(plane)});
    }
    FERRY_TRY_VOID(stream.synchronize());
  }
  return {};
}

std::vector<int32_t> BenchForward::random_tokens(int64_t count) {
  std::uniform_int_distribution<int32_t> id(0, static_cast<int32_t>(model_.spec().vocab_size - 1));
  std::vector<int32_t> tokens(static_cast<size_t>(count));
  for (int32_t& token : tokens) token = id(random_);
  return tokens;
}

int64_t BenchForward::num_recent_blocks() const {
  return recent_blocks(model_.model->kv_layout(), limits_);
}

// Of `num_blocks` blocks in turn.
std::vector<int32_t> BenchForward::pages_of(int64_t sequence, int64_t batch, int64_t context,
                                            int64_t num_blocks) const {
  std::vector<int32_t> pages(static_cast<size_t>(ceil_div(context, kBenchBlockSize)));
  for (size_t block = 0; block < pages.size(); ++block) {
    pages[block] =
        static_cast<int32_t>(static_cast<int64_t>(block) % num_blocks * batch + sequence);
  }
  return pages;
}

// As of a request that is greedy.
nn::BatchInput BenchForward::input(std::span<const int32_t> tokens, int64_t first_position,
                                   const std::vector<int32_t>& pages,
                                   const std::vector<int32_t>& recent_pages) const {
  return {.tokens = tokens,
          .first_position = first_position,
          .pages = pages,
          .recent_pages = recent_pages,
          .logits = nn::WantedLogits::kLast,
          .only_top_logits = runner_->num_top_logits() > 0};
}

Status BenchForward::step(std::span<const nn::BatchInput> inputs) {
  runner_->launch(inputs);
  const auto logits = runner_->wait();
  return logits.ok() ? Status() : logits.error();
}

Result<double> BenchForward::prefill(int64_t context, int64_t tokens) {
  const std::vector<int32_t> ids = random_tokens(tokens);
  const std::vector<int32_t> pages = pages_of(0, 1, context + tokens, limits_.num_pages);
  const std::vector<int32_t> recent = pages_of(0, 1, context + tokens, num_recent_blocks());
  const auto start = BenchClock::now();
  for (int64_t done = 0; done < tokens; done += limits_.chunk) {
    const int64_t count = std::min(limits_.chunk, tokens - done);
    nn::BatchInput part =
        input(std::span(ids).subspan(static_cast<size_t>(done), static_cast<size_t>(count)),
              context + done, pages, recent);
    if (done + count < tokens) part.logits = nn::WantedLogits::kNone;
    FERRY_TRY_VOID(step({&part, 1}));
  }
  return seconds_since(start);
}

Result<double> BenchForward::decode(int64_t batch, int64_t context, int64_t steps,
                                    const std::function<void()>& between) {
  const std::vector<int32_t> ids = random_tokens(batch * steps);
  std::vector<std::vector<int32_t>> pages, recent;
  std::vector<nn::BatchInput> inputs(static_cast<size_t>(batch));
  for (int64_t s = 0; s < batch; ++s) {
    pages.push_back(pages_of(s, batch, context + steps, limits_.num_pages));
    recent.push_back(pages_of(s, batch, context + steps, num_recent_blocks()));
  }
  double seconds = 0;
  for (int64_t i = 0; i < steps; ++i) {
    const auto start = BenchClock::now();
    for (int64_t s = 0; s < batch; ++s) {
      const auto at = static_cast<size_t>(s);
      inputs[at] = input(std::span(ids).subspan(static_cast<size_t>(i * batch + s), 1), context + i,
                         pages[at], recent[at]);
      inputs[at].decode = true;
    }
    FERRY_TRY_VOID(step(inputs));
    seconds += seconds_since(start);
    if (between) between();
  }
  return seconds;
}

}  // namespace ferry::cmd
