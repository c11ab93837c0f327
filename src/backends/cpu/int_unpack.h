// Weights of kLanes rows from the blocks of a file to a panel (include a vec_*.h and its bytes_*.h
// first). A panel turns the file's rows into columns of vectors, so that one dot product serves
// kLanes rows and the scales of a group are one vector:
//
//   q      [32-group][8][kLanes rows × 4 neighbours]   vector j holds numbers 4j to 4j + 3
//   scale  [g-group][kLanes]
//   low    [g-group][kLanes]   minus the minimum, for formats that have one
//
// Each format below is a struct of
//   kGroup       numbers that share a scale: 16 or 32
//   kBits        width of q
//   kOffset      o of int_kernels.h; kMinimum: there is a minimum instead
//   kElements, kBytes   of a block of the file
//   unpack(rows, offset, panel)   one block of each row, at `offset` bytes from its start, to
//                                 a Panel or what has its members
// The layouts are told in quant/formats/. About 30 instructions for 512 weights of four bits,
// against 12 for their product with one token: enough to stream weights from memory in decode.
#pragma once

#include "backends/cpu/int_kernels.h"

namespace ferry::cpu::FERRY_ISA {
namespace {

constexpr int kVectorBytes = 4 * kLanes;

struct Panel {
  uint8_t* q;
  float* scale;
  float* low;

  void store(int vector, Bytes a) const { b_store(q + vector * kVectorBytes, a); }
  void store_scale(int group, Vec a) const { vstore(scale + group * kLanes, a); }
  void store_low(int group, Vec a) const { vstore(low + group * kLanes, a); }
};
using Rows = const uint8_t* const*;

inline uint32_t read_u16(const uint8_t* p) {
  uint16_t bits;
  __builtin_memcpy(&bits, p, sizeof bits);
  return bits;
}
inline uint32_t read_u32(const uint8_t* p) {
  uint32_t bits;
  __builtin_memcpy(&bits, p, sizeof bits);
  return bits;
}
// The half at `offset` of each row, in the low bits of its lane.
inline Ints load_halves(Rows rows, int64_t offset) {
  uint32_t bits[kLanes];
#pragma GCC unroll 16
  for (int r = 0; r < kLanes; ++r) bits[r] = read_u16(rows[r] + offset);
  return i_load(bits);
}
inline Ints load_dwords(Rows rows, int64_t offset) {
  uint32_t bits[kLanes];
#pragma GCC unroll 16
  for (int r = 0; r < kLanes; ++r) bits[r] = read_u32(rows[r] + offset);
  return i_load(bits);
}
inline Vec halves(Rows rows, int64_t offset) {
  return i_halves_to_floats(load_halves(rows, offset));
}
inline Vec minus(Vec a) { return vsub(vzero(), a); }
inline Bytes low_half(Bytes q) { return b_and(q, b_set1(15)); }
inline Bytes high_half(Bytes q) { return b_and(b_right<4>(q), b_set1(15)); }

// 16 bytes of nibbles: the low ones are numbers 0–15, the high ones 16–31.
inline void store_nibbles(Rows rows, int64_t offset, const auto& panel) {
  Bytes q[4];
  b_load_rows(rows, offset, q);
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    panel.store(j, low_half(q[j]));
    panel.store(4 + j, high_half(q[j]));
  }
}
inline void store_looked_up(Rows rows, int64_t offset, const uint8_t* values, const auto& panel) {
  Bytes q[4];
  b_load_rows(rows, offset, q);
  const Bytes table = b_table(values);
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    panel.store(j, b_look_up(table, low_half(q[j])));
    panel.store(4 + j, b_look_up(table, high_half(q[j])));
  }
}
constexpr uint8_t kIq4Plus127[16] = {0,   23,  44,  62,  78,  92,  105, 117,
                                     128, 140, 152, 165, 180, 196, 216, 240};
constexpr uint8_t kMxfp4Plus12[16] = {12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0};

struct Q4_0 {
  static constexpr const char* kName = "Q4_0";
  static constexpr int kGroup = 32, kBits = 4, kOffset = 8;
  static constexpr bool kMinimum = false;
  static constexpr int kElements = 32, kBytes = 18;
  static inline void unpack(Rows rows, int64_t offset, const auto& panel) {
    store_nibbles(rows, offset + 2, panel);
    panel.store_scale(0, halves(rows, offset));
  }
};

