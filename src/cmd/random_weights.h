// RandomWeights: jobs that fill tensors with random numbers of the kind a model survives: matrices
// N(0, stddev), norms 1 ± 0.05, biases N(0, 0.01). The bytes of a tensor depend on the seed, its
// name and its format alone, not on what else is in the file.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "cmd/checkpoint_writer.h"
#include "disk/model_source.h"
#include "quant/random_blocks.h"
#include "weights/shape_recorder.h"

namespace ferry::cmd {

// What a file with such weights calls itself, and whether one does: general.name of GGUF,
// _name_or_path of config.json.
std::string random_model_name(const std::string& shape);
bool has_random_weights(const disk::ModelSource& source);

class RandomWeights {
 public:
  RandomWeights(uint64_t seed, float stddev) : seed_(seed), stddev_(stddev) {}

  // `shape` and `name` as the file has them. REQUIRES: this object outlives the job; the shape is
  // whole blocks of the format
  TensorJob job(const std::string& name, const std::vector<int64_t>& shape,
                const quant::StorageFormat& format, weights::TensorRole role);

  // A matrix in FP8 and its grid of scales, one per 128 × 128 block: NAME, and NAME_scale_inv in
  // F32 or, `e8m0`, as DeepSeek-V4 has it: PREFIX.scale of PREFIX.weight.
  std::vector<TensorJob> fp8_jobs(const std::string& name, int64_t rows, int64_t cols,
                                  bool e8m0 = false);

  // A matrix in FP4, pairs in I8, and a scale (E8M0) per 32 columns: PREFIX.weight, PREFIX.scale.
  // REQUIRES: cols is a multiple of kFp4Group
  static constexpr int64_t kFp4Group = 32;
  std::vector<TensorJob> fp4_jobs(const std::string& name, int64_t rows, int64_t cols);

  // I64 (`wide`) or I32 [rows, cols], all in [0, limit), those of a row distinct. REQUIRES: cols <=
  // limit
  TensorJob index_job(const std::string& name, int64_t rows, int64_t cols, int64_t limit,
                      bool wide);

  // A matrix in packed INT4 (disk/packed_int4.h): NAME_packed, NAME_scale in BF16, NAME_shape.
  // REQUIRES: cols is a multiple of kInt4Group
  static constexpr int64_t kInt4Group = 32;
  std::vector<TensorJob> int4_jobs(const std::string& name, int64_t rows, int64_t cols);

 private:
  Status fill(const disk::TensorDecl& tensor, float stddev, const Emit& emit);
  Status fill_around(const disk::TensorDecl& tensor, float mean, float deviation, const Emit& emit);

  uint64_t seed_;
  float stddev_;
  std::map<std::pair<std::string, float>, std::unique_ptr<quant::RandomBlocks>> pools_;
};

}  // namespace ferry::cmd
