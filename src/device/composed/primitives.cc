// Scratch, uploads and errors: see primitives.h.
#include "device/composed/primitives.h"

#include <algorithm>

#include "base/check.h"
#include "base/checked_math.h"

namespace ferry::composed {
namespace {

constexpr int64_t kScratchBlock = int64_t{16} << 20;
constexpr int64_t kScratchAlignment = 512;
constexpr size_t kMostWorkspace = size_t{1} << 50;  // a library that asks for more is at fault

// Row-major strides for the shape of `x`; the number of elements.
int64_t make_contiguous(TensorView& x) {
  int64_t step = 1;
  for (int i = x.rank - 1; i >= 0; --i) {
    x.stride[i] = step;
    step *= x.shape[i];
  }
  return step;
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

bool Primitives::begin(std::string_view name) {
  op_ = name;
  block_ = 0;
  offset_ = 0;
  if (!status_.ok()) return false;
  const Status bound = bind();
  if (!bound.ok()) fail(bound.error());
  return status_.ok();
}

void Primitives::fail(const Error& error) {
  if (status_.ok()) status_ = error.in(op_);
}

Status Primitives::synchronize() {
  const Status bound = bind();
  if (!bound.ok()) {
    fail(bound.error());
    return status_;
  }
  if (status_.ok()) op_ = "synchronize";
  wait_queue();
  pending_.clear();
  return status_;
}

TensorView Primitives::scratch(Dtype dtype, std::initializer_list<int64_t> dims) {
  TensorView view = TensorView::contiguous(nullptr, dtype, dims);
  const int64_t bytes =
      round_up(std::max<int64_t>(view.num_elements() * dtype_bytes(dtype), 1), kScratchAlignment);
  if (pool_ == nullptr) {
    view.data = reinterpret_cast<char*>(kScratchAlignment) + offset_;
    offset_ += bytes;
    most_scratch_bytes_ = std::max(most_scratch_bytes_, offset_);
    return view;
  }
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
    auto block = pool_->allocate(std::max(bytes, kScratchBlock), owner_);
    if (!block.ok()) {
      fail(block.error());
      break;
    }
    blocks_.push_back(std::move(block).value());
  }
  return view;
}

Status Primitives::reserve(int64_t bytes) {
  if (bytes <= kLibraryBytes) return {};
  FERRY_TRY_VOID(bind());
  FERRY_TRY(workspace_, pool_->allocate(kLibraryBytes, owner_));
  FERRY_TRY(Buffer block, pool_->allocate(bytes - kLibraryBytes, owner_));
  blocks_.push_back(std::move(block));
  return {};
}

void* Primitives::workspace(size_t bytes) {
  if (bytes == 0 || !ok()) return nullptr;
  if (bytes > kMostWorkspace) {
    fail(device_error("a workspace of {} bytes was asked for", bytes));
    return nullptr;
  }
  if (static_cast<int64_t>(bytes) <= workspace_.bytes) return workspace_.data;
  workspace_ = {};  // the pool waits before it gives the memory to anyone else
  auto larger = pool_->allocate(static_cast<int64_t>(bytes), owner_);
  if (!larger.ok()) {
    fail(larger.error());
    return nullptr;
  }
  workspace_ = std::move(larger).value();
  return workspace_.data;
}

template <typename T>
TensorView Primitives::upload_as(Dtype dtype, std::vector<T> values,
                                 std::initializer_list<int64_t> dims) {
  const TensorView out = scratch(dtype, dims);
  auto kept = std::make_shared<std::vector<T>>(std::move(values));
  copy_in(out.data, kept->data(), static_cast<int64_t>(kept->size() * sizeof(T)));
  keep_until_done(std::move(kept));
  return out;
}

TensorView Primitives::upload(std::vector<float> values, std::initializer_list<int64_t> dims) {
  return upload_as(Dtype::kF32, std::move(values), dims);
}

TensorView Primitives::upload(std::vector<int32_t> values, std::initializer_list<int64_t> dims) {
  return upload_as(Dtype::kI32, std::move(values), dims);
}

std::vector<int32_t> Primitives::read_back(const TensorView& x) {
  CHECK(x.is_contiguous() && x.dtype == Dtype::kI32);
  std::vector<int32_t> values(static_cast<size_t>(x.num_elements()));
  copy_out(values.data(), x.data, static_cast<int64_t>(values.size() * sizeof(int32_t)));
  if (ok()) wait_queue();
  return values;
}

void Primitives::int8_matmul(const TensorView&, const TensorView&, const TensorView&,
                             const TensorView&) {
  CHECK(false);
}
void Primitives::rope(const TensorView&, const TensorView&, const TensorView&, bool,
                      const TensorView&) {
  CHECK(false);
}
void Primitives::swiglu(const TensorView&, const TensorView&) { CHECK(false); }
void Primitives::top_k(const TensorView&, int64_t, const TensorView&, const TensorView&) {
  CHECK(false);
}
void Primitives::gather(const TensorView&, const TensorView&, const TensorView&) { CHECK(false); }
void Primitives::scatter(const TensorView&, const TensorView&, const TensorView&) { CHECK(false); }

TensorView Primitives::dense(const TensorView& x) {
  if (x.is_contiguous()) return x;
  TensorView out = x;
  out.data = scratch(x.dtype, {make_contiguous(out)}).data;
  copy(x, out);
  return out;
}

TensorView Primitives::as(const TensorView& x, Dtype dtype) {
  const TensorView from = dense(x);
  if (x.dtype == dtype) return from;
  TensorView out = from;
  out.dtype = dtype;
  out.data = scratch(dtype, {x.num_elements()}).data;
  cast(from, out);
  return out;
}

}  // namespace ferry::composed