struct Q4_1 {
  static constexpr const char* kName = "Q4_1";
  static constexpr int kGroup = 32, kBits = 4, kOffset = 0;
  static constexpr bool kMinimum = true;
  static constexpr int kElements = 32, kBytes = 20;
  static inline void unpack(Rows rows, int64_t offset, const auto& panel) {
    store_nibbles(rows, offset + 4, panel);
    const Ints both = load_dwords(rows, offset);
    panel.store_scale(0, i_halves_to_floats(both));
    panel.store_low(0, i_halves_to_floats(i_right<16>(both)));
  }
};

// Nibbles at `offset`, and above each the fifth bit: bit k of the dword at `bits` for number k.
inline void store_five_bits(Rows rows, int64_t bits, int64_t offset, const auto& panel) {
  Bytes q[4];
  b_load_rows(rows, offset, q);
  const Ints fifth = load_dwords(rows, bits);
  // Byte j / 2 of the dword, four times; then bit 4 (j % 2) + i for byte i.
  alignas(16) static constexpr uint8_t kSpread[4][16] = {
      {0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12},
      {1, 1, 1, 1, 5, 5, 5, 5, 9, 9, 9, 9, 13, 13, 13, 13},
      {2, 2, 2, 2, 6, 6, 6, 6, 10, 10, 10, 10, 14, 14, 14, 14},
      {3, 3, 3, 3, 7, 7, 7, 7, 11, 11, 11, 11, 15, 15, 15, 15}};
  alignas(16) static constexpr uint8_t kBitOf[2][16] = {
      {1, 2, 4, 8, 1, 2, 4, 8, 1, 2, 4, 8, 1, 2, 4, 8},
      {16, 32, 64, 128, 16, 32, 64, 128, 16, 32, 64, 128, 16, 32, 64, 128}};
#pragma GCC unroll 8
  for (int j = 0; j < 8; ++j) {
    const Bytes spread = b_look_up(fifth, b_table(kSpread[j / 2]));
    const Bytes nibble = j < 4 ? low_half(q[j]) : high_half(q[j - 4]);
    panel.store(j, b_or(nibble, b_where(spread, b_table(kBitOf[j % 2]), 16)));
  }
}

struct Q5_0 {
  static constexpr const char* kName = "Q5_0";
  static constexpr int kGroup = 32, kBits = 5, kOffset = 16;
  static constexpr bool kMinimum = false;
  static constexpr int kElements = 32, kBytes = 22;
  static inline void unpack(Rows rows, int64_t offset, const auto& panel) {
    store_five_bits(rows, offset + 2, offset + 6, panel);
    panel.store_scale(0, halves(rows, offset));
  }
};

struct Q5_1 {
  static constexpr const char* kName = "Q5_1";
  static constexpr int kGroup = 32, kBits = 5, kOffset = 0;
  static constexpr bool kMinimum = true;
  static constexpr int kElements = 32, kBytes = 24;
  static inline void unpack(Rows rows, int64_t offset, const auto& panel) {
    store_five_bits(rows, offset + 4, offset + 8, panel);
    const Ints both = load_dwords(rows, offset);
    panel.store_scale(0, i_halves_to_floats(both));
    panel.store_low(0, i_halves_to_floats(i_right<16>(both)));
  }
};

struct Q8_0 {
  static constexpr const char* kName = "Q8_0";
  static constexpr int kGroup = 32, kBits = 8, kOffset = 128;
  static constexpr bool kMinimum = false;
  static constexpr int kElements = 32, kBytes = 34;
  static inline void unpack(Rows rows, int64_t offset, const auto& panel) {
    const Bytes top = b_set1(0x80);
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      Bytes q[4];
      b_load_rows(rows, offset + 2 + 16 * half, q);
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) panel.store(4 * half + j, b_xor(q[j], top));
    }
    panel.store_scale(0, halves(rows, offset));
  }
};

