// When a tensor is missing: the names in the file that look most like it.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace ferry::weights {

// "; similar: "a", "b"" with at most three names, or "" when none is close. Bounded: of a long list
// only the first thousands are looked at.
std::string describe_similar_names(std::string_view wanted,
                                   std::span<const std::string_view> names);

}  // namespace ferry::weights
