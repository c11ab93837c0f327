// libcnnl.so, emulated: handles, descriptors, copies and casts, and what all operations check.
#include <algorithm>
#include <cstring>

#include "vendor/cambricon/emulated_cnnl.h"

namespace emulated {

int64_t bytes_of(int dtype) {
  switch (dtype) {
    case kFloat:
    case kInt32: return 4;
    case kHalf:
    case kBfloat16: return 2;
    case kInt8: return 1;
    default: return 0;
  }
}

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
  if (dtype == kFloat) return floats()[offset];
  if (dtype == kInt8) return static_cast<float>(reinterpret_cast<const int8_t*>(data)[offset]);
  const uint16_t bits = reinterpret_cast<const uint16_t*>(data)[offset];
  return dtype == kHalf ? from_half(bits) : from_bfloat(bits);
}

void Tensor::store(int64_t offset, float value) const {
  if (dtype == kFloat) {
    floats()[offset] = value;
  } else {
    reinterpret_cast<uint16_t*>(data)[offset] = dtype == kHalf ? to_half(value) : to_bfloat(value);
  }
}

int64_t Tensor::offset_of(int64_t index) const {
  int64_t offset = 0;
  for (size_t i = sizes.size(); i-- > 0;) {
    offset += index % sizes[i] * strides[i];
    index /= sizes[i];
  }
  return offset;
}

Tensor Call::tensor(TensorDesc desc, const void* data) {
  Tensor x;
  require(desc != nullptr && desc->dtype != 0 && data != nullptr);
  if (!ok()) return x;
  x.dtype = desc->dtype;
  x.sizes = desc->sizes;
  x.strides = desc->strides;
  int64_t last = 0;
  for (size_t i = 0; i < x.sizes.size(); ++i) last += (x.sizes[i] - 1) * x.strides[i];
  require(x.count() > 0);
  Memory& memory = device_memory(handle_->queue->device);
  require(memory.holds(data, (last + 1) * bytes_of(x.dtype)));
  x.data = memory.inside(data);
  return x;
}

void Call::workspace(const void* data, size_t bytes, size_t needed) {
  require(bytes >= needed);
  if (!ok() || needed == 0) return;
  Memory& memory = device_memory(handle_->queue->device);
  require(memory.holds(data, static_cast<int64_t>(bytes)));
  if (!ok()) return;
  // Work is done in it: whoever kept something there loses it.
  handle_->queue->queue.push([inside = memory.inside(data), bytes] {
    std::memset(inside, 0xFF, bytes);
    return 0;
  });
}

int Call::run(std::function<int()> task) {
  if (ok()) handle_->queue->queue.push(std::move(task));
  return status_;
}

bool overlap(const Tensor& a, const Tensor& b) {
  const auto end = [](const Tensor& x) { return x.data + x.count() * bytes_of(x.dtype); };
  return a.data < end(b) && b.data < end(a);
}

bool same_sizes(const Tensor& a, const Tensor& b) { return a.sizes == b.sizes; }

namespace {

int make(OpDesc* desc, const char* kind) {
  *desc = new OpDescOfCnnl{.kind = kind};
  return kCnnlSuccess;
}

int destroy(OpDesc desc, const char* kind) {
  if (desc == nullptr || desc->kind != kind) return kCnnlBadParam;
  delete desc;
  return kCnnlSuccess;
}

}  // namespace
}  // namespace emulated

using emulated::Call;
using emulated::Tensor;

