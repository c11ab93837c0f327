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
//   kOffset      o of int_kernels.h, a power of two; kMinimum: there is a minimum instead
//   kElements, kBytes   of a block of the file
//   kFields      bytes of the parts of a block, and
//   packed_offset(offset)   where a part lies in a packed one, if not where it lies in the file:
//                 see packed_rows.h; a format without kFields is not packed
//   unpack(rows, offset, panel)   one block of each row, at `offset` bytes from its start, to
//                                 a Panel or what has its members; rows are those of a file or
//                                 packed ones
// The layouts are told in quant/formats/. What is done to weights is done to bytes wherever they
// are in a vector, so that it is the panel that says how 16 bytes of each row are laid out
// (row_matmul.h has another way).
#pragma once

#include "backends/cpu/int_kernels.h"

namespace ferry::cpu::FERRY_ISA {
namespace {

constexpr int kVectorBytes = 4 * kLanes;

struct Panel {
  uint8_t* q;
  float* scale;
  float* low;

  Panel strip(int number) const;  // see int_panels.h
  // The panel of block b, whose first block is number `first` of its rows.
  template <typename Format>
  Panel block(int64_t first, int64_t b) const {
    static_cast<void>(first);
    constexpr int kGroups = Format::kElements / Format::kGroup;
    return {q + b * Format::kElements * kLanes, scale + b * kGroups * kLanes,
            low + b * kGroups * kLanes};
  }
  [[gnu::always_inline]] void load(auto rows, int64_t offset, Bytes* out) const {
    b_load_rows(rows, offset, out);
  }
  // The same of 16 bytes that are made from what lies there, see b_quads_of().
  template <typename Piece>
  [[gnu::always_inline]] void make(auto rows, int64_t offset, Piece piece, Bytes* out) const {
    Bytes v[4];
    b_quads_of(rows, offset, piece, v);
    b_turn_quads(v, out);
  }
  // Group g as the vectors of its 16 numbers, or of its first 16 and its other 16.
  template <typename Format>
  [[gnu::always_inline]] void store(int g, const Bytes* w) const {
    constexpr int kVectors = Format::kGroup / 4;
#pragma GCC unroll 8
    for (int j = 0; j < kVectors; ++j) b_store(q + (g * kVectors + j) * kVectorBytes, w[j]);
  }
  void store_scale(int g, Vec a) const { vstore(scale + g * kLanes, a); }
  void store_low(int g, Vec a) const { vstore(low + g * kLanes, a); }
  // Not zero in each byte whose bit of its row's `bits` is set: bit k for number k of vector j.
  static Bytes bits_of(Ints bits, int j) {
    // Byte j / 2 of the dword, four times; then bit 4 (j % 2) + i for byte i.
    alignas(16) static constexpr uint8_t kSpread[4][16] = {
        {0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12},
        {1, 1, 1, 1, 5, 5, 5, 5, 9, 9, 9, 9, 13, 13, 13, 13},
        {2, 2, 2, 2, 6, 6, 6, 6, 10, 10, 10, 10, 14, 14, 14, 14},
        {3, 3, 3, 3, 7, 7, 7, 7, 11, 11, 11, 11, 15, 15, 15, 15}};
    alignas(16) static constexpr uint8_t kBitOf[2][16] = {
        {1, 2, 4, 8, 1, 2, 4, 8, 1, 2, 4, 8, 1, 2, 4, 8},
        {16, 32, 64, 128, 16, 32, 64, 128, 16, 32, 64, 128, 16, 32, 64, 128}};
    return b_and(b_look_up(bits, b_table(kSpread[j / 2])), b_table(kBitOf[j % 2]));
  }
};

// Whether rows are packed ones for a single token (packed_rows.h). Loops over the parts of a block
// are written out there and kept elsewhere, where that was quicker from memory: Q4_K, one token, 27
// to 33 GB/s of 41 to 49 as a loop and 33 to 42 written out; with 2 to 8 tokens the loop wins by a
// tenth.
template <typename R>
constexpr bool kPackedOfOneToken = requires {
  requires R::kOneToken;
};

// An f16 of each row.
inline Vec halves(auto rows, int64_t offset) {
  return w_halves_to_floats(w_load_rows(rows, offset));
}
// A byte of each row.
[[gnu::always_inline]] inline Ints i_load_row_bytes(Rows rows, int64_t offset) {
  return i_and(w_to_ints(w_load_rows(rows, offset)), 0xff);
}
inline Vec minus(Vec a) { return vsub(vzero(), a); }
inline Bytes low_half(Bytes q) { return b_and(q, b_set1(15)); }
inline Bytes high_half(Bytes q) { return b_and(b_right<4>(q), b_set1(15)); }

// 16 bytes of nibbles: the low ones are numbers 0–15, the high ones 16–31.
[[gnu::always_inline]] inline void load_nibbles(auto rows, int64_t offset, const auto& panel,
                                                Bytes* w) {
  panel.load(rows, offset, w);
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    w[4 + j] = high_half(w[j]);
    w[j] = low_half(w[j]);
  }
}
template <typename Format>
inline void store_nibbles(auto rows, int64_t offset, const auto& panel) {
  Bytes w[8];
  load_nibbles(rows, offset, panel, w);
  panel.template store<Format>(0, w);
}
template <typename Format>
inline void store_looked_up(auto rows, int64_t offset, const uint8_t* values, const auto& panel,
                            int group = 0) {
  Bytes w[8];
  load_nibbles(rows, offset, panel, w);
  const Bytes table = b_table(values);
#pragma GCC unroll 8
  for (int j = 0; j < 8; ++j) w[j] = b_look_up(table, w[j]);
  panel.template store<Format>(group, w);
}
constexpr uint8_t kIq4Plus128[16] = {1,   24,  45,  63,  79,  93,  106, 118,
                                     129, 141, 153, 166, 181, 197, 217, 241};
constexpr uint8_t kMxfp4Plus16[16] = {16, 17, 18, 19, 20, 22, 24, 28, 16, 15, 14, 13, 12, 10, 8, 4};

struct Q4_0 {
  static constexpr const char* kName = "Q4_0";
  static constexpr int kGroup = 32, kBits = 4, kOffset = 8;
  static constexpr bool kMinimum = false;
  static constexpr int kElements = 32, kBytes = 18;
  static constexpr int kFields[] = {2, 16};
  static inline void unpack(auto rows, int64_t offset, const auto& panel) {
    store_nibbles<Q4_0>(rows, offset + 2, panel);
    panel.store_scale(0, halves(rows, offset));
  }
};

struct Q4_1 {
  static constexpr const char* kName = "Q4_1";
  static constexpr int kGroup = 32, kBits = 4, kOffset = 0;
  static constexpr bool kMinimum = true;
  static constexpr int kElements = 32, kBytes = 20;
  static constexpr int kFields[] = {4, 16};
  static inline void unpack(auto rows, int64_t offset, const auto& panel) {
    store_nibbles<Q4_1>(rows, offset + 4, panel);
    const Ints both = i_load_rows(rows, offset);
    panel.store_scale(0, i_halves_to_floats(both));
    panel.store_low(0, i_halves_to_floats(i_right<16>(both)));
  }
};

// Nibbles at `offset`, and above each the fifth bit: bit k of the dword at `bits` for number k.
template <typename Format>
inline void store_five_bits(auto rows, int64_t bits, int64_t offset, const auto& panel) {
  Bytes w[8];
  load_nibbles(rows, offset, panel, w);
  const Ints fifth = i_load_rows(rows, bits);
#pragma GCC unroll 8
  for (int j = 0; j < 8; ++j) {
    const Bytes of_lane = panel.bits_of(fifth, j);
    w[j] = b_or(w[j], b_where(of_lane, of_lane, 16));
  }
  panel.template store<Format>(0, w);
}

struct Q5_0 {
  static constexpr const char* kName = "Q5_0";
  static constexpr int kGroup = 32, kBits = 5, kOffset = 16;
  static constexpr bool kMinimum = false;
  static constexpr int kElements = 32, kBytes = 22;
  static constexpr int kFields[] = {2, 4, 16};
  static inline void unpack(auto rows, int64_t offset, const auto& panel) {
    store_five_bits<Q5_0>(rows, offset + 2, offset + 6, panel);
    panel.store_scale(0, halves(rows, offset));
  }
};

struct Q5_1 {
  static constexpr const char* kName = "Q5_1";
  static constexpr int kGroup = 32, kBits = 5, kOffset = 0;
  static constexpr bool kMinimum = true;
  static constexpr int kElements = 32, kBytes = 24;
  static constexpr int kFields[] = {4, 4, 16};
  static inline void unpack(auto rows, int64_t offset, const auto& panel) {
    store_five_bits<Q5_1>(rows, offset + 4, offset + 8, panel);
    const Ints both = i_load_rows(rows, offset);
    panel.store_scale(0, i_halves_to_floats(both));
    panel.store_low(0, i_halves_to_floats(i_right<16>(both)));
  }
};

struct Q8_0 {
  static constexpr const char* kName = "Q8_0";
  static constexpr int kGroup = 32, kBits = 8, kOffset = 128;
  static constexpr bool kMinimum = false;
  static constexpr int kElements = 32, kBytes = 34;
  static constexpr int kFields[] = {2, 32};
  static inline void unpack(auto rows, int64_t offset, const auto& panel) {
    Bytes w[8];
    panel.load(rows, offset + 2, w);
    panel.load(rows, offset + 18, w + 4);
#pragma GCC unroll 8
    for (int j = 0; j < 8; ++j) w[j] = b_xor(w[j], b_set1(0x80));
    panel.template store<Q8_0>(0, w);
    panel.store_scale(0, halves(rows, offset));
  }
};

struct Iq4Nl {
  static constexpr const char* kName = "IQ4_NL";
  static constexpr int kGroup = 32, kBits = 8, kOffset = 128;
  static constexpr bool kMinimum = false;
  static constexpr int kElements = 32, kBytes = 18;
  static constexpr int kFields[] = {2, 16};
  static inline void unpack(auto rows, int64_t offset, const auto& panel) {
    store_looked_up<Iq4Nl>(rows, offset + 2, kIq4Plus128, panel);
    panel.store_scale(0, halves(rows, offset));
  }
};

struct Mxfp4 {
  static constexpr const char* kName = "MXFP4";
  static constexpr int kGroup = 32, kBits = 5, kOffset = 16;
  static constexpr bool kMinimum = false;
  static constexpr int kElements = 32, kBytes = 17;
  static constexpr int kFields[] = {1, 16};
  static inline void unpack(auto rows, int64_t offset, const auto& panel) {
    store_looked_up<Mxfp4>(rows, offset + 1, kMxfp4Plus16, panel);
    // 2^(e − 128), whose bits are (e − 1) << 23 but for the two smallest, which are denormal.
    const Ints e = i_load_row_bytes(rows, offset);
    const Ints small = i_left<21>(i_min(i_add(e, i_set1(1)), i_set1(2)));
    panel.store_scale(0, i_as_floats(i_max(i_left<23>(i_subtract(e, 1)), small)));
  }
};

struct Iq4Xs {
  static constexpr const char* kName = "IQ4_XS";
  static constexpr int kGroup = 32, kBits = 8, kOffset = 128;
  static constexpr bool kMinimum = false;
  static constexpr int kElements = 256, kBytes = 136;
  static constexpr int kFields[] = {2, 2, 4, 128};
  static inline void unpack(auto rows, int64_t offset, const auto& panel) {
    const Vec d = halves(rows, offset);
    const Ints low = i_load_rows(rows, offset + 4);
    const Ints high = w_to_ints(w_load_rows(rows, offset + 2));
    scales<0>(panel, d, low, high);
    for (int s = 0; s < 8; ++s) {
      store_looked_up<Iq4Xs>(rows, offset + 8 + 16 * s, kIq4Plus128, panel, s);
    }
  }
  template <int S>
  static inline void scales(const auto& panel, Vec d, Ints low, Ints high) {
    if constexpr (S < 8) {
      const Ints top = i_left<4>(i_and(i_right<2 * S>(high), 3));
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
  KScales(auto rows, int64_t offset) {
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
      const Ints top_scale = i_left<4>(i_and(i_right<kShift + 6>(a), 3));
      const Ints top_minimum = i_left<4>(i_and(i_right<kShift + 6>(b), 3));
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
  static constexpr int kFields[] = {144};
  static inline void unpack(auto rows, int64_t offset, const auto& panel) {
    KScales(rows, offset).store<0>(panel);
    if constexpr (kPackedOfOneToken<decltype(rows)>) {
#pragma GCC unroll 4
      for (int pair = 0; pair < 4; ++pair) store_pair(rows, offset, pair, panel);
    } else {
      for (int pair = 0; pair < 4; ++pair) store_pair(rows, offset, pair, panel);
    }
  }
  // 32 bytes: two neighbouring groups.
  [[gnu::always_inline]] static inline void store_pair(auto rows, int64_t offset, int pair,
                                                       const auto& panel) {
    Bytes low[8], high[8];
    panel.load(rows, offset + 16 + 32 * pair, low);
    panel.load(rows, offset + 32 + 32 * pair, low + 4);
#pragma GCC unroll 8
    for (int j = 0; j < 8; ++j) {
      high[j] = high_half(low[j]);
      low[j] = low_half(low[j]);
    }
    panel.template store<Q4_K>(2 * pair, low);
    panel.template store<Q4_K>(2 * pair + 1, high);
  }
};

// Bit `From` of each byte as its bit `To`.
template <int From, int To>
inline Bytes bit_as(Bytes a) {
  if constexpr (From < To) a = b_left<To - From>(a);
  if constexpr (From > To) a = b_right<From - To>(a);
  return b_and(a, b_set1(1 << To));
}

struct Q5_K {
  static constexpr const char* kName = "Q5_K";
  static constexpr int kGroup = 32, kBits = 5, kOffset = 0;
  static constexpr bool kMinimum = true;
  static constexpr int kElements = 256, kBytes = 176;
  static constexpr int kFields[] = {176};
  static inline void unpack(auto rows, int64_t offset, const auto& panel) {
    KScales(rows, offset).store<0>(panel);
    Bytes fifth[8];
    panel.load(rows, offset + 16, fifth);
    panel.load(rows, offset + 32, fifth + 4);
    store_pairs<0>(rows, offset, fifth, panel);
  }
  template <int Pair>
  static inline void store_pairs(auto rows, int64_t offset, const Bytes* fifth, const auto& panel) {
    if constexpr (Pair < 4) {
      Bytes low[8], high[8];
      panel.load(rows, offset + 48 + 32 * Pair, low);
      panel.load(rows, offset + 64 + 32 * Pair, low + 4);
#pragma GCC unroll 8
      for (int j = 0; j < 8; ++j) {
        high[j] = b_or(high_half(low[j]), bit_as<2 * Pair + 1, 4>(fifth[j]));
        low[j] = b_or(low_half(low[j]), bit_as<2 * Pair, 4>(fifth[j]));
      }
      panel.template store<Q5_K>(2 * Pair, low);
      panel.template store<Q5_K>(2 * Pair + 1, high);
      store_pairs<Pair + 1>(rows, offset, fifth, panel);
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
  static constexpr int kFields[] = {208, 2};
  // Scales, d, then for each of four parts 16 bytes of either half of the low bits, and the high.
  static constexpr int64_t packed_offset(int64_t offset) {
    if (offset >= 192) return offset - 192;
    const bool high = offset >= 128;
    const int64_t half = high ? (offset - 128) / 32 : offset / 64;
    const int64_t step = offset % 32 / 16, which = high ? 2 : offset % 64 / 32;
    return 18 + 48 * (2 * half + step) + 16 * which + offset % 16;
  }
  static inline void unpack(auto rows, int64_t offset, const auto& panel) {
    Ints codes[4];
    b_load_rows(rows, offset + 192, codes);
    store_byte_scales(codes, halves(rows, offset + 208), panel);
    const Bytes top = b_set1(0x30);
    for (int part = 0; part < 4; ++part) {
      const int half = part / 2, step = part % 2;
      Bytes w[4][4], high[4];
      panel.load(rows, offset + 64 * half + 16 * step, w[0]);
      panel.load(rows, offset + 64 * half + 32 + 16 * step, w[1]);
      panel.load(rows, offset + 128 + 32 * half + 16 * step, high);
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) {
        w[2][j] = b_or(high_half(w[0][j]), b_and(high[j], top));
        w[3][j] = b_or(high_half(w[1][j]), b_and(b_right<2>(high[j]), top));
        w[0][j] = b_or(low_half(w[0][j]), b_and(b_left<4>(high[j]), top));
        w[1][j] = b_or(low_half(w[1][j]), b_and(b_left<2>(high[j]), top));
      }
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) panel.template store<Q6_K>(8 * half + 2 * i + step, w[i]);
    }
  }
};

// Two bits of each byte, at shifts 0, 2, 4 and 6: numbers that lie 32 apart.
[[gnu::always_inline]] inline void take_two_bits(Bytes (&w)[4][4]) {
  const Bytes three = b_set1(3);
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    w[1][j] = b_and(b_right<2>(w[0][j]), three);
    w[2][j] = b_and(b_right<4>(w[0][j]), three);
    w[3][j] = b_and(b_right<6>(w[0][j]), three);
    w[0][j] = b_and(w[0][j], three);
  }
}

struct Q2_K {
  static constexpr const char* kName = "Q2_K";
  static constexpr int kGroup = 16, kBits = 2, kOffset = 0;
  static constexpr bool kMinimum = true;
  static constexpr int kElements = 256, kBytes = 84;
  static constexpr int kFields[] = {80, 2, 2};
  static constexpr int64_t packed_offset(int64_t offset) {  // scales, d and dmin, the numbers
    return offset < 16 ? offset : offset < 80 ? offset + 4 : offset - 64;
  }
  static inline void unpack(auto rows, int64_t offset, const auto& panel) {
    Ints codes[4];
    b_load_rows(rows, offset, codes);
    const Vec d = halves(rows, offset + 80), minus_dmin = minus(halves(rows, offset + 82));
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) scales(panel, 4 * i, codes[i], d, minus_dmin);
    for (int half = 0; half < 2; ++half) {
#pragma GCC unroll 2
      for (int step = 0; step < 2; ++step) {
        Bytes w[4][4];
        panel.load(rows, offset + 16 + 32 * half + 16 * step, w[0]);
        take_two_bits(w);
#pragma GCC unroll 4
        for (int p = 0; p < 4; ++p) panel.template store<Q2_K>(8 * half + 2 * p + step, w[p]);
      }
    }
  }
  // Of groups `first` and the three behind it: a byte each, the minimum above the scale.
  static inline void scales(const auto& panel, int first, Ints codes, Vec d, Vec minus_dmin) {
    auto put = [&](int group, Ints code) {
      panel.store_scale(group, vmul(d, i_to_floats(i_and(code, 15))));
      panel.store_low(group, vmul(minus_dmin, i_to_floats(i_and(i_right<4>(code), 15))));
    };
    put(first, codes);
    put(first + 1, i_right<8>(codes));
    put(first + 2, i_right<16>(codes));
    put(first + 3, i_right<24>(codes));
  }
};

struct Q3_K {
  static constexpr const char* kName = "Q3_K";
  static constexpr int kGroup = 16, kBits = 3, kOffset = 4;
  static constexpr bool kMinimum = false;
  static constexpr int kElements = 256, kBytes = 110;
  static constexpr int kFields[] = {108, 2};
  static constexpr int64_t packed_offset(int64_t offset) {  // scales and d, the numbers
    return offset >= 96 ? offset - 96 : offset + 14;
  }
  static inline void unpack(auto rows, int64_t offset, const auto& panel) {
    scales(rows, offset, panel);
    Bytes high[2][4];
    panel.load(rows, offset, high[0]);
    panel.load(rows, offset + 16, high[1]);
    for (int half = 0; half < 2; ++half) {
#pragma GCC unroll 2
      for (int step = 0; step < 2; ++step) {
        Bytes w[4][4];
        panel.load(rows, offset + 32 + 32 * half + 16 * step, w[0]);
        take_two_bits(w);
#pragma GCC unroll 4
        for (int p = 0; p < 4; ++p) {
          const Bytes bit = b_set1(1 << (4 * half + p));
#pragma GCC unroll 4
          for (int j = 0; j < 4; ++j) w[p][j] = b_or(w[p][j], b_where(high[step][j], bit, 4));
          panel.template store<Q3_K>(8 * half + 2 * p + step, w[p]);
        }
      }
    }
  }
  static inline void scales(auto rows, int64_t offset, const auto& panel) {
    const Ints a = i_load_rows(rows, offset + 96), b = i_load_rows(rows, offset + 100);
    const Ints c = i_load_rows(rows, offset + 104);
    const Bytes four = b_set1(15), top = b_set1(0x30), zero = b_set1(32);
    const Bytes codes[4] = {
        b_sub(b_or(b_and(a, four), b_and(b_left<4>(c), top)), zero),
        b_sub(b_or(b_and(b, four), b_and(b_left<2>(c), top)), zero),
        b_sub(b_or(b_and(b_right<4>(a), four), b_and(c, top)), zero),
        b_sub(b_or(b_and(b_right<4>(b), four), b_and(b_right<2>(c), top)), zero),
    };
    store_byte_scales(codes, halves(rows, offset + 108), panel);
  }
};

}  // namespace
}  // namespace ferry::cpu::FERRY_ISA
