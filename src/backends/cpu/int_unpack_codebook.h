// int_unpack.h for the formats with codebooks, and the list of all formats. 16 neighbours of a row
// are two words of 8 or four of 4, looked up in the nearest cache; their signs are bits of a dword
// of the row, for all rows at once.
#pragma once

#include "backends/cpu/int_unpack.h"
#include "quant/codebook_bytes.h"

namespace ferry::cpu::FERRY_ISA {
namespace {

// 16 looked-up bytes.
typedef int64_t TwoWords __attribute__((vector_size(16)));
typedef int32_t FourWords __attribute__((vector_size(16)));

// The signs of 32 numbers, bit k for number k, from four times 7 bits: each eighth sign makes the
// number of minuses even (quant/codebooks.h).
inline Ints even_signs_of(Ints packed) {
  Ints signs = i_and(packed, 0x7f);
  signs = i_or(signs, i_and(i_left<1>(packed), 0x7f00));
  signs = i_or(signs, i_and(i_left<2>(packed), 0x7f0000));
  signs = i_or(signs, i_and(i_left<3>(packed), 0x7f000000));
  Ints parity = b_xor(signs, i_right<4>(i_and(signs, 0x70707070)));
  parity = b_xor(parity, i_right<2>(parity));
  parity = b_xor(parity, i_right<1>(parity));
  return i_or(signs, i_left<7>(i_and(parity, 0x01010101)));
}

// A sub-block of 32 numbers of Format: first_half(p) and second_half(p) make 16 of them each from
// the bytes at `offset`; the dword at `signs` has the signs, and the scale in its highest bits.
template <typename Format>
[[gnu::always_inline]] inline void store_words(Rows rows, int64_t offset, int64_t signs, int s,
                                               Vec d, const auto& panel) {
  const Ints packed = i_load_rows(rows, signs);
  const Ints odd = i_or(i_left<1>(i_right<28>(packed)), i_set1(1));
  panel.store_scale(s, vmul(d, i_to_floats(odd)));
  const Ints minus = even_signs_of(packed);
  Bytes w[8];
  panel.make(rows, offset, Format::words, w);
  panel.make(rows, offset + Format::kIndexBytes, Format::words, w + 4);
#pragma GCC unroll 8
  for (int j = 0; j < 8; ++j) {
    w[j] = b_xor(b_negate_where(w[j], panel.bits_of(minus, j)), b_set1(0x80));
  }
  panel.template store<Format>(s, w);
}

struct Iq2Xxs {
  static constexpr const char* kName = "IQ2_XXS";
  static constexpr int kGroup = 32, kBits = 8, kOffset = 128;
  static constexpr bool kMinimum = false;
  static constexpr int kElements = 256, kBytes = 66;
  static constexpr int kIndexBytes = 2;  // of 16 numbers
  static inline void unpack(Rows rows, int64_t offset, const auto& panel) {
    const Vec d = vmul(halves(rows, offset), vset(0.125f));
    for (int s = 0; s < 8; ++s) {
      const int64_t at = offset + 2 + 8 * s;
      ask_for_next<4>(rows, at);
      store_words<Iq2Xxs>(rows, at, at + 4, s, d, panel);
    }
  }
  [[gnu::always_inline]] static TwoWords words(const uint8_t* p) {
    const int8_t* const book = quant::kIq2XxsBytes;
    int64_t word[2];
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i) __builtin_memcpy(word + i, book + 8 * p[i], sizeof *word);
    return TwoWords{word[0], word[1]};
  }
};

struct Iq3Xxs {
  static constexpr const char* kName = "IQ3_XXS";
  static constexpr int kGroup = 32, kBits = 8, kOffset = 128;
  static constexpr bool kMinimum = false;
  static constexpr int kElements = 256, kBytes = 98;
  static constexpr int kIndexBytes = 4;
  static inline void unpack(Rows rows, int64_t offset, const auto& panel) {
    const Vec d = vmul(halves(rows, offset), vset(0.25f));
    for (int s = 0; s < 8; ++s) {
      const int64_t at = offset + 2 + 8 * s;
      ask_for_next<8>(rows, at);
      store_words<Iq3Xxs>(rows, at, offset + 66 + 4 * s, s, d, panel);
    }
  }
  [[gnu::always_inline]] static FourWords words(const uint8_t* p) {
    const int8_t* const book = quant::kIq3XxsBytes;
    int32_t word[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) __builtin_memcpy(word + i, book + 4 * p[i], sizeof *word);
    return FourWords{word[0], word[1], word[2], word[3]};
  }
};

template <typename... Formats>
struct FormatList {};
using IntFormats = FormatList<Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, Iq4Nl,
                              Iq4Xs, Mxfp4, Iq2Xxs, Iq3Xxs>;

}  // namespace
}  // namespace ferry::cpu::FERRY_ISA
