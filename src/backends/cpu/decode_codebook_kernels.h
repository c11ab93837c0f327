// Decoders of the codebook formats (IQ1, IQ2, IQ3), INT4 and NVFP4; a part of decode_kernels.h,
// which includes it behind the helpers that they use. A codebook lies in the nearest cache (2 KiB
// of IQ2_XXS, 16 KiB of IQ1): two words of 8 or four of 4 make 16 bytes, their signs are 16 bits,
// and the rest is as for every other format.
#pragma once

#include "quant/codebook_bytes.h"

namespace ferry::cpu::FERRY_ISA {
namespace {

inline int64_t word8(const int8_t* words, uint32_t index) {
  int64_t word;
  __builtin_memcpy(&word, words + 8 * index, sizeof word);
  return word;
}
inline int32_t word4(const int8_t* words, uint32_t index) {
  int32_t word;
  __builtin_memcpy(&word, words + 4 * index, sizeof word);
  return word;
}

// 16 bytes times a scale, negated where the bit is set.
inline void store_signed16(float* dst, __m128i bytes, uint32_t signs, float scale) {
  const __m128i minus = spread_bits(static_cast<uint16_t>(signs), -1);
  store_scaled16(dst, _mm_sub_epi8(_mm_xor_si128(bytes, minus), minus), scale);
}

// The eighth sign makes the number of minuses even.
inline uint32_t even_signs(uint32_t seven) {
  return seven | (static_cast<uint32_t>(__builtin_popcount(seven)) & 1) << 7;
}
// Those of 16 elements, from 14 bits.
inline uint32_t even_signs16(uint32_t fourteen) {
  return even_signs(fourteen & 127) | even_signs(fourteen >> 7 & 127) << 8;
}

inline void decode_iq2_xxs(const uint8_t* src, float* dst, int64_t num_blocks) {
  const int8_t* words = quant::kIq2XxsBytes;
  for (int64_t b = 0; b < num_blocks; ++b, src += 66, dst += 256) {
    const float d = load_half(src) * 0.125f;
    for (int s = 0; s < 8; ++s) {
      const uint8_t* sub = src + 2 + 8 * s;
      const uint32_t signs = load_u32(sub + 4);
      const float scale = d * static_cast<float>(2 * (signs >> 28) + 1);
      const __m128i first = _mm_set_epi64x(word8(words, sub[1]), word8(words, sub[0]));
      const __m128i second = _mm_set_epi64x(word8(words, sub[3]), word8(words, sub[2]));
      store_signed16(dst + 32 * s, first, even_signs16(signs), scale);
      store_signed16(dst + 32 * s + 16, second, even_signs16(signs >> 14), scale);
    }
  }
}

// The scale of a sub-block of 16: d times an odd number, from a nibble.
inline float odd_scale(float d, const uint8_t* nibbles, int s) {
  return d * static_cast<float>(2 * (nibbles[s / 2] >> (s % 2 * 4) & 15) + 1);
}

inline void decode_iq2_xs(const uint8_t* src, float* dst, int64_t num_blocks) {
  const int8_t* words = quant::kIq2XsBytes;
  for (int64_t b = 0; b < num_blocks; ++b, src += 74, dst += 256) {
    const float d = load_half(src) * 0.125f;
    for (int s = 0; s < 16; ++s) {
      const uint32_t packed = load_u32(src + 2 + 4 * s);
      const __m128i bytes =
          _mm_set_epi64x(word8(words, packed >> 16 & 511), word8(words, packed & 511));
      const uint32_t signs = even_signs(packed >> 9 & 127) | even_signs(packed >> 25) << 8;
      store_signed16(dst + 16 * s, bytes, signs, odd_scale(d, src + 66, s));
    }
  }
}

inline void decode_iq2_s(const uint8_t* src, float* dst, int64_t num_blocks) {
  const int8_t* words = quant::kIq2SBytes;
  for (int64_t b = 0; b < num_blocks; ++b, src += 82, dst += 256) {
    const float d = load_half(src) * 0.125f;
    for (int s = 0; s < 16; ++s) {
      const uint32_t high = static_cast<uint32_t>(src[66 + s / 2]) >> (s % 2 * 4);
      const uint32_t first = src[2 + 2 * s] | (high & 3) << 8;
      const uint32_t second = src[3 + 2 * s] | (high >> 2 & 3) << 8;
      const __m128i bytes = _mm_set_epi64x(word8(words, second), word8(words, first));
      store_signed16(dst + 16 * s, bytes, load_u16(src + 34 + 2 * s), odd_scale(d, src + 74, s));
    }
  }
}

inline void decode_iq3_xxs(const uint8_t* src, float* dst, int64_t num_blocks) {
  const int8_t* words = quant::kIq3XxsBytes;
  for (int64_t b = 0; b < num_blocks; ++b, src += 98, dst += 256) {
    const float d = load_half(src) * 0.25f;
    for (int s = 0; s < 8; ++s) {
      const uint32_t signs = load_u32(src + 66 + 4 * s);
      const float scale = d * static_cast<float>(2 * (signs >> 28) + 1);
      for (int half = 0; half < 2; ++half) {
        const uint8_t* w = src + 2 + 8 * s + 4 * half;
        const __m128i bytes = _mm_set_epi32(word4(words, w[3]), word4(words, w[2]),
                                            word4(words, w[1]), word4(words, w[0]));
        store_signed16(dst + 32 * s + 16 * half, bytes, even_signs16(signs >> (14 * half)), scale);
      }
    }
  }
}

inline void decode_iq3_s(const uint8_t* src, float* dst, int64_t num_blocks) {
  const int8_t* words = quant::kIq3SBytes;
  for (int64_t b = 0; b < num_blocks; ++b, src += 110, dst += 256) {
    const float d = load_half(src);
    for (int s = 0; s < 16; ++s) {
      const uint8_t* w = src + 2 + 4 * s;
      const uint32_t high = static_cast<uint32_t>(src[66 + s / 2]) >> (s % 2 * 4);
      const __m128i bytes = _mm_set_epi32(
          word4(words, w[3] | (high >> 3 & 1) << 8), word4(words, w[2] | (high >> 2 & 1) << 8),
          word4(words, w[1] | (high >> 1 & 1) << 8), word4(words, w[0] | (high & 1) << 8));
      store_signed16(dst + 16 * s, bytes, load_u16(src + 74 + 2 * s),
                     odd_scale(d, src + 106, s / 2));
    }
  }
}

// Eight times two words, each with its shift of one, times an eighth of the scale: that is exact,
// and so is scale · (word + 1/8).
inline void store_shifted16(float* dst, int64_t first, int64_t second, bool minus_first,
                            bool minus_second, float scale) {
  const __m128i words = _mm_set_epi64x(second, first);
  const __m128i twice = _mm_add_epi8(words, words);
  const __m128i four = _mm_add_epi8(twice, twice);
  const __m128i shifts =
      _mm_set_epi64x(minus_second ? -1 : 0x0101010101010101, minus_first ? -1 : 0x0101010101010101);
  store_scaled16(dst, _mm_add_epi8(_mm_add_epi8(four, four), shifts), scale * 0.125f);
}

inline void decode_iq1_s(const uint8_t* src, float* dst, int64_t num_blocks) {
  const int8_t* words = quant::kIq1Bytes;
  for (int64_t b = 0; b < num_blocks; ++b, src += 50, dst += 256) {
    const float d = load_half(src);
    for (int s = 0; s < 8; ++s) {
      const uint8_t* w = src + 2 + 4 * s;
      const uint32_t high = load_u16(src + 34 + 2 * s);
      const float scale = d * static_cast<float>(2 * (high >> 12 & 7) + 1);
      const bool minus = high >= 0x8000;
      store_shifted16(dst + 32 * s, word8(words, w[0] | (high & 7) << 8),
                      word8(words, w[1] | (high >> 3 & 7) << 8), minus, minus, scale);
      store_shifted16(dst + 32 * s + 16, word8(words, w[2] | (high >> 6 & 7) << 8),
                      word8(words, w[3] | (high >> 9 & 7) << 8), minus, minus, scale);
    }
  }
}

inline void decode_iq1_m(const uint8_t* src, float* dst, int64_t num_blocks) {
  const int8_t* words = quant::kIq1Bytes;
  for (int64_t b = 0; b < num_blocks; ++b, src += 56, dst += 256) {
    const int bits =
        src[49] >> 4 | (src[51] & 0xf0) | (src[53] & 0xf0) << 4 | (src[55] & 0xf0) << 8;
    const float d = _cvtsh_ss(static_cast<uint16_t>(bits));
    for (int s = 0; s < 16; ++s) {
      const uint32_t high = src[32 + s];
      const int code = load_u16(src + 48 + s / 4 * 2) >> (s % 4 * 3) & 7;
      store_shifted16(dst + 16 * s, word8(words, src[2 * s] | (high & 7) << 8),
                      word8(words, src[2 * s + 1] | (high >> 4 & 7) << 8), (high & 8) != 0,
                      (high & 128) != 0, d * static_cast<float>(2 * code + 1));
    }
  }
}

// Neighbours share a byte.
inline void decode_int4(const uint8_t* src, float* dst, int64_t num_blocks) {
  for (int64_t b = 0; b < num_blocks; ++b, src += 16, dst += 32) {
    const __m128i q = load16(src);
    const __m128i low = subtract(low_nibbles(q), 8);
    const __m128i high = subtract(high_nibbles(q), 8);
    store_scaled16(dst, _mm_unpacklo_epi8(low, high), 1.0f);
    store_scaled16(dst + 16, _mm_unpackhi_epi8(low, high), 1.0f);
  }
}

inline void decode_nvfp4(const uint8_t* src, float* dst, int64_t num_blocks) {
  for (int64_t b = 0; b < num_blocks; ++b, src += 36, dst += 64) {
    for (int s = 0; s < 4; ++s) {
      const uint32_t code = src[s];
      const float d = _cvtsh_ss(static_cast<uint16_t>(code > 0x7e ? 0x7e00 : code << 7)) * 128.0f;
      const __m128i q = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(src + 4 + 8 * s));
      const __m128i codes = _mm_unpacklo_epi64(low_nibbles(q), high_nibbles(q));
      store_scaled16(dst + 16 * s, _mm_shuffle_epi8(mxfp4_grid(), codes), d);
    }
  }
}

}  // namespace
}  // namespace ferry::cpu::FERRY_ISA
