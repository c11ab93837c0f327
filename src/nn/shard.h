// Whether the parts of a model can be shared out among ranks: heads, and the columns of
// feed-forward blocks, in equal parts (weights/shard.h). What else there is — embeddings, norms,
// routers, low-rank projections, indexers, the head — every rank has and computes whole.
#pragma once

#include <string>

#include "base/result.h"
#include "nn/model_spec.h"
#include "weights/shard.h"

namespace ferry::nn {

// Errors: kUnsupported with the size that is not divided and the sizes that would fit.
Status check_shards(const ModelSpec& spec, int64_t size);

}  // namespace ferry::nn
