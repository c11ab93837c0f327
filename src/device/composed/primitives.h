// Primitives: operations on device memory, few and common, of which every op of device/ops.h can be
// composed (ComposedStream does). A backend over a vendor's libraries gives one call for each; the
// rest — scratch memory, uploads, what to do after an error — is here. What a primitive needs of
// layout is said at it, and is what vendors' documentation and public callers keep to.
//
// One queue. The first error sticks; after it nothing more is called. Scratch memory belongs to one
// op of the stream: begin() takes it all back, which is safe because the queue works in order. What
// a library wants for itself is one piece of memory for all calls, for the same reason. Not
// thread-safe: one thread at a time, which may be any.
#pragma once

#include <deque>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/tensor_view.h"
#include "device/memory_pool.h"

namespace ferry::composed {

// A view of device memory with any strides (in elements).
TensorView strided(void* data, Dtype dtype, std::initializer_list<int64_t> dims,
                   std::initializer_list<int64_t> strides);
// The element at these indices of a view as the start of another one.
void* at(const TensorView& x, int64_t i, int64_t j = 0, int64_t k = 0);
// The same contiguous memory under other dimensions.
TensorView reshape(const TensorView& x, std::initializer_list<int64_t> dims);

enum class BinaryOp { kAdd, kSub, kMul };
enum class Activation { kSigmoid, kRelu };

enum class Primitive {
  kCopy,
  kCast,
  kBinary,
  kAffine,
  kActivation,
  kSoftmax,
  kMatmul,
  kSelectRows,
  kWriteRows,
  kTopK,
  kGather,
  kScatter,
  kDivide,
  kRmsNorm,
  kLayerNorm,
  kInt8Matmul,
  kRope,
  kSwiglu,
};

inline constexpr int64_t kMaxRopeHeads = 1000, kMaxRopeSize = 896;

class Primitives {
 public:
  virtual ~Primitives() = default;
  Primitives(const Primitives&) = delete;
  Primitives& operator=(const Primitives&) = delete;

  // Starts an op: binds the thread, takes back the scratch. False after an error.
  bool begin(std::string_view name);
  bool ok() const { return status_.ok(); }
  void fail(const Error& error);
  // Waits for the queue.
  Status synchronize();

  // Scratch until the next begin(), contiguous. After an error the address is null, and nothing is
  // called with it.
  TensorView scratch(Dtype dtype, std::initializer_list<int64_t> dims);
  // What was taken since a mark is free again: what follows in the queue writes over it.
  struct Mark {
    size_t block;
    int64_t offset;
  };
  Mark mark() const { return {block_, offset_}; }
  void rewind(const Mark& to) {
    block_ = to.block;
    offset_ = to.offset;
  }
  // Takes so many bytes at once, kLibraryBytes of them for the library. Errors: of the pool.
  // REQUIRES: no op has begun
  Status reserve(int64_t bytes);
  // Set apart for what libraries want for themselves, which they say only when they are called, and
  // no document says before; what they want beyond comes from the memory that is free then.
  static constexpr int64_t kLibraryBytes = int64_t{32} << 20;
  // Of one op, so far; of primitives that measure.
  int64_t most_scratch_bytes() const { return most_scratch_bytes_; }

  // Host numbers in scratch; the array is kept until it has been copied.
  TensorView upload(std::vector<float> values, std::initializer_list<int64_t> dims);
  TensorView upload(std::vector<int32_t> values, std::initializer_list<int64_t> dims);
  // Waits for the queue. `x` contiguous, i32.
  std::vector<int32_t> read_back(const TensorView& x);
  // x itself where it is contiguous, otherwise a copy in scratch.
  TensorView dense(const TensorView& x);
  // x as `dtype`, contiguous: x itself, or in scratch.
  TensorView as(const TensorView& x, Dtype dtype);

  // What the vendor calls the operation, for messages.
  virtual std::string_view symbol_of(Primitive primitive) const = 0;

  // As Stream::native_queue().
  virtual void* native_queue() = 0;

  // Copies that wait in the queue; `src` / `dst` on the host as in Stream.
  virtual void copy_in(void* device_dst, const void* host_src, int64_t bytes) = 0;
  virtual void copy_out(void* host_dst, const void* device_src, int64_t bytes) = 0;
  virtual void fill_zero(void* device_dst, int64_t bytes) = 0;
  // What the queue leaves when it gets there, and waiting in this queue for that of any. nullptr
  // after an error.
  virtual std::shared_ptr<const void> record() = 0;
  virtual void wait(const void* event) = 0;

