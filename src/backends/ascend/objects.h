// The objects that operators take, for the length of a call: operators keep nothing of them once
// the second phase has returned.
#pragma once

#include <optional>
#include <utility>
#include <vector>

#include "backends/ascend/calls.h"
#include "base/check.h"

namespace ferry::ascend {

inline int acl_dtype(Dtype dtype) {
  switch (dtype) {
    case Dtype::kF32: return kAclFloat;
    case Dtype::kF16: return kAclFloat16;
    case Dtype::kBF16: return kAclBf16;
    case Dtype::kI8: return kAclInt8;
    case Dtype::kI32: return kAclInt32;
    default: CHECK(false); return 0;
  }
}

// A view as a tensor of the vendor's; the memory around it counts as one row.
inline AclTensor* make_tensor(const Vendor& vendor, const TensorView& x, int dtype) {
  int64_t sizes[kMaxRank], strides[kMaxRank], last = 0;
  for (int i = 0; i < x.rank; ++i) {
    sizes[i] = x.shape[i];
    strides[i] = x.stride[i];
    last += (x.shape[i] - 1) * x.stride[i];
  }
  const int64_t storage = last + 1;
  return vendor.aclCreateTensor(sizes, static_cast<uint64_t>(x.rank), dtype, strides, 0, kFormatNd,
                                &storage, 1, x.data);
}

class TensorArg {
 public:
  TensorArg(const Vendor& vendor, const TensorView& x) : TensorArg(vendor, x, acl_dtype(x.dtype)) {}
  TensorArg(const Vendor& vendor, const TensorView& x, int dtype)
      : vendor_(vendor), tensor_(make_tensor(vendor, x, dtype)) {}
  ~TensorArg() {
    if (tensor_ != nullptr) vendor_.aclDestroyTensor(tensor_);
  }
  TensorArg(const TensorArg&) = delete;
  TensorArg& operator=(const TensorArg&) = delete;
  operator AclTensor*() const { return tensor_; }  // NOLINT: that is what it is for

 private:
  const Vendor& vendor_;
  AclTensor* tensor_;
};

// nullptr for an empty view.
class OptionalTensorArg {
 public:
  OptionalTensorArg(const Vendor& vendor, const TensorView& x) {
    if (!x.empty()) tensor_.emplace(vendor, x);
  }
  operator AclTensor*() const {  // NOLINT: as above
    return tensor_.has_value() ? static_cast<AclTensor*>(*tensor_) : nullptr;
  }

 private:
  std::optional<TensorArg> tensor_;
};

class ScalarArg {
 public:
  ScalarArg(const Vendor& vendor, float value)
      : vendor_(vendor), scalar_(vendor.aclCreateScalar(&value, kAclFloat)) {}
  ~ScalarArg() {
    if (scalar_ != nullptr) vendor_.aclDestroyScalar(scalar_);
  }
  ScalarArg(const ScalarArg&) = delete;
  ScalarArg& operator=(const ScalarArg&) = delete;
  operator AclScalar*() const { return scalar_; }  // NOLINT: as above

 private:
  const Vendor& vendor_;
  AclScalar* scalar_;
};

class IntArrayArg {
 public:
  IntArrayArg(const Vendor& vendor, std::span<const int64_t> values)
      : vendor_(vendor), array_(vendor.aclCreateIntArray(values.data(), values.size())) {}
  ~IntArrayArg() {
    if (array_ != nullptr) vendor_.aclDestroyIntArray(array_);
  }
  IntArrayArg(const IntArrayArg&) = delete;
  IntArrayArg& operator=(const IntArrayArg&) = delete;
  operator AclIntArray*() const { return array_; }  // NOLINT: as above

 private:
  const Vendor& vendor_;
  AclIntArray* array_;
};

class TensorListArg {
 public:
  // No views: no list.
  TensorListArg(const Vendor& vendor, std::span<const TensorView> views) : vendor_(vendor) {
    if (views.empty()) return;
    std::vector<const AclTensor*> tensors;
    for (const TensorView& x : views) tensors.push_back(make_tensor(vendor, x, acl_dtype(x.dtype)));
    list_ = vendor.aclCreateTensorList(tensors.data(), tensors.size());
  }
  ~TensorListArg() {
    if (list_ != nullptr) vendor_.aclDestroyTensorList(list_);
  }
  TensorListArg(const TensorListArg&) = delete;
  TensorListArg& operator=(const TensorListArg&) = delete;
  operator AclTensorList*() const { return list_; }  // NOLINT: as above

 private:
  const Vendor& vendor_;
  AclTensorList* list_ = nullptr;
};

}  // namespace ferry::ascend
