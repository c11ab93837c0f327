// Which way each op goes with the libraries that were found: a fused operator of CANN, a composite
// of several, or, as the last resort, a round trip to the host, where the reference computes it.
#pragma once

#include <memory>
#include <string>

#include "backends/ascend/calls.h"
#include "backends/ascend/device.h"
#include "device/composed/stream.h"
#include "device/ops.h"

namespace ferry::ascend {

struct Paths {
  composed::ComposedPaths composed;  // check_primitives() takes out what gives wrong results
  bool fused_gate = false;           // aclnnMoeGatingTopK
  bool grouped = false;              // aclnnGroupedMatmulV5 or V4
  // The newest that is there and gives right results (check_attention()). Attention is in 16 bits
  // then.
  FusedAttention attention = FusedAttention::kNone;

  // By the symbols that are there, and by what products of f32 are (Soc).
  Paths(const Vendor& vendor, bool exact_f32);
  // One line for people: what runs, and why if that is a fall-back.
  std::string describe(const Vendor& vendor, Op op) const;
};

// Tries the versions of aclnnFusedInferAttentionScore that are there on a few numbers, as
// composed::check_primitives() does with primitives: the newest that is right.
Result<FusedAttention> check_attention(const std::shared_ptr<Device>& device);

}  // namespace ferry::ascend
