// The words that kernels are written in (src/backends/cuda/kernels/platform.cuh), for the host's
// compiler: the same kernels on the emulated device.
//
// A block runs on one thread of the host. Its threads are fibres: each runs until it waits, for the
// block or for a lane of its warp, and goes on when all that it waits for have come. What hardware
// leaves undefined ends the kernel with the error of the driver: an address outside of a piece of
// device memory, threads that wait while others have returned, a broken require(). Shared memory is
// full of 0xFF when a block begins. Where kernels are watched (accesses.h), so does a race.
#pragma once

#include <atomic>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "backends/cuda/kernels/params.h"
#include "vendor/common/emulated.h"
#include "vendor/cuda/accesses.h"

namespace emulated::simt {

struct Dim {
  unsigned x = 1, y = 1, z = 1;
};

struct Place {
  Dim thread, block, block_size;
};
Place& here();

void wait_for_block();

// What all lanes of a warp do together, and what each gives the others.
enum class Together { kNothing, kShuffle, kLoadMatrices, kLoadTransposed, kMultiply };
union Given {
  uint32_t words[6];
  const uint32_t* address;
};
// Gives and waits for the warp. Until this thread calls it again, given_by() has what a lane gave.
void give(Together what, const Given& given);
const Given& given_by(int lane);
int lane_of_warp();

// Copies to shared memory that are under way: until they are waited for, noise is there.
void start_copy(void* shared, const void* from, int bytes);
void wait_for_copies();
void* shared_memory(int64_t bytes);
[[noreturn]] void fail(int status, const char* why);
// Where the emulator finds [address, address + bytes) of device memory.
char* checked(const void* address, int64_t bytes);

// The running thread accesses memory; a fault ends the kernel. Nothing happens for memory of its
// own (its stack), and in kernels that are not watched.
void note(const void* address, int bytes, Access access);
void add_one(int32_t* shared);

// Kernels by name, from before main().
struct Kernel {
  Kernel(const char* kernel_name, size_t bytes, void (*code)(const void*), bool is_watched);
  const char* name;
  size_t param_bytes;
  void (*run)(const void* params);
  bool watched;
  mutable std::atomic<int64_t> launches = 0;
};
const Kernel* find_kernel(const char* name);

// Every block of a launch, one after the other. 0, or the status that the kernel ended with.
int launch(const Kernel& kernel, Dim grid, Dim block, const void* params, Memory& memory);

}  // namespace emulated::simt

#define threadIdx (emulated::simt::here().thread)
#define blockIdx (emulated::simt::here().block)
#define blockDim (emulated::simt::here().block_size)
#ifdef __SANITIZE_THREAD__
#define FERRY_WATCHED true
#else
#define FERRY_WATCHED false
#endif
#define FERRY_KERNEL(name, Params)                                                     \
  static void body_of_##name(const Params& p);                                         \
  static const emulated::simt::Kernel kernel_##name(                                   \
      "ferry_" #name, sizeof(Params),                                                  \
      [](const void* params) { body_of_##name(*static_cast<const Params*>(params)); }, \
      FERRY_WATCHED);                                                                  \
  static void body_of_##name(const Params& p)
#define FERRY_DEVICE inline
#define FERRY_SHARED(type, name, count) \
  type* const name = static_cast<type*>(emulated::simt::shared_memory((count) * sizeof(type)))
#define FERRY_CONSTANT inline constexpr

