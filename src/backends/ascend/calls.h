// Calls: the primitives of device/composed by operators of CANN (aclnn…), one stream. Each method
// is one operator, or two, in its two phases; workspace is scratch of the op.
//
// Two things differ from other chips: a product of bf16 has a bf16 result, which is then made f32;
// and operators take any strides, so that what is only looked at is never copied first.
#pragma once

#include <memory>
#include <span>
#include <string_view>
#include <type_traits>
#include <vector>

#include "backends/ascend/device.h"
#include "device/composed/primitives.h"

namespace ferry::ascend {

using composed::Activation;
using composed::BinaryOp;
using composed::Primitive;

// The version of aclnnFusedInferAttentionScore that is used.
enum class FusedAttention { kNone = 0, kV2 = 2, kV3 = 3, kV4 = 4 };
inline bool takes_latents(FusedAttention version) { return version >= FusedAttention::kV3; }

class Calls : public composed::Primitives {
 public:
  static Result<std::unique_ptr<Calls>> create(std::shared_ptr<Device> device);
  ~Calls() override;

  std::string_view symbol_of(Primitive primitive) const override;
  void* native_queue() override { return stream_; }

  void copy_in(void* device_dst, const void* host_src, int64_t bytes) override;
  void copy_out(void* host_dst, const void* device_src, int64_t bytes) override;
  void fill_zero(void* device_dst, int64_t bytes) override;
  std::shared_ptr<const void> record() override;
  void wait(const void* event) override;

  void copy(const TensorView& x, const TensorView& out) override;
  void cast(const TensorView& x, const TensorView& out) override;
  void binary(BinaryOp operation, const TensorView& a, const TensorView& b,
              const TensorView& out) override;
  void affine(const TensorView& x, float factor, float offset, const TensorView& out) override;
  void activation(Activation mode, const TensorView& x, const TensorView& out) override;
  void softmax(const TensorView& x, const TensorView& out) override;
  void matmul(const TensorView& a, const TensorView& b, const TensorView& c, float factor) override;
  void select_rows(const TensorView& table, const TensorView& index,
                   const TensorView& out) override;
  void write_rows(const TensorView& rows, const TensorView& index,
                  const TensorView& table) override;
  void int8_matmul(const TensorView& a, const TensorView& b, const TensorView& scales,
                   const TensorView& c) override;
  void rope(const TensorView& x, const TensorView& cosines, const TensorView& sines,
            bool interleaved, const TensorView& out) override;
  void swiglu(const TensorView& x, const TensorView& out) override;
  void divide(const TensorView& a, const TensorView& b, const TensorView& out) override;
  void rms_norm(const TensorView& x, const TensorView& weight, float epsilon,
                const TensorView* residual, const TensorView* sum, const TensorView& out) override;
  void layer_norm(const TensorView& x, const TensorView& weight, const TensorView& bias,
                  float epsilon, const TensorView& out) override;

  // The fused ones. REQUIRES: the symbols are there (Paths)
  // aclnnMoeGatingTopK. logits f32 [T, E], bias f32 [E] or empty; ids i32 and weights f32 [T, K].
  struct Gate {
    int64_t top_k, num_groups, top_k_groups, group_mode, norm;
    double scale;
  };
  void gate(const TensorView& logits, const TensorView& bias, const Gate& spec,
            const TensorView& ids, const TensorView& weights);
  // aclnnGroupedMatmulV5 or V4: rows [offsets[e], offsets[e + 1]) of x [M, K] by weights[e] [N, K]
  // turned around, for all e; out [M, N] f32. Of one dtype, x and weights contiguous; or weights of
  // i8, with scales[e] [N] of x's dtype.
  void grouped_matmul(const TensorView& x, std::span<const TensorView> weights,
                      std::span<const TensorView> scales, std::span<const int32_t> offsets,
                      const TensorView& out);
  // aclnnFusedInferAttentionScore of that version: B queries over pages [·, block, KV · d] of their
  // dtype, contiguous. Query i sees the first lengths[i] rows of the pages in block_table[i, ·].
  struct Attention {
    FusedAttention version = FusedAttention::kNone;
    TensorView q;       // [B, 1, H, d]
    TensorView q_rope;  // [B, 1, H, 64] and
    TensorView keys, values;
    TensorView key_rope;     // [·, block, 64] with one head of latents (d = 512), or empty
    TensorView block_table;  // i32 [B, blocks]
    std::vector<int64_t> lengths;
    float scale = 1;
  };
  // out [B, H, d] f32.
  void attention(const Attention& a, const TensorView& out);

 protected:
  Status bind() override { return device_->bind(); }
  void wait_queue() override;

 private:
  explicit Calls(std::shared_ptr<Device> device)
      : Primitives(device->pool(), device), device_(std::move(device)) {}
  const Vendor& vendor() const { return device_->vendor(); }
  void check_acl(const char* call, int status);

  template <typename... Arguments>
  void run(const Operator<Arguments...>& op, std::type_identity_t<Arguments>... arguments) {
    if (!ok()) return;
    uint64_t bytes = 0;
    AclExecutor* executor = nullptr;
    int status = op.prepare(arguments..., &bytes, &executor);
    if (status != kAclnnSuccess) return fail(aclnn_error(vendor(), op.name, status));
    void* space = workspace(bytes);
    if (!ok()) {  // nothing will run it
      vendor().aclDestroyAclOpExecutor(executor);
      return;
    }
    status = op.execute(space, bytes, executor, stream_);
    if (status != kAclnnSuccess) fail(aclnn_error(vendor(), op.name, status));
  }

  std::shared_ptr<Device> device_;
  AclStream stream_ = nullptr;
};

}  // namespace ferry::ascend
