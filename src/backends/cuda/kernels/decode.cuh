// Weights to f32, 32 numbers at a time, as quant/formats/ lays them out (one file there for each
// kind, with the layout). Included after the words of the platform.
#pragma once

#include "backends/cuda/kernels/codebook.cuh"

namespace ferry::cuda {

FERRY_CONSTANT int8_t kIq4Values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                        1,    13,   25,  38,  53,  69,  89,  113};
FERRY_CONSTANT int8_t kE2m1Values[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

FERRY_DEVICE uint32_t byte_of(const uint32_t* words, int i) {
  return words[i / 4] >> (i % 4 * 8) & 255;
}

FERRY_DEVICE float bf16_to_float(uint16_t bits) {
  return float_of(static_cast<uint32_t>(bits) << 16);
}

FERRY_DEVICE float e4m3_to_float(uint32_t code) {
  const uint32_t magnitude = code & 127;
  float value;
  if (magnitude >= 8) {
    value = float_of((magnitude << 20) + (120u << 23));
  } else {
    value = static_cast<float>(magnitude) * 0x1p-9f;
  }
  if (magnitude == 127) value = float_of(0x7fc00000u);
  return float_of(bits_of(value) | (code & 128) << 24);
}

// Formats of one number a block; `count` of the 32 exist.
FERRY_DEVICE void decode_plain(const uint8_t* row, int32_t kind, int64_t first, int count,
                               float (&out)[kGroup]) {
  if (kind == kWeightF32) {
    const float* x = span(reinterpret_cast<const float*>(row), first, count);
#pragma unroll
    for (int i = 0; i < kGroup; ++i) out[i] = i < count ? x[i] : 0.0f;
  } else if (kind == kWeightE4M3) {
    const uint8_t* x = span(row, first, count);
#pragma unroll
    for (int i = 0; i < kGroup; ++i) out[i] = i < count ? e4m3_to_float(x[i]) : 0.0f;
  } else {
    const uint16_t* x = span(reinterpret_cast<const uint16_t*>(row), first, count);
    const bool brain = kind == kWeightBF16;
    if (count == kGroup && (reinterpret_cast<uintptr_t>(x) & 15) == 0) {
      uint32_t words[16];
      load_words<64, 16>(reinterpret_cast<const uint8_t*>(x), words);
#pragma unroll
      for (int i = 0; i < kGroup; ++i) {
        const uint16_t bits = static_cast<uint16_t>(words[i / 2] >> (i % 2 * 16));
        out[i] = brain ? bf16_to_float(bits) : half_to_float(bits);
      }
      return;
    }
#pragma unroll
    for (int i = 0; i < kGroup; ++i) {
      out[i] = i >= count ? 0.0f : brain ? bf16_to_float(x[i]) : half_to_float(x[i]);
    }
  }
}

// Blocks of 32 whose codes are 16 bytes of nibbles: element j low in byte j, 16 + j high.
FERRY_DEVICE void decode_nibbles(const uint8_t* block, int32_t kind, float (&out)[kGroup]) {
  uint32_t q[4];
  if (kind == kWeightMXFP4) {
    const uint32_t e = block[0];
    const float d = float_of(e < 2 ? 0x00200000u << e : (e - 1) << 23);
    load_words<16, 1>(block + 1, q);
#pragma unroll
    for (int j = 0; j < 16; ++j) {
      out[j] = d * static_cast<float>(kE2m1Values[byte_of(q, j) & 15]);
      out[j + 16] = d * static_cast<float>(kE2m1Values[byte_of(q, j) >> 4]);
    }
    return;
  }
  const float d = half_at(block);
  if (kind == kWeightIQ4NL) {
    load_words<16, 2>(block + 2, q);
#pragma unroll
    for (int j = 0; j < 16; ++j) {
      out[j] = d * static_cast<float>(kIq4Values[byte_of(q, j) & 15]);
      out[j + 16] = d * static_cast<float>(kIq4Values[byte_of(q, j) >> 4]);
    }
    return;
  }
  const bool has_minimum = kind == kWeightQ4_1 || kind == kWeightQ5_1;
  const bool has_fifth = kind == kWeightQ5_0 || kind == kWeightQ5_1;
  const uint8_t* at = block + (has_minimum ? 4 : 2);
  uint32_t fifth[1] = {0};
  if (has_fifth) {
    load_words<4, 2>(at, fifth);
    at += 4;
  }
  load_words<16, 2>(at, q);
  const float m = has_minimum ? half_at(block + 2) : 0.0f;
  const int zero = has_minimum ? 0 : has_fifth ? 16 : 8;
#pragma unroll
  for (int j = 0; j < 16; ++j) {
    const int low = static_cast<int>((byte_of(q, j) & 15) | (fifth[0] >> j & 1) << 4);
    const int high = static_cast<int>(byte_of(q, j) >> 4 | (fifth[0] >> (j + 16) & 1) << 4);
    out[j] = d * static_cast<float>(low - zero) + m;
    out[j + 16] = d * static_cast<float>(high - zero) + m;
  }
}

FERRY_DEVICE void decode_q8(const uint8_t* block, float (&out)[kGroup]) {
  const float d = half_at(block);
  uint32_t q[8];
  load_words<32, 2>(block + 2, q);
#pragma unroll
  for (int i = 0; i < kGroup; ++i) {
    out[i] = d * static_cast<float>(static_cast<int8_t>(byte_of(q, i)));
  }
}

FERRY_DEVICE void decode_int4(const uint8_t* block, float (&out)[kGroup]) {
  uint32_t q[4];
  load_words<16, 16>(block, q);
#pragma unroll
  for (int i = 0; i < kGroup; ++i) {
    out[i] = static_cast<float>(static_cast<int>(q[i / 8] >> (i % 8 * 4) & 15) - 8);
  }
}

// Numbers 32 s … of a super-block, for each of the formats that end in K.
FERRY_DEVICE void decode_q2k(const uint8_t* block, int s, float (&out)[kGroup]) {
  const float d = half_at(block + 80), dmin = half_at(block + 82);
  uint32_t q[8];
  load_words<32, 4>(block + 16 + s / 4 * 32, q);
  const int shift = s % 4 * 2;
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    const uint32_t code = block[2 * s + h];
    const float scale = d * static_cast<float>(code & 15);
    const float minimum = dmin * static_cast<float>(code >> 4);
#pragma unroll
    for (int l = 16 * h; l < 16 * h + 16; ++l) {
      out[l] = scale * static_cast<float>(byte_of(q, l) >> shift & 3) - minimum;
    }
  }
}

