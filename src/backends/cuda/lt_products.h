// Products of dense matrices by cuBLASLt: a handle of one device, and what was asked of the library
// for each shape. Which products go there: ops_matmul.cc.
//
// cuBLASLt sees the transposed matrices, as it stores them by columns: with W [rows, cols] and
// x [tokens, cols] it computes outᵀ = W xᵀ + bias, its A being W, its B x, its D outᵀ.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "backends/cuda/cublaslt.h"
#include "base/result.h"

namespace ferry::cuda {

// Every pointer is aligned to so many bytes, and so is every stride.
inline constexpr int64_t kLtAlignment = 16;
// What NVIDIA advises for Hopper, the most of the chips so far.
inline constexpr int64_t kLtWorkspaceBytes = int64_t{32} << 20;

// Strides are in elements.
struct LtShape {
  int64_t rows, tokens, cols;
  int64_t w_stride, x_stride, out_stride;
  int32_t type;  // of w and x: kLtBF16 or kLtF32
  int32_t has_bias;
  auto operator<=>(const LtShape&) const = default;
};

// A call, of which equal ones are equal bytes (step_graphs.h).
struct LtProduct {
  LtShape shape;
  const void* w;
  const void* x;
  float* out;
  const float* bias;  // nullptr unless shape.has_bias
  void* workspace;    // kLtWorkspaceBytes, used by nothing that runs at the same time
};
static_assert(std::has_unique_object_representations_v<LtProduct>);

// Thread-safe. The device's context is to be the one of the calling thread.
class LtProducts {
 public:
  // Errors: why this library is of no use on this device.
  static Result<std::unique_ptr<LtProducts>> open(std::shared_ptr<const CublasLt> library);
  ~LtProducts();
  LtProducts(const LtProducts&) = delete;
  LtProducts& operator=(const LtProducts&) = delete;

  const std::string& name() const { return library_->name; }  // "libcublasLt.so.13 (13.1.0)"

  // Whether the library has a way to compute such products. The library is asked once.
  // Errors: of its calls
  Result<bool> can_make(const LtShape& shape);
  // Queues it. REQUIRES: can_make() said yes to its shape
  // Errors: the call, the shape and the status
  Status make(const LtProduct& product, DriverStream stream);

 private:
  struct Plan;

  explicit LtProducts(std::shared_ptr<const CublasLt> library);
  Result<const Plan*> plan_of(const LtShape& shape);
  Result<std::unique_ptr<Plan>> ask(const LtShape& shape);

  const std::shared_ptr<const CublasLt> library_;
  std::mutex mutex_;
  LtHandle handle_ = nullptr;
  std::map<LtShape, std::unique_ptr<Plan>> plans_;
};

}  // namespace ferry::cuda
