// The largest logits of a row. Included after the words of the platform.
#pragma once

#include "backends/cuda/kernels/moe.cuh"

namespace ferry::cuda {

// By which column i of a piece is ranked, no two alike: by its logit (−0 as 0; NaN and +∞ above all
// numbers), then the lower column first. Never 0.
FERRY_DEVICE uint64_t rank_key(float logit, int i) {
  uint32_t key = 0xffffffffu;
  if (logit < float_of(0x7f800000u)) {
    const uint32_t bits = bits_of(logit + 0.0f);
    key = bits >> 31 != 0 ? ~bits : bits | 0x80000000u;
  }
  return static_cast<uint64_t>(key) << 16 | static_cast<uint64_t>(0xffff - i);
}

// A key that at least `wanted` columns of a piece have or exceed: of the largest of each thread the
// one of this rank. Few columns too many do where the large ones are spread. `keys`: of kThreads.
FERRY_DEVICE uint64_t bound_of_piece(const float* x, int size, int wanted, uint64_t* keys) {
  FERRY_SHARED(uint64_t, bound, 1);
  const int tid = static_cast<int>(threadIdx.x);
  uint64_t largest = 0;
  for (int i = tid; i < size; i += kThreads) {
    const uint64_t key = rank_key(x[i], i);
    if (key > largest) largest = key;
  }
  keys[tid] = largest;
  sync_block();
  int rank = 0;
  for (int i = 0; i < kThreads; ++i) rank += keys[i] > largest;
  if (rank == wanted - 1) *bound = largest;
  sync_block();
  return *bound;
}

// The smallest of the `wanted` largest keys, found byte by byte among those that reach the bound,
// or a smaller one that no others reach. `counts`: of kThreads.
FERRY_DEVICE uint64_t least_taken(const float* x, int size, int wanted, uint64_t bound,
                                  int32_t* counts) {
  FERRY_SHARED(uint64_t, found, 1);        // the bytes so far
  FERRY_SHARED(int32_t, found_counts, 2);  // that begin with them: still to be taken, all
  const int tid = static_cast<int>(threadIdx.x);
  uint64_t least = 0;
  int to_take = wanted, there = kTopColumns + 1;
  for (int shift = 40; shift >= 0 && there > to_take; shift -= 8) {
    counts[tid] = 0;
    sync_block();
    for (int i = tid; i < size; i += kThreads) {
      const uint64_t key = rank_key(x[i], i);
      const bool same = key >> shift >> 8 == least >> shift >> 8;
      if (key >= bound && same) count_one(&counts[255 - static_cast<int>(key >> shift & 255)]);
    }
    sync_block();
    const int mine = counts[tid];  // of those with byte 255 - tid
    sums_before(counts);
    const int before = counts[tid];
    if (before < to_take && to_take <= before + mine) {
      *found = least | static_cast<uint64_t>(255 - tid) << shift;
      found_counts[0] = to_take - before;
      found_counts[1] = mine;
    }
    sync_block();
    least = *found;
    to_take = found_counts[0];
    there = found_counts[1];
  }
  return least > bound ? least : bound;
}

// The keys that are taken are put in order by counting.
FERRY_KERNEL(top_logits, TopLogitsParams) {
  static_assert(kTopColumns <= 0x10000, "columns of a piece have 16 bits");
  FERRY_SHARED(uint64_t, keys, kThreads);
  FERRY_SHARED(int32_t, counts, kThreads);
  const int tid = static_cast<int>(threadIdx.x);
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kTopColumns;
  const int64_t left_of_row = p.size - first;
  const int size = static_cast<int>(left_of_row < kTopColumns ? left_of_row : kTopColumns);
  const int top = static_cast<int>(p.top);
  const int wanted = top < size ? top : size;
  require(wanted > 0 && wanted <= kThreads);
  const float* x = span(p.x, blockIdx.y * p.x_stride + first, size);

  const uint64_t bound = bound_of_piece(x, size, wanted, keys);
  const uint64_t least = least_taken(x, size, wanted, bound, counts);
  int taken = 0;
  for (int i = tid; i < size; i += kThreads) taken += rank_key(x[i], i) >= least;
  counts[tid] = taken;
  sums_before(counts);
  int at = counts[tid];
  for (int i = tid; i < size; i += kThreads) {
    const uint64_t key = rank_key(x[i], i);
    if (key >= least) keys[at++] = key;
  }
  sync_block();

  const int64_t piece = static_cast<int64_t>(blockIdx.x) * top;
  float* values = span(p.values, blockIdx.y * p.values_stride + piece, top);
  int32_t* ids = span(p.ids, blockIdx.y * p.ids_stride + piece, top);
  if (tid < wanted) {
    const uint64_t key = keys[tid];
    int place = 0;
    for (int i = 0; i < wanted; ++i) place += keys[i] > key;
    const int i = 0xffff - static_cast<int>(key & 0xffff);
    values[place] = x[i];
    ids[place] = p.columns == nullptr
                     ? static_cast<int32_t>(first) + i
                     : *span(p.columns, blockIdx.y * p.columns_stride + first + i, 1);
  }
  for (int i = wanted + tid; i < top; i += kThreads) {
    values[i] = float_of(0xff800000u);
    ids[i] = -1;
  }
}

}  // namespace ferry::cuda
