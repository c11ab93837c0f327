// One NVIDIA device, opened: its context, its kernels, its memory, and what all streams share.
#pragma once

#include <array>
#include <memory>
#include <string>

#include "backends/cuda/kernels/params.h"
#include "backends/cuda/library.h"
#include "backends/cuda/lt_products.h"
#include "device/backend.h"
#include "device/memory_pool.h"

namespace ferry::cuda {

#define FERRY_CUDA_NAME(name) k_##name,
enum class Kernel { FERRY_CUDA_KERNELS(FERRY_CUDA_NAME) kCount };
#undef FERRY_CUDA_NAME

// Thread-safe.
class Device {
 public:
  static Result<std::shared_ptr<Device>> open(int ordinal);
  ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  const Driver& driver() const { return *driver_; }
  // Makes its context the one of the calling thread (the driver keeps that per thread).
  Status bind() const;
  MemoryPool& pool() const { return *pool_; }
  Function function(Kernel kernel) const { return functions_[static_cast<size_t>(kernel)]; }
  const std::string& name() const { return name_; }
  const std::string& architecture() const { return architecture_; }  // "sm_90"
  int multiprocessors() const { return multiprocessors_; }
  int64_t total_bytes() const { return total_bytes_; }

  // nullptr: there is no cuBLASLt that this device can use, and why_no_products() says why.
  LtProducts* products() const { return products_.get(); }
  const std::string& why_no_products() const { return why_no_products_; }

  // On the device: the words of the codebook of such weights; nullptr: they have none.
  const int8_t* words(WeightKind kind) const;

  // Pinned; `owner` is let go after the memory.
  Result<Buffer> allocate_host(int64_t bytes, std::shared_ptr<const void> owner) const;
  // Copies at once; returns when it is done.
  Status send(void* dst, const void* src, int64_t bytes) const;

 private:
  Device(std::shared_ptr<const Driver> driver, int device)
      : driver_(std::move(driver)), device_(device) {}
  Status describe();
  Status load_kernels();
  Status load_words();
  void find_products();

  std::shared_ptr<const Driver> driver_;
  const int device_;
  Context context_ = nullptr;
  Module module_ = nullptr;
  std::array<Function, static_cast<size_t>(Kernel::kCount)> functions_{};
  std::shared_ptr<MemoryPool> pool_;
  Buffer words_;
  std::unique_ptr<LtProducts> products_;
  std::string name_, architecture_, why_no_products_;
  int multiprocessors_ = 0;
  int64_t total_bytes_ = 0;
};

// Devices that could be opened, or 0 and why not.
int count_devices(std::string* why);

inline DeviceAddress address_of(const void* data) {
  return static_cast<DeviceAddress>(reinterpret_cast<uintptr_t>(data));
}

}  // namespace ferry::cuda
