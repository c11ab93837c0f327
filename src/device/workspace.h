// Workspace: scratch memory of a forward, handed out like a stack from one buffer that was sized
// by the memory plan. A Workspace without a buffer only measures: the plan and the run are the same
// code, so they can't drift apart.
//
//   auto scope = workspace.scope();              // given back at the end of the block
//   TensorView q = workspace.tensor(Dtype::kF32, {tokens, heads, head_dim});
#pragma once

#include <algorithm>
#include <initializer_list>

#include "base/checked_math.h"
#include "base/tensor_view.h"

namespace ferry {

class Workspace {
 public:
  static constexpr int64_t kAlignment = 256;

  // Measures only: addresses are fake and must never be followed.
  Workspace() = default;
  // REQUIRES: data aligned to 64 bytes
  Workspace(void* data, int64_t bytes) : data_(static_cast<char*>(data)), capacity_(bytes) {}

  TensorView tensor(Dtype dtype, std::initializer_list<int64_t> dims) {
    int64_t elements = 1;
    for (int64_t dim : dims) elements *= dim;
    char* address = base() + used_;
    used_ += round_up(std::max<int64_t>(elements, 1) * dtype_bytes(dtype), kAlignment);
    bytes_max_ = std::max(bytes_max_, used_);
    CHECK(data_ == nullptr || used_ <= capacity_);
    return TensorView::contiguous(address, dtype, dims);
  }

  class Scope {
   public:
    explicit Scope(Workspace& workspace) : workspace_(workspace), mark_(workspace.used_) {}
    ~Scope() { workspace_.used_ = mark_; }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Workspace& workspace_;
    int64_t mark_;
  };
  Scope scope() { return Scope(*this); }

  int64_t bytes_max() const { return bytes_max_; }  // high-water mark

 private:
  // Any non-null address will do for measuring.
  char* base() const { return data_ != nullptr ? data_ : reinterpret_cast<char*>(kAlignment); }

  char* data_ = nullptr;
  int64_t capacity_ = 0;
  int64_t used_ = 0;
  int64_t bytes_max_ = 0;
};

}  // namespace ferry
