// WeightLoader: the only way a model gets its tensors. A model asks for each tensor by its
// Hugging Face name and exact shape; what answers may be
//   - FileLoader      a checkpoint on disk, handed to the backend (weights/file_loader.h)
//   - ShapeRecorder   nobody: it writes down name, shape and role, for memory plans, dry runs and
//                     `ferry synth` (weights/shape_recorder.h)
// so that the list of a model's tensors exists once.
//
// Errors stick: the first one is kept, later calls return empty handles, and finish() reports it.
// Tensors of the file that nobody asked for are an error too, unless they were ignore()d.
//
// A loader may load for one rank of several (Shard). Sizes that a model asks for are those of the
// whole model; what it gets is the part that the Cut says.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/tensor_view.h"
#include "device/weight.h"
#include "weights/shard.h"

namespace ferry::weights {

// A small plain tensor on the device, f32 (i32 from indices()).
struct Vector {
  TensorView view;
  std::shared_ptr<const void> storage;
  bool empty() const { return view.empty(); }
};

// The same projection of every expert.
struct ExpertBank {
  bool on_demand = false;  // read when they are needed: guessing which will be is of use
  std::vector<WeightView> views;
  std::vector<std::shared_ptr<const void>> storage;
};

struct HeadMatrix {
  HeadMatrixView view;
  std::shared_ptr<const void> storage;
};

class WeightLoader {
 public:
  explicit WeightLoader(Shard shard = {}) : shard_(shard) {}
  virtual ~WeightLoader() = default;

  const Shard& shard() const { return shard_; }

  // NAME.weight as [rows, cols], with its FP8 scale grid where the file has one. `name` comes
  // without ".weight".
  virtual Weight matrix(std::string_view name, int64_t rows, int64_t cols, Cut cut = {}) = 0;
  // The same for a HeadMatrixView.
  virtual Weight head_matrices(std::string_view name, int64_t rows, int64_t cols) = 0;
  // The same where only rows are looked up: token embeddings that are no output matrix.
  virtual Weight lookup_table(std::string_view name, int64_t rows, int64_t cols) = 0;
  // The full name (norm weights, biases), any plain dtype, as f32 [size].
  virtual Vector vector(std::string_view full_name, int64_t size, Cut cut = {}) = 0;
  // PREFIX.{e}.PROJECTION.weight for e in [0, num_experts), or the stacked PREFIX.PROJECTION.weight
  // [num_experts, rows, cols], or the fused gate_up_proj.
  virtual ExpertBank experts(std::string_view prefix, std::string_view projection,
                             int64_t num_experts, int64_t rows, int64_t cols, Cut cut = {}) = 0;
  // A matrix of plain numbers whose name has no ".weight".
  virtual Weight bare_matrix(std::string_view full_name, int64_t rows, int64_t cols) = 0;
  // A table of plain numbers, as f32 [rows, cols].
  virtual Vector table(std::string_view full_name, int64_t rows, int64_t cols) = 0;
  // A table of whole numbers, as i32 [rows, cols]: each in [0, limit), those of a row distinct.
  virtual Vector indices(std::string_view full_name, int64_t rows, int64_t cols, int64_t limit) = 0;
  // The two halves of PREFIX.kv_b_proj [heads · (nope + value), rank], or GGUF's PREFIX.k_b_proj
  // [heads, rank, nope] (transposed) and PREFIX.v_b_proj [heads, value, rank]; cut by heads.
  virtual HeadMatrix mla_up_k(std::string_view prefix, int64_t heads, int64_t nope, int64_t value,
                              int64_t rank) = 0;
  virtual HeadMatrix mla_up_v(std::string_view prefix, int64_t heads, int64_t nope, int64_t value,
                              int64_t rank) = 0;
  // A table [rows, cols] f32 that the model computes itself (rope). `make` is called only if the
  // values are needed.
  virtual Vector constant(int64_t rows, int64_t cols,
                          const std::function<std::vector<float>()>& make) = 0;

  // Whether the checkpoint has this tensor; `without_file` is the answer of a loader that reads no
  // checkpoint: what published ones have.
  virtual bool has(std::string_view full_name, bool without_file) const = 0;
  // NAME.weight, a bit-for-bit copy of another matrix that some checkpoints carry: its shape is
  // checked if it is there, its data is not read.
  virtual void skip_copy(std::string_view name, int64_t rows, int64_t cols) = 0;
  // A tensor that may be there and is not needed (rotary_emb.inv_freq); no error if absent.
  virtual void ignore(std::string_view full_name) = 0;
  // All tensors whose names begin like this.
  virtual void ignore_all(std::string_view prefix) = 0;

  virtual Status finish() = 0;

 private:
  const Shard shard_;
};

}  // namespace ferry::weights
