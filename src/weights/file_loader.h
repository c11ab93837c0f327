// FileLoader: a WeightLoader over a checkpoint on disk. Every tensor a model asks for is found by
// name, held to its shape, looked through for values that are not finite, and handed to the
// backend; finish() then insists that nothing is left over.
//
// The format is that of each tensor by itself: plain, GGUF blocks, FP8 with a companion
// NAME.weight_scale_inv (f32 or bf16) or NAME.scale (E8M0) of one scale per 128 × 128 block, ragged
// at the edges, FP4 pairs in I8 with a NAME.scale (E8M0) per 32 columns, which become MXFP4 blocks,
// or INT4 with a NAME.weight_scale of one scale per group of columns and a NAME.weight_shape, or
// NVFP4 with, perhaps, a NAME.scale: one factor for all of the matrix, or one for each expert. The
// look through the values is also what brings a mapped file into memory: every byte is read once,
// by all threads of the team; not what an earlier start looked through, if it is still there.
//
// Messages: "model.safetensors: tensor "X": found [a, b], expected [c, d]".
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/thread_team.h"
#include "device/backend.h"
#include "disk/tensor_file.h"
#include "weights/looked_through.h"
#include "weights/packed_copy.h"
#include "weights/weight_loader.h"

namespace ferry::weights {

struct FileLoaderOptions {
  // Names, shapes, formats and sizes only: no value is read and nothing handed to the backend.
  bool measure_only = false;
  ThreadTeam* team = nullptr;  // reads with all its threads; nullptr: the calling one
  // What an earlier start looked through is not read again; finish() adds what this one did.
  LookedThrough* looked_through = nullptr;
  // Called now and then with the bytes of tensors done and of all tensors there.
  std::function<void(int64_t bytes_done, int64_t bytes_total)> progress;
  // Leaves the experts in the file, for a backend that can read them on demand. Their values are
  // looked through when they are read.
  bool experts_on_demand = false;
  // Lets a backend that uses weights in place pack those that are multiplied (HostWeight::pack).
  bool pack = false;
  // With `pack`: a backend that can wait packs what is not there yet when Backend::pack_more() is
  // called.
  bool pack_later = false;
  // With `pack`: matrices that lie there packed already are mapped and neither read nor looked
  // through (see packed_copy.h). The weights keep its file alive. REQUIRES: check() has held
  const PackedCopy* packed_copy = nullptr;
  // With `pack`: packed matrices are written there and dropped, which leaves their weights without
  // data: the model is not to be run.
  PackedCopyWriter* packed_writer = nullptr;
  int64_t scale_rows = 128;  // of one scale block
  int64_t scale_cols = 128;
  // Rows of a matrix are used where they lie as before; columns are copied out of the file's rows,
  // at blocks of the format. REQUIRES: not with experts_on_demand
  Shard shard;
};

class FileLoader : public WeightLoader {
 public:
  // REQUIRES: the checkpoint and the team outlive the loader (the weights keep their files alive).
  FileLoader(const disk::Checkpoint& checkpoint, std::shared_ptr<Backend> backend,
             FileLoaderOptions options = {});

  // Device memory taken for weights so far, or that would be, with measure_only.
  int64_t device_bytes() const { return device_bytes_; }
  // Of the file, what a part of them is a reordered copy of (FP4 pairs, packed weights).
  int64_t replaced_bytes() const { return replaced_bytes_; }
  // Packed matrices: what they take of device_bytes(), or would without `packed_writer`, and of
  // `packed_copy`.
  int64_t packed_bytes() const { return packed_bytes_; }
  int64_t copied_bytes() const { return copied_bytes_; }
  // Stored bytes of the experts that can be read on demand, and of the largest matrix of one.
  int64_t expert_bytes() const { return expert_bytes_; }
  int64_t largest_expert_bytes() const { return largest_expert_bytes_; }

