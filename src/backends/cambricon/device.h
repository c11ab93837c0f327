// One Cambricon device, opened: the libraries, its memory, and what all of its streams share.
#pragma once

#include <memory>
#include <string>

#include "backends/cambricon/library.h"
#include "device/backend.h"
#include "device/memory_pool.h"

namespace ferry::cambricon {

// Thread-safe.
class Device {
 public:
  static Result<std::shared_ptr<Device>> open(int ordinal);

  const Vendor& vendor() const { return *vendor_; }
  // Makes this device the one that the calling thread's calls go to (CNRT keeps that per thread).
  Status bind() const;
  MemoryPool& pool() const { return *pool_; }
  int ordinal() const { return ordinal_; }
  const std::string& name() const { return name_; }
  int cores() const { return cores_; }
  int64_t total_bytes() const { return total_bytes_; }

  // Pinned; `owner` is let go after the memory.
  Result<Buffer> allocate_host(int64_t bytes, std::shared_ptr<const void> owner) const;
  // Copies at once; returns when it is done.
  Status copy(void* dst, const void* src, int64_t bytes, int direction) const;

 private:
  Device(std::shared_ptr<const Vendor> vendor, int ordinal)
      : vendor_(std::move(vendor)), ordinal_(ordinal) {}

  std::shared_ptr<const Vendor> vendor_;
  const int ordinal_;
  std::shared_ptr<MemoryPool> pool_;
  std::string name_;
  int cores_ = 0;
  int64_t total_bytes_ = 0;
};

// Devices that could be opened, or 0 and why not.
int count_devices(std::string* why);

}  // namespace ferry::cambricon
