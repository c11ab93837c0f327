#include "quant/random_blocks.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace ferry::quant {
namespace {

constexpr int64_t kPoolElements = 1 << 18;
// Long enough that drawing a place and calling memcpy do not matter, short enough that a pool of
// any format has hundreds of them.
constexpr int64_t kRunBytes = 512;

// SplitMix64 (Steele, Lea, Flood 2014): a full period over 64 bits from any seed, 0 included.
uint64_t split_mix(uint64_t* state) {
  uint64_t z = *state += 0x9e3779b97f4a7c15u;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return z ^ z >> 31;
}

// Twelve uniform 16-bit integers have a variance of 12 · (2^32 − 1) / 12, so that their sum less
// its mean, over 2^16, is normal enough: its tails end at ±6 standard deviations.
float next_normal(uint64_t* state) {
  int32_t sum = 0;
  for (int i = 0; i < 3; ++i) {
    const uint64_t word = split_mix(state);
    for (int shift = 0; shift < 64; shift += 16)
      sum += static_cast<int32_t>(word >> shift & 0xffff);
  }
  return static_cast<float>(sum - 6 * 65535) * 0x1p-16f;
}

}  // namespace

RandomBlocks::RandomBlocks(const StorageFormat& format, float stddev, uint64_t seed)
    : block_bytes_(format.block_bytes),
      pool_blocks_(kPoolElements / format.block_elements),
      run_blocks_(std::max<int64_t>(1, kRunBytes / format.block_bytes)),
      state_(seed) {
  CHECK(format.encode != nullptr && stddev >= 0.0f);
  CHECK(pool_blocks_ > run_blocks_);
  std::vector<float> numbers(pool_blocks_ * format.block_elements);
  uint64_t pool_state = seed ^ 0x706f6f6cu;  // not the sequence that draws the runs
  for (float& number : numbers) number = stddev * next_normal(&pool_state);
  pool_.resize(pool_blocks_ * block_bytes_);
  format.encode(numbers.data(), pool_.data(), pool_blocks_);
}

uint64_t RandomBlocks::next() { return split_mix(&state_); }

void RandomBlocks::fill(uint8_t* dst, int64_t num_blocks) {
  const uint64_t num_places = static_cast<uint64_t>(pool_blocks_ - run_blocks_ + 1);
  while (num_blocks > 0) {
    // The upper half of a product instead of a remainder: as even, and cheaper.
    const uint64_t place = (next() >> 32) * num_places >> 32;
    const int64_t count = std::min(run_blocks_, num_blocks);
    std::memcpy(dst, pool_.data() + place * block_bytes_, count * block_bytes_);
    dst += count * block_bytes_;
    num_blocks -= count;
  }
}

}  // namespace ferry::quant
