// SourceWeights: jobs that take the tensors of a Hugging Face checkpoint, in whatever format it
// has them, and write them as a GGUF file wants them: experts stacked, kv_b_proj in its two halves
// (keys transposed), q and k of the llama architecture permuted for interleaved rotation.
#pragma once

#include <string>
#include <vector>

#include "cmd/checkpoint_writer.h"
#include "disk/tensor_file.h"
#include "models/registry/select.h"
#include "nn/model_spec.h"
#include "weights/shape_recorder.h"

namespace ferry::cmd {

class SourceWeights {
 public:
  // REQUIRES: both outlive this object, which outlives its jobs
  SourceWeights(const disk::Checkpoint& checkpoint, const nn::ModelSpec& spec,
                models::ScaleBlock scale_block)
      : checkpoint_(checkpoint), spec_(spec), scale_block_(scale_block) {}

  // `record`: as the architecture asks for it with split kv_b; `name`: GGUF's.
  TensorJob job(const weights::TensorRecord& record, const std::string& name,
                const quant::StorageFormat& format) const;

 private:
  using Rows = std::vector<float>;

  Status produce(const weights::TensorRecord& record, const quant::StorageFormat& format,
                 const Emit& emit) const;
  Status emit_indices(const weights::TensorRecord& record, const Emit& emit) const;
  const disk::FileTensor* scale_of(const disk::FileTensor& tensor, const std::string& name,
                                   models::ScaleBlock& block) const;
  // Rows [first, first + count) of a matrix, scales applied.
  Result<Rows> read_rows(const std::string& name, int64_t first, int64_t count, int64_t cols) const;
  Result<Rows> read_head(const weights::TensorRecord& record, int64_t head) const;
  Result<Rows> read_permuted(const weights::TensorRecord& record, int64_t heads) const;

  const disk::Checkpoint& checkpoint_;
  const nn::ModelSpec& spec_;
  models::ScaleBlock scale_block_;
};

}  // namespace ferry::cmd
