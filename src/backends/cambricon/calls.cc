// Calls, part 1: the queue, its notifiers, copies and descriptors. See calls.h.
#include "backends/cambricon/calls.h"

#include <algorithm>
#include <limits>

#include "base/checked_math.h"

namespace ferry::cambricon {
namespace {

int cnnl_dtype(Dtype dtype) {
  switch (dtype) {
    case Dtype::kF32: return kFloat;
    case Dtype::kF16: return kHalf;
    case Dtype::kBF16: return kBfloat16;
    case Dtype::kI8: return kInt8;
    case Dtype::kI32: return kInt32;
    default: CHECK(false); return 0;
  }
}

// A notifier that destroys itself; keeps its device alive.
struct CnrtEvent {
  std::shared_ptr<Device> device;
  Notifier notifier = nullptr;
  ~CnrtEvent() {
    if (notifier != nullptr && device->bind().ok()) device->vendor().cnrtNotifierDestroy(notifier);
  }
};

}  // namespace

Result<std::unique_ptr<composed::Primitives>> Calls::create(std::shared_ptr<Device> device) {
  std::unique_ptr<Calls> calls(new Calls(std::move(device)));
  FERRY_TRY_VOID(calls->open());
  return std::unique_ptr<Primitives>(std::move(calls));
}

Status Calls::open() {
  const Vendor& v = vendor();
  FERRY_TRY_VOID(device_->bind());
  set_op("create_stream");
  check_cnrt("cnrtQueueCreate", v.cnrtQueueCreate(&queue_));
  if (ok()) check_cnnl("cnnlCreate", v.cnnlCreate(&handle_));
  if (ok()) check_cnnl("cnnlSetQueue", v.cnnlSetQueue(handle_, queue_));
  if (ok()) check_cnnl("cnnlCreateMatMulDescriptor", v.cnnlCreateMatMulDescriptor(&matmul_));
  // f32 stays f32, and descriptors may have strides.
  const int32_t off = 0, on = 1;
  if (ok()) {
    check_cnnl("cnnlSetMatMulDescAttr",
               v.cnnlSetMatMulDescAttr(matmul_, kMatMulAllowTf32, &off, sizeof off));
  }
  if (ok()) {
    check_cnnl("cnnlSetMatMulDescAttr",
               v.cnnlSetMatMulDescAttr(matmul_, kMatMulUseStride, &on, sizeof on));
  }
  if (ok()) check_cnnl("cnnlCreateMatMulAlgo", v.cnnlCreateMatMulAlgo(&algo_));
  if (ok()) {
    check_cnnl("cnnlCreateMatMulHeuristicResult", v.cnnlCreateMatMulHeuristicResult(&heuristic_));
  }
  if (ok()) check_cnnl("cnnlCreateOpTensorDescriptor", v.cnnlCreateOpTensorDescriptor(&op_tensor_));
  if (ok()) {
    check_cnnl("cnnlCreateActivationDescriptor", v.cnnlCreateActivationDescriptor(&activation_));
  }
  if (ok() && v.cnnlCreateFuseNormDescriptor != nullptr) {
    check_cnnl("cnnlCreateFuseNormDescriptor", v.cnnlCreateFuseNormDescriptor(&norm_));
  }
  return status();
}

Calls::~Calls() {
  const Vendor& v = vendor();
  if (!device_->bind().ok()) return;  // nothing of it can be reached any more
  if (queue_ != nullptr) v.cnrtQueueSync(queue_);
  for (TensorDesc desc : free_descs_) v.cnnlDestroyTensorDescriptor(desc);
  if (norm_ != nullptr) v.cnnlDestroyFuseNormDescriptor(norm_);
  if (activation_ != nullptr) v.cnnlDestroyActivationDescriptor(activation_);
  if (op_tensor_ != nullptr) v.cnnlDestroyOpTensorDescriptor(op_tensor_);
  if (heuristic_ != nullptr) v.cnnlDestroyMatMulHeuristicResult(heuristic_);
  if (algo_ != nullptr) v.cnnlDestroyMatMulAlgo(algo_);
  if (matmul_ != nullptr) v.cnnlDestroyMatMulDescriptor(matmul_);
  if (handle_ != nullptr) v.cnnlDestroy(handle_);
  if (queue_ != nullptr) v.cnrtQueueDestroy(queue_);
}

void Calls::check_cnrt(const char* call, int status) {
  if (status != kCnrtSuccess) fail(cnrt_error(vendor(), call, status));
}

void Calls::check_cnnl(const char* call, int status) {
  if (status != kCnnlSuccess) fail(cnnl_error(vendor(), call, status));
}

void Calls::wait_queue() { check_cnrt("cnrtQueueSync", vendor().cnrtQueueSync(queue_)); }

std::shared_ptr<const void> Calls::record() {
  auto event = std::make_shared<CnrtEvent>();
  event->device = device_;
  check_cnrt("cnrtNotifierCreate", vendor().cnrtNotifierCreate(&event->notifier));
  if (ok()) check_cnrt("cnrtPlaceNotifier", vendor().cnrtPlaceNotifier(event->notifier, queue_));
  return ok() ? event : nullptr;
}

void Calls::wait(const void* event) {
  check_cnrt(
      "cnrtQueueWaitNotifier",
      vendor().cnrtQueueWaitNotifier(static_cast<const CnrtEvent*>(event)->notifier, queue_, 0));
}

void Calls::copy_in(void* dst, const void* src, int64_t bytes) {
  if (!ok() || bytes == 0) return;
  check_cnrt("cnrtMemcpyAsync_V2",
             vendor().cnrtMemcpyAsync_V2(dst, const_cast<void*>(src), static_cast<size_t>(bytes),
                                         queue_, kHostToDevice));
}

void Calls::copy_out(void* dst, const void* src, int64_t bytes) {
  if (!ok() || bytes == 0) return;
  check_cnrt("cnrtMemcpyAsync_V2",
             vendor().cnrtMemcpyAsync_V2(dst, const_cast<void*>(src), static_cast<size_t>(bytes),
                                         queue_, kDeviceToHost));
}

void Calls::fill_zero(void* dst, int64_t bytes) {
  if (!ok() || bytes == 0) return;
  check_cnrt("cnrtMemsetAsync",
             vendor().cnrtMemsetAsync(dst, 0, static_cast<size_t>(bytes), queue_));
}

Calls::Desc::Desc(Calls& calls, const TensorView& x) : calls_(calls) {
  if (!calls.free_descs_.empty()) {
    desc_ = calls.free_descs_.back();
    calls.free_descs_.pop_back();
  } else {
    calls.check_cnnl("cnnlCreateTensorDescriptor",
                     calls.vendor().cnnlCreateTensorDescriptor(&desc_));
  }
  int sizes[kMaxRank], strides[kMaxRank];
  for (int i = 0; i < x.rank; ++i) {
    if (x.shape[i] > std::numeric_limits<int>::max() ||
        x.stride[i] > std::numeric_limits<int>::max()) {
      calls.fail(unsupported("cambricon: a tensor with a size or stride of {}, CNNL takes {}",
                             std::max(x.shape[i], x.stride[i]), std::numeric_limits<int>::max()));
      return;
    }
    sizes[i] = static_cast<int>(x.shape[i]);
    strides[i] = static_cast<int>(x.stride[i]);
  }
  if (!calls.ok()) return;
  calls.check_cnnl("cnnlSetTensorDescriptorEx",
                   calls.vendor().cnnlSetTensorDescriptorEx(
                       desc_, kLayoutArray, cnnl_dtype(x.dtype), x.rank, sizes, strides));
}

}  // namespace ferry::cambricon
