// Calls: CNNL's operations on tensor views, one queue and one handle. Each method is one vendor
// call with its descriptors and workspace; what a method needs of layout is said at it, and is what
// the vendor's documentation and public callers keep to.
//
// The first error sticks; after it nothing more is called. Scratch memory belongs to one op of the
// stream: begin() takes it all back, which is safe because the queue works in order.
#pragma once

#include <deque>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "backends/cambricon/device.h"

namespace ferry::cambricon {

// A view of device memory with any strides (in elements).
TensorView strided(void* data, Dtype dtype, std::initializer_list<int64_t> dims,
                   std::initializer_list<int64_t> strides);
// The element at these indices of a view as the start of another one.
void* at(const TensorView& x, int64_t i, int64_t j = 0, int64_t k = 0);
// The same contiguous memory under other dimensions.
TensorView reshape(const TensorView& x, std::initializer_list<int64_t> dims);

class Calls {
 public:
  static Result<std::unique_ptr<Calls>> create(std::shared_ptr<Device> device);
  ~Calls();
  Calls(const Calls&) = delete;
  Calls& operator=(const Calls&) = delete;

  const Vendor& vendor() const { return device_->vendor(); }
  const std::shared_ptr<Device>& device() const { return device_; }
  Queue queue() const { return queue_; }

  // Starts an op: binds the thread, takes back the scratch. False after an error.
  bool begin(std::string_view name);
  bool ok() const { return status_.ok(); }
  void fail(const Error& error);
  void check_cnrt(const char* call, int status);
  void check_cnnl(const char* call, int status);
  Status synchronize();

  // Scratch until the next begin(), contiguous. After an error the address is null, and nothing is
  // called with it.
  TensorView scratch(Dtype dtype, std::initializer_list<int64_t> dims);
  // Copies that wait in the queue; `src` / `dst` on the host as in Stream.
  void copy_in(void* device_dst, const void* host_src, int64_t bytes);
  void copy_out(void* host_dst, const void* device_src, int64_t bytes);
  void fill_zero(void* device_dst, int64_t bytes);
  // Host numbers in scratch; the array is kept until it has been copied.
  TensorView upload(std::vector<float> values, std::initializer_list<int64_t> dims);
  TensorView upload(std::vector<int32_t> values, std::initializer_list<int64_t> dims);
  // Waits for the queue. `x` contiguous, i32.
  std::vector<int32_t> read_back(const TensorView& x);

  // x itself where it is contiguous, otherwise a copy in scratch.
  TensorView dense(const TensorView& x);
  // Same dtype and shape, any strides. cnnlCopy_v2
  void copy(const TensorView& x, const TensorView& out);
  // Contiguous; between f32 and f16 or bf16. cnnlCastDataType
  void cast(const TensorView& x, const TensorView& out);
  // x as `dtype`, contiguous: x itself, or in scratch.
  TensorView as(const TensorView& x, Dtype dtype);

  // out = scale · a (op) b, f32, contiguous, same rank; sizes of 1 broadcast. kOpTensor…
  void binary(int operation, const TensorView& a, const TensorView& b, const TensorView& out,
              float scale = 1);
  // out = factor · x + offset, f32, contiguous. cnnlTransform_v2
  void affine(const TensorView& x, float factor, float offset, const TensorView& out);
  // f32, contiguous. kSigmoid or kRelu
  void activation(int mode, const TensorView& x, const TensorView& out);
  // Over the last dimension of a contiguous f32 [rows, n].
  void softmax(const TensorView& x, const TensorView& out);
  // c = factor · a b for [batch, m, k], [batch, k, n], [batch, m, n]. Any strides, as long as one
  // of the last two dimensions is contiguous. a and b of one dtype, c of it or f32; sums in f32.
  void matmul(const TensorView& a, const TensorView& b, const TensorView& c, float factor = 1);

  // out[i] = table[index[i]] for contiguous [n, width], [m] i32, [m, width] of one dtype.
  void select_rows(const TensorView& table, const TensorView& index, const TensorView& out);
  // table[index[i]] = rows[i], the same shapes.
  void write_rows(const TensorView& rows, const TensorView& index, const TensorView& table);

  // The optional ones. REQUIRES: the symbol is there (Paths)
  // Over the last dimension of contiguous f32 [rows, n]: the k largest, in order; among equals the
  // lower index first. values f32, indices i32 [rows, k].
  void top_k(const TensorView& x, int64_t k, const TensorView& values, const TensorView& indices);
  // out[r, j] = x[r, index[r, j]], contiguous, f32 and i32.
  void gather(const TensorView& x, const TensorView& index, const TensorView& out);
  // x[r, index[r, j]] = values[r, j], the same.
  void scatter(const TensorView& values, const TensorView& index, const TensorView& x);
  // out = a / b, f32, contiguous; sizes of 1 broadcast.
  void divide(const TensorView& a, const TensorView& b, const TensorView& out);
  // Contiguous f32 [rows, n], none over another. With a residual: sum = x + residual, and out is
  // that, normed.
  void rms_norm(const TensorView& x, const TensorView& weight, float epsilon,
                const TensorView* residual, const TensorView* sum, const TensorView& out);
  void layer_norm(const TensorView& x, const TensorView& weight, const TensorView& bias,
                  float epsilon, const TensorView& out);

 private:
  // A tensor descriptor for the length of a call; they are used again.
  class Desc {
   public:
    Desc(Calls& calls, const TensorView& x);
    ~Desc() {
      if (desc_ != nullptr) calls_.free_descs_.push_back(desc_);
    }
    Desc(const Desc&) = delete;
    Desc& operator=(const Desc&) = delete;
    operator TensorDesc() const { return desc_; }  // NOLINT: that is what it is for

   private:
    Calls& calls_;
    TensorDesc desc_ = nullptr;
  };

  explicit Calls(std::shared_ptr<Device> device) : device_(std::move(device)) {}
  Status open();
  void* workspace(size_t bytes);
  void keep_until_done(std::shared_ptr<void> data) { pending_.push_back(std::move(data)); }

  std::shared_ptr<Device> device_;
  Queue queue_ = nullptr;
  Handle handle_ = nullptr;
  OpDesc matmul_ = nullptr, algo_ = nullptr, heuristic_ = nullptr;
  OpDesc op_tensor_ = nullptr, activation_ = nullptr, norm_ = nullptr;
  std::vector<TensorDesc> free_descs_;
  std::string op_;
  Status status_;

  std::vector<Buffer> blocks_;
  size_t block_ = 0;    // the one that scratch comes from
  int64_t offset_ = 0;  // in it
  std::deque<std::shared_ptr<void>> pending_;
};

}  // namespace ferry::cambricon
