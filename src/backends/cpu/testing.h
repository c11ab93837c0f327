// What the tests of the cpu backend share: opening it at a level with so many threads, also with
// tiles that the machine does not have, random numbers, weights in any format, a paged cache with
// its batch.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include "backends/cpu/cpu_stream.h"
#include "backends/cpu/level.h"
#include "device/backend.h"

namespace ferry::cpu {

// On x86-64: bf16_tiles_test_avx512.cc, tile_matmul_test_avx512vnni.cc.
extern const Bf16Tiles bf16_tiles_plain;
extern const IntKernels int_kernels_plain_tiles;

// The levels that this machine can run.
inline std::vector<Level> available_levels() {
  std::vector<Level> levels;
  for (Level level : kLevels) {
    if (missing_features(level, read_cpu_features()).empty()) levels.push_back(level);
  }
  return levels;
}

// For INSTANTIATE_TEST_SUITE_P.
inline std::string level_of_test(const ::testing::TestParamInfo<Level>& test) {
  return std::string(level_name(test.param));
}

struct TestDevice {
  std::shared_ptr<Backend> backend;
  std::unique_ptr<Stream> stream;
};

inline TestDevice open_device(const std::string& name, int threads = 1,
                              bool f32_activations = false) {
  auto backend = open_backend(name, {.threads = threads, .f32_activations = f32_activations});
  EXPECT_TRUE(backend.ok());
  auto stream = backend.value()->create_stream();
  return {std::move(backend).value(), std::move(stream).value()};
}

inline TestDevice open_cpu(Level level, int threads, bool f32_activations = false) {
  setenv("FERRY_CPU", std::string(level_name(level)).c_str(), 1);
  TestDevice device = open_device("cpu", threads, f32_activations);
  unsetenv("FERRY_CPU");
  return device;
}

// A level of this machine; or avx512 with the tiles of amx in plain C++.
struct Machine {
  Level level;
  const Bf16Tiles* tiles = nullptr;

  TestDevice open(int threads, bool f32_activations = false) const {
    TestDevice device = open_cpu(level, threads, f32_activations);
    if (tiles == nullptr || f32_activations) return device;
    device.stream = std::make_unique<CpuStream>(
        std::make_shared<CpuContext>(level, threads, f32_activations, tiles));
    return device;
  }
};
inline void PrintTo(const Machine& machine, std::ostream* out) {
  *out << (machine.tiles != nullptr ? machine.tiles->name : level_name(machine.level));
}

inline std::vector<Machine> machines() {
  std::vector<Machine> machines;
  for (Level level : available_levels()) machines.push_back({level});
#if defined(__x86_64__)
  const CpuFeatures features = read_cpu_features();
  if (missing_features(Level::kAvx512, features).empty() && features.avx512_bf16) {
    machines.push_back({Level::kAvx512, &bf16_tiles_plain});
  }
#endif
  return machines;
}

// For INSTANTIATE_TEST_SUITE_P.
inline std::string machine_of_test(const ::testing::TestParamInfo<Machine>& test) {
  return ::testing::PrintToString(test.param);
}

inline std::vector<float> random_floats(int64_t n, uint32_t seed) {
  std::mt19937 generator(seed);
  std::vector<float> out(static_cast<size_t>(n));
  // The distributions of the standard library differ between libraries; this does not.
  for (float& x : out) x = static_cast<float>(generator() >> 8) * 0x1p-23f - 1.0f;
  return out;
}

// What this machine can run: the tables of its levels, and that of tiles in plain C++.
inline std::vector<const IntKernels*> all_int_kernels() {
  const CpuFeatures features = read_cpu_features();
  std::vector<const IntKernels*> all;
  for (Level level : available_levels()) {
    const IntKernels* kernels = select_int_kernels(level, features);
    if (kernels != nullptr && (all.empty() || all.back() != kernels)) all.push_back(kernels);
  }
#if defined(__x86_64__)
  if (missing_features(Level::kAvx512, features).empty() && features.avx512_vnni) {
    all.push_back(&int_kernels_plain_tiles);
  }
#endif
  return all;
}

inline std::vector<uint8_t> quantize_rows(const IntKernels& kernels, const std::vector<float>& x,
                                          int64_t cols) {
  const int64_t rows = static_cast<int64_t>(x.size()) / cols, bytes = quant_row_bytes(cols);
  std::vector<uint8_t> data(static_cast<size_t>(rows * bytes));
  for (int64_t r = 0; r < rows; ++r) {
    kernels.quantize_row(x.data() + r * cols, cols, data.data() + r * bytes);
  }
  return data;
}

inline void run_int_block(void (*kernel)(const IntMatmulBlock&), IntMatmulBlock block) {
  std::vector<float> memory(static_cast<size_t>(kIntScratchFloats) + 16);
  block.scratch = memory.data() + (64 - reinterpret_cast<uintptr_t>(memory.data()) % 64) / 4;
  kernel(block);
}

// A random matrix in a storage format, with a scale grid if asked for.
struct TestWeight {
  std::vector<uint8_t> bytes;
  std::vector<float> scale;
  Weight weight;

