// The mistakes that racing_kernels.cc can make.
#pragma once

#include <cstdint>

namespace ferry::cuda {

enum Mistake : int32_t {
  kNoMistake,
  kNoBarrierBeforeRead,
  kNoBarrierBeforeWrite,
  kShuffleAsBarrier,
  kUnwritten,
  kBlocksShareAnOutput,
  kBehindTheSpan,
};

inline constexpr int kRacingThreads = 64;

struct RacingParams {
  int32_t* out;   // kRacingThreads for each block
  int64_t count;  // of numbers in out
  int32_t mistake;
};

}  // namespace ferry::cuda