struct Iq4Nl {
  static constexpr const char* kName = "IQ4_NL";
  static constexpr int kGroup = 32, kBits = 8, kOffset = 127;
  static constexpr bool kMinimum = false;
  static constexpr int kElements = 32, kBytes = 18;
  static inline void unpack(Rows rows, int64_t offset, const auto& panel) {
    store_looked_up(rows, offset + 2, kIq4Plus127, panel);
    panel.store_scale(0, halves(rows, offset));
  }
};

struct Mxfp4 {
  static constexpr const char* kName = "MXFP4";
  static constexpr int kGroup = 32, kBits = 5, kOffset = 12;
  static constexpr bool kMinimum = false;
  static constexpr int kElements = 32, kBytes = 17;
  static inline void unpack(Rows rows, int64_t offset, const auto& panel) {
    store_looked_up(rows, offset + 1, kMxfp4Plus12, panel);
    float scale[kLanes];
#pragma GCC unroll 16
    for (int r = 0; r < kLanes; ++r) {
      const uint32_t e = rows[r][offset];
      const uint32_t bits = e < 2 ? 0x00200000u << e : (e - 1) << 23;
      __builtin_memcpy(scale + r, &bits, sizeof bits);
    }
    panel.store_scale(0, vload(scale));
  }
};

struct Iq4Xs {
  static constexpr const char* kName = "IQ4_XS";
  static constexpr int kGroup = 32, kBits = 8, kOffset = 127;
  static constexpr bool kMinimum = false;
  static constexpr int kElements = 256, kBytes = 136;
  static inline void unpack(Rows rows, int64_t offset, const auto& panel) {
    const Vec d = halves(rows, offset);
    const Ints low = load_dwords(rows, offset + 4), high = load_halves(rows, offset + 2);
    scales<0>(panel, d, low, high);
    for (int s = 0; s < 8; ++s) {
      auto group = panel;
      group.q += s * 8 * kVectorBytes;
      store_looked_up(rows, offset + 8 + 16 * s, kIq4Plus127, group);
    }
  }
  template <int S>
  static inline void scales(const auto& panel, Vec d, Ints low, Ints high) {
    if constexpr (S < 8) {
      const Ints top = i_left4(i_and(i_right<2 * S>(high), 3));
      const Ints code = i_or(i_and(i_right<4 * S>(low), 15), top);
      panel.store_scale(S, vmul(d, i_to_floats(i_subtract(code, 32))));
      scales<S + 1>(panel, d, low, high);
    }
  }
};

// The 16 bytes in front of a block of Q4_K or Q5_K: d and dmin, then eight scales and minimums of
// six bits (quant/formats/q4_k.cc).
struct KScales {
  Vec d, minus_dmin;
  Ints a, b, c;
  KScales(Rows rows, int64_t offset) {
    Bytes head[4];
    b_load_rows(rows, offset, head);
    d = i_halves_to_floats(head[0]);
    minus_dmin = minus(i_halves_to_floats(i_right<16>(head[0])));
    a = head[1], b = head[2], c = head[3];
  }
  template <int S>
  inline void store(const auto& panel) const {
    if constexpr (S < 4) {
      put(panel, S, i_and(i_right<8 * S>(a), 63), i_and(i_right<8 * S>(b), 63));
      store<S + 1>(panel);
    } else if constexpr (S < 8) {
      constexpr int kShift = 8 * (S - 4);
      const Ints top_scale = i_left4(i_and(i_right<kShift + 6>(a), 3));
      const Ints top_minimum = i_left4(i_and(i_right<kShift + 6>(b), 3));
      put(panel, S, i_or(i_and(i_right<kShift>(c), 15), top_scale),
          i_or(i_and(i_right<kShift + 4>(c), 15), top_minimum));
      store<S + 1>(panel);
    }
  }
  inline void put(const auto& panel, int s, Ints scale, Ints minimum) const {
    panel.store_scale(s, vmul(d, i_to_floats(scale)));
    panel.store_low(s, vmul(minus_dmin, i_to_floats(minimum)));
  }
};

