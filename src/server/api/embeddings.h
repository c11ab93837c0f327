// POST embeddings: one vector per input, of length 1, as numbers or as base64 of little-endian f32.
// `pooling` ("mean", "last") is ferry's own field.
#pragma once

#include <string_view>

#include "server/api/exchange.h"
#include "server/api/served_model.h"

namespace ferry::server::api {

// `model` outlives the job.
ApiResult<Reply> embeddings(const ServedModel& model, std::string_view body);

}  // namespace ferry::server::api