  Weight matrix(std::string_view name, int64_t rows, int64_t cols, Cut cut = {}) override;
  Weight head_matrices(std::string_view name, int64_t rows, int64_t cols) override;
  Weight lookup_table(std::string_view name, int64_t rows, int64_t cols) override;
  Vector vector(std::string_view full_name, int64_t size, Cut cut = {}) override;
  ExpertBank experts(std::string_view prefix, std::string_view projection, int64_t num_experts,
                     int64_t rows, int64_t cols, Cut cut = {}) override;
  Weight bare_matrix(std::string_view full_name, int64_t rows, int64_t cols) override;
  Vector table(std::string_view full_name, int64_t rows, int64_t cols) override;
  Vector indices(std::string_view full_name, int64_t rows, int64_t cols, int64_t limit) override;
  HeadMatrix mla_up_k(std::string_view prefix, int64_t heads, int64_t nope, int64_t value,
                      int64_t rank) override;
  HeadMatrix mla_up_v(std::string_view prefix, int64_t heads, int64_t nope, int64_t value,
                      int64_t rank) override;
  Vector constant(int64_t rows, int64_t cols,
                  const std::function<std::vector<float>()>& make) override;
  bool has(std::string_view full_name, bool without_file) const override;
  void skip_copy(std::string_view name, int64_t rows, int64_t cols) override;
  void ignore(std::string_view full_name) override;
  void ignore_all(std::string_view prefix) override;
  Status finish() override;

 private:
  enum class MatrixUse : uint8_t { kWhole, kExpert, kHeads, kLookup };
  // A matrix inside a tensor, and the grid that scales it.
  struct Part {
    const disk::FileTensor* tensor = nullptr;
    int64_t first_row = 0;  // of the tensor flattened to [.., cols]
    int64_t rows = 0;
    int64_t cols = 0;
    const disk::FileTensor* scale = nullptr;
    int64_t factor = -1;   // element of `scale` that is the only one of its grid; −1: all are
    bool expert = false;   // may be read on demand
    bool by_head = false;  // will be part of a HeadMatrixView
    bool lookup = false;   // only rows of it are read
    // What a cut has left of a matrix: its rows begin at `cut_row` of the matrix's, its columns at
    // `first_col` of `stored_cols` (0: all of cols).
    int64_t cut_row = 0;
    int64_t first_col = 0;
    int64_t stored_cols = 0;
  };
  // The scale grid of a part: values, and how many rows and columns each stands for.
  struct Grid {
    std::vector<float> values;
    int64_t rows = 0, cols = 0;
  };

  void fail(Error error);
  bool apply(const Cut& cut, Part& part);
  Grid grid_of(const Part& part);
  std::vector<uint8_t> copy_columns(const Part& part) const;
  // Marks the tensor as used; nullptr (and an error) if it is missing or has another shape.
  const disk::FileTensor* take(std::string_view full_name, std::span<const int64_t> shape);
  const disk::FileTensor* take_scale(const disk::FileTensor& tensor, std::string_view name,
                                     int64_t rows, int64_t cols);
  const disk::FileTensor* take_factors(const disk::FileTensor& tensor, std::string_view name,
                                       int64_t count);
  bool check_stated_shape(std::string_view name, int64_t rows, int64_t cols);
  Weight stored_matrix(std::string_view name, int64_t rows, int64_t cols, MatrixUse use, Cut cut);
  bool is_packed_fp4(std::string_view name) const;
  Weight packed_fp4(std::string_view name, int64_t rows, int64_t cols, MatrixUse use);
  std::shared_ptr<std::vector<uint8_t>> reordered(const disk::FileTensor& codes,
                                                  const disk::FileTensor& scales, int64_t rows,
                                                  int64_t groups);
  std::vector<int32_t> read_indices(const disk::FileTensor& tensor, int64_t limit);
  Vector to_device(const void* values, Dtype dtype, int64_t rows, int64_t cols);
  bool exactly_one(std::string_view a, std::string_view b);
  bool check_computable(const disk::FileTensor& tensor);
  bool check_finite(const Part& part);
  int64_t plan_packed(const PackedMatrix& matrix, HostWeight& host, int64_t own_bytes);
  void write_packed(const PackedMatrix& matrix, const WeightView& view, int64_t bytes);
  Weight import(const Part& part);
  std::vector<float> read_plain(const disk::FileTensor& tensor);
  void mark_used(const disk::FileTensor& tensor);
  std::string similar_names(std::string_view full_name) const;

  const disk::Checkpoint& checkpoint_;
  std::shared_ptr<Backend> backend_;
  FileLoaderOptions options_;
  std::unique_ptr<Stream> stream_;
  Status status_;
  std::vector<bool> used_;  // by position in checkpoint_.tensors()
  int64_t bytes_done_ = 0;
  int64_t device_bytes_ = 0;
  int64_t replaced_bytes_ = 0;
  int64_t packed_bytes_ = 0;
  int64_t copied_bytes_ = 0;
  int64_t expert_bytes_ = 0;
  int64_t largest_expert_bytes_ = 0;
  std::string kv_b_name_;  // the kv_b_proj that mla_up_k() took, for mla_up_v()
  Weight kv_b_;
};

}  // namespace ferry::weights
