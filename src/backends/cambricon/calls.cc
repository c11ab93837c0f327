// Calls, part 1: the queue, scratch, copies and what they are made of. See calls.h.
#include "backends/cambricon/calls.h"

#include <algorithm>
#include <limits>

#include "base/checked_math.h"

namespace ferry::cambricon {
namespace {

constexpr int64_t kScratchBlock = int64_t{16} << 20;
constexpr int64_t kScratchAlignment = 512;

int cnnl_dtype(Dtype dtype) {
  switch (dtype) {
    case Dtype::kF32: return kFloat;
    case Dtype::kF16: return kHalf;
    case Dtype::kBF16: return kBfloat16;
    case Dtype::kI32: return kInt32;
    default: CHECK(false); return 0;
  }
}

}  // namespace

TensorView strided(void* data, Dtype dtype, std::initializer_list<int64_t> dims,
                   std::initializer_list<int64_t> strides) {
  CHECK(dims.size() == strides.size());
  TensorView view = TensorView::contiguous(data, dtype, dims);
  std::copy(strides.begin(), strides.end(), view.stride.begin());
  return view;
}

void* at(const TensorView& x, int64_t i, int64_t j, int64_t k) {
  return static_cast<char*>(x.data) +
         (i * x.stride[0] + j * x.stride[1] + k * x.stride[2]) * dtype_bytes(x.dtype);
}

TensorView reshape(const TensorView& x, std::initializer_list<int64_t> dims) {
  CHECK(x.is_contiguous());
  const TensorView view = TensorView::contiguous(x.data, x.dtype, dims);
  CHECK(view.num_elements() == x.num_elements());
  return view;
}

Result<std::unique_ptr<Calls>> Calls::create(std::shared_ptr<Device> device) {
  std::unique_ptr<Calls> calls(new Calls(std::move(device)));
  FERRY_TRY_VOID(calls->open());
  return calls;
}

Status Calls::open() {
  const Vendor& v = vendor();
  FERRY_TRY_VOID(device_->bind());
  op_ = "create_stream";
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
  return status_;
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

bool Calls::begin(std::string_view name) {
  op_ = name;
  block_ = 0;
  offset_ = 0;
  if (!status_.ok()) return false;
  const Status bound = device_->bind();
  if (!bound.ok()) fail(bound.error());
  return status_.ok();
}

void Calls::fail(const Error& error) {
  if (status_.ok()) status_ = error.in(op_);
}

void Calls::check_cnrt(const char* call, int status) {
  if (status != kCnrtSuccess) fail(cnrt_error(vendor(), call, status));
}

void Calls::check_cnnl(const char* call, int status) {
  if (status != kCnnlSuccess) fail(cnnl_error(vendor(), call, status));
}

Status Calls::synchronize() {
  const Status bound = device_->bind();
  if (!bound.ok()) fail(bound.error());
  const int status = vendor().cnrtQueueSync(queue_);
  if (status_.ok()) op_ = "synchronize";
  check_cnrt("cnrtQueueSync", status);
  pending_.clear();
  return status_;
}

TensorView Calls::scratch(Dtype dtype, std::initializer_list<int64_t> dims) {
  TensorView view = TensorView::contiguous(nullptr, dtype, dims);
  const int64_t bytes =
      round_up(std::max<int64_t>(view.num_elements() * dtype_bytes(dtype), 1), kScratchAlignment);
  while (ok()) {
    if (block_ < blocks_.size() && offset_ + bytes <= blocks_[block_].bytes) {
      view.data = static_cast<char*>(blocks_[block_].data) + offset_;
      offset_ += bytes;
      return view;
    }
    offset_ = 0;
    if (block_ < blocks_.size()) {
      ++block_;
      continue;
    }
    auto block = device_->pool().allocate(std::max(bytes, kScratchBlock), device_);
    if (!block.ok()) {
      fail(block.error());
      break;
    }
    blocks_.push_back(std::move(block).value());
  }
  return view;
}

void* Calls::workspace(size_t bytes) {
  if (bytes == 0) return nullptr;
  const int64_t words = ceil_div(static_cast<int64_t>(bytes), dtype_bytes(Dtype::kI32));
  return scratch(Dtype::kI32, {words}).data;
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

TensorView Calls::upload(std::vector<float> values, std::initializer_list<int64_t> dims) {
  const TensorView out = scratch(Dtype::kF32, dims);
  auto kept = std::make_shared<std::vector<float>>(std::move(values));
  copy_in(out.data, kept->data(), static_cast<int64_t>(kept->size() * sizeof(float)));
  keep_until_done(std::move(kept));
  return out;
}

TensorView Calls::upload(std::vector<int32_t> values, std::initializer_list<int64_t> dims) {
  const TensorView out = scratch(Dtype::kI32, dims);
  auto kept = std::make_shared<std::vector<int32_t>>(std::move(values));
  copy_in(out.data, kept->data(), static_cast<int64_t>(kept->size() * sizeof(int32_t)));
  keep_until_done(std::move(kept));
  return out;
}

std::vector<int32_t> Calls::read_back(const TensorView& x) {
  CHECK(x.is_contiguous() && x.dtype == Dtype::kI32);
  std::vector<int32_t> values(static_cast<size_t>(x.num_elements()));
  copy_out(values.data(), x.data, static_cast<int64_t>(values.size() * sizeof(int32_t)));
  if (ok()) check_cnrt("cnrtQueueSync", vendor().cnrtQueueSync(queue_));
  return values;
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

TensorView Calls::dense(const TensorView& x) {
  if (x.is_contiguous()) return x;
  TensorView out = x;
  int64_t step = 1;
  for (int i = x.rank - 1; i >= 0; --i) {
    out.stride[i] = step;
    step *= x.shape[i];
  }
  out.data = scratch(x.dtype, {step}).data;
  copy(x, out);
  return out;
}

TensorView Calls::as(const TensorView& x, Dtype dtype) {
  const TensorView from = dense(x);
  if (x.dtype == dtype) return from;
  TensorView out = from;
  out.dtype = dtype;
  out.data = scratch(dtype, {x.num_elements()}).data;
  cast(from, out);
  return out;
}

}  // namespace ferry::cambricon
