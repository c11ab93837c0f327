// The words that kernels are written in, for nvcc. tests/vendor/cuda/simt.h has the same words for
// the host's compiler, with which the same kernels run on the emulated device; there span() checks
// every range.
#pragma once

#include <cstdint>

#include "backends/cuda/kernels/params.h"

#define FERRY_KERNEL(name, Params) \
  extern "C" __global__ void __launch_bounds__(256) ferry_##name(const Params p)
#define FERRY_DEVICE __device__ __forceinline__
#define FERRY_SHARED(type, name, count) __shared__ __align__(16) type name[count]
#define FERRY_CONSTANT __constant__ const

namespace ferry::cuda {

// Elements [offset, offset + count) of global memory; all reads and writes go through it.
template <typename T>
FERRY_DEVICE T* span(T* base, int64_t offset, int64_t) {
  return base + offset;
}

// What a caller promised; an index of the model's own could break it.
FERRY_DEVICE void require(bool condition) {
  if (!condition) __trap();
}

FERRY_DEVICE void sync_block() { __syncthreads(); }
FERRY_DEVICE float shuffle_xor(float value, int mask) {
  return __shfl_xor_sync(0xffffffffu, value, mask);
}
FERRY_DEVICE int32_t shuffle_xor(int32_t value, int mask) {
  return __shfl_xor_sync(0xffffffffu, value, mask);
}

// bf16 on tensor cores; all lanes of a warp call these together, and a word holds two numbers, the
// one with the lower index in the lower half. Fragments lie across lanes as PTX has them for
// mma.m16n8k16 and ldmatrix.
//
// Four matrices of 8 by 8 from shared memory: lane l gives the address of row l % 8 of matrix
// l / 8, aligned to 16, and gets numbers 2 (l % 4) and 2 (l % 4) + 1 of row l / 4 of each.
FERRY_DEVICE void load_matrices(const uint32_t* row, uint32_t (&to)[4]) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(static_cast<uint32_t>(__cvta_generic_to_shared(row)))
               : "memory");
}
// The same, transposed: numbers 2 (l % 4) and 2 (l % 4) + 1 of column l / 4 of each.
FERRY_DEVICE void load_transposed(const uint32_t* row, uint32_t (&to)[4]) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(static_cast<uint32_t>(__cvta_generic_to_shared(row)))
               : "memory");
}
// sum [16 x 8] += a [16 x 16] · b [16 x 8]
FERRY_DEVICE void multiply_add(float (&sum)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};"
      : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
// Rounds to nearest even.
FERRY_DEVICE uint32_t pack_bf16(float low, float high) {
  uint32_t word;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
  return word;
}
FERRY_DEVICE void store_four(uint32_t* shared, const uint32_t (&words)[4]) {
  *reinterpret_cast<uint4*>(shared) = make_uint4(words[0], words[1], words[2], words[3]);
}
// 16 bytes to shared memory, there once this thread has called wait_copies(); zeros where `inside`
// is false, and then nothing is read. REQUIRES: both aligned to 16
FERRY_DEVICE void copy_async(uint32_t* shared, const uint8_t* from, bool inside) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(
                   static_cast<uint32_t>(__cvta_generic_to_shared(shared))),
               "l"(__cvta_generic_to_global(from)), "r"(inside ? 16 : 0)
               : "memory");
}
FERRY_DEVICE void wait_copies() { asm volatile("cp.async.wait_all;" ::: "memory"); }

FERRY_DEVICE void count_one(int32_t* shared) { atomicAdd(shared, 1); }

FERRY_DEVICE uint32_t bits_of(float value) { return __float_as_uint(value); }
FERRY_DEVICE float float_of(uint32_t bits) { return __uint_as_float(bits); }
FERRY_DEVICE float half_to_float(uint16_t bits) {
  float value;
  asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
  return value;
}
FERRY_DEVICE uint16_t float_to_half(float value) {
  uint16_t bits;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
  return bits;
}

// 16 bytes at once. REQUIRES: aligned to 16
FERRY_DEVICE void load_four(const float* from, float (&to)[4]) {
  const float4 value = *reinterpret_cast<const float4*>(from);
  to[0] = value.x;
  to[1] = value.y;
  to[2] = value.z;
  to[3] = value.w;
}

// The words of kBytes bytes, in loads as wide as their alignment allows.
template <int kBytes, int kAlign>
FERRY_DEVICE void load_words(const uint8_t* from, uint32_t (&to)[kBytes / 4]) {
  if constexpr (kAlign >= 16) {
#pragma unroll
    for (int i = 0; i < kBytes / 16; ++i) {
      const uint4 value = reinterpret_cast<const uint4*>(from)[i];
      to[4 * i] = value.x;
      to[4 * i + 1] = value.y;
      to[4 * i + 2] = value.z;
      to[4 * i + 3] = value.w;
    }
  } else if constexpr (kAlign >= 4) {
#pragma unroll
    for (int i = 0; i < kBytes / 4; ++i) to[i] = reinterpret_cast<const uint32_t*>(from)[i];
  } else if constexpr (kAlign >= 2) {
    const uint16_t* halves = reinterpret_cast<const uint16_t*>(from);
#pragma unroll
    for (int i = 0; i < kBytes / 4; ++i) {
      to[i] = halves[2 * i] | static_cast<uint32_t>(halves[2 * i + 1]) << 16;
    }
  } else {
#pragma unroll
    for (int i = 0; i < kBytes / 4; ++i) {
      to[i] = from[4 * i] | from[4 * i + 1] << 8 | from[4 * i + 2] << 16 |
              static_cast<uint32_t>(from[4 * i + 3]) << 24;
    }
  }
}

}  // namespace ferry::cuda
