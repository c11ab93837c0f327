// How weights cross the seam. A WeightView is a matrix [rows = out, cols = in] in any storage
// format; the backend that imported it decides what `data` points to (file bytes as they are, or a
// packed copy) and is the only one to follow it.
//
// FP8 checkpoints scale blocks of the matrix by a second tensor:
//   W[n, k] = decode(data)[n, k] · scale[n / scale_rows, k / scale_cols]
// with ragged edges: the grid is [ceil(rows / scale_rows), ceil(cols / scale_cols)].
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "base/result.h"
#include "quant/storage_format.h"

namespace ferry {

struct WeightView {
  const quant::StorageFormat* format = nullptr;
  const void* data = nullptr;  // device memory
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t row_bytes = 0;         // from one row to the next, as the file has it
  const float* scale = nullptr;  // device memory, row-major grid; nullptr: no block scales
  int64_t scale_rows = 0;        // rows of W under one scale (128)
  int64_t scale_cols = 0;        // columns of W under one scale (128)
  const void* packed = nullptr;  // the backend's own form of the same matrix, or nullptr

  bool empty() const { return rows == 0; }
};

// A WeightView and whatever keeps its memory alive (a mapping, a device buffer).
struct Weight {
  WeightView view;
  std::shared_ptr<const void> storage;

  bool empty() const { return view.empty(); }
};

// Where the bytes of a weight can be read whenever they are needed. Thread-safe.
class WeightSource {
 public:
  virtual ~WeightSource() = default;
  static constexpr int64_t kAlignment = 4096;  // of buffers
  // Of a buffer for read(): the weight, and what reading by whole blocks adds.
  virtual int64_t buffer_bytes() const = 0;
  // Fills `buffer` and returns where in it the first row begins.
  // Errors name file, tensor and offset; a value that is not finite is one.
  virtual Result<const uint8_t*> read(std::span<uint8_t> buffer) const = 0;
};

// A weight as it lies in host memory, before a backend has taken it.
struct HostWeight {
  const quant::StorageFormat* format = nullptr;
  std::span<const uint8_t> data;  // rows · cols elements, rows back to back
  int64_t rows = 0;
  int64_t cols = 0;
  std::span<const float> scale;  // empty, or the whole grid
  int64_t scale_rows = 0;
  int64_t scale_cols = 0;
  bool by_head = false;  // will be part of a HeadMatrixView
  // A backend with DeviceSpec::weights_in_place may keep a form of its own beside the data, if it
  // computes faster with it.
  bool pack = false;
  // With `pack`: import_weight() need not wait for it. The data is computed with until some call of
  // Backend::pack_more() has packed it, which then calls this. Empty: it is packed at once.
  std::function<void()> when_packed;
  // With `pack`: that form, made earlier by a backend with the same DeviceSpec::packed_layout;
  // import_bytes() of it. Empty: none was.
  std::span<const uint8_t> packed;
  std::shared_ptr<const void> keep_alive;  // owns `data`, `scale` and `packed`
  // Where there is one, `data` is not to be touched: the weight is read when an op needs it. Only
  // for a backend with DeviceSpec::weights_on_demand, and only what ops with experts use.
  std::shared_ptr<const WeightSource> source;
};

// H matrices, one per attention head, inside one stored matrix (imported as `by_head`): head h is
// the `rows` rows that
// start at first_row + h · head_stride. U_h is the matrix of the paper; `transposed` says that the
// file stores U_hᵀ (GGUF's attn_k_b) instead of U_h (rows of kv_b_proj).
struct HeadMatrixView {
  WeightView weight;
  int64_t num_heads = 0;
  int64_t rows = 0;  // of the stored matrix of one head
  int64_t cols = 0;  // = weight.cols
  int64_t first_row = 0;
  int64_t head_stride = 0;
  bool transposed = false;

  int64_t out_features() const { return transposed ? cols : rows; }  // of U_h
  int64_t in_features() const { return transposed ? rows : cols; }
};

}  // namespace ferry
