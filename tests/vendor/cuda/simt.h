// The words that kernels are written in (src/backends/cuda/kernels/platform.cuh), for the host's
// compiler: the same kernels on the emulated device.
//
// A block runs on one thread of the host. Its threads are fibres: each runs until it waits, for the
// block or for a lane of its warp, and goes on when all that it waits for have come. What hardware
// leaves undefined ends the kernel with the error of the driver: an address outside of a piece of
// device memory, threads that wait while others have returned, a broken require(). Shared memory is
// full of 0xFF when a block begins.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "backends/cuda/kernels/params.h"
#include "vendor/common/emulated.h"

namespace emulated::simt {

struct Dim {
  unsigned x = 1, y = 1, z = 1;
};

struct Place {
  Dim thread, block, block_size;
};
Place& here();

void wait_for_block();
uint32_t exchange(uint32_t value, int mask);  // the value of lane (this xor mask) of the warp
void* shared_memory(int64_t bytes);
[[noreturn]] void fail(int status, const char* why);
// Where the emulator finds [address, address + bytes) of device memory.
char* checked(const void* address, int64_t bytes);

// Kernels by name, from before main().
struct Kernel {
  Kernel(const char* kernel_name, size_t bytes, void (*code)(const void*));
  const char* name;
  size_t param_bytes;
  void (*run)(const void* params);
};
const Kernel* find_kernel(const char* name);

// Every block of a launch, one after the other. 0, or the status that the kernel ended with.
int launch(const Kernel& kernel, Dim grid, Dim block, const void* params, Memory& memory);

}  // namespace emulated::simt

#define threadIdx (emulated::simt::here().thread)
#define blockIdx (emulated::simt::here().block)
#define blockDim (emulated::simt::here().block_size)
#define FERRY_KERNEL(name, Params)                                                      \
  static void body_of_##name(const Params& p);                                          \
  static const emulated::simt::Kernel kernel_##name(                                    \
      "ferry_" #name, sizeof(Params),                                                   \
      [](const void* params) { body_of_##name(*static_cast<const Params*>(params)); }); \
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
inline float shuffle_xor(float value, int mask) {
  return std::bit_cast<float>(emulated::simt::exchange(std::bit_cast<uint32_t>(value), mask));
}
inline int32_t shuffle_xor(int32_t value, int mask) {
  return std::bit_cast<int32_t>(emulated::simt::exchange(std::bit_cast<uint32_t>(value), mask));
}
inline void count_one(int32_t* shared) { ++*shared; }

inline uint32_t bits_of(float value) { return std::bit_cast<uint32_t>(value); }
inline float float_of(uint32_t bits) { return std::bit_cast<float>(bits); }
inline float half_to_float(uint16_t bits) { return emulated::from_half(bits); }
inline uint16_t float_to_half(float value) { return emulated::to_half(value); }

inline void load_four(const float* from, float (&to)[4]) {
  if (reinterpret_cast<uintptr_t>(from) % 16 != 0) emulated::simt::fail(716, "misaligned");
  std::memcpy(to, from, sizeof to);
}

template <int kBytes, int kAlign>
inline void load_words(const uint8_t* from, uint32_t (&to)[kBytes / 4]) {
  if (reinterpret_cast<uintptr_t>(from) % kAlign != 0) emulated::simt::fail(716, "misaligned");
  std::memcpy(to, from, kBytes);
}

}  // namespace ferry::cuda
