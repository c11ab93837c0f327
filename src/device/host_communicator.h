// Collectives through host memory, for every backend that has no library for them: each rank copies
// what it gives to the host and waits for its queue, ranks meet, each computes what it gets from
// what all gave, and copies that to its device.
//
//   device r ─ copy_out ─► given r ─┐ meet  ┌─► result r ─ copy_in ─► device r
//   device q ─ copy_out ─► given q ─┘       └─► result q ─ copy_in ─► device q
//
// Sums in f32, rank 0 first, rounded once. A rank that does not come within the timeout, or that
// aborts, or ranks that disagree on what they call are an error at every rank.
#pragma once

#include <chrono>

#include "device/backend.h"
#include "device/communicator.h"

namespace ferry {

struct HostCommunicatorOptions {
  // Of waiting for other ranks in one collective. Steps of a model take seconds at most; a rank
  // that is later than this is one that hangs.
  std::chrono::milliseconds timeout = std::chrono::minutes(10);
};

// One for each rank, in order. REQUIRES: at least one
Communicators connect_through_host(std::span<const Rank> ranks,
                                   const HostCommunicatorOptions& options = {});

}  // namespace ferry
