// ProfileStream: a stream that passes every op on to another one, one at a time, and keeps an
// account for each kind: calls, seconds, operations, bytes. What an op costs is what PlanStream
// says, but for the experts of an MoE layer: there the ids that were chosen are read back, and the
// experts that anybody chose are counted.
//
// Every op is waited for, so that a queue of a chip gets slower by it; time itself is taken only
// around the op.
#pragma once

#include <array>
#include <chrono>
#include <memory>
#include <optional>

#include "device/plan_stream.h"
#include "device/watched_stream.h"

namespace ferry {

struct OpProfile {
  OpCost cost;
  double seconds = 0;
};

class ProfileStream : public WatchedStream {
 public:
  using WatchedStream::WatchedStream;

  const OpProfile& profile(Op op) const { return profiles_[static_cast<size_t>(op)]; }
  OpProfile total() const;
  void reset() { profiles_ = {}; }

  void matmuls(std::span<const MatmulArgs> products) override;
  void moe_experts(const MoeExpertsArgs& args) override;

 protected:
  void on_op(Op op, const Call& call, std::span<const TensorView> outputs) override;

 private:
  int64_t count_chosen_experts(const MoeExpertsArgs& args);

  std::optional<int64_t> expert_bytes_;  // of the moe_experts that is being passed on
  std::array<OpProfile, kNumOps> profiles_{};
};

}  // namespace ferry
