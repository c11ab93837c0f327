// Decoders of weight blocks for AVX2 and AVX-512 (include vec_avx2.h or vec_avx512.h first). Bytes
// are taken 16 at a time; what is left is "16 small integers times a scale", or a look-up in a
// table of 16. The layouts are told in quant/formats/; the results have the same bits as the
// decoders there, because every product of scales is exact in f32 and only the last operation
// rounds.
#pragma once

#include "backends/cpu/kernels.h"

namespace ferry::cpu::FERRY_ISA {
namespace {

inline __m128i load16(const uint8_t* p) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
}
inline float load_half(const uint8_t* p) {
  uint16_t bits;
  __builtin_memcpy(&bits, p, sizeof bits);
  return _cvtsh_ss(bits);
}
inline __m128i low_nibbles(__m128i q) { return _mm_and_si128(q, _mm_set1_epi8(15)); }
inline __m128i high_nibbles(__m128i q) { return low_nibbles(_mm_srli_epi16(q, 4)); }
inline __m128i subtract(__m128i q, int8_t bias) { return _mm_sub_epi8(q, _mm_set1_epi8(bias)); }

// 16 bits as 16 bytes: `value` where the bit is set, otherwise 0.
inline __m128i spread_bits(uint16_t bits, int8_t value) {
  const __m128i both = _mm_set1_epi16(static_cast<int16_t>(bits));
  const __m128i byte_of = _mm_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1);
  const __m128i bit_of = _mm_set1_epi64x(static_cast<int64_t>(0x8040201008040201ull));
  const __m128i tested = _mm_and_si128(_mm_shuffle_epi8(both, byte_of), bit_of);
  return _mm_and_si128(_mm_cmpeq_epi8(tested, bit_of), _mm_set1_epi8(value));
}
inline uint16_t load_u16(const uint8_t* p) {
  uint16_t bits;
  __builtin_memcpy(&bits, p, sizeof bits);
  return bits;
}

inline void decode_f16(const uint8_t* src, float* dst, int64_t n) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    vstore(dst + i, vload_f16(reinterpret_cast<const uint16_t*>(src + 2 * i)));
  }
  for (; i < n; ++i) dst[i] = load_half(src + 2 * i);
}

inline void decode_bf16(const uint8_t* src, float* dst, int64_t n) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    vstore(dst + i, vload_bf16(reinterpret_cast<const uint16_t*>(src + 2 * i)));
  }
  for (; i < n; ++i) {
    const uint32_t bits = static_cast<uint32_t>(load_u16(src + 2 * i)) << 16;
    __builtin_memcpy(dst + i, &bits, sizeof bits);
  }
}

inline void decode_f8_e4m3(const uint8_t* src, float* dst, int64_t n) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) vstore(dst + i, vload_f8_e4m3(src + i));
  if (i == n) return;
  uint8_t codes[kLanes] = {};
  __builtin_memcpy(codes, src + i, static_cast<size_t>(n - i));
  vstore_first(dst + i, vload_f8_e4m3(codes), static_cast<int>(n - i));
}

// The 16 codes of a nibble as signed bytes.
inline __m128i q4_0_grid() {
  return _mm_setr_epi8(-8, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7);
}
inline __m128i iq4_grid() {
  return _mm_setr_epi8(-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113);
}
inline __m128i mxfp4_grid() {
  return _mm_setr_epi8(0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12);
}

inline void decode_q8_0(const uint8_t* src, float* dst, int64_t num_blocks) {
  for (int64_t b = 0; b < num_blocks; ++b, src += 34, dst += 32) {
    const float d = load_half(src);
    store_scaled16(dst, load16(src + 2), d);
    store_scaled16(dst + 16, load16(src + 18), d);
  }
}

inline void decode_q4_0(const uint8_t* src, float* dst, int64_t num_blocks) {
  for (int64_t b = 0; b < num_blocks; ++b, src += 18, dst += 32) {
    const GridTable table = grid_table(q4_0_grid(), load_half(src));
    store_nibbles(dst, dst + 16, load16(src + 2), table, table);
  }
}

inline void decode_q4_1(const uint8_t* src, float* dst, int64_t num_blocks) {
  for (int64_t b = 0; b < num_blocks; ++b, src += 20, dst += 32) {
    const AffineTable table = affine_table(load_half(src), load_half(src + 2));
    store_nibbles(dst, dst + 16, load16(src + 4), table, table);
  }
}

