#include "backends/cpu/ceilings.h"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>

#include "base/cpu_info.h"

namespace ferry::cpu {
namespace {

constexpr int kRounds = 5;
constexpr int64_t kLoopIterations = 20'000'000;
constexpr int64_t kProbeBytes = 4 * ReadProbe::kSampleBytes;

using ReadSum = uint64_t (*)(const uint8_t*, int64_t);

uint64_t read_sum_generic(const uint8_t* data, int64_t bytes) {
  uint64_t sums[8] = {};
  for (int64_t i = 0; i < bytes; i += sizeof sums) {
    uint64_t words[8];
    std::memcpy(words, data + i, sizeof words);
    for (int j = 0; j < 8; ++j) sums[j] += words[j];
  }
  uint64_t sum = 0;
  for (uint64_t s : sums) sum += s;
  return sum;
}

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

ReadSum select_read_sum() {
#if defined(__x86_64__)
  const CpuFeatures features = read_cpu_features();
  if (features.avx512f) return read_sum_avx512;
  if (features.avx2) return read_sum_avx2;
#endif
  return read_sum_generic;
}

// Memory on large pages, each part written by the thread that will read it, so that it lies on that
// thread's NUMA node; not zeros. Null: there is none.
uint8_t* allocate_to_read(ThreadTeam& team, int64_t bytes) {
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return nullptr;
  madvise(memory, bytes, MADV_HUGEPAGE);
  auto* data = static_cast<uint8_t*>(memory);
  const int64_t part = bytes / team.size() / 4096 * 4096;
  team.run([&](int thread) { std::memset(data + thread * part, 0x5a + thread, part); });
  return data;
}

// Bytes per second of `threads` members reading their own part of the buffer.
double read_rate(ThreadTeam& team, int threads, const uint8_t* data, int64_t bytes) {
  const ReadSum sum = select_read_sum();
  const int64_t part = bytes / threads / 4096 * 4096;
  double best = 0;
  std::atomic<uint64_t> sink{0};
  for (int round = 0; round < kRounds; ++round) {
    const auto start = std::chrono::steady_clock::now();
    team.run([&](int thread) {
      if (thread < threads) sink += sum(data + thread * part, part);
    });
    best = std::max(best, static_cast<double>(part * threads) / seconds_since(start));
  }
  return sink.load() == 1 ? 0 : best;  // the sum must be wanted, or it is optimised away
}

// One instruction to be measured.
struct MatmulLoop {
  const char* instruction;
  bool available;
  double (*run)(int64_t iterations);
};

double loop_rate(ThreadTeam& team, const MatmulLoop& loop) {
  double best = 0;
  for (int round = 0; round < kRounds; ++round) {
    std::vector<double> operations(team.size());
    const auto start = std::chrono::steady_clock::now();
    team.run([&](int thread) { operations[thread] = loop.run(kLoopIterations); });
    double sum = 0;
    for (double done : operations) sum += done;
    best = std::max(best, sum / seconds_since(start));
  }
  return best;
}

}  // namespace

Ceilings measure_ceilings(ThreadTeam& team, int64_t buffer_bytes) {
  Ceilings ceilings;
  ceilings.threads = team.size();
  ceilings.buffer_bytes = buffer_bytes;
  if (uint8_t* data = allocate_to_read(team, buffer_bytes)) {
    ceilings.read_bytes_per_s = read_rate(team, team.size(), data, buffer_bytes);
    ceilings.read_bytes_per_s_one_thread = read_rate(team, 1, data, buffer_bytes / team.size());
    munmap(data, buffer_bytes);
  }
#if defined(__x86_64__)
  const CpuFeatures has = read_cpu_features();
  const MatmulLoop loops[] = {
      {"f32 FMA, AVX2", has.avx2 && has.fma, fma_f32_avx2},
      {"f32 FMA, AVX-512", has.avx512f, fma_f32_avx512},
      {"int8 dot, AVX-512 VNNI", has.avx512f && has.avx512_vnni, dot_int8_avx512},
      {"bf16 dot, AVX-512 BF16", has.avx512f && has.avx512_bf16, dot_bf16_avx512},
  };
  for (const MatmulLoop& loop : loops) {
    if (loop.available) ceilings.matmul.push_back({loop.instruction, loop_rate(team, loop)});
  }
#endif
  return ceilings;
}

std::unique_ptr<ReadProbe> ReadProbe::create(ThreadTeam& team) {
  uint8_t* data = allocate_to_read(team, kProbeBytes);
  if (data == nullptr) return nullptr;
  return std::unique_ptr<ReadProbe>(new ReadProbe(team, data));
}

ReadProbe::~ReadProbe() { munmap(data_, kProbeBytes); }

void ReadProbe::sample() {
  const ReadSum sum = select_read_sum();
  const int64_t part = kProbeBytes / team_.size() / 4096 * 4096;  // of a thread
  const int64_t share = kSampleBytes / team_.size() / 4096 * 4096;
  if (next_ + share > part) next_ = 0;
  team_.run([](int) {});  // whoever sleeps wakes before the clock starts
  std::atomic<uint64_t> sink{0};
  const auto start = std::chrono::steady_clock::now();
  team_.run([&](int thread) { sink += sum(data_ + thread * part + next_, share); });
  seconds_ += seconds_since(start);
  if (sink.load() != 1) bytes_ += share * team_.size();  // the sum must be wanted
  next_ += share;
}

double ReadProbe::take_bytes_per_s() {
  const double rate = seconds_ > 0 ? static_cast<double>(bytes_) / seconds_ : 0;
  bytes_ = 0;
  seconds_ = 0;
  return rate;
}

}  // namespace ferry::cpu
