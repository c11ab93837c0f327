// Writes whole models, as GGUF files or as Hugging Face folders, from tensors that are produced
// piece by piece, so that a checkpoint may be larger than memory. What is written appears under its
// name only when it is complete; Ctrl-C and errors leave nothing behind.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "disk/gguf_writer.h"
#include "disk/tensor_decl.h"

namespace ferry::cmd {

// Whether the disk of a folder that is there has room. Errors: the bytes needed and free.
Status check_disk_space(const std::string& folder, int64_t bytes);

using Emit = std::function<Status(std::span<const uint8_t> bytes)>;

struct TensorJob {
  disk::TensorDecl tensor;
  // Hands all bytes of the tensor to `emit`, in order, in pieces of any size.
  std::function<Status(const Emit& emit)> produce;
};

struct WriteTarget {
  std::string path;
  bool overwrite = false;
};

struct WriteReport {
  int64_t file_bytes = 0;
  int64_t num_tensors = 0;
  std::map<std::string, int64_t> bytes_by_format;  // of tensors
  double seconds = 0;
};

// Errors: something is there already (and `overwrite` is off), too little free space (with the
// numbers), a disk that refuses, an error of a job.
Result<WriteReport> write_gguf(const WriteTarget& target, const disk::GgufKeyValues& keys,
                               const std::vector<TensorJob>& jobs);

// `texts`: name and content of the files beside the weights. Weights beyond `shard_bytes` are split
// into shards with an index. A folder is overwritten only if it holds nothing but a model.
inline constexpr int64_t kShardBytes = 5'000'000'000;
Result<WriteReport> write_hugging_face(
    const WriteTarget& target, const std::vector<std::pair<std::string, std::string>>& texts,
    const std::vector<TensorJob>& jobs, int64_t shard_bytes = kShardBytes);

}  // namespace ferry::cmd
