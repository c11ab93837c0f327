// A kernel with the mistakes that watched kernels (accesses.h) are to be caught with; of the test
// alone. Mode 0 makes none.
#include "vendor/cuda/racing_kernels.h"

#include "vendor/cuda/simt.h"

namespace ferry::cuda {

FERRY_KERNEL(racing, RacingParams) {
  FERRY_SHARED(int32_t, numbers, kRacingThreads);
  FERRY_SHARED(int32_t, count, 1);
  const int tid = static_cast<int>(threadIdx.x), other = kRacingThreads - 1 - tid;
  const bool half = p.mistake == kUnwritten && tid >= kRacingThreads / 2;
  if (tid == 0) *count = 0;
  if (!half) numbers[tid] = tid;
  if (p.mistake != kNoBarrierBeforeRead) sync_block();
  count_one(count);
  const int32_t read = numbers[other];
  if (p.mistake == kShuffleAsBarrier) {
    numbers[tid] = shuffle_xor(read, 1);
  } else if (p.mistake != kNoBarrierBeforeWrite) {
    sync_block();
  }
  if (p.mistake == kNoBarrierBeforeWrite) numbers[tid] = read;
  const int64_t at = p.mistake == kBlocksShareAnOutput ? tid : blockIdx.x * kRacingThreads + tid;
  *span(p.out, at, 1) = read;
  if (p.mistake == kBehindTheSpan && tid == 0) span(p.out, 0, 1)[p.count] = 0;
}

}  // namespace ferry::cuda
