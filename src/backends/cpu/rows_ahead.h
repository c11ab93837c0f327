// How the integer kernels walk over rows of a weight matrix, and ask for those behind, for any
// instruction set (include its Vec first: kLanes).
#pragma once

#include <stdint.h>

namespace ferry::cpu::FERRY_ISA {
namespace {

// kLanes rows of a matrix, to be walked over two at a time. Without next_two() hiding where a
// pointer comes from the compiler keeps one for each row, more than there are registers.
struct Rows {
  const uint8_t* data;
  int64_t stride;
  const uint8_t* next;  // see ask_for_next()
};
// The kLanes rows behind these, which begin at rows.next, are asked for line by line: each load of
// N bytes of every row asks for as many. All at once would fill the few buffers for lines on their
// way, and the loads of these rows would have to queue behind them.
template <int N>
inline void ask_for_next(Rows rows, int64_t offset) {
#pragma GCC unroll 4
  for (int i = 0; i < N * kLanes; i += 64) {
    __builtin_prefetch(rows.next + offset * kLanes + i, 0, 2);
  }
}
inline const uint8_t* next_two(const uint8_t* p, int64_t stride) {
  p += 2 * stride;
  asm("" : "+r"(p));
  return p;
}

// 16 bits at p of each of four rows, put together in an integer register: to insert them into a
// vector one by one would take the units that turn vectors, which the kernels keep busy.
inline uint64_t four_halves(const uint8_t*& p, int64_t stride) {
  uint64_t all = 0;
#pragma GCC unroll 2
  for (int i = 0; i < 4; i += 2) {
    uint16_t first, second;
    __builtin_memcpy(&first, p, sizeof first);
    __builtin_memcpy(&second, p + stride, sizeof second);
    p = next_two(p, stride);
    all |= (uint64_t{first} | uint64_t{second} << 16) << (16 * i);
  }
  asm("" : "+r"(all));  // or the compiler inserts them one by one after all
  return all;
}

}  // namespace
}  // namespace ferry::cpu::FERRY_ISA
