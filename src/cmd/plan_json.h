// What the planner knows and finds, as JSON: of --json, of the report (--html) and of the server's
// routes, which are the same text.
#pragma once

#include <string_view>

#include "base/json.h"
#include "plan/rules.h"
#include "plan/search.h"

namespace ferry::cmd {

// Every value of the catalogue with its range, source and confidence; null: unknown.
Json chip_json(const plan::Chip& chip);
Json position_json(const plan::Chip& chip, const plan::Position& position);

// One option: times in seconds, memory in bytes of one chip, costs as value, low and high or null.
Json option_json(const plan::Option& option);

// A whole answer. Beside the options, for plots: `frontier`, what each would do at other batches
// (batch, tokens/s of one user, tokens/s of one chip), and of the chips that have an option
// `chips`, what is known of them, and `rules`, their position on the day `as_of`; and
// `larger_than_memory`, what one machine does whose memory the weights exceed. REQUIRES:
// plan::check_date(as_of)
Json plan_json(const plan::PlanModel& model, const plan::SearchOptions& options,
               const plan::SearchResult& found, std::string_view as_of);

}  // namespace ferry::cmd
