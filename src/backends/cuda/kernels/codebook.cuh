// Weights of the formats whose names begin with IQ1, IQ2 and IQ3 to f32, 32 numbers of a
// super-block at a time, as quant/formats/ lays them out. A block stores numbers of words, which
// are in global memory (WeightParam::words, as quant/codebook_bytes.h has them).
#pragma once

#include "backends/cuda/kernels/bytes.cuh"

namespace ferry::cuda {

// Four signed bytes of a word.
FERRY_DEVICE void unpack_word(uint32_t word, float (&out)[4]) {
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    out[j] = static_cast<float>(static_cast<int8_t>(word >> (8 * j) & 255));
  }
}

// out[first + j] = scale · (word[j] + shift), negated where bit j of `signs` is set.
template <int kLength>
FERRY_DEVICE void decode_word(const int8_t* words, uint32_t number, uint32_t signs, float shift,
                              float scale, int first, float (&out)[kGroup]) {
  uint32_t bytes[kLength / 4];
  const int8_t* word = span(words, static_cast<int64_t>(number) * kLength, kLength);
  load_words<kLength, 4>(reinterpret_cast<const uint8_t*>(word), bytes);
#pragma unroll
  for (int i = 0; i < kLength / 4; ++i) {
    float values[4];
    unpack_word(bytes[i], values);
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const float sign = (signs >> (4 * i + j) & 1) != 0 ? -scale : scale;
      out[first + 4 * i + j] = sign * (values[j] + shift);
    }
  }
}

// Seven signs, and an eighth that makes the number of negations even.
FERRY_DEVICE uint32_t even_signs(uint32_t bits) {
  bits &= 127;
  uint32_t parity = bits ^ bits >> 4;
  parity ^= parity >> 2;
  return bits | ((parity ^ parity >> 1) & 1) << 7;
}

FERRY_DEVICE void decode_iq2(const uint8_t* block, int32_t kind, const int8_t* words, int s,
                             float (&out)[kGroup]) {
  const float d = half_at(block) * 0.125f;
  if (kind == kWeightIQ2XXS) {
    const uint8_t* sub = block + 2 + 8 * s;
    const uint32_t signs = word_at(sub + 4);
    const float scale = d * static_cast<float>(2 * (signs >> 28) + 1);
#pragma unroll
    for (int w = 0; w < 4; ++w) {
      decode_word<8>(words, sub[w], even_signs(signs >> (7 * w)), 0.0f, scale, 8 * w, out);
    }
    return;
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int w = 4 * s + i;
    uint32_t number, signs, code;
    if (kind == kWeightIQ2XS) {
      const uint32_t packed = half_word_at(block + 2 + 2 * w);
      number = packed & 511;
      signs = even_signs(packed >> 9);
      code = block[66 + s] >> (i / 2 * 4) & 15;
    } else {
      number = block[2 + w] | (block[66 + s] >> (i * 2) & 3) << 8;
      signs = block[34 + w];
      code = block[74 + s] >> (i / 2 * 4) & 15;
    }
    decode_word<8>(words, number, signs, 0.0f, d * static_cast<float>(2 * code + 1), 8 * i, out);
  }
}

FERRY_DEVICE void decode_iq3(const uint8_t* block, int32_t kind, const int8_t* words, int s,
                             float (&out)[kGroup]) {
  const bool free_signs = kind == kWeightIQ3S;
  const uint32_t packed = free_signs ? 0 : word_at(block + 66 + 4 * s);
  const uint32_t code = free_signs ? block[106 + s / 2] >> (s % 2 * 4) & 15 : packed >> 28;
  const float d = half_at(block) * (free_signs ? 1.0f : 0.25f);
  const float scale = d * static_cast<float>(2 * code + 1);
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    const int w = 8 * s + i;
    const uint32_t signs = free_signs ? block[74 + w / 2] : even_signs(packed >> (i / 2 * 7));
    const uint32_t high = free_signs ? (block[66 + s] >> i & 1) << 8 : 0;
    decode_word<4>(words, block[2 + w] | high, signs >> (i % 2 * 4), 0.0f, scale, 4 * i, out);
  }
}

FERRY_DEVICE void decode_iq1(const uint8_t* block, int32_t kind, const int8_t* words, int s,
                             float (&out)[kGroup]) {
  if (kind == kWeightIQ1S) {
    const uint32_t high = half_word_at(block + 34 + 2 * s);
    const float scale = half_at(block) * static_cast<float>(2 * (high >> 12 & 7) + 1);
    const float shift = (high & 0x8000) != 0 ? -0.125f : 0.125f;
#pragma unroll
    for (int w = 0; w < 4; ++w) {
      decode_word<8>(words, block[2 + 4 * s + w] | (high >> (3 * w) & 7) << 8, 0, shift, scale,
                     8 * w, out);
    }
    return;
  }
  const uint32_t bits = block[49] >> 4 | (block[51] & 0xf0) | (block[53] & 0xf0) << 4 |
                        (block[55] & 0xf0) << 8;
  const float d = half_to_float(static_cast<uint16_t>(bits));
  const uint32_t scales = half_word_at(block + 48 + s / 2 * 2) >> (s % 2 * 6);
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int w = 4 * s + i;
    const uint32_t high = block[32 + w / 2] >> (w % 2 * 4) & 15;
    const float scale = d * static_cast<float>(2 * (scales >> (i / 2 * 3) & 7) + 1);
    decode_word<8>(words, block[w] | (high & 7) << 8, 0, (high & 8) != 0 ? -0.125f : 0.125f, scale,
                   8 * i, out);
  }
}

FERRY_DEVICE void decode_codebook(const uint8_t* row, int32_t kind, const int8_t* words,
                                  int64_t group, float (&out)[kGroup]) {
  const int s = static_cast<int>(group % 8);
  const int64_t block = group / 8;
  switch (kind) {
    case kWeightIQ1S: return decode_iq1(span(row, block * 50, 50), kind, words, s, out);
    case kWeightIQ1M: return decode_iq1(span(row, block * 56, 56), kind, words, s, out);
    case kWeightIQ2XXS: return decode_iq2(span(row, block * 66, 66), kind, words, s, out);
    case kWeightIQ2XS: return decode_iq2(span(row, block * 74, 74), kind, words, s, out);
    case kWeightIQ2S: return decode_iq2(span(row, block * 82, 82), kind, words, s, out);
    case kWeightIQ3XXS: return decode_iq3(span(row, block * 98, 98), kind, words, s, out);
    default: return decode_iq3(span(row, block * 110, 110), kind, words, s, out);  // IQ3_S
  }
}

}  // namespace ferry::cuda
