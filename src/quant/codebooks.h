// The codebooks of the formats whose names begin with IQ1, IQ2 and IQ3: lists of short vectors of
// small integers ("words"), of which a block stores the numbers instead of the integers. A word of
// 8 (IQ1, IQ2) or 4 (IQ3) stands for as many neighbouring elements; IQ2 and IQ3 store signs apart.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace ferry::quant {

template <size_t kLength, size_t kCount>
using Codebook = std::array<std::array<int8_t, kLength>, kCount>;

extern const Codebook<8, 256> kIq2XxsWords;  // of 8, 25, 43
extern const Codebook<8, 512> kIq2XsWords;
extern const Codebook<8, 1024> kIq2SWords;
extern const Codebook<4, 256> kIq3XxsWords;  // of 4, 12, 20, 28, 36, 44, 52, 62
extern const Codebook<4, 512> kIq3SWords;    // of 1, 3, 5, 7, 9, 11, 13, 15
extern const Codebook<8, 2048> kIq1Words;    // of −1, 0, 1

// The signs of 8 elements in 7 bits: bit j negates element j, and the last sign makes the number
// of negated elements even.
inline constexpr std::array<uint8_t, 128> kEvenSigns = [] {
  std::array<uint8_t, 128> table{};
  for (uint32_t bits = 0; bits < 128; ++bits) {
    table[bits] = static_cast<uint8_t>(bits | (std::popcount(bits) & 1) << 7);
  }
  return table;
}();

// dst[j] = ± scale · word[j], minus where bit j of `signs` is set.
template <size_t kLength>
void store_signed(float* dst, const std::array<int8_t, kLength>& word, uint32_t signs,
                  float scale) {
  for (size_t j = 0; j < kLength; ++j) {
    dst[j] = ((signs >> j & 1) != 0 ? -scale : scale) * static_cast<float>(word[j]);
  }
}

// dst[j] = scale · (word[j] + shift).
inline void store_shifted(float* dst, const std::array<int8_t, 8>& word, float shift, float scale) {
  for (int j = 0; j < 8; ++j) dst[j] = scale * (static_cast<float>(word[j]) + shift);
}

}  // namespace ferry::quant