  // Same dtype and shape, any strides.
  virtual void copy(const TensorView& x, const TensorView& out) = 0;
  // Contiguous; between f32 and f16 or bf16, and from i8 to f32.
  virtual void cast(const TensorView& x, const TensorView& out) = 0;
  // out = a (op) b, f32, contiguous, same rank; sizes of 1 broadcast. out may be a.
  virtual void binary(BinaryOp operation, const TensorView& a, const TensorView& b,
                      const TensorView& out) = 0;
  // out = factor · x + offset, f32, contiguous. out may be x.
  virtual void affine(const TensorView& x, float factor, float offset, const TensorView& out) = 0;
  // f32, contiguous. out may be x.
  virtual void activation(Activation mode, const TensorView& x, const TensorView& out) = 0;
  // Over the last dimension of a contiguous f32 [rows, n]; −∞ gives 0. out may be x.
  virtual void softmax(const TensorView& x, const TensorView& out) = 0;
  // c = factor · a b for [batch, m, k], [batch, k, n], [batch, m, n]. Any strides, as long as one
  // of the last two dimensions is contiguous. a and b of one dtype, c of it or f32; sums in f32.
  virtual void matmul(const TensorView& a, const TensorView& b, const TensorView& c,
                      float factor = 1) = 0;
  // out[i] = table[index[i]] for contiguous [n, width], [m] i32, [m, width] of one dtype.
  virtual void select_rows(const TensorView& table, const TensorView& index,
                           const TensorView& out) = 0;
  // table[index[i]] = rows[i], the same shapes.
  virtual void write_rows(const TensorView& rows, const TensorView& index,
                          const TensorView& table) = 0;

  // The optional ones (ComposedPaths): a backend without one never says that it is there.
  // c[i, n] = Σ_k a[i, k] · b[n, k] · scales[n] for [m, k] and [n] of the narrow dtype, i8 [n, k],
  // and f32 [m, n], of which only c may have a row stride. The product b[n, k] · scales[n] may be
  // rounded to the narrow dtype, and the sum as well.
  virtual void int8_matmul(const TensorView& a, const TensorView& b, const TensorView& scales,
                           const TensorView& c);
  // Pairs of x [T, H, d] f32, neighbours or d/2 apart, turned by angles whose cosines and sines are
  // given for every entry, [T, d]. x may have strides, the rest is contiguous. out is not x. H <
  // kMaxRopeHeads and d < kMaxRopeSize, which libraries ask for.
  virtual void rope(const TensorView& x, const TensorView& cosines, const TensorView& sines,
                    bool interleaved, const TensorView& out);
  // out[t, i] = silu(x[t, i]) · x[t, n + i] for contiguous f32 [T, 2n], [T, n].
  virtual void swiglu(const TensorView& x, const TensorView& out);
  // Over the last dimension of contiguous f32 [rows, n]: the k largest, in order; among equals the
  // lower index first. values f32, indices i32 [rows, k].
  virtual void top_k(const TensorView& x, int64_t k, const TensorView& values,
                     const TensorView& indices);
  // out[r, j] = x[r, index[r, j]], contiguous, f32 and i32.
  virtual void gather(const TensorView& x, const TensorView& index, const TensorView& out);
  // x[r, index[r, j]] = values[r, j], the same.
  virtual void scatter(const TensorView& values, const TensorView& index, const TensorView& x);
  // out = a / b, f32, contiguous; sizes of 1 broadcast. out may be a.
  virtual void divide(const TensorView& a, const TensorView& b, const TensorView& out) = 0;
  // Contiguous f32 [rows, n], none over another. With a residual: sum = x + residual, and out is
  // that, normed.
  virtual void rms_norm(const TensorView& x, const TensorView& weight, float epsilon,
                        const TensorView* residual, const TensorView* sum,
                        const TensorView& out) = 0;
  virtual void layer_norm(const TensorView& x, const TensorView& weight, const TensorView& bias,
                          float epsilon, const TensorView& out) = 0;

 protected:
  // `owner` of the pool is let go after the scratch.
  Primitives(MemoryPool& pool, std::shared_ptr<const void> owner)
      : pool_(&pool), owner_(std::move(owner)) {}
  // Measures only: addresses are fake and must never be followed.
  Primitives() = default;

  // Makes the device the one that the calling thread's calls go to.
  virtual Status bind() = 0;
  // Returns when the queue is empty; what went wrong goes to fail().
  virtual void wait_queue() = 0;

  const Status& status() const { return status_; }
  // For messages: what is being computed.
  void set_op(std::string_view name) { op_ = name; }
  // So many bytes that the next call of the library may use; nullptr for 0.
  void* workspace(size_t bytes);
  void keep_until_done(std::shared_ptr<void> data) { pending_.push_back(std::move(data)); }

 private:
  template <typename T>
  TensorView upload_as(Dtype dtype, std::vector<T> values, std::initializer_list<int64_t> dims);

  MemoryPool* pool_ = nullptr;
  std::shared_ptr<const void> owner_;
  std::string op_;
  Status status_;
  std::vector<Buffer> blocks_;
  size_t block_ = 0;    // the one that scratch comes from
  int64_t offset_ = 0;  // in it
  int64_t most_scratch_bytes_ = 0;
  Buffer workspace_;
  std::deque<std::shared_ptr<void>> pending_;
};

}  // namespace ferry::composed