struct Q4_K {
  static constexpr const char* kName = "Q4_K";
  static constexpr int kGroup = 32, kBits = 4, kOffset = 0;
  static constexpr bool kMinimum = true;
  static constexpr int kElements = 256, kBytes = 144;
  static inline void unpack(Rows rows, int64_t offset, const auto& panel) {
    KScales(rows, offset).store<0>(panel);
    for (int part = 0; part < 8; ++part) {  // 16 bytes: half of two neighbouring groups
      Bytes q[4];
      b_load_rows(rows, offset + 16 + 16 * part, q);
      const int vector = part / 2 * 16 + part % 2 * 4;
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) {
        panel.store(vector + j, low_half(q[j]));
        panel.store(vector + 8 + j, high_half(q[j]));
      }
    }
  }
};

struct Q5_K {
  static constexpr const char* kName = "Q5_K";
  static constexpr int kGroup = 32, kBits = 5, kOffset = 0;
  static constexpr bool kMinimum = true;
  static constexpr int kElements = 256, kBytes = 176;
  static inline void unpack(Rows rows, int64_t offset, const auto& panel) {
    KScales(rows, offset).store<0>(panel);
    for (int half = 0; half < 2; ++half) {
      Bytes fifth[4];
      b_load_rows(rows, offset + 16 + 16 * half, fifth);
      for (int pair = 0; pair < 4; ++pair) {
        Bytes q[4];
        b_load_rows(rows, offset + 48 + 32 * pair + 16 * half, q);
        const Bytes even = b_set1(1 << (2 * pair)), odd = b_set1(2 << (2 * pair));
#pragma GCC unroll 4
        for (int j = 0; j < 4; ++j) {
          const int vector = 16 * pair + 4 * half + j;
          panel.store(vector, b_or(low_half(q[j]), b_where(fifth[j], even, 16)));
          panel.store(vector + 8, b_or(high_half(q[j]), b_where(fifth[j], odd, 16)));
        }
      }
    }
  }
};

// 16 scales of a byte each, signed: group 4 i + n from byte n of dword i.
inline void store_byte_scales(const Ints* codes, Vec d, const auto& panel) {
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    panel.store_scale(4 * i, vmul(d, i_to_floats(i_signed_byte<0>(codes[i]))));
    panel.store_scale(4 * i + 1, vmul(d, i_to_floats(i_signed_byte<1>(codes[i]))));
    panel.store_scale(4 * i + 2, vmul(d, i_to_floats(i_signed_byte<2>(codes[i]))));
    panel.store_scale(4 * i + 3, vmul(d, i_to_floats(i_signed_byte<3>(codes[i]))));
  }
}

struct Q6_K {
  static constexpr const char* kName = "Q6_K";
  static constexpr int kGroup = 16, kBits = 6, kOffset = 32;
  static constexpr bool kMinimum = false;
  static constexpr int kElements = 256, kBytes = 210;
  static inline void unpack(Rows rows, int64_t offset, const auto& panel) {
    Ints codes[4];
    b_load_rows(rows, offset + 192, codes);
    store_byte_scales(codes, halves(rows, offset + 208), panel);
    const Bytes top = b_set1(0x30);
    for (int part = 0; part < 4; ++part) {
      const int half = part / 2, step = part % 2;
      Bytes first[4], second[4], high[4];
      b_load_rows(rows, offset + 64 * half + 16 * step, first);
      b_load_rows(rows, offset + 64 * half + 32 + 16 * step, second);
      b_load_rows(rows, offset + 128 + 32 * half + 16 * step, high);
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) {
        const int vector = 32 * half + 4 * step + j;
        panel.store(vector, b_or(low_half(first[j]), b_and(b_left<4>(high[j]), top)));
        panel.store(vector + 8, b_or(low_half(second[j]), b_and(b_left<2>(high[j]), top)));
        panel.store(vector + 16, b_or(high_half(first[j]), b_and(high[j], top)));
        panel.store(vector + 24, b_or(high_half(second[j]), b_and(b_right<2>(high[j]), top)));
      }
    }
  }
};

template <typename... Formats>
struct FormatList {};
using IntFormats = FormatList<Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K, Q6_K, Iq4Nl, Iq4Xs, Mxfp4>;

}  // namespace
}  // namespace ferry::cpu::FERRY_ISA
