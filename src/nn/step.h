// Step: what every block of a forward is handed — where to compute, scratch, the batch, the cache,
// and the two pieces of the model that all layers share.
#pragma once

#include "device/backend.h"
#include "device/workspace.h"
#include "nn/kv_cache.h"
#include "nn/model_spec.h"

namespace ferry::nn {

struct Step {
  Stream& stream;
  Workspace& workspace;
  const BatchView& batch;
  const KvCache& cache;
  const ModelSpec& spec;
  TensorView rope_table;  // [max_positions, spec.rope.dim]
};

}  // namespace ferry::nn
