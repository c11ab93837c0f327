// Reader of GGUF files, versions 2 and 3, single and split.
//
//   "GGUF" · u32 version · u64 tensors · u64 key-values
//   key-values: string key · u32 type · value      (string: u64 length + bytes)
//   tensors: string name · u32 rank · u64 dims[rank], innermost first · u32 type · u64 offset
//   padding to `general.alignment` (32) · data; offsets count from there and are aligned
//
// Shapes are turned around to outermost first. Names stay as in the file: gguf_names.h translates.
// A file with a vocabulary and no tensors is fine.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "disk/folder.h"
#include "disk/gguf_metadata.h"
#include "disk/mapped_file.h"
#include "disk/tensor_file.h"

namespace ferry::disk {

struct GgufFile {
  GgufMetadata metadata;
  Checkpoint checkpoint;
  int version = 3;
};

// One file; an error if it is one part of a split model.
Result<GgufFile> read_gguf_file(std::shared_ptr<const MappedFile> file);

// A file of a folder; if it is one part (any) of a split model, all of them.
Result<GgufFile> read_gguf(const Folder& folder, std::string_view name);
Result<GgufFile> read_gguf(const std::string& path);

}  // namespace ferry::disk
