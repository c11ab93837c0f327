// See memory_plan.h.
#include "nn/memory_plan.h"

#include <algorithm>

#include "device/plan_stream.h"

namespace ferry::nn {
namespace {

IndexView fake_index(std::initializer_list<int64_t> dims) {
  void* anywhere = reinterpret_cast<void*>(Workspace::kAlignment);
  return {{}, TensorView::contiguous(anywhere, Dtype::kI32, dims)};
}

// A batch of as many tokens and sequences as may ever be, all in one phase: scratch grows with the
// tokens of each phase, so one of the two is the worst of all mixtures.
BatchView fake_batch(const BatchLimits& limits, int64_t logit_rows, bool decode) {
  BatchView batch;
  batch.num_tokens = limits.max_tokens;
  batch.num_sequences = std::min(limits.max_sequences, limits.max_tokens);
  if (decode) {
    batch.num_decode_tokens = batch.num_tokens;
    batch.num_decode_sequences = batch.num_sequences;
  }
  batch.max_query_length = std::min(limits.max_tokens, limits.max_context);
  batch.max_context_length = limits.max_context;
  batch.block_size = limits.block_size;
  batch.max_blocks = ceil_div(limits.max_context, limits.block_size);
  batch.token_ids = fake_index({batch.num_tokens});
  batch.positions = fake_index({batch.num_tokens});
  batch.slots = fake_index({batch.num_tokens});
  batch.query_start = fake_index({batch.num_sequences + 1});
  batch.context_lengths = fake_index({batch.num_sequences});
  batch.block_tables = fake_index({batch.num_sequences, batch.max_blocks});
  batch.recent_slots = batch.slots;
  batch.recent_tables = batch.block_tables;
  batch.logit_rows = fake_index({logit_rows});
  return batch;
}

void measure_top_logits(const TensorView& logits, int64_t top, Stream& stream,
                        Workspace& workspace) {
  if (top == 0) return;
  const TensorView values = workspace.tensor(Dtype::kF32, {logits.shape[0], top});
  const TensorView ids = workspace.tensor(Dtype::kI32, {logits.shape[0], top});
  stream.top_logits({.x = logits, .values = values, .ids = ids});
}

// The prediction module behind a forward, whose states are kept and then picked from.
void measure_mtp(const Model& model, const BatchView& batch, const KvCache& cache,
                 const TensorView& logits, int64_t top, Stream& stream, Workspace& workspace) {
  auto scope = workspace.scope();
  const int64_t own_size = model.mtp_state_size();
  const int64_t size = own_size > 0 ? own_size : model.spec().hidden_size;
  const TensorView states = workspace.tensor(Dtype::kF32, {batch.num_tokens, size});
  const TensorView picked = workspace.tensor(Dtype::kF32, {batch.num_tokens, size});
  stream.gather_rows({.x = states, .rows = batch.token_ids.device, .out = picked});
  model.forward_mtp({.stream = stream,
                     .workspace = workspace,
                     .batch = batch,
                     .cache = cache,
                     .module = 0,
                     .state = picked,
                     .logits = logits,
                     .state_out = {}});
  measure_top_logits(logits, top, stream, workspace);
}

// Behind a forward whose states are kept.
void measure_top_logits(const Model& model, const BatchView& batch, const TensorView& logits,
                        const PlanLimits& limits, Stream& stream, Workspace& workspace) {
  auto scope = workspace.scope();
  workspace.tensor(Dtype::kF32, {batch.num_tokens, model.spec().hidden_size});
  if (limits.mtp) workspace.tensor(Dtype::kF32, {batch.num_tokens, model.mtp_state_size()});
  measure_top_logits(logits, limits.top_logits, stream, workspace);
}

}  // namespace

int64_t num_recent_pages(const KvLayout& layout, const BatchLimits& batch, int64_t num_pages) {
  const int64_t recent = layout.recent_tokens();
  if (recent == 0) return 0;
  // What is looked back on begins and ends within a page, and so does the last page that is full.
  const int64_t each = ceil_div(recent, batch.block_size) + 3;
  const int64_t at_once = batch.max_sequences * each + ceil_div(batch.max_tokens, batch.block_size);
  return 2 * at_once < num_pages ? 2 * at_once : 0;
}

MemoryPlan plan_memory(const Model& model, int64_t weights_bytes, const PlanLimits& limits,
                       const Backend* chip) {
  BatchLimits batch_limits = limits.batch;
  batch_limits.block_size = limits.cache.block_size;
  const int64_t logit_rows =
      limits.max_logit_rows > 0 ? limits.max_logit_rows : batch_limits.max_sequences;
  const int64_t vocab_size = model.spec().vocab_size;

  const KvCache cache = KvCache::measuring(model.kv_layout(), limits.cache);
  const TensorView logits =
      TensorView::contiguous(reinterpret_cast<void*>(Workspace::kAlignment), Dtype::kF32,
                             {std::min(logit_rows, batch_limits.max_tokens), vocab_size});
  Workspace workspace;
  const std::unique_ptr<PlanStream> plan_stream =
      chip != nullptr ? chip->create_plan_stream() : std::make_unique<PlanStream>();
  PlanStream& stream = *plan_stream;
  for (bool decode : {false, true}) {
    const BatchView batch = fake_batch(batch_limits, logits.shape[0], decode);
    model.forward({.stream = stream,
                   .workspace = workspace,
                   .batch = batch,
                   .cache = cache,
                   .logits = logits,
                   .hidden = {},
                   .mtp_state = {}});
    measure_top_logits(model, batch, logits, limits, stream, workspace);
    if (limits.mtp && model.num_mtp_modules() > 0) {
      measure_mtp(model, batch, cache, logits, limits.top_logits, stream, workspace);
    }
  }

  MemoryPlan plan;
  plan.weights_bytes = weights_bytes;
  const auto allocated = [&](int64_t bytes) {
    return chip != nullptr && bytes > 0 ? chip->allocation_bytes(bytes) : bytes;
  };
  plan.kv_bytes = allocated(kv_cache_bytes(model.kv_layout(), limits.cache));
  const auto per_token = [&](PageKind kind) {
    return kv_bytes_per_token(model.kv_layout(), kind, limits.cache.dtype, limits.cache.block_size);
  };
  plan.kv_bytes_per_token = per_token(PageKind::kAll);
  if (limits.cache.num_recent_pages > 0) {
    plan.kv_recent_bytes =
        limits.cache.num_recent_pages * limits.cache.block_size * per_token(PageKind::kRecent);
  } else {
    plan.kv_bytes_per_token += per_token(PageKind::kRecent);
  }
  plan.workspace_bytes = allocated(workspace.bytes_max());
  plan.scratch_bytes = allocated(stream.scratch_bytes());
  plan.logits_bytes = allocated(logit_rows * vocab_size * dtype_bytes(Dtype::kF32));
  plan.index_bytes = allocated(BatchMemory::bytes_for(batch_limits)) + stream.tables_bytes();
  if (limits.mtp) plan.index_bytes += allocated(batch_limits.max_tokens * dtype_bytes(Dtype::kI32));
  plan.queries.assign(stream.queries().begin(), stream.queries().end());
  return plan;
}

}  // namespace ferry::nn
