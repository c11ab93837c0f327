// Random numbers and exponentials with the same bits everywhere. libm's exp differs between
// platforms in the last place, and a draw at a border between two tokens would follow it.
#pragma once

#include <bit>
#include <cstdint>

namespace ferry::sample {

// Stafford's thirteenth mix of 64 bits, as SplitMix64 uses it (Steele, Lea, Flood 2014).
constexpr uint64_t mix_bits(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

// The `index`-th number of stream `seed`, uniform in [0, 1) with 53 bits. Counter-based: nothing to
// keep, so that a request that is stopped and recomputed draws what it would have drawn.
constexpr double uniform_at(uint64_t seed, uint64_t index) {
  constexpr uint64_t kGolden = 0x9e3779b97f4a7c15u;
  // The seed is mixed first: neighbouring seeds must not give shifted copies of one stream.
  const uint64_t bits = mix_bits(mix_bits(seed + kGolden) + (index + 1) * kGolden);
  return static_cast<double>(bits >> 11) * 0x1.0p-53;
}

// e^x for x <= 0, within 2 units in the last place; 0 below -708. Only additions and products in
// a written order, so that every IEEE machine agrees. REQUIRES: built without contraction.
inline double exp_of_negative(double x) {
  if (!(x > -708.0)) return 0.0;
  constexpr double kLog2E = 0x1.71547652b82fep+0;
  constexpr double kLn2High = 0x1.62e42fee00000p-1;  // trailing zeros: n · kLn2High is exact
  constexpr double kLn2Low = 0x1.a39ef35793c76p-33;
  constexpr double kRound = 0x1.8p52;  // adding and taking it away rounds to an integer
  const double n = (x * kLog2E + kRound) - kRound;
  const double r = (x - n * kLn2High) - n * kLn2Low;  // |r| <= ln 2 / 2
  double p = 1.0 / 6227020800.0;                      // Taylor, up to r^13 / 13!
  p = p * r + 1.0 / 479001600.0;
  p = p * r + 1.0 / 39916800.0;
  p = p * r + 1.0 / 3628800.0;
  p = p * r + 1.0 / 362880.0;
  p = p * r + 1.0 / 40320.0;
  p = p * r + 1.0 / 5040.0;
  p = p * r + 1.0 / 720.0;
  p = p * r + 1.0 / 120.0;
  p = p * r + 1.0 / 24.0;
  p = p * r + 1.0 / 6.0;
  p = p * r + 0.5;
  p = p * r + 1.0;
  p = p * r + 1.0;
  const auto exponent = static_cast<uint64_t>(static_cast<int64_t>(n) + 1023) << 52;
  return p * std::bit_cast<double>(exponent);
}

}  // namespace ferry::sample
