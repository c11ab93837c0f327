// The stream of an Ascend device: ops composed of Primitives (device/composed), and those that CANN
// has fused operators for.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "backends/ascend/calls.h"
#include "backends/ascend/paths.h"
#include "device/composed/stream.h"

namespace ferry::ascend {

class AscendStream : public composed::ComposedStream {
 public:
  AscendStream(std::unique_ptr<Calls> calls, std::unique_ptr<Stream> reference, const Paths& paths)
      : ComposedStream(std::move(calls), std::move(reference), paths.composed), paths_(paths) {}

  void moe_gate(const MoeGateArgs& args) override;

 protected:
  void multiply_experts(const TensorView& x, const std::vector<int32_t>& offsets,
                        std::span<const WeightView> experts, const TensorView& out) override;

 private:
  Calls& calls() { return static_cast<Calls&>(primitives()); }
  const Paths paths_;
};

}  // namespace ferry::ascend
