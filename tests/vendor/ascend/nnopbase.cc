// libnnopbase.so, emulated: tensors and the other objects of operators, and the two phases. Objects
// are remembered, so that one that was destroyed twice, or never made, is an error.
#include <cstring>
#include <set>

#include "vendor/ascend/emulated_acl.h"

namespace emulated {
namespace {

// What was made and not destroyed yet.
class Living {
 public:
  template <typename T>
  T* made(T* object) {
    const std::lock_guard lock(mutex_);
    objects_.insert(object);
    return object;
  }
  bool remove(const void* object) {
    const std::lock_guard lock(mutex_);
    return objects_.erase(object) == 1;
  }
  bool holds(const void* object) {
    const std::lock_guard lock(mutex_);
    return objects_.count(object) == 1;
  }

 private:
  std::mutex mutex_;
  std::set<const void*> objects_;
};

Living& living() {
  static auto& objects = *new Living;
  return objects;
}

template <typename T>
int destroy(const T* object) {
  if (object == nullptr || !living().remove(object)) return kAclnnParamInvalid;
  delete object;
  return kAclnnSuccess;
}

}  // namespace

int64_t bytes_of(int dtype) {
  switch (dtype) {
    case kAclFloat:
    case kAclInt32: return 4;
    case kAclFloat16:
    case kAclBf16: return 2;
    case kAclInt8: return 1;
    case kAclInt64: return 8;
    default: return 0;
  }
}

bool is_float(const Tensor& x) {
  return x.dtype == kAclFloat || x.dtype == kAclFloat16 || x.dtype == kAclBf16;
}

bool same_sizes(const Tensor& a, const Tensor& b) { return a.sizes == b.sizes; }

int64_t Tensor::count() const {
  int64_t product = 1;
  for (int64_t size : sizes) product *= size;
  return product;
}

bool Tensor::is_contiguous() const {
  int64_t step = 1;
  for (size_t i = sizes.size(); i-- > 0;) {
    if (sizes[i] != 1 && strides[i] != step) return false;
    step *= sizes[i];
  }
  return true;
}

float Tensor::load(int64_t offset) const {
  if (dtype == kAclFloat) return reinterpret_cast<const float*>(data)[offset];
  if (dtype == kAclInt8) return static_cast<float>(reinterpret_cast<const int8_t*>(data)[offset]);
  const uint16_t bits = reinterpret_cast<const uint16_t*>(data)[offset];
  return dtype == kAclFloat16 ? from_half(bits) : from_bfloat(bits);
}

void Tensor::store(int64_t offset, float value) const {
  if (dtype == kAclFloat) {
    reinterpret_cast<float*>(data)[offset] = value;
  } else {
    reinterpret_cast<uint16_t*>(data)[offset] =
        dtype == kAclFloat16 ? to_half(value) : to_bfloat(value);
  }
}

int64_t Tensor::integer(int64_t offset) const {
  return dtype == kAclInt64 ? reinterpret_cast<const int64_t*>(data)[offset]
                            : reinterpret_cast<const int32_t*>(data)[offset];
}

int64_t Tensor::offset_of(int64_t index) const {
  int64_t offset = 0;
  for (size_t i = sizes.size(); i-- > 0;) {
    offset += index % sizes[i] * strides[i];
    index /= sizes[i];
  }
  return offset;
}

Call::Call(const char* name) : name_(name), device_(current_device()) {
  require(device_ >= 0, kAclnnRuntimeError);
}

Tensor Call::tensor(const AclTensor* tensor) {
  Tensor x;
  require(tensor != nullptr && living().holds(tensor), kAclnnParamNullptr);
  if (!ok()) return x;
  x.dtype = tensor->dtype;
  x.sizes = tensor->sizes;
  x.strides = tensor->strides;
  require(bytes_of(x.dtype) != 0 && !(is_310p() && x.dtype == kAclBf16));
  int64_t last = 0;
  for (size_t i = 0; i < x.sizes.size(); ++i) last += (x.sizes[i] - 1) * x.strides[i];
  require(x.count() > 0 && last < tensor->storage);
  if (!ok()) return x;
  Memory& memory = device_memory(device_);
  require(memory.holds(tensor->data, (last + 1) * bytes_of(x.dtype)));
  x.data = memory.inside(tensor->data);
  return x;
}

int Call::make(std::function<int()> task, uint64_t* workspace, AclExecutor** executor) {
  if (!ok()) return status_;
  *workspace = kWorkspace;
  *executor = living().made(new AclExecutor{
      .name = name_, .device = device_, .workspace = kWorkspace, .task = std::move(task)});
  return kAclnnSuccess;
}

int execute(const char* name, void* workspace, uint64_t bytes, AclExecutor* executor,
            AclStream stream) {
  if (executor == nullptr || !living().remove(executor)) return kAclnnParamNullptr;  // used up
  const std::unique_ptr<AclExecutor> once(executor);
  if (stream == nullptr || stream->device != executor->device || executor->name != name) {
    return kAclnnParamInvalid;
  }
  Memory& memory = device_memory(executor->device);
  if (bytes < executor->workspace || !memory.holds(workspace, static_cast<int64_t>(bytes))) {
    return kAclnnParamInvalid;
  }
  // Work is done in it: whoever kept something there loses it.
  stream->queue.push([inside = memory.inside(workspace), bytes] {
    std::memset(inside, 0xFF, bytes);
    return 0;
  });
  stream->queue.push(executor->task);
  return kAclnnSuccess;
}

}  // namespace emulated

using emulated::living;

extern "C" {

AclTensor* aclCreateTensor(const int64_t* sizes, uint64_t rank, int dtype, const int64_t* strides,
                           int64_t offset, int format, const int64_t* storage_sizes,
                           uint64_t storage_rank, void* data) {
  if (rank < 1 || rank > 8 || offset != 0 || format != kFormatNd || storage_rank != 1) {
    return nullptr;
  }
  auto* tensor = new AclTensor{.dtype = dtype, .storage = storage_sizes[0], .data = data};
  tensor->sizes.assign(sizes, sizes + rank);
  tensor->strides.assign(strides, strides + rank);
  return living().made(tensor);
}
int aclDestroyTensor(const AclTensor* tensor) { return emulated::destroy(tensor); }

AclScalar* aclCreateScalar(void* value, int dtype) {
  if (dtype != kAclFloat) return nullptr;
  return living().made(new AclScalar{.value = *static_cast<const float*>(value)});
}
int aclDestroyScalar(const AclScalar* scalar) { return emulated::destroy(scalar); }

AclIntArray* aclCreateIntArray(const int64_t* values, uint64_t count) {
  return living().made(new AclIntArray{.values = {values, values + count}});
}
int aclDestroyIntArray(const AclIntArray* array) { return emulated::destroy(array); }

AclTensorList* aclCreateTensorList(const AclTensor* const* tensors, uint64_t count) {
  return living().made(new AclTensorList{.tensors = {tensors, tensors + count}});
}
// The tensors go with it.
int aclDestroyTensorList(const AclTensorList* list) {
  if (list == nullptr || !living().holds(list)) return kAclnnParamInvalid;
  for (const AclTensor* tensor : list->tensors) {
    if (emulated::destroy(tensor) != kAclnnSuccess) return kAclnnParamInvalid;
  }
  return emulated::destroy(list);
}

int aclDestroyAclOpExecutor(AclExecutor* executor) { return emulated::destroy(executor); }

}  // extern "C"
