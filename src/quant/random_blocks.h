// RandomBlocks: any amount of random weights in any storage format at the speed of memory.
//
// A pool of about a quarter of a million normal numbers is encoded once; fill() then copies short
// runs of its blocks, each from a place that a seeded generator draws. `ferry synth` writes
// checkpoints of many gigabytes this way, which encoding number by number could not do in the time.
// The runs repeat, so this is data to measure and to test with, not to draw statistics from.
//
// Deterministic: the same format, stddev and seed give the same bytes on every platform. The normal
// numbers are sums of twelve uniform integers, so that no mathematical library has a say in them.
// Thread safety: none; use one object per thread.
#pragma once

#include <cstdint>
#include <vector>

#include "quant/storage_format.h"

namespace ferry::quant {

class RandomBlocks {
 public:
  // REQUIRES: the format can be encoded; stddev >= 0. Encoding costs up to some tenths of a second.
  RandomBlocks(const StorageFormat& format, float stddev, uint64_t seed);

  // The next num_blocks blocks of the sequence that `seed` started: dst gets
  // num_blocks · block_bytes bytes. A tensor's bytes depend on how its fills were divided.
  void fill(uint8_t* dst, int64_t num_blocks);

  // Starts another sequence over the same pool, so that a tensor can have a seed of its own and
  // doesn't depend on which tensors were filled before it.
  void reseed(uint64_t seed) { state_ = seed; }

 private:
  uint64_t next();

  int64_t block_bytes_;
  int64_t pool_blocks_;
  int64_t run_blocks_;  // copied from one place
  uint64_t state_;
  std::vector<uint8_t> pool_;
};

}  // namespace ferry::quant
