// The planner behind `ferry serve`: a request is the options of `ferry plan` as a JSON object, its
// answer what `ferry plan --json` prints.
//
//   {"model": "deepseek-v3", "chips": ["H800 SXM 80GB", "910C"], "slo": "tpot=50ms,ttft=2s",
//    "rate": 20, "max_chips": 256, "compare": true}
//
// Names are those of the options with _ for -; null and "" count as absent. Models and chips are
// those the planner knows by name: a request opens no file.
#pragma once

#include <functional>
#include <string_view>

#include "server/http/server.h"

namespace ferry::cmd {

// Errors: 400 with the field, 503 where `stop` ended the search.
server::api::ApiResult<server::api::Body> answer_plan_request(std::string_view body,
                                                              const std::function<bool()>& stop);

// What a request can name: chips with all that is known of them, models, workloads, fields.
// Thread-safe; only the first call takes long.
server::api::ApiResult<server::api::Body> plan_catalogue();

}  // namespace ferry::cmd