inline void decode_q5_0(const uint8_t* src, float* dst, int64_t num_blocks) {
  for (int64_t b = 0; b < num_blocks; ++b, src += 22, dst += 32) {
    const float d = load_half(src);
    const __m128i q = load16(src + 6);
    const __m128i low = _mm_or_si128(low_nibbles(q), spread_bits(load_u16(src + 2), 16));
    const __m128i high = _mm_or_si128(high_nibbles(q), spread_bits(load_u16(src + 4), 16));
    store_scaled16(dst, subtract(low, 16), d);
    store_scaled16(dst + 16, subtract(high, 16), d);
  }
}

inline void decode_q5_1(const uint8_t* src, float* dst, int64_t num_blocks) {
  for (int64_t b = 0; b < num_blocks; ++b, src += 24, dst += 32) {
    const float d = load_half(src);
    const float m = load_half(src + 2);
    const __m128i q = load16(src + 8);
    const __m128i low = _mm_or_si128(low_nibbles(q), spread_bits(load_u16(src + 4), 16));
    const __m128i high = _mm_or_si128(high_nibbles(q), spread_bits(load_u16(src + 6), 16));
    store_affine16(dst, low, d, m);
    store_affine16(dst + 16, high, d, m);
  }
}

inline void decode_iq4_nl(const uint8_t* src, float* dst, int64_t num_blocks) {
  for (int64_t b = 0; b < num_blocks; ++b, src += 18, dst += 32) {
    const GridTable table = grid_table(iq4_grid(), load_half(src));
    store_nibbles(dst, dst + 16, load16(src + 2), table, table);
  }
}

inline void decode_iq4_xs(const uint8_t* src, float* dst, int64_t num_blocks) {
  for (int64_t b = 0; b < num_blocks; ++b, src += 136, dst += 256) {
    const float d = load_half(src);
    const int scales_h = load_u16(src + 2);
#pragma GCC unroll 8
    for (int s = 0; s < 8; ++s) {
      const int code = (src[4 + s / 2] >> (s % 2 * 4) & 15) | (scales_h >> (2 * s) & 3) << 4;
      const GridTable table = grid_table(iq4_grid(), d * static_cast<float>(code - 32));
      store_nibbles(dst + 32 * s, dst + 32 * s + 16, load16(src + 8 + 16 * s), table, table);
    }
  }
}

inline void decode_mxfp4(const uint8_t* src, float* dst, int64_t num_blocks) {
  for (int64_t b = 0; b < num_blocks; ++b, src += 17, dst += 32) {
    const uint32_t e = src[0];
    const uint32_t bits = e < 2 ? 0x00200000u << e : (e - 1) << 23;
    float d;
    __builtin_memcpy(&d, &bits, sizeof d);
    const GridTable table = grid_table(mxfp4_grid(), d);
    store_nibbles(dst, dst + 16, load16(src + 1), table, table);
  }
}

// The packed scales and minimums of Q4_K and Q5_K (quant/super_block.h).
struct ScalePairs {
  float scale[8];
  float minimum[8];
};
inline uint32_t load_u32(const uint8_t* p) {
  uint32_t bits;
  __builtin_memcpy(&bits, p, sizeof bits);
  return bits;
}
// Eight bytes, the first four in `low`, times a factor.
inline void store_scaled8(float* dst, uint32_t low, uint32_t high, float factor) {
  const auto bytes = static_cast<int64_t>(uint64_t{high} << 32 | low);
  const __m256i codes = _mm256_cvtepu8_epi32(_mm_cvtsi64_si128(bytes));
  _mm256_storeu_ps(dst, _mm256_mul_ps(_mm256_cvtepi32_ps(codes), _mm256_set1_ps(factor)));
}
inline void load_scale_pairs(const uint8_t* src, ScalePairs* out) {
  const uint32_t a = load_u32(src + 4);  // four scales at a time, a byte each
  const uint32_t b = load_u32(src + 8);
  const uint32_t c = load_u32(src + 12);
  const uint32_t top_a = a >> 2 & 0x30303030u;
  const uint32_t top_b = b >> 2 & 0x30303030u;
  store_scaled8(out->scale, a & 0x3f3f3f3fu, (c & 0x0f0f0f0fu) | top_a, load_half(src));
  store_scaled8(out->minimum, b & 0x3f3f3f3fu, (c >> 4 & 0x0f0f0f0fu) | top_b, load_half(src + 2));
}

inline void decode_q4_k(const uint8_t* src, float* dst, int64_t num_blocks) {
  for (int64_t b = 0; b < num_blocks; ++b, src += 144, dst += 256) {
    ScalePairs pairs;
    load_scale_pairs(src, &pairs);
#pragma GCC unroll 4
    for (int s = 0; s < 8; s += 2) {
      const AffineTable even = affine_table(pairs.scale[s], -pairs.minimum[s]);
      const AffineTable odd = affine_table(pairs.scale[s + 1], -pairs.minimum[s + 1]);
      const uint8_t* q = src + 16 + 16 * s;
      float* out = dst + 32 * s;
      store_nibbles(out, out + 32, load16(q), even, odd);
      store_nibbles(out + 16, out + 48, load16(q + 16), even, odd);
    }
  }
}

