// Decoding, encoding, the scan for bad blocks and random filling, for every format. `bytes` are
// those of the stored blocks, `items` the numbers in them; the data fit the second-level cache.
#include <benchmark/benchmark.h>

#include <string>
#include <vector>

#include "quant/random_blocks.h"
#include "quant/storage_format.h"

namespace ferry::quant {
namespace {

constexpr int64_t kElements = 65536;

std::vector<uint8_t> blocks_of(const StorageFormat& format) {
  std::vector<uint8_t> blocks(format.bytes_for(kElements));
  RandomBlocks(format, 0.02f, 1).fill(blocks.data(), kElements / format.block_elements);
  return blocks;
}

void count(benchmark::State& state, const StorageFormat& format) {
  state.SetItemsProcessed(state.iterations() * kElements);
  state.SetBytesProcessed(state.iterations() * format.bytes_for(kElements));
}

void decode(benchmark::State& state, const StorageFormat* format) {
  const std::vector<uint8_t> blocks = blocks_of(*format);
  std::vector<float> values(kElements);
  for (auto _ : state) {
    format->decode(blocks.data(), values.data(), kElements / format->block_elements);
    benchmark::ClobberMemory();
  }
  count(state, *format);
}

void encode(benchmark::State& state, const StorageFormat* format) {
  std::vector<uint8_t> blocks = blocks_of(*format);
  std::vector<float> values(kElements);
  RandomBlocks(*find_format("F32"), 0.02f, 2)
      .fill(reinterpret_cast<uint8_t*>(values.data()), kElements);
  for (auto _ : state) {
    format->encode(values.data(), blocks.data(), kElements / format->block_elements);
    benchmark::ClobberMemory();
  }
  count(state, *format);
}

void first_bad_block(benchmark::State& state, const StorageFormat* format) {
  const std::vector<uint8_t> blocks = blocks_of(*format);
  for (auto _ : state) {
    benchmark::DoNotOptimize(
        format->first_bad_block(blocks.data(), kElements / format->block_elements));
  }
  count(state, *format);
}

void fill(benchmark::State& state, const StorageFormat* format) {
  RandomBlocks random(*format, 0.02f, 1);
  std::vector<uint8_t> blocks(format->bytes_for(kElements));
  for (auto _ : state) {
    random.fill(blocks.data(), kElements / format->block_elements);
    benchmark::ClobberMemory();
  }
  count(state, *format);
}

const bool registered = [] {
  for (const StorageFormat* format : all_formats()) {
    if (format->decode == nullptr) continue;
    const std::string name(format->name);
    benchmark::RegisterBenchmark(("decode/" + name).c_str(), decode, format);
    benchmark::RegisterBenchmark(("encode/" + name).c_str(), encode, format);
    if (format->first_bad_block != nullptr) {
      benchmark::RegisterBenchmark(("first_bad_block/" + name).c_str(), first_bad_block, format);
    }
    benchmark::RegisterBenchmark(("fill/" + name).c_str(), fill, format);
  }
  return true;
}();

}  // namespace
}  // namespace ferry::quant
