// One Ascend device, opened: the libraries, its memory, and what all of its streams share.
#pragma once

#include <memory>
#include <string>

#include "backends/ascend/library.h"
#include "device/backend.h"
#include "device/memory_pool.h"

namespace ferry::ascend {

// What differs from chip to chip, by the name of its system on chip.
struct Soc {
  std::string name;
  Dtype narrow = Dtype::kBF16;  // of weights and their products: 310P has no bf16
  bool exact_f32 = true;        // whether products of f32 are made in f32
};

// Thread-safe.
class Device {
 public:
  static Result<std::shared_ptr<Device>> open(int ordinal);
  ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  const Vendor& vendor() const { return *vendor_; }
  // Makes this device the one that the calling thread's calls go to (the runtime keeps a context
  // per thread).
  Status bind() const;
  MemoryPool& pool() const { return *pool_; }
  const Soc& soc() const { return soc_; }
  int64_t total_bytes() const { return total_bytes_; }

  // Pinned; `owner` is let go after the memory.
  Result<Buffer> allocate_host(int64_t bytes, std::shared_ptr<const void> owner) const;
  // Copies to the device at once; returns when it is done.
  Status send(void* device_dst, const void* src, int64_t bytes) const;

 private:
  explicit Device(std::shared_ptr<const Vendor> vendor) : vendor_(std::move(vendor)) {}

  std::shared_ptr<const Vendor> vendor_;
  AclContext context_ = nullptr;
  std::shared_ptr<MemoryPool> pool_;
  Soc soc_;
  int64_t total_bytes_ = 0;
};

Soc soc_of(const std::string& name);

// Devices that could be opened, or 0 and why not.
int count_devices(std::string* why);

}  // namespace ferry::ascend
