// Speed of matmul at the level that is chosen (FERRY_CPU forces one), on every core, for one to 256
// tokens. Weights are larger than the caches where tokens are few.
//   bytes_per_second   of weights
//   op                 operations a second: a multiply and an add are two
//   of_read, of_matmul   shares of the machine's ceilings, which are measured first (ceilings.h):
//                      reading, and the instruction that multiplies this format
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "backends/cpu/ceilings.h"
#include "backends/cpu/context.h"
#include "device/backend.h"
#include "quant/random_blocks.h"

namespace ferry {
namespace {

constexpr int64_t kCols = 4096;
constexpr int64_t kCeilingBuffer = int64_t{512} << 20;

// The ceilings of this machine, and which formats have integer kernels at the level.
struct Machine {
  cpu::Level level = cpu::choose_level(std::getenv("FERRY_CPU"), read_cpu_features()).value();
  cpu::CpuContext context{level, static_cast<int>(std::thread::hardware_concurrency()), false};
  cpu::Ceilings ceilings = cpu::measure_ceilings(context.team(), kCeilingBuffer);

  // Of the instruction for integers or floats that belongs to the level; 0 where none is measured.
  double operations_per_s(const quant::StorageFormat& format) const {
    const std::string f32 = level >= cpu::Level::kAvx512 ? "f32 FMA, AVX-512" : "f32 FMA, AVX2";
    const bool integer = context.is_integer(format) && level >= cpu::Level::kAvx512;
    for (const cpu::MatmulCeiling& ceiling : ceilings.matmul) {
      if (ceiling.instruction == (integer ? "int8 dot, AVX-512 VNNI" : f32)) {
        return ceiling.operations_per_s;
      }
    }
    return 0;
  }
};

const Machine& machine() {
  static const Machine measured;
  return measured;
}

void matmul(benchmark::State& state, const char* name) {
  const quant::StorageFormat& format = *quant::find_format(name);
  const int64_t tokens = state.range(0), rows = tokens <= 16 ? 65536 : 4096;
  const double read_ceiling = machine().ceilings.read_bytes_per_s;
  const double matmul_ceiling = machine().operations_per_s(format);
  auto backend = open_backend("cpu", {}).value();
  auto stream = backend->create_stream().value();
  std::vector<uint8_t> bytes(static_cast<size_t>(format.bytes_for(rows * kCols)));
  quant::RandomBlocks(format, 0.02f, 1).fill(bytes.data(), rows * kCols / format.block_elements);
  const Weight weight =
      backend->import_weight({.format = &format, .data = bytes, .rows = rows, .cols = kCols})
          .value();
  std::vector<float> x(static_cast<size_t>(tokens * kCols));
  uint32_t random = 1;
  for (float& value : x) {
    random = random * 1664525 + 1013904223;
    value = static_cast<float>(random >> 8) * 0x1p-23f - 1.0f;
  }
  std::vector<float> out(static_cast<size_t>(tokens * rows));
  const MatmulArgs args{.x = TensorView::contiguous(x.data(), Dtype::kF32, {tokens, kCols}),
                        .w = weight.view,
                        .out = TensorView::contiguous(out.data(), Dtype::kF32, {tokens, rows})};
  stream->matmul(args);  // pages are there, threads awake
  for (auto _ : state) stream->matmul(args);
  const auto times = static_cast<double>(state.iterations());
  const double read = times * static_cast<double>(bytes.size());
  const double operations = times * static_cast<double>(2 * tokens * rows * kCols);
  const auto rate = benchmark::Counter::kIsRate;
  state.SetBytesProcessed(static_cast<int64_t>(read));
  state.counters["op"] = benchmark::Counter(operations, rate);
  if (read_ceiling > 0) state.counters["of_read"] = benchmark::Counter(read / read_ceiling, rate);
  if (matmul_ceiling > 0) {
    state.counters["of_matmul"] = benchmark::Counter(operations / matmul_ceiling, rate);
  }
}

void tokens(benchmark::internal::Benchmark* one) {
  one->ArgName("tokens")->UseRealTime()->Unit(benchmark::kMillisecond);
  for (int64_t count : {1, 2, 4, 8, 16, 256}) one->Arg(count);
}
BENCHMARK_CAPTURE(matmul, F32, "F32")->Apply(tokens);
BENCHMARK_CAPTURE(matmul, BF16, "BF16")->Apply(tokens);
BENCHMARK_CAPTURE(matmul, F8_E4M3, "F8_E4M3")->Apply(tokens);
BENCHMARK_CAPTURE(matmul, Q4_0, "Q4_0")->Apply(tokens);
BENCHMARK_CAPTURE(matmul, Q5_0, "Q5_0")->Apply(tokens);
BENCHMARK_CAPTURE(matmul, Q8_0, "Q8_0")->Apply(tokens);
BENCHMARK_CAPTURE(matmul, Q4_K, "Q4_K")->Apply(tokens);
BENCHMARK_CAPTURE(matmul, Q5_K, "Q5_K")->Apply(tokens);
BENCHMARK_CAPTURE(matmul, Q6_K, "Q6_K")->Apply(tokens);
BENCHMARK_CAPTURE(matmul, IQ2_XXS, "IQ2_XXS")->Apply(tokens);
BENCHMARK_CAPTURE(matmul, IQ3_XXS, "IQ3_XXS")->Apply(tokens);
BENCHMARK_CAPTURE(matmul, IQ4_XS, "IQ4_XS")->Apply(tokens);
BENCHMARK_CAPTURE(matmul, MXFP4, "MXFP4")->Apply(tokens);

}  // namespace
}  // namespace ferry
