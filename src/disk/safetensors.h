// Reader of safetensors checkpoints, single and sharded.
//
//   u64 little endian N · N bytes of JSON · data
//   JSON: {"name": {"dtype": "BF16", "shape": [out, in], "data_offsets": [begin, end]}, …,
//          "__metadata__": {string: string}}; offsets count from the end of the JSON.
//
// As the format's own library does, the reader insists that the tensors cover the data exactly: no
// overlap, no hole, nothing after the last. Spec: https://github.com/huggingface/safetensors
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "disk/folder.h"
#include "disk/mapped_file.h"
#include "disk/tensor_file.h"

namespace ferry::disk {

inline constexpr int64_t kMaxSafetensorsHeaderBytes = 100'000'000;
inline constexpr const char* kSafetensorsIndexName = "model.safetensors.index.json";

// The tensors of one file.
Result<Checkpoint> read_safetensors_file(std::shared_ptr<const MappedFile> file);

// The tensors of a folder: `model.safetensors`, else the shards that the index lists, else the one
// *.safetensors file there, else a whole set of `…-0000K-of-0000N.safetensors`.
Result<Checkpoint> read_safetensors_folder(const Folder& folder);

}  // namespace ferry::disk
