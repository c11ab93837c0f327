// HotSet: a model whose weights are more than one machine's memory, run on it all the same. Its
// experts stay in the file, those used last in memory, as the engine's --expert-memory has it; how
// memory is shared out is the engine's own arithmetic (engine/expert_memory.h).
//
// Assumed: one sequence, and a router that takes every expert as often as any other, in no order.
// Then an expert is in memory as often as the share of them that is; a real router has favourites,
// and is found more often. Nothing is read for a wrong guess. Reading and computing go beside each
// other, so that a token takes no less than the longer of both.
#pragma once

#include <optional>

#include "plan/speed.h"

namespace ferry::plan {

// The above, for people.
inline constexpr const char* kHotSetAssumption =
    "one sequence; every expert is chosen as often as any other, so that one is in memory as often "
    "as the share of them that is; nothing is read in vain; reading goes beside computing";

struct HotSet {
  Deployment deployment;    // one chip
  double memory_bytes = 0;  // that it has
  double weight_bytes = 0;  // of the file
  double stay_bytes = 0;    // of these, always in memory: all but the experts
  double expert_bytes = 0;  // of all experts
  double kept_bytes = 0;    // memory for them
  double wanted_bytes = 0;  // of the experts that one token chooses
  // Tokens/s if no expert had to be read; nullopt: the chip's speed is not known.
  std::optional<double> computed_tokens_s;

  double share() const { return kept_bytes / expert_bytes; }  // of experts in memory, and the hits
  double read_bytes() const { return wanted_bytes * (1 - share()); }  // for a token
  // What a disk of so many bytes/s allows.
  double disk_tokens_s(double bytes_per_s) const { return bytes_per_s / read_bytes(); }
  // The lower of both bounds; nullopt where the disk (0) or the chip's speed is not known.
  std::optional<double> tokens_s(double disk_bytes_per_s) const;
};

// nullopt: a chip that can't read weights on demand (all but CPUs), a model without experts or
// whose weights fit, or not even what must stay. `context`: tokens of the one sequence. Errors:
// kUnsupported if the chip's memory is not known.
Result<std::optional<HotSet>> hot_set(const Deployment& deployment, const Efficiency& efficiency,
                                      double context);

}  // namespace ferry::plan
