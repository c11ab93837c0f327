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

}  // namespace
}  // namespace ferry::cpu::FERRY_ISA
