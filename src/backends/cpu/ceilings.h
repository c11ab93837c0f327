// The machine's own ceilings, measured: what every speed of the cpu backend is quoted against.
//   read    bytes per second that all threads together stream from memory (a buffer beyond caches)
//   matmul  operations per second (a multiply and an add are two) of register-only loops of the
//           instruction a matmul of that type would use
// Not thread-safe: one measurement at a time, on an otherwise idle machine.
#pragma once

#include <cstdint>
#include <memory>
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

// What memory gives right now, in short reads between the steps of something that is measured:
// where memory is shared with other machines it changes within seconds, and a ceiling from a minute
// ago says nothing. A sample takes about two milliseconds, and what it displaced from the caches is
// read again by whoever goes on: let at least kSampleBytes be read between two of them.
class ReadProbe {
 public:
  static constexpr int64_t kSampleBytes = int64_t{64} << 20;

  // Null: no memory. It holds four samples' worth. `team` outlives it and is idle at a sample.
  static std::unique_ptr<ReadProbe> create(ThreadTeam& team);
  ~ReadProbe();
  ReadProbe(const ReadProbe&) = delete;
  ReadProbe& operator=(const ReadProbe&) = delete;

  void sample();
  // Of the samples since it was last asked, all bytes over all seconds; 0: there were none.
  double take_bytes_per_s();

 private:
  ReadProbe(ThreadTeam& team, uint8_t* data) : team_(team), data_(data) {}

  ThreadTeam& team_;
  uint8_t* const data_;
  int64_t next_ = 0;  // where the next sample begins
  int64_t bytes_ = 0;
  double seconds_ = 0;
};

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
