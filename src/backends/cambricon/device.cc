// One Cambricon device: see device.h.
#include "backends/cambricon/device.h"

#include <algorithm>
#include <cstring>
#include <vector>

namespace ferry::cambricon {
namespace {

Status bind_device(const Vendor& vendor, int ordinal) {
  const int status = vendor.cnrtSetDevice(ordinal);
  if (status != kCnrtSuccess) return cnrt_error(vendor, "cnrtSetDevice", status);
  return {};
}

class CnrtMemory : public RawMemory {
 public:
  CnrtMemory(std::shared_ptr<const Vendor> vendor, int ordinal)
      : vendor_(std::move(vendor)), ordinal_(ordinal) {}

  Result<void*> take(int64_t bytes) override {
    FERRY_TRY_VOID(bind_device(*vendor_, ordinal_));
    void* data = nullptr;
    const int status = vendor_->cnrtMalloc(&data, static_cast<size_t>(bytes));
    if (status != kCnrtSuccess) return cnrt_error(*vendor_, "cnrtMalloc", status);
    return data;
  }
  // Neither can report anything: buffers go when they go.
  void give_back(void* data) override {
    if (bind_device(*vendor_, ordinal_).ok()) vendor_->cnrtFree(data);
  }
  void wait_idle() override {
    if (bind_device(*vendor_, ordinal_).ok()) vendor_->cnrtSyncDevice();
  }
  Result<MemoryInfo> info() override {
    FERRY_TRY_VOID(bind_device(*vendor_, ordinal_));
    size_t free = 0, total = 0;
    const int status = vendor_->cnrtMemGetInfo(&free, &total);
    if (status != kCnrtSuccess) return cnrt_error(*vendor_, "cnrtMemGetInfo", status);
    return MemoryInfo{.total_bytes = static_cast<int64_t>(total),
                      .free_bytes = static_cast<int64_t>(free)};
  }

 private:
  std::shared_ptr<const Vendor> vendor_;
  const int ordinal_;
};

Result<int> device_count(const Vendor& vendor) {
  unsigned int count = 0;
  const int status = vendor.cnrtGetDeviceCount(&count);
  if (status != kCnrtSuccess) return cnrt_error(vendor, "cnrtGetDeviceCount", status);
  if (count == 0) return cnrt_error(vendor, "cnrtGetDeviceCount", kCnrtNoDevice);
  return static_cast<int>(count);
}

std::string device_name(const Vendor& vendor, int ordinal) {
  // The struct grows from release to release; this is several times what it has ever been.
  std::vector<char> properties(16384, '\0');
  if (vendor.cnrtGetDeviceProperties == nullptr ||
      vendor.cnrtGetDeviceProperties(properties.data(), ordinal) != kCnrtSuccess) {
    return "unnamed device";
  }
  properties[255] = '\0';
  return properties.data();
}

}  // namespace

Result<std::shared_ptr<Device>> Device::open(int ordinal) {
  FERRY_TRY(auto vendor, load_vendor());
  FERRY_TRY(const int count, device_count(*vendor));
  if (ordinal < 0 || ordinal >= count) {
    return not_found("cambricon: device {}: there are {}, counted from 0", ordinal, count);
  }
  FERRY_TRY_VOID(bind_device(*vendor, ordinal));
  std::shared_ptr<Device> device(new Device(vendor, ordinal));
  auto memory = std::make_unique<CnrtMemory>(vendor, ordinal);
  FERRY_TRY(const MemoryInfo info, memory->info());
  device->pool_ = std::make_shared<MemoryPool>("cambricon", std::move(memory));
  device->total_bytes_ = info.total_bytes;
  device->name_ = device_name(*vendor, ordinal);
  int clusters = 0, cores = 0;
  if (vendor->cnrtDeviceGetAttribute(&clusters, kAttrClusterCount, ordinal) == kCnrtSuccess &&
      vendor->cnrtDeviceGetAttribute(&cores, kAttrCoresPerCluster, ordinal) == kCnrtSuccess) {
    device->cores_ = clusters * cores;
  }
  return device;
}

Status Device::bind() const { return bind_device(*vendor_, ordinal_); }

Result<Buffer> Device::allocate_host(int64_t bytes, std::shared_ptr<const void> owner) const {
  FERRY_TRY_VOID(bind());
  void* data = nullptr;
  const int status =
      vendor_->cnrtHostMalloc(&data, static_cast<size_t>(std::max<int64_t>(bytes, 1)));
  if (status == kCnrtNoMem) {
    return out_of_memory("cambricon: {} bytes of pinned host memory were refused", bytes);
  }
  if (status != kCnrtSuccess) return cnrt_error(*vendor_, "cnrtHostMalloc", status);
  std::shared_ptr<void> memory(data, [vendor = vendor_, owner = std::move(owner)](void* address) {
    vendor->cnrtFreeHost(address);
  });
  return Buffer{.owner = std::move(memory), .data = data, .bytes = bytes};
}

Status Device::copy(void* dst, const void* src, int64_t bytes, int direction) const {
  if (bytes == 0) return {};
  FERRY_TRY_VOID(bind());
  const int status =
      vendor_->cnrtMemcpy(dst, const_cast<void*>(src), static_cast<size_t>(bytes), direction);
  if (status != kCnrtSuccess) return cnrt_error(*vendor_, "cnrtMemcpy", status);
  return {};
}

int count_devices(std::string* why) {
  const auto vendor = load_vendor();
  if (!vendor.ok()) {
    *why = vendor.error().message;
    return 0;
  }
  const auto count = device_count(**vendor);
  if (!count.ok()) *why = count.error().message;
  return count.ok() ? *count : 0;
}

}  // namespace ferry::cambricon
