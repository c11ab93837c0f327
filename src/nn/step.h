// Step: what every block of a forward is handed — where to compute, scratch, the batch, the cache,
// the two pieces of the model that all layers share, and what joins it to the other ranks, if there
// are any.
#pragma once

#include "device/backend.h"
#include "device/communicator.h"
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
  Communicator* communicator = nullptr;

  // x = the sum of the ranks' x. Contiguous.
  void sum_over_ranks(const TensorView& x) const {
    if (communicator != nullptr) communicator->all_reduce(x);
  }
};

}  // namespace ferry::nn
