// The conformance suite of collectives: all of them, over dtypes and counts that models and
// meetings of uneven size produce, on devices joined by their backend. Inputs are small whole
// numbers, so that every sum is exact in every dtype and in any order, and results must agree to
// the bit.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "device/backend.h"

namespace ferry {

struct CollectiveResult {
  std::string name;  // "all_reduce bf16 x 2000": bytes of rank 0
  bool passed = false;
  std::string detail;  // why not, one line
};

// `devices`: opened, one for each rank, of one backend. After a failure later cases fail too, since
// errors stick. Errors: of
// joining them, or of making streams and buffers.
Result<std::vector<CollectiveResult>> check_collectives(
    std::span<const std::shared_ptr<Backend>> devices);

}  // namespace ferry
