// The integer matmul of packed weights (include a vec_*.h and its bytes_*.h first): int_matmul.h
// over strips in place of rows.
//
// Per 512 weights of four bits and one token (AVX-512): 4 loads, 12 operations to take nibbles
// apart, 8 dot products, and 3 operations and a load for the scales; a row matmul of a file has
// 16 loads more for the rows, as many for their scales, and 12 insertions (row_matmul.h).
#pragma once

#include "backends/cpu/int_matmul.h"
#include "backends/cpu/packed_rows.h"

namespace ferry::cpu::FERRY_ISA {
namespace {

template <typename List>
struct PackedTable;
template <typename... Formats>
struct PackedTable<PackedList<Formats...>> {
  static constexpr PackedFormat kFormats[] = {
      {Formats::kName, int_matmul_block<Formats, InStrips>, pack_strip<Formats>}...};
  static constexpr int kCount = sizeof...(Formats);
};

}  // namespace
}  // namespace ferry::cpu::FERRY_ISA
