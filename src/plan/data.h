// The planner's data files as they ship in the binary (data/plan/), each a whole text.
#pragma once

#include <string_view>

namespace ferry::plan {

std::string_view chips_json();       // the chip catalogue
std::string_view published_csv();    // measured serving results with their conditions
std::string_view efficiency_json();  // calibrated parameters of the speed model, with residuals

}  // namespace ferry::plan