  TestWeight(Backend& backend, const quant::StorageFormat& format, int64_t rows, int64_t cols,
             uint32_t seed, int64_t scale_block = 0, bool pack = false) {
    const std::vector<float> values = random_floats(rows * cols, seed);
    bytes.resize(static_cast<size_t>(format.bytes_for(rows * cols)));
    format.encode(values.data(), bytes.data(), rows * cols / format.block_elements);
    HostWeight host{.format = &format, .data = bytes, .rows = rows, .cols = cols, .pack = pack};
    if (scale_block > 0) {
      const int64_t grid =
          (rows + scale_block - 1) / scale_block * ((cols + scale_block - 1) / scale_block);
      scale = random_floats(grid, seed + 1);
      host.scale = scale;
      host.scale_rows = host.scale_cols = scale_block;
    }
    auto imported = backend.import_weight(host);
    EXPECT_TRUE(imported.ok());
    weight = std::move(imported).value();
  }
  TestWeight(const TestWeight&) = delete;
  TestWeight& operator=(const TestWeight&) = delete;
};

// Row n as f32 by the format's own decoder.
inline std::vector<float> decoded_row(const WeightView& w, int64_t n) {
  std::vector<float> row(static_cast<size_t>(w.cols));
  w.format->decode(static_cast<const uint8_t*>(w.data) + n * w.row_bytes, row.data(),
                   w.cols / w.format->block_elements);
  if (w.scale == nullptr) return row;
  const int64_t grid_cols = (w.cols + w.scale_cols - 1) / w.scale_cols;
  for (int64_t k = 0; k < w.cols; ++k) {
    row[k] *= w.scale[n / w.scale_rows * grid_cols + k / w.scale_cols];
  }
  return row;
}

inline TensorView view_of(std::vector<float>& data, std::initializer_list<int64_t> dims) {
  return TensorView::contiguous(data.data(), Dtype::kF32, dims);
}
inline TensorView view_of(std::vector<int32_t>& data, std::initializer_list<int64_t> dims) {
  return TensorView::contiguous(data.data(), Dtype::kI32, dims);
}

// A batch of sequences given as (tokens before this step, tokens of this step); page p of sequence
// s is the (s + p · sequences)-th, so that neighbours lie apart.
class TestBatch {
 public:
  struct Sequence {
    int64_t before, now;
  };
  TestBatch(const std::vector<Sequence>& sequences, int64_t block_size, int64_t max_blocks) {
    const int64_t count = static_cast<int64_t>(sequences.size());
    starts_.push_back(0);
    for (int64_t s = 0; s < count; ++s) {
      starts_.push_back(starts_.back() + static_cast<int32_t>(sequences[s].now));
      lengths_.push_back(static_cast<int32_t>(sequences[s].before + sequences[s].now));
      for (int64_t p = 0; p < max_blocks; ++p) {
        tables_.push_back(static_cast<int32_t>(p * count + s));
      }
    }
    view.num_tokens = starts_.back();
    view.num_sequences = count;
    view.block_size = block_size;
    view.max_blocks = max_blocks;
    view.query_start = {starts_, view_of(starts_, {count + 1})};
    view.context_lengths = {lengths_, view_of(lengths_, {count})};
    view.block_tables = {tables_, view_of(tables_, {count, max_blocks})};
  }
  TestBatch(const TestBatch&) = delete;
  TestBatch& operator=(const TestBatch&) = delete;
  BatchView view;

 private:
  std::vector<int32_t> starts_, lengths_, tables_;
};

inline void expect_near(const std::vector<float>& actual, const std::vector<float>& expected,
                        float tolerance) {
  ASSERT_EQ(actual.size(), expected.size());
  float largest = 1e-6f;
  for (float x : expected) largest = std::max(largest, std::fabs(x));
  for (size_t i = 0; i < actual.size(); ++i) {
    ASSERT_NEAR(actual[i], expected[i], tolerance * largest) << "at " << i;
  }
}

}  // namespace ferry::cpu
