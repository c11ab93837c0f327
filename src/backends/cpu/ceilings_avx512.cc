// Ceilings of AVX-512: streaming reads, f32 FMA, int8 and bf16 dot products. See ceilings.h.
#if defined(__x86_64__)
#include <immintrin.h>

#include "backends/cpu/ceilings.h"

namespace ferry::cpu {
namespace {

constexpr int kChains = 12;

}  // namespace

double fma_f32_avx512(int64_t iterations) {
  __m512 sums[kChains];
  for (int i = 0; i < kChains; ++i) sums[i] = _mm512_set1_ps(1.0f + static_cast<float>(i));
  const __m512 a = _mm512_set1_ps(0.999f), b = _mm512_set1_ps(1e-3f);
  for (int64_t n = 0; n < iterations; ++n) {
#pragma GCC unroll 16  // and asm on a local: or the chains would live in memory
    for (int i = 0; i < kChains; ++i) {
      auto sum = _mm512_fmadd_ps(sums[i], a, b);
      asm volatile("" : "+v"(sum));  // one instruction each, nothing folded
      sums[i] = sum;
    }
  }
  return static_cast<double>(iterations) * kChains * 16 * 2;
}

__attribute__((target("avx512vnni"))) double dot_int8_avx512(int64_t iterations) {
  __m512i sums[kChains];
  for (auto& sum : sums) sum = _mm512_setzero_si512();
  const __m512i a = _mm512_set1_epi8(3), b = _mm512_set1_epi8(-5);
  for (int64_t n = 0; n < iterations; ++n) {
#pragma GCC unroll 16  // and asm on a local: or the chains would live in memory
    for (int i = 0; i < kChains; ++i) {
      auto sum = _mm512_dpbusd_epi32(sums[i], a, b);
      asm volatile("" : "+v"(sum));
      sums[i] = sum;
    }
  }
  return static_cast<double>(iterations) * kChains * 64 * 2;
}

__attribute__((target("avx512bf16"))) double dot_bf16_avx512(int64_t iterations) {
  __m512 sums[kChains];
  for (auto& sum : sums) sum = _mm512_setzero_ps();
  const __m512bh a = (__m512bh)_mm512_set1_epi16(0x3f80), b = (__m512bh)_mm512_set1_epi16(0x3a83);
  for (int64_t n = 0; n < iterations; ++n) {
#pragma GCC unroll 16  // and asm on a local: or the chains would live in memory
    for (int i = 0; i < kChains; ++i) {
      auto sum = _mm512_dpbf16_ps(sums[i], a, b);
      asm volatile("" : "+v"(sum));
      sums[i] = sum;
    }
  }
  return static_cast<double>(iterations) * kChains * 32 * 2;
}

uint64_t read_sum_avx512(const uint8_t* data, int64_t bytes) {
  __m512i sums[8];
  for (auto& sum : sums) sum = _mm512_setzero_si512();
  for (int64_t i = 0; i < bytes; i += 512) {
#pragma GCC unroll 8
    for (int j = 0; j < 8; ++j) {
      sums[j] = _mm512_add_epi64(sums[j], _mm512_load_si512(data + i + 64 * j));
    }
  }
  for (int j = 1; j < 8; ++j) sums[0] = _mm512_add_epi64(sums[0], sums[j]);
  alignas(64) uint64_t lanes[8];
  _mm512_store_si512(lanes, sums[0]);
  uint64_t sum = 0;
  for (uint64_t lane : lanes) sum += lane;
  return sum;
}

}  // namespace ferry::cpu
#endif
