// MemoryPlan: what a model will take of a chip's memory, from the same functions that allocate it
// later, and what it will ask of the op table. The forward itself is run dry (device/plan_stream.h)
// over the worst batches, so that plan and run can't drift apart.
#pragma once

#include <cstdint>
#include <vector>

#include "device/ops.h"
#include "nn/batch_memory.h"
#include "nn/kv_cache.h"
#include "nn/model.h"

namespace ferry::nn {

struct PlanLimits {
  BatchLimits batch;
  KvCacheSpec cache;           // its block_size counts, not the batch's
  int64_t max_logit_rows = 0;  // 0: one per sequence
  bool mtp = false;            // the first prediction module, if there is one, will be run as well
  int64_t top_logits = 0;      // the largest of each row will be looked for, so many
};

// Pages of their own for planes of recent tokens: what every sequence may look back on besides what
// a step computes, and as many again, so that beginnings are still found when nobody holds them.
// 0: the layout has no such planes, or they would take as many pages as `num_pages`.
int64_t num_recent_pages(const KvLayout& layout, const BatchLimits& batch, int64_t num_pages);

struct MemoryPlan {
  int64_t weights_bytes = 0;       // as the loader counts them, rope tables included
  int64_t kv_bytes = 0;            // of all pages
  int64_t kv_recent_bytes = 0;     // of these: of planes of recent tokens with pages of their own
  int64_t kv_bytes_per_token = 0;  // of the other planes
  int64_t workspace_bytes = 0;     // of the most demanding forward
  int64_t scratch_bytes = 0;       // that the chip's ops take for themselves
  int64_t logits_bytes = 0;        // [max_logit_rows, vocab_size] f32
  int64_t index_bytes = 0;         // of one BatchMemory and of tables that ops keep, on the chip
  std::vector<OpQuery> queries;    // every distinct op, format and shape

  int64_t total_bytes() const {
    return weights_bytes + kv_bytes + workspace_bytes + scratch_bytes + logits_bytes + index_bytes;
  }
};

// `model` may come from a loader without data (ShapeRecorder, a measuring FileLoader). `chip` adds
// what its ops take for themselves, and rounds every part as it hands out memory; nullptr: what all
// chips have in common.
MemoryPlan plan_memory(const Model& model, int64_t weights_bytes, const PlanLimits& limits,
                       const Backend* chip = nullptr);

}  // namespace ferry::nn