FERRY_DEVICE void decode_q3k(const uint8_t* block, int s, float (&out)[kGroup]) {
  const float d = half_at(block + 108);
  uint32_t low[8], high[8];
  load_words<32, 2>(block + 32 + s / 4 * 32, low);
  load_words<32, 2>(block, high);
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    const int i = 2 * s + h;
    const uint32_t low_bits = block[96 + i % 8] >> (i / 8 * 4) & 15;
    const uint32_t high_bits = block[104 + i % 4] >> (i / 4 * 2) & 3;
    const float scale = d * static_cast<float>(static_cast<int>(low_bits | high_bits << 4) - 32);
#pragma unroll
    for (int l = 16 * h; l < 16 * h + 16; ++l) {
      const uint32_t q = (byte_of(low, l) >> (s % 4 * 2) & 3) | (byte_of(high, l) >> s & 1) << 2;
      out[l] = scale * static_cast<float>(static_cast<int>(q) - 4);
    }
  }
}

FERRY_DEVICE void decode_q45k(const uint8_t* block, bool has_fifth, int s, float (&out)[kGroup]) {
  const float d = half_at(block), dmin = half_at(block + 2);
  const uint8_t* p = block + 4;
  uint32_t scale_code, minimum_code;
  if (s < 4) {
    scale_code = p[s] & 63;
    minimum_code = p[s + 4] & 63;
  } else {
    scale_code = (p[s + 4] & 15) | p[s - 4] >> 6 << 4;
    minimum_code = p[s + 4] >> 4 | p[s] >> 6 << 4;
  }
  const float scale = d * static_cast<float>(scale_code);
  const float minimum = dmin * static_cast<float>(minimum_code);
  uint32_t q[8], fifth[8] = {};
  load_words<32, 16>(block + (has_fifth ? 48 : 16) + s / 2 * 32, q);
  if (has_fifth) load_words<32, 16>(block + 16, fifth);
#pragma unroll
  for (int l = 0; l < kGroup; ++l) {
    const uint32_t code =
        (byte_of(q, l) >> (s % 2 * 4) & 15) | (byte_of(fifth, l) >> s & 1) << 4;
    out[l] = scale * static_cast<float>(code) - minimum;
  }
}

