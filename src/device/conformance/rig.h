// Rig: one backend under test. Puts host data into device memory in any layout, gives outputs whose
// surroundings are watched, and reads results back; all through copies.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "device/backend.h"
#include "device/conformance/data.h"
#include "device/workspace.h"

namespace ferry {

// How a tensor lies inside a larger one: `lead` elements before the first, `pad` after every row.
struct Padding {
  int64_t lead = 0;
  int64_t pad = 0;
};

class Rig {
 public:
  explicit Rig(Backend& backend);

  Backend& backend() { return backend_; }
  Stream& stream() { return *stream_; }  // REQUIRES: status().ok()

  // Rounded to `dtype`; `values` are in row-major order.
  TensorView upload(std::span<const float> values, Dtype dtype, std::initializer_list<int64_t> dims,
                    Padding padding = {});
  TensorView upload(std::span<const float> values, std::initializer_list<int64_t> dims,
                    Padding padding = {});
  TensorView upload(std::span<const int32_t> values, std::initializer_list<int64_t> dims);
  // A plane of the cache, `dims` = {num_pages, block_size, width}; `group`: see KvWriteArgs.
  TensorView upload_pages(std::span<const float> values, Dtype dtype,
                          std::initializer_list<int64_t> dims, int64_t group);
  IndexView index(std::span<const int32_t> values);  // `values` must outlive the case

  // Filled with a pattern; read() checks that everything around the elements still has it.
  TensorView output(Dtype dtype, std::initializer_list<int64_t> dims, Padding padding = {});
  WeightView import(const std::shared_ptr<const WeightData>& data, bool by_head = false);
  Workspace workspace(int64_t bytes);

  std::vector<float> read(const TensorView& view);  // of a view that upload() or output() gave
  std::vector<int32_t> read_integers(const TensorView& view);
  std::vector<float> read_pages(const TensorView& pages, int64_t group);

  // Drops all memory of the case. The first error or broken rule since the last clear, if any.
  Status finish();
  Status status() const { return status_; }
  bool ready() const { return status_.ok(); }  // false: addresses are not to be computed with

 private:
  struct Piece {
    TensorView view;
    std::vector<uint8_t> before;  // the bytes of the whole allocation as they were uploaded
    char* base = nullptr;
  };

  // Memory for a padded view of these dimensions, host copy filled with the pattern.
  Piece& make_piece(Dtype dtype, std::initializer_list<int64_t> dims, Padding padding);
  TensorView send(Piece& piece);
  std::vector<uint8_t> read_bytes(const TensorView& view);
  // All bytes of the piece that a view is of, as they are on the device now.
  std::vector<uint8_t> read_piece(const Piece& piece);
  const Piece& piece_of(const TensorView& view) const;
  void fail(const Error& error);
  char* allocate(int64_t bytes);

  Backend& backend_;
  std::unique_ptr<Stream> stream_;
  Status status_;
  std::vector<std::unique_ptr<Piece>> pieces_;
  std::vector<Buffer> buffers_;
  std::vector<Weight> weights_;
};

}  // namespace ferry
