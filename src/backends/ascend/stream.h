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
  // narrow: the dtype of 16 bits that weights have.
  AscendStream(std::unique_ptr<Calls> calls, std::unique_ptr<Stream> reference, const Paths& paths,
               Dtype narrow)
      : ComposedStream(std::move(calls), std::move(reference), paths.composed),
        paths_(paths),
        narrow_(narrow) {}

  void gqa_attention(const GqaAttentionArgs& args) override;
  void mla_decode_attention(const MlaDecodeAttentionArgs& args) override;
  void moe_gate(const MoeGateArgs& args) override;

 protected:
  void multiply_experts(const TensorView& x, const std::vector<int32_t>& offsets,
                        std::span<const WeightView> experts, const TensorView& out) override;

 private:
  Calls& calls() { return static_cast<Calls&>(primitives()); }
  // Whether the fused operator takes them.
  bool fuses(const GqaAttentionArgs& args) const;
  bool fuses(const MlaDecodeAttentionArgs& args) const;
  // mla_decode_attention of some sequences, whose pages are num_blocks together.
  void attend_latents(const MlaDecodeAttentionArgs& args, int64_t first_sequence,
                      int64_t num_sequences, int64_t num_blocks);

  const Paths paths_;
  const Dtype narrow_;
};

}  // namespace ferry::ascend
