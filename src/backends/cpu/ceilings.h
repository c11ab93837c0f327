// The machine's own ceilings, measured: what every speed of the cpu backend is quoted against.
//   read    bytes per second that all threads together stream from memory (a buffer beyond caches)
//   matmul  operations per second (a multiply and an add are two) of register-only loops of the
//           instruction a matmul of that type would use
// Not thread-safe: one measurement at a time, on an otherwise idle machine.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/thread_team.h"

namespace ferry::cpu {

struct MatmulCeiling {
  std::string instruction;  // "f32 FMA, AVX-512"
  double operations_per_s = 0;
};

struct Ceilings {
  int threads = 0;
  int64_t buffer_bytes = 0;
  double read_bytes_per_s = 0;  // all threads
  double read_bytes_per_s_one_thread = 0;
  std::vector<MatmulCeiling> matmul;  // those this CPU has
};

// Takes about three seconds and `buffer_bytes` of memory. The best of five rounds counts: noise
// only ever slows a round down. On failure to get the memory the read rates are 0.
Ceilings measure_ceilings(ThreadTeam& team, int64_t buffer_bytes);

// The loops, in translation units of their instruction set, which hold nothing but these: whatever
// else they defined (a static vector, say) would run on processors that lack the instructions.
// Each runs `iterations` rounds and returns the operations done.
double fma_f32_avx2(int64_t iterations);
double fma_f32_avx512(int64_t iterations);
double dot_int8_avx512(int64_t iterations);  // needs VNNI
double dot_bf16_avx512(int64_t iterations);  // needs AVX512_BF16

// Sums `bytes` (a multiple of 512, aligned to 64) with the widest loads there are.
uint64_t read_sum_avx2(const uint8_t* data, int64_t bytes);
uint64_t read_sum_avx512(const uint8_t* data, int64_t bytes);

}  // namespace ferry::cpu