// Bit s of each byte as bit 4; shifts go by words, so the neighbour's bits are masked away.
inline __m128i bit_to_4(__m128i bytes, int s) {
  const __m128i bit = _mm_and_si128(_mm_srli_epi16(bytes, s), _mm_set1_epi8(1));
  return _mm_slli_epi16(bit, 4);
}

inline void decode_q5_k(const uint8_t* src, float* dst, int64_t num_blocks) {
  for (int64_t b = 0; b < num_blocks; ++b, src += 176, dst += 256) {
    ScalePairs pairs;
    load_scale_pairs(src, &pairs);
    for (int half = 0; half < 2; ++half) {
      const __m128i high = load16(src + 16 + 16 * half);
#pragma GCC unroll 4
      for (int s = 0; s < 8; s += 2) {
        const __m128i q = load16(src + 48 + 16 * s + 16 * half);
        const __m128i high_0 = bit_to_4(high, s);
        const __m128i high_1 = bit_to_4(high, s + 1);
        float* out = dst + 32 * s + 16 * half;
        store_affine16(out, _mm_or_si128(low_nibbles(q), high_0), pairs.scale[s],
                       -pairs.minimum[s]);
        store_affine16(out + 32, _mm_or_si128(high_nibbles(q), high_1), pairs.scale[s + 1],
                       -pairs.minimum[s + 1]);
      }
    }
  }
}

// The 16 numbers of one sub-block: low nibbles with two high bits above, less 32.
inline void store_q6(float* dst, __m128i low, __m128i high, float scale) {
  const __m128i top = _mm_and_si128(high, _mm_set1_epi8(0x30));
  store_scaled16(dst, subtract(_mm_or_si128(low, top), 32), scale);
}

inline void decode_q6_k(const uint8_t* src, float* dst, int64_t num_blocks) {
  for (int64_t b = 0; b < num_blocks; ++b, src += 210, dst += 256) {
    float scales[16];
    store_scaled16(scales, load16(src + 192), load_half(src + 208));
    for (int part = 0; part < 4; ++part) {  // 16 bytes of each third of a half
      const int half = part / 2;
      const int step = part % 2;
      const __m128i first = load16(src + 64 * half + 16 * step);
      const __m128i second = load16(src + 64 * half + 32 + 16 * step);
      const __m128i high = load16(src + 128 + 32 * half + 16 * step);
      const float* scale = scales + 8 * half + step;
      float* out = dst + 128 * half + 16 * step;
      store_q6(out, low_nibbles(first), _mm_slli_epi16(high, 4), scale[0]);
      store_q6(out + 32, low_nibbles(second), _mm_slli_epi16(high, 2), scale[2]);
      store_q6(out + 64, high_nibbles(first), high, scale[4]);
      store_q6(out + 96, high_nibbles(second), _mm_srli_epi16(high, 2), scale[6]);
    }
  }
}

}  // namespace
}  // namespace ferry::cpu::FERRY_ISA

#include "backends/cpu/decode_codebook_kernels.h"

namespace ferry::cpu::FERRY_ISA {
namespace {

constexpr Decoder kDecoders[] = {
    {"F16", decode_f16},       {"BF16", decode_bf16},   {"F8_E4M3", decode_f8_e4m3},
    {"Q8_0", decode_q8_0},     {"Q4_0", decode_q4_0},   {"Q4_1", decode_q4_1},
    {"Q5_0", decode_q5_0},     {"Q5_1", decode_q5_1},   {"IQ4_NL", decode_iq4_nl},
    {"IQ4_XS", decode_iq4_xs}, {"MXFP4", decode_mxfp4}, {"Q4_K", decode_q4_k},
    {"Q5_K", decode_q5_k},     {"Q6_K", decode_q6_k},   {"IQ2_XXS", decode_iq2_xxs},
    {"IQ2_XS", decode_iq2_xs}, {"IQ2_S", decode_iq2_s}, {"IQ3_XXS", decode_iq3_xxs},
    {"IQ3_S", decode_iq3_s},   {"IQ1_S", decode_iq1_s}, {"IQ1_M", decode_iq1_m},
    {"INT4", decode_int4},     {"NVFP4", decode_nvfp4},
};
constexpr int kNumDecoders = sizeof kDecoders / sizeof kDecoders[0];

}  // namespace
}  // namespace ferry::cpu::FERRY_ISA
