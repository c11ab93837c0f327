// Decoding against a second reading of the layouts: one function per format that finds a single
// element by its bits, slow and plain, with nothing shared with the decoders. Compared over random
// bytes (the codebooks are the decoders', pinned apart), and over tests/data/quant/blocks.txt,
// whose values were worked out from the layouts alone.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <map>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "quant/codebooks.h"
#include "quant/storage_format.h"

namespace ferry::quant {
namespace {

using Bytes = const uint8_t*;

float half_at(Bytes p) {
  const int bits = p[0] | p[1] << 8;
  const int exponent = bits >> 10 & 31;
  const int mantissa = bits & 1023;
  const float sign = (bits & 0x8000) != 0 ? -1.0f : 1.0f;
  if (exponent == 31) return mantissa != 0 ? NAN : sign * INFINITY;
  if (exponent == 0) return sign * std::ldexp(static_cast<float>(mantissa), -24);
  return sign * std::ldexp(static_cast<float>(1024 + mantissa), exponent - 25);
}

// Nibble i of a group in which the low nibbles of `half` bytes come first, then the high ones.
int nibble(Bytes p, int i, int half) { return i < half ? p[i] & 15 : p[i - half] >> 4; }
int bit(Bytes p, int i) { return p[i / 8] >> (i % 8) & 1; }
int signed_byte(uint8_t byte) { return byte < 128 ? byte : byte - 256; }

constexpr int kIq4[] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
constexpr int kE2m1Doubled[] = {0, 1, 2, 3, 4, 6, 8, 12};

// The 6-bit scale (first = 0) or minimum (first = 4) of sub-block s in Q4_K and Q5_K.
int six_bits(Bytes p, int first, int s) {
  if (s < 4) return p[first + s] & 63;
  const int low = first == 0 ? p[4 + s] & 15 : p[4 + s] >> 4;
  return low | (p[first + s - 4] >> 6) << 4;
}

float q4_0(Bytes b, int i) { return half_at(b) * float(nibble(b + 2, i, 16) - 8); }
float q4_1(Bytes b, int i) { return half_at(b) * float(nibble(b + 4, i, 16)) + half_at(b + 2); }
float q5_0(Bytes b, int i) {
  return half_at(b) * float((nibble(b + 6, i, 16) | bit(b + 2, i) << 4) - 16);
}
float q5_1(Bytes b, int i) {
  return half_at(b) * float(nibble(b + 8, i, 16) | bit(b + 4, i) << 4) + half_at(b + 2);
}
float q8_0(Bytes b, int i) { return half_at(b) * float(signed_byte(b[2 + i])); }

float q2_k(Bytes b, int i) {
  const int q = b[16 + i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;
  const float scale = half_at(b + 80) * float(b[i / 16] & 15);
  return scale * float(q) - half_at(b + 82) * float(b[i / 16] >> 4);
}
float q3_k(Bytes b, int i) {
  const int s = i / 16;
  const int low = b[96 + s % 8] >> (s / 8 * 4) & 15;
  const int high = b[96 + 8 + s % 4] >> (s / 4 * 2) & 3;
  int q = b[32 + i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;
  if ((b[i % 32] >> (i / 32) & 1) == 0) q -= 4;
  return half_at(b + 108) * float((high << 4 | low) - 32) * float(q);
}
float q4_k(Bytes b, int i) {
  const int s = i / 32;
  const int q = nibble(b + 16 + i / 64 * 32, i % 64, 32);
  return half_at(b) * float(six_bits(b + 4, 0, s)) * float(q) -
         half_at(b + 2) * float(six_bits(b + 4, 4, s));
}
float q5_k(Bytes b, int i) {
  const int s = i / 32;
  const int q = nibble(b + 48 + i / 64 * 32, i % 64, 32) + 16 * (b[16 + i % 32] >> s & 1);
  return half_at(b) * float(six_bits(b + 4, 0, s)) * float(q) -
         half_at(b + 2) * float(six_bits(b + 4, 4, s));
}
float q6_k(Bytes b, int i) {
  const int in_half = i % 128;
  const int low = b[i / 128 * 64 + in_half % 64] >> (in_half / 64 * 4) & 15;
  const int high = b[128 + i / 128 * 32 + in_half % 32] >> (in_half / 32 * 2) & 3;
  return half_at(b + 208) * float(signed_byte(b[192 + i / 16])) * float((high << 4 | low) - 32);
}
float iq4_nl(Bytes b, int i) { return half_at(b) * float(kIq4[nibble(b + 2, i, 16)]); }
float iq4_xs(Bytes b, int i) {
  const int s = i / 32;
  const int low = nibble(b + 4, s / 2 + s % 2 * 4, 4);
  const int high = bit(b + 2, 2 * s) + 2 * bit(b + 2, 2 * s + 1);
  return half_at(b) * float((high << 4 | low) - 32) *
         float(kIq4[nibble(b + 8 + s * 16, i % 32, 16)]);
}
float mxfp4(Bytes b, int i) {
  const int q = nibble(b + 1, i, 16);
  const float magnitude = std::ldexp(static_cast<float>(kE2m1Doubled[q & 7]), b[0] - 128);
  return q >= 8 ? -magnitude : magnitude;
}

float nvfp4(Bytes b, int i) {
  const int scale = b[i / 16];
  const int q = nibble(b + 4 + i / 16 * 8, i % 16, 8);
  if (scale >= 127) return NAN;
  const float magnitude = scale < 8 ? std::ldexp(static_cast<float>(scale), -9)
                                    : std::ldexp(1 + float(scale % 8) / 8, scale / 8 - 7);
  return magnitude * float(kE2m1Doubled[q & 7]) / 2 * (q >= 8 ? -1.0f : 1.0f);
}
float tq1_0(Bytes b, int i) {
  const int byte = i < 160 ? b[i % 32] : i < 240 ? b[32 + i % 16] : b[48 + i % 4];
  const int place = i < 160 ? i / 32 : i < 240 ? (i - 160) / 16 : (i - 240) / 4;
  int rest = byte;  // of 256 parts, of which each digit takes a third of what is left
  for (int p = 0; p < place; ++p) rest = rest * 3 % 256;
  return half_at(b + 52) * float(rest * 3 / 256 - 1);
}
float tq2_0(Bytes b, int i) {
  const int q = b[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;
  return half_at(b + 64) * float(q - 1);
}

float int4(Bytes b, int i) { return float((b[i / 2] >> (i % 2 * 4) & 15) - 8); }

int u16_at(Bytes p) { return p[0] | p[1] << 8; }
int64_t u32_at(Bytes p) { return u16_at(p) | static_cast<int64_t>(u16_at(p + 2)) << 16; }
// Sign j of seven stored ones; the eighth is their sum.
float even_sign(int64_t seven, int j) {
  int bits = 0;
  for (int k = 0; k < 7; ++k) bits += static_cast<int>(seven >> k & 1);
  return (j < 7 ? seven >> j & 1 : bits % 2) != 0 ? -1.0f : 1.0f;
}

float iq2_xxs(Bytes b, int i) {
  Bytes sub = b + 2 + i / 32 * 8;
  const int64_t signs = u32_at(sub + 4);
  return half_at(b) * (float(signs >> 28) + 0.5f) / 4 *
         float(kIq2XxsWords[sub[i % 32 / 8]][i % 8]) *
         even_sign(signs >> (i % 32 / 8 * 7) & 127, i % 8);
}
float iq2_xs(Bytes b, int i) {
  const int packed = u16_at(b + 2 + i / 8 * 2);
  return half_at(b) * (float(nibble(b + 66 + i / 32, i % 32 / 16, 1)) + 0.5f) / 4 *
         float(kIq2XsWords[packed % 512][i % 8]) * even_sign(packed / 512, i % 8);
}
float iq2_s(Bytes b, int i) {
  const int word = b[2 + i / 8] + 256 * (b[66 + i / 32] >> (i % 32 / 8 * 2) & 3);
  return half_at(b) * (float(nibble(b + 74 + i / 32, i % 32 / 16, 1)) + 0.5f) / 4 *
         float(kIq2SWords[word][i % 8]) * (bit(b + 34, i) != 0 ? -1.0f : 1.0f);
}
float iq3_xxs(Bytes b, int i) {
  const int64_t signs = u32_at(b + 66 + i / 32 * 4);
  return half_at(b) * (float(signs >> 28) + 0.5f) / 2 * float(kIq3XxsWords[b[2 + i / 4]][i % 4]) *
         even_sign(signs >> (i % 32 / 8 * 7) & 127, i % 8);
}
float iq3_s(Bytes b, int i) {
  const int word = b[2 + i / 4] + 256 * bit(b + 66, i / 4);
  return half_at(b) * float(1 + 2 * nibble(b + 106 + i / 64, i % 64 / 32, 1)) *
         float(kIq3SWords[word][i % 4]) * (bit(b + 74, i) != 0 ? -1.0f : 1.0f);
}
float iq1_s(Bytes b, int i) {
  const int high = u16_at(b + 34 + i / 32 * 2);
  const int word = b[2 + i / 8] + 256 * (high >> (i % 32 / 8 * 3) & 7);
  return half_at(b) * float(1 + 2 * (high >> 12 & 7)) *
         (float(kIq1Words[word][i % 8]) + (high >= 0x8000 ? -0.125f : 0.125f));
}
float iq1_m(Bytes b, int i) {
  const int high = nibble(b + 32 + i / 16, i / 8 % 2, 1);
  uint8_t d[2] = {};
  for (int k = 0; k < 16; ++k) d[k / 8] |= bit(b + 48, k / 4 * 16 + 12 + k % 4) << (k % 8);
  const int scale = u16_at(b + 48 + i / 64 * 2) >> (i / 16 % 4 * 3) & 7;
  return half_at(d) * float(1 + 2 * scale) *
         (float(kIq1Words[b[i / 8] + 256 * (high % 8)][i % 8]) + (high >= 8 ? -0.125f : 0.125f));
}

struct Reading {
  const char* name;
  int64_t elements;
  int64_t bytes;
  float (*element)(Bytes block, int i);
};
constexpr Reading kReadings[] = {
    {"Q4_0", 32, 18, q4_0},    {"Q4_1", 32, 20, q4_1},        {"Q5_0", 32, 22, q5_0},
    {"Q5_1", 32, 24, q5_1},    {"Q8_0", 32, 34, q8_0},        {"Q2_K", 256, 84, q2_k},
    {"Q3_K", 256, 110, q3_k},  {"Q4_K", 256, 144, q4_k},      {"Q5_K", 256, 176, q5_k},
    {"Q6_K", 256, 210, q6_k},  {"IQ4_NL", 32, 18, iq4_nl},    {"IQ4_XS", 256, 136, iq4_xs},
    {"MXFP4", 32, 17, mxfp4},  {"IQ2_XXS", 256, 66, iq2_xxs}, {"IQ2_XS", 256, 74, iq2_xs},
    {"IQ2_S", 256, 82, iq2_s}, {"IQ3_XXS", 256, 98, iq3_xxs}, {"IQ3_S", 256, 110, iq3_s},
    {"IQ1_S", 256, 50, iq1_s}, {"IQ1_M", 256, 56, iq1_m},     {"NVFP4", 64, 36, nvfp4},
    {"INT4", 32, 16, int4},    {"TQ1_0", 256, 54, tq1_0},     {"TQ2_0", 256, 66, tq2_0},
};

bool same(float a, float b) { return a == b || (std::isnan(a) && std::isnan(b)); }

TEST(Decode, RandomBytesReadTheSameBothWays) {
  constexpr int64_t kBlocks = 500;  // also covers infinite and NaN scales: one in 32 halves
  std::mt19937 random(7);
  for (const Reading& reading : kReadings) {
    SCOPED_TRACE(reading.name);
    const StorageFormat* format = find_format(reading.name);
    ASSERT_NE(nullptr, format);
    ASSERT_EQ(reading.elements, format->block_elements);
    ASSERT_EQ(reading.bytes, format->block_bytes);
    // One byte off any alignment, and exactly as long as needed.
    std::vector<uint8_t> bytes(kBlocks * reading.bytes + 1);
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
    std::vector<float> decoded(kBlocks * reading.elements);
    format->decode(bytes.data() + 1, decoded.data(), kBlocks);
    for (int64_t i = 0; i < kBlocks * reading.elements; ++i) {
      Bytes block = bytes.data() + 1 + i / reading.elements * reading.bytes;
      const float expected = reading.element(block, static_cast<int>(i % reading.elements));
      ASSERT_TRUE(same(expected, decoded[i]))
          << "block " << i / reading.elements << " element " << i % reading.elements
          << ": expected " << expected << ", found " << decoded[i];
    }
  }
}

std::vector<uint8_t> from_hex(const std::string& hex) {
  std::vector<uint8_t> bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes.push_back(static_cast<uint8_t>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  }
  return bytes;
}

TEST(Decode, WrittenBlocksHaveTheirWrittenValues) {
  std::ifstream file(FERRY_SOURCE_DIR "/tests/data/quant/blocks.txt");
  ASSERT_TRUE(file.is_open());
  const StorageFormat* format = nullptr;
  std::vector<uint8_t> bytes;
  std::map<std::string, int> seen;
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string kind, name, hex;
    words >> kind;
    if (kind == "block") {
      words >> name >> hex;
      format = find_format(name);
      ASSERT_NE(nullptr, format) << name;
      bytes = from_hex(hex);
      ASSERT_EQ(format->block_bytes, static_cast<int64_t>(bytes.size())) << name;
    } else if (kind == "values") {
      std::vector<float> values(format->block_elements);
      format->decode(bytes.data(), values.data(), 1);
      for (int64_t i = 0; i < format->block_elements; ++i) {
        double expected;
        ASSERT_TRUE(words >> expected) << name << " element " << i;
        ASSERT_EQ(expected, values[i]) << format->name << " element " << i;
      }
      ++seen[std::string(format->name)];
    }
  }
  EXPECT_EQ(std::size(kReadings), seen.size());
}

// Distinct words in ascending order of their last elements first, and an FNV-1a over all of them.
template <size_t kLength, size_t kCount>
uint64_t hash_of(const Codebook<kLength, kCount>& words) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (size_t w = 0; w < kCount; ++w) {
    if (w > 0) {
      EXPECT_TRUE(std::lexicographical_compare(words[w - 1].rbegin(), words[w - 1].rend(),
                                               words[w].rbegin(), words[w].rend()));
    }
    for (int8_t value : words[w]) hash = (hash ^ static_cast<uint8_t>(value)) * 0x100000001b3u;
  }
  return hash;
}

TEST(Decode, CodebooksArePinned) {
  EXPECT_EQ(0xbb4ee025b5ac6e8eu, hash_of(kIq2XxsWords));
  EXPECT_EQ(0xc9b1ee61e79909bdu, hash_of(kIq2XsWords));
  EXPECT_EQ(0x123edd38a3b62b90u, hash_of(kIq2SWords));
  EXPECT_EQ(0xdfa5dc83d6a155d5u, hash_of(kIq3XxsWords));
  EXPECT_EQ(0xfa37020c25b44829u, hash_of(kIq3SWords));
  EXPECT_EQ(0x6703ed863501ae2eu, hash_of(kIq1Words));
}

TEST(Decode, ManyBlocksAtOnceAreTheSameAsOneByOne) {
  std::mt19937 random(8);
  for (const StorageFormat* format : all_formats()) {
    if (format->decode == nullptr) continue;
    constexpr int64_t kBlocks = 37;
    std::vector<uint8_t> bytes(format->bytes_for(kBlocks * format->block_elements));
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
    std::vector<float> together(kBlocks * format->block_elements);
    format->decode(bytes.data(), together.data(), kBlocks);
    std::vector<float> alone(format->block_elements);
    for (int64_t b = 0; b < kBlocks; ++b) {
      format->decode(bytes.data() + b * format->block_bytes, alone.data(), 1);
      ASSERT_EQ(0, std::memcmp(alone.data(), together.data() + b * format->block_elements,
                               alone.size() * sizeof(float)))
          << format->name << " block " << b;
    }
    format->decode(bytes.data(), nullptr, 0);  // no blocks, no access
  }
}

}  // namespace
}  // namespace ferry::quant
