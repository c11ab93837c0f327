// See bench_forward.h.
#include "cmd/bench_forward.h"

#include <algorithm>
#include <chrono>

#include "base/checked_math.h"
#include "device/workspace.h"

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
  Backend& backend = *model_.backend;
  const nn::PlanLimits limits = plan_limits(model_.model->kv_layout(), limits_);
  const nn::MemoryPlan plan = nn::plan_memory(*model_.model, model_.weights_bytes, limits);
  FERRY_TRY(cache_, nn::KvCache::allocate(backend, model_.model->kv_layout(), limits.cache));
  FERRY_TRY(workspace_, backend.allocate(std::max<int64_t>(plan.workspace_bytes, 1)));
  FERRY_TRY(logits_device_, backend.allocate(plan.logits_bytes));
  FERRY_TRY(logits_host_, backend.allocate_host(plan.logits_bytes));
  FERRY_TRY(batch_memory_, nn::BatchMemory::allocate(backend, limits.batch));
  FERRY_TRY(stream_, backend.create_stream());
  FERRY_TRY(auto inner, backend.create_stream());
  profile_stream_ = std::make_unique<ProfileStream>(std::move(inner));
  return {};
}

Status BenchForward::fill_cache() {
  const std::vector<nn::KvPlane>& planes = model_.model->kv_layout().planes;
  if (planes.empty()) return {};
  Backend& backend = *model_.backend;
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
  stream_->copy_in(rows.data, rows_host.data, rows.bytes);

  const int64_t places = limits_.num_pages * kBenchBlockSize;
  for (int64_t first = 0; first < places; first += kFillTokens) {
    const int64_t count = std::min(kFillTokens, places - first);
    auto* slot = static_cast<int32_t*>(slots_host.data);
    for (int64_t i = 0; i < count; ++i) slot[i] = static_cast<int32_t>(first + i);
    stream_->copy_in(slots.data, slots_host.data, count * dtype_bytes(Dtype::kI32));
    for (int64_t plane = 0; plane < static_cast<int64_t>(planes.size()); ++plane) {
      const TensorView pages = cache_.plane(plane);  // some have fewer rows than tokens
      const int64_t fitting = std::min(count, pages.shape[0] * pages.shape[1] - first);
      if (fitting <= 0) continue;
      stream_->kv_write(
          {.rows = TensorView::contiguous(rows.data, Dtype::kF32, {fitting, pages.shape[2]}),
           .slots = TensorView::contiguous(slots.data, Dtype::kI32, {fitting}),
           .pages = pages,
           .group = cache_.group(plane)});
    }
    FERRY_TRY_VOID(stream_->synchronize());
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

Status BenchForward::step(std::span<const nn::BatchInput> inputs) {
  Stream& stream = profiling_ ? *profile_stream_ : *stream_;
  const BatchView& batch = batch_memory_.lay_out(stream, inputs);
  const int64_t rows = batch.logit_rows.device.shape[0];
  Workspace workspace(workspace_.data, workspace_.bytes);
  const TensorView logits =
      TensorView::contiguous(logits_device_.data, Dtype::kF32, {rows, model_.spec().vocab_size});
  model_.model->forward({.stream = stream,
                         .workspace = workspace,
                         .batch = batch,
                         .cache = cache_,
                         .logits = logits,
                         .hidden = {},
                         .mtp_state = {}});
  if (rows > 0) {
    stream.copy_out(logits_host_.data, logits_device_.data,
                    logits.num_elements() * dtype_bytes(Dtype::kF32));
  }
  return stream.synchronize();
}

Result<double> BenchForward::prefill(int64_t context, int64_t tokens) {
  const std::vector<int32_t> ids = random_tokens(tokens);
  const std::vector<int32_t> pages = pages_of(0, 1, context + tokens, limits_.num_pages);
  const std::vector<int32_t> recent = pages_of(0, 1, context + tokens, num_recent_blocks());
  const auto start = BenchClock::now();
  for (int64_t done = 0; done < tokens; done += limits_.chunk) {
    const int64_t count = std::min(limits_.chunk, tokens - done);
    const bool last = done + count == tokens;
    const nn::BatchInput input{
        .tokens = std::span(ids).subspan(static_cast<size_t>(done), static_cast<size_t>(count)),
        .first_position = context + done,
        .pages = pages,
        .recent_pages = recent,
        .logits = last ? nn::WantedLogits::kLast : nn::WantedLogits::kNone};
    FERRY_TRY_VOID(step({&input, 1}));
  }
  return seconds_since(start);
}

Result<double> BenchForward::decode(int64_t batch, int64_t context, int64_t steps) {
  const std::vector<int32_t> ids = random_tokens(batch * steps);
  std::vector<std::vector<int32_t>> pages, recent;
  std::vector<nn::BatchInput> inputs(static_cast<size_t>(batch));
  for (int64_t s = 0; s < batch; ++s) {
    pages.push_back(pages_of(s, batch, context + steps, limits_.num_pages));
    recent.push_back(pages_of(s, batch, context + steps, num_recent_blocks()));
  }
  const auto start = BenchClock::now();
  for (int64_t i = 0; i < steps; ++i) {
    for (int64_t s = 0; s < batch; ++s) {
      inputs[static_cast<size_t>(s)] = {
          .tokens = std::span(ids).subspan(static_cast<size_t>(i * batch + s), 1),
          .first_position = context + i,
          .pages = pages[static_cast<size_t>(s)],
          .recent_pages = recent[static_cast<size_t>(s)],
          .decode = true,
          .logits = nn::WantedLogits::kLast};
    }
    FERRY_TRY_VOID(step(inputs));
  }
  return seconds_since(start);
}

}  // namespace ferry::cmd
