// Ceilings of AVX2: streaming reads, f32 FMA. See ceilings.h.
#if defined(__x86_64__)
#include <immintrin.h>

#include "backends/cpu/ceilings.h"

namespace ferry::cpu {
namespace {

constexpr int kChains = 10;  // two FMA units of latency 4 want 8 in flight

}  // namespace

double fma_f32_avx2(int64_t iterations) {
  __m256 sums[kChains];
  for (int i = 0; i < kChains; ++i) sums[i] = _mm256_set1_ps(1.0f + static_cast<float>(i));
  const __m256 a = _mm256_set1_ps(0.999f), b = _mm256_set1_ps(1e-3f);
  for (int64_t n = 0; n < iterations; ++n) {
#pragma GCC unroll 16  // and asm on a local: or the chains would live in memory
    for (int i = 0; i < kChains; ++i) {
      auto sum = _mm256_fmadd_ps(sums[i], a, b);
      asm volatile("" : "+x"(sum));  // one instruction each, nothing folded
      sums[i] = sum;
    }
  }
  return static_cast<double>(iterations) * kChains * 8 * 2;
}

uint64_t read_sum_avx2(const uint8_t* data, int64_t bytes) {
  __m256i sums[8];
  for (auto& sum : sums) sum = _mm256_setzero_si256();
  for (int64_t i = 0; i < bytes; i += 256) {
#pragma GCC unroll 8
    for (int j = 0; j < 8; ++j) {
      const auto* at = reinterpret_cast<const __m256i*>(data + i + 32 * j);
      sums[j] = _mm256_add_epi64(sums[j], _mm256_load_si256(at));
    }
  }
  for (int j = 1; j < 8; ++j) sums[0] = _mm256_add_epi64(sums[0], sums[j]);
  alignas(32) uint64_t lanes[4];
  _mm256_store_si256(reinterpret_cast<__m256i*>(lanes), sums[0]);
  return lanes[0] + lanes[1] + lanes[2] + lanes[3];
}

}  // namespace ferry::cpu
#endif
