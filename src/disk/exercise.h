// For the mutation test and the fuzzers: use everything that a reader has handed out, so that a
// view that leaves its file, or a getter that trusts the file, shows itself under a sanitizer.
#pragma once

#include <cstdint>

#include "base/check.h"
#include "base/check_message.h"
#include "disk/gguf_metadata.h"
#include "disk/model_source.h"
#include "disk/tensor_file.h"

namespace ferry::disk {

// A number that depends on every byte of every tensor.
inline uint64_t exercise(const Checkpoint& checkpoint) {
  uint64_t sum = 0;
  for (const FileTensor& tensor : checkpoint.tensors()) {
    CHECK(tensor.format != nullptr && !checkpoint.where(tensor).empty());
    CHECK(static_cast<int64_t>(tensor.data.size()) ==
          tensor.num_elements() / tensor.format->block_elements * tensor.format->block_bytes);
    CHECK(checkpoint.find(tensor.name) == &tensor);
    for (uint8_t byte : tensor.data) sum = sum * 31 + byte;
  }
  return sum;
}

// Every getter on every key.
inline uint64_t exercise(const GgufMetadata& metadata) {
  uint64_t sum = 0;
  for (const std::string& key : metadata.keys()) {
    sum += ok_or_told(metadata.get_u64(key)) + ok_or_told(metadata.get_i64(key)) +
           ok_or_told(metadata.get_f64(key)) + ok_or_told(metadata.get_bool(key)) +
           ok_or_told(metadata.get_ints(key)) + ok_or_told(metadata.get_floats(key));
    if (auto text = metadata.get_string(key); ok_or_told(text)) {
      for (char c : *text) sum += static_cast<uint8_t>(c);
    }
    if (auto texts = metadata.get_strings(key); ok_or_told(texts)) {
      for (std::string_view text : *texts) {
        for (char c : text) sum += static_cast<uint8_t>(c);
      }
    }
  }
  return sum;
}

inline uint64_t exercise(const Result<ModelSource>& source) {
  if (!ok_or_told(source)) return 0;
  uint64_t sum = exercise(source->checkpoint);
  if (source->gguf) sum += exercise(*source->gguf);
  return sum + source->config.size();
}

}  // namespace ferry::disk