extern "C" {

void cnnlGetLibVersion(int* major, int* minor, int* patch) {
  *major = 1;
  *minor = emulated::is_old_release() ? 9 : 28;
  *patch = 3;
}

const char* cnnlGetErrorString(int status) {
  static const char* const kNames[] = {
      "CNNL_STATUS_SUCCESS",          "CNNL_STATUS_NOT_INITIALIZED", "CNNL_STATUS_ALLOC_FAILED",
      "CNNL_STATUS_BAD_PARAM",        "CNNL_STATUS_INTERNAL_ERROR",  "CNNL_STATUS_ARCH_MISMATCH",
      "CNNL_STATUS_EXECUTION_FAILED", "CNNL_STATUS_NOT_SUPPORTED"};
  return status >= 0 && status < 8 ? kNames[status] : "CNNL_STATUS_BAD_PARAM";
}

int cnnlCreate(Handle* handle) {
  *handle = new HandleOfCnnl;
  return kCnnlSuccess;
}
int cnnlDestroy(Handle handle) {
  delete handle;
  return kCnnlSuccess;
}
int cnnlSetQueue(Handle handle, Queue queue) {
  handle->queue = queue;
  return kCnnlSuccess;
}

int cnnlCreateTensorDescriptor(TensorDesc* desc) {
  *desc = new TensorDescOfCnnl;
  return kCnnlSuccess;
}
int cnnlDestroyTensorDescriptor(TensorDesc desc) {
  delete desc;
  return kCnnlSuccess;
}
int cnnlSetTensorDescriptorEx(TensorDesc desc, int layout, int dtype, int rank, const int* sizes,
                              const int* strides) {
  if (desc == nullptr || layout != kLayoutArray || emulated::bytes_of(dtype) == 0) {
    return kCnnlBadParam;
  }
  if (rank < 1 || rank > 8) return kCnnlBadParam;
  desc->dtype = dtype;
  desc->sizes.assign(sizes, sizes + rank);
  desc->strides.assign(strides, strides + rank);
  const auto negative = [](int64_t value) { return value < 0; };
  return std::any_of(desc->sizes.begin(), desc->sizes.end(), negative) ||
                 std::any_of(desc->strides.begin(), desc->strides.end(), negative)
             ? kCnnlBadParam
             : kCnnlSuccess;
}

int cnnlCreateMatMulDescriptor(OpDesc* desc) { return emulated::make(desc, "matmul"); }
int cnnlDestroyMatMulDescriptor(OpDesc desc) { return emulated::destroy(desc, "matmul"); }
int cnnlCreateMatMulAlgo(OpDesc* desc) { return emulated::make(desc, "algo"); }
int cnnlDestroyMatMulAlgo(OpDesc desc) { return emulated::destroy(desc, "algo"); }
int cnnlCreateMatMulHeuristicResult(OpDesc* desc) { return emulated::make(desc, "heuristic"); }
int cnnlDestroyMatMulHeuristicResult(OpDesc desc) { return emulated::destroy(desc, "heuristic"); }
int cnnlCreateOpTensorDescriptor(OpDesc* desc) { return emulated::make(desc, "op tensor"); }
int cnnlDestroyOpTensorDescriptor(OpDesc desc) { return emulated::destroy(desc, "op tensor"); }
int cnnlCreateActivationDescriptor(OpDesc* desc) { return emulated::make(desc, "activation"); }
int cnnlDestroyActivationDescriptor(OpDesc desc) { return emulated::destroy(desc, "activation"); }
int cnnlCreateFuseNormDescriptor(OpDesc* desc) { return emulated::make(desc, "norm"); }
int cnnlDestroyFuseNormDescriptor(OpDesc desc) { return emulated::destroy(desc, "norm"); }

int cnnlGetCopyWorkspaceSize(Handle, TensorDesc, TensorDesc, size_t* workspace) {
  *workspace = emulated::kWorkspace;
  return kCnnlSuccess;
}

int cnnlCopy_v2(Handle handle, TensorDesc in_desc, const void* in, TensorDesc out_desc, void* out,
                void* workspace, size_t bytes) {
  Call call(handle, "cnnlCopy_v2");
  call.workspace(workspace, bytes, emulated::kWorkspace);
  const Tensor x = call.tensor(in_desc, in), y = call.tensor(out_desc, out);
  call.require(x.dtype == y.dtype && emulated::same_sizes(x, y));
  return call.run([x, y] {
    const int64_t size = emulated::bytes_of(x.dtype);
    if (x.is_contiguous() && y.is_contiguous()) {
      std::memmove(y.data, x.data, static_cast<size_t>(x.count() * size));
      return 0;
    }
    for (int64_t i = 0; i < x.count(); ++i) {
      std::memcpy(y.data + y.offset_of(i) * size, x.data + x.offset_of(i) * size,
                  static_cast<size_t>(size));
    }
    return 0;
  });
}

int cnnlCastDataType(Handle handle, TensorDesc in_desc, const void* in, int kind,
                     TensorDesc out_desc, void* out) {
  Call call(handle, "cnnlCastDataType");
  const Tensor x = call.tensor(in_desc, in), y = call.tensor(out_desc, out);
  const bool fits = (kind == kCastFloatToHalf && x.dtype == kFloat && y.dtype == kHalf) ||
                    (kind == kCastHalfToFloat && x.dtype == kHalf && y.dtype == kFloat) ||
                    (kind == kCastFloatToBfloat16 && x.dtype == kFloat && y.dtype == kBfloat16) ||
                    (kind == kCastInt8ToFloat && x.dtype == kInt8 && y.dtype == kFloat) ||
                    (kind == kCastBfloat16ToFloat && x.dtype == kBfloat16 && y.dtype == kFloat);
  call.require(fits && emulated::same_sizes(x, y) && x.is_contiguous() && y.is_contiguous());
  return call.run([x, y, wrong = call.wrong()] {
    for (int64_t i = 0; i < x.count(); ++i)
      y.store(i, wrong && y.dtype != kFloat ? -x.load(i) : x.load(i));
    return 0;
  });
}

}  // extern "C"
