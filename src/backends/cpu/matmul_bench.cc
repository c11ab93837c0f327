// Speed of matmul at the level that is chosen (FERRY_CPU forces one), on every core.
//   gemv: one row of x; bytes/s are those of the weights, beyond the caches
//   gemm: 256 rows of x; "flop" counts a multiply and an add as two
#include <benchmark/benchmark.h>

#include <vector>

#include "device/backend.h"
#include "quant/random_blocks.h"

namespace ferry {
namespace {

constexpr int64_t kCols = 4096;

void run(benchmark::State& state, const char* format_name, int64_t tokens, int64_t rows) {
  const auto* format = quant::find_format(format_name);
  auto backend = open_backend("cpu", {}).value();
  auto stream = backend->create_stream().value();
  std::vector<uint8_t> bytes(static_cast<size_t>(format->bytes_for(rows * kCols)));
  quant::RandomBlocks(*format, 0.02f, 1).fill(bytes.data(), rows * kCols / format->block_elements);
  const Weight weight =
      backend->import_weight({.format = format, .data = bytes, .rows = rows, .cols = kCols})
          .value();
  std::vector<float> x(static_cast<size_t>(tokens * kCols), 0.01f);
  std::vector<float> out(static_cast<size_t>(tokens * rows));
  const MatmulArgs args{.x = TensorView::contiguous(x.data(), Dtype::kF32, {tokens, kCols}),
                        .w = weight.view,
                        .out = TensorView::contiguous(out.data(), Dtype::kF32, {tokens, rows})};
  for (auto _ : state) stream->matmul(args);
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(bytes.size()));
  state.counters["flop"] =
      benchmark::Counter(static_cast<double>(state.iterations() * 2 * tokens * rows * kCols),
                         benchmark::Counter::kIsRate);
}

void BM_gemv(benchmark::State& state, const char* format) { run(state, format, 1, 65536); }
void BM_gemm(benchmark::State& state, const char* format) { run(state, format, 256, 4096); }

BENCHMARK_CAPTURE(BM_gemv, F32, "F32")->UseRealTime();
BENCHMARK_CAPTURE(BM_gemv, BF16, "BF16")->UseRealTime();
BENCHMARK_CAPTURE(BM_gemv, F8_E4M3, "F8_E4M3")->UseRealTime();
BENCHMARK_CAPTURE(BM_gemv, Q8_0, "Q8_0")->UseRealTime();
BENCHMARK_CAPTURE(BM_gemv, Q4_0, "Q4_0")->UseRealTime();
BENCHMARK_CAPTURE(BM_gemv, Q4_K, "Q4_K")->UseRealTime();
BENCHMARK_CAPTURE(BM_gemv, Q6_K, "Q6_K")->UseRealTime();
BENCHMARK_CAPTURE(BM_gemm, F32, "F32")->UseRealTime();
BENCHMARK_CAPTURE(BM_gemm, BF16, "BF16")->UseRealTime();
BENCHMARK_CAPTURE(BM_gemm, Q4_0, "Q4_0")->UseRealTime();
BENCHMARK_CAPTURE(BM_gemm, Q4_K, "Q4_K")->UseRealTime();

}  // namespace
}  // namespace ferry