FERRY_DEVICE void decode_q6k(const uint8_t* block, int s, float (&out)[kGroup]) {
  const float d = half_at(block + 208);
  uint32_t low[8], high[8];
  load_words<32, 2>(block + s / 4 * 64 + s % 2 * 32, low);
  load_words<32, 2>(block + 128 + s / 4 * 32, high);
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    const float scale = d * static_cast<float>(static_cast<int8_t>(block[192 + 2 * s + h]));
#pragma unroll
    for (int l = 16 * h; l < 16 * h + 16; ++l) {
      const uint32_t q =
          (byte_of(low, l) >> (s % 4 / 2 * 4) & 15) | (byte_of(high, l) >> (s % 4 * 2) & 3) << 4;
      out[l] = scale * static_cast<float>(static_cast<int>(q) - 32);
    }
  }
}

FERRY_DEVICE void decode_iq4xs(const uint8_t* block, int s, float (&out)[kGroup]) {
  const uint32_t scales_h = block[2] | block[3] << 8;
  const uint32_t code = (block[4 + s / 2] >> (s % 2 * 4) & 15) | (scales_h >> (2 * s) & 3) << 4;
  const float scale = half_at(block) * static_cast<float>(static_cast<int>(code) - 32);
  uint32_t q[4];
  load_words<16, 4>(block + 8 + s * 16, q);
#pragma unroll
  for (int l = 0; l < 16; ++l) {
    out[l] = scale * static_cast<float>(kIq4Values[byte_of(q, l) & 15]);
    out[l + 16] = scale * static_cast<float>(kIq4Values[byte_of(q, l) >> 4]);
  }
}

FERRY_DEVICE void decode_block(const uint8_t* row, int32_t kind, int64_t group,
                               float (&out)[kGroup]) {
  const int s = static_cast<int>(group % 8);
  switch (kind) {
    case kWeightInt4: return decode_int4(span(row, group * 16, 16), out);
    case kWeightQ4_1: return decode_nibbles(span(row, group * 20, 20), kind, out);
    case kWeightQ5_0: return decode_nibbles(span(row, group * 22, 22), kind, out);
    case kWeightQ5_1: return decode_nibbles(span(row, group * 24, 24), kind, out);
    case kWeightMXFP4: return decode_nibbles(span(row, group * 17, 17), kind, out);
    case kWeightQ8_0: return decode_q8(span(row, group * 34, 34), out);
    case kWeightQ2K: return decode_q2k(span(row, group / 8 * 84, 84), s, out);
    case kWeightQ3K: return decode_q3k(span(row, group / 8 * 110, 110), s, out);
    case kWeightQ4K: return decode_q45k(span(row, group / 8 * 144, 144), false, s, out);
    case kWeightQ5K: return decode_q45k(span(row, group / 8 * 176, 176), true, s, out);
    case kWeightQ6K: return decode_q6k(span(row, group / 8 * 210, 210), s, out);
    case kWeightIQ4XS: return decode_iq4xs(span(row, group / 8 * 136, 136), s, out);
    default: return decode_nibbles(span(row, group * 18, 18), kind, out);  // Q4_0, IQ4_NL
  }
}

// Columns [32 · group, …) of row n, block scales applied; what is behind the row is 0. How many
// there are.
FERRY_DEVICE int decode_group(const WeightParam& w, int64_t n, int64_t group,
                              float (&out)[kGroup]) {
  const int64_t first = group * kGroup;
  const int64_t left = w.cols - first;
  const int count = left < kGroup ? static_cast<int>(left) : kGroup;
  const uint8_t* row = w.data + n * w.row_bytes;
  if (w.kind <= kWeightE4M3) {
    decode_plain(row, w.kind, first, count, out);
  } else if (w.kind >= kWeightIQ1S) {
    decode_codebook(row, w.kind, w.words, group, out);
  } else {
    decode_block(row, w.kind, group, out);
  }
  if (w.scale == nullptr) return count;
  const int64_t grid_row = n / w.scale_rows * w.scale_grid_cols;
  const int64_t column = first / w.scale_cols;
  if (first + count <= (column + 1) * w.scale_cols) {
    const float scale = *span(w.scale, grid_row + column, 1);
#pragma unroll
    for (int i = 0; i < kGroup; ++i) out[i] *= scale;
    return count;
  }
#pragma unroll
  for (int i = 0; i < kGroup; ++i) {
    if (i < count) out[i] *= *span(w.scale, grid_row + (first + i) / w.scale_cols, 1);
  }
  return count;
}

}  // namespace ferry::cuda
