// Writer of one GGUF file, version 3 (layout: gguf.h). Collect the key-values, declare the tensors,
// stream their bytes in that order, finish. The file appears under its name only when complete.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "disk/atomic_file.h"
#include "disk/gguf_metadata.h"
#include "disk/tensor_decl.h"

namespace ferry::disk {

// Key-values, encoded as the file has them.
class GgufKeyValues {
 public:
  void add_u32(std::string_view key, uint32_t value);
  void add_u64(std::string_view key, uint64_t value);
  void add_i32(std::string_view key, int32_t value);
  void add_f32(std::string_view key, float value);
  void add_bool(std::string_view key, bool value);
  void add_string(std::string_view key, std::string_view value);
  void add_strings(std::string_view key, std::span<const std::string> values);
  void add_i32s(std::string_view key, std::span<const int32_t> values);
  void add_f32s(std::string_view key, std::span<const float> values);
  // Any value, as it was read from another file.
  void add_value(std::string_view key, const GgufValue& value);

  uint64_t count() const { return count_; }
  const std::string& encoded() const { return encoded_; }

 private:
  void begin(std::string_view key, GgufType type);
  void put_text(std::string_view text);
  template <typename T>
  void put(T value);

  uint64_t count_ = 0;
  std::string encoded_;
};

class GgufWriter {
 public:
  static constexpr int64_t kAlignment = 32;

  // Errors: formats that GGUF lacks, more than four dimensions, bad shapes, names declared twice,
  // a disk that refuses.
  // REQUIRES: `keys` has each key once and no general.alignment
  static Result<GgufWriter> create(const std::string& path, const GgufKeyValues& keys,
                                   const std::vector<TensorDecl>& tensors);

  // The next bytes of the current tensor, in pieces of any size; the padding between tensors is
  // the writer's business.
  // REQUIRES: a piece does not cross into the next tensor
  Status write(std::span<const uint8_t> bytes);

  // REQUIRES: all declared bytes have been written
  Status finish();

 private:
  GgufWriter(AtomicFile file, std::vector<int64_t> sizes)
      : file_(std::move(file)), sizes_(std::move(sizes)) {}
  Status skip_finished();

  AtomicFile file_;
  std::vector<int64_t> sizes_;  // of all tensors
  size_t current_ = 0;
  int64_t written_ = 0;  // of the current tensor
};

}  // namespace ferry::disk
