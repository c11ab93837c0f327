// StorageFormat: how the numbers of a weight lie in memory. One constant per format, one file each
// in quant/formats/; the table of them is generated from that folder (cmake/Tables.cmake).
//
// A tensor of any format is a sequence of equal blocks along its innermost dimension; plain types
// are blocks of one element. Values that need a second tensor (FP8 with block scales) decode to
// their unscaled number here; the scale is part of WeightView (device/weight.h).
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace ferry::quant {

struct StorageFormat {
  std::string_view name;         // as users and `ferry show` write it: "Q4_K", "BF16", "F8_E4M3"
  int gguf_type = -1;            // type id in GGUF files; -1: not a GGUF type
  std::string_view safetensors;  // dtype string in safetensors files; "": not one
  int64_t block_elements = 1;
  int64_t block_bytes = 0;

  // blocks → f32. `src` has any alignment. nullptr: carried in files, not computed with (I64, …).
  void (*decode)(const uint8_t* src, float* dst, int64_t num_blocks) = nullptr;
  // f32 → blocks, rounding to the nearest representable (search for scales is the format's own
  // matter). Finite stays finite: what is too large saturates. REQUIRES: finite input. nullptr: can
  // only be read.
  void (*encode)(const float* src, uint8_t* dst, int64_t num_blocks) = nullptr;
  // Index of the first block with a scale or value that is not finite, or -1, at the speed of
  // memory: it runs over a whole model at load. nullptr: every block is good, or never computed
  // with.
  int64_t (*first_bad_block)(const uint8_t* src, int64_t num_blocks) = nullptr;

  // REQUIRES: num_elements is a multiple of block_elements
  int64_t bytes_for(int64_t num_elements) const {
    return num_elements / block_elements * block_bytes;
  }
};

// Every known format, sorted by file name.
std::span<const StorageFormat* const> all_formats();

// nullptr if unknown. Names compare without regard to case.
const StorageFormat* find_format(std::string_view name);
const StorageFormat* find_gguf_type(int type);
const StorageFormat* find_safetensors_dtype(std::string_view dtype);

// One row of a tensor to f32. REQUIRES: the format can be decoded; elements is a multiple of its
// block_elements
void decode_row(const StorageFormat& format, const uint8_t* row, float* dst, int64_t elements);

}  // namespace ferry::quant
