// `ferry logits --compare`: what compare_ops() found, for people and as JSON.
#pragma once

#include <string>

#include "base/json.h"
#include "engine/compare.h"

namespace ferry::cmd {

Json comparison_json(const engine::Comparison& comparison);
// A line for each kind of op, then the first op that is wrong, if any is.
void print_comparison(const engine::Comparison& comparison, const std::string& subject,
                      const std::string& reference);

}  // namespace ferry::cmd