namespace ferry::cuda {

template <typename T>
inline T* span(T* base, int64_t offset, int64_t count) {
  if (count <= 0) return nullptr;
  const auto bytes = static_cast<int64_t>(sizeof(T));
  return reinterpret_cast<T*>(
      emulated::simt::checked(reinterpret_cast<const char*>(base) + offset * bytes, count * bytes));
}

inline void require(bool condition) {
  if (!condition) emulated::simt::fail(719, "a broken requirement");
}

inline void sync_block() { emulated::simt::wait_for_block(); }
template <typename T>
inline T shuffle_xor(T value, int mask) {
  using namespace emulated::simt;
  give(Together::kShuffle, {.words = {std::bit_cast<uint32_t>(value)}});
  return std::bit_cast<T>(given_by(lane_of_warp() ^ mask).words[0]);
}
inline void count_one(int32_t* shared) { emulated::simt::add_one(shared); }

inline uint32_t bits_of(float value) { return std::bit_cast<uint32_t>(value); }
inline float float_of(uint32_t bits) { return std::bit_cast<float>(bits); }
inline float half_to_float(uint16_t bits) { return emulated::from_half(bits); }
inline uint16_t float_to_half(float value) { return emulated::to_half(value); }

inline void load_four(const float* from, float (&to)[4]) {
  if (reinterpret_cast<uintptr_t>(from) % 16 != 0) emulated::simt::fail(716, "misaligned");
  std::memcpy(to, from, sizeof to);
}

inline void load_matrices(const uint32_t* row, uint32_t (&to)[4]) {
  using namespace emulated::simt;
  if (reinterpret_cast<uintptr_t>(row) % 16 != 0) fail(716, "misaligned");
  give(Together::kLoadMatrices, {.address = row});
  const int lane = lane_of_warp();
  for (int m = 0; m < 4; ++m) to[m] = given_by(8 * m + lane / 4).address[lane % 4];
}

inline void load_transposed(const uint32_t* row, uint32_t (&to)[4]) {
  using namespace emulated::simt;
  if (reinterpret_cast<uintptr_t>(row) % 16 != 0) fail(716, "misaligned");
  give(Together::kLoadTransposed, {.address = row});
  const int lane = lane_of_warp(), column = lane / 4;
  for (int m = 0; m < 4; ++m) {
    to[m] = 0;
    for (int i = 0; i < 2; ++i) {
      const uint32_t word = given_by(8 * m + lane % 4 * 2 + i).address[column / 2];
      to[m] |= (word >> (column % 2 * 16) & 0xffff) << (16 * i);
    }
  }
}

// Words of a and b by the layout of fragments in PTX's description of mma.m16n8k16: of a, registers
// 1 and 3 are eight rows further down, 2 and 3 eight columns to the right; of b, register 1 is
// eight rows further down. PTX leaves the order of the sum open.
inline void multiply_add(float (&sum)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  using namespace emulated::simt;
  give(Together::kMultiply, {.words = {a[0], a[1], a[2], a[3], b0, b1}});
  const int row = lane_of_warp() / 4, column = lane_of_warp() % 4 * 2;
  // Rows row and row + 8 of a, columns column and column + 1 of b, by their index of the sum.
  float x[2][16], y[2][16];
  for (int owner = 0; owner < 4; ++owner) {
    const Given& of_row = given_by(row * 4 + owner);
    for (int n = 0; n < 2; ++n) {
      const Given& of_column = given_by((column + n) * 4 + owner);
      for (int half = 0; half < 2; ++half) {
        for (int i = 0; i < 2; ++i) {
          const auto number = [i](uint32_t word) {
            return std::bit_cast<float>((word >> (16 * i) & 0xffff) << 16);
          };
          x[n][half * 8 + owner * 2 + i] = number(of_row.words[half * 2 + n]);
          y[n][half * 8 + owner * 2 + i] = number(of_column.words[4 + half]);
        }
      }
    }
  }
  for (int i = 0; i < 4; ++i) {
    for (int k = 0; k < 16; ++k) sum[i] += x[i / 2][k] * y[i % 2][k];
  }
}
inline uint32_t pack_bf16(float low, float high) {
  return emulated::to_bfloat(low) | static_cast<uint32_t>(emulated::to_bfloat(high)) << 16;
}
inline void store_four(uint32_t* shared, const uint32_t (&words)[4]) {
  if (reinterpret_cast<uintptr_t>(shared) % 16 != 0) emulated::simt::fail(716, "misaligned");
  std::memcpy(shared, words, sizeof words);
}
inline void copy_async(uint32_t* shared, const uint8_t* from, bool inside) {
  emulated::simt::start_copy(shared, inside ? from : nullptr, 16);
}
inline void wait_copies() { emulated::simt::wait_for_copies(); }

template <int kBytes, int kAlign>
inline void load_words(const uint8_t* from, uint32_t (&to)[kBytes / 4]) {
  if (reinterpret_cast<uintptr_t>(from) % kAlign != 0) emulated::simt::fail(716, "misaligned");
  std::memcpy(to, from, kBytes);
}

}  // namespace ferry::cuda
