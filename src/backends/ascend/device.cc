// One Ascend device: see device.h.
#include "backends/ascend/device.h"

#include <algorithm>

namespace ferry::ascend {
namespace {

Status set_context(const Vendor& vendor, AclContext context) {
  const int status = vendor.aclrtSetCurrentContext(context);
  if (status != kAclSuccess) return acl_error(vendor, "aclrtSetCurrentContext", status);
  return {};
}

class AclMemory : public RawMemory {
 public:
  AclMemory(std::shared_ptr<const Vendor> vendor, AclContext context, int attribute)
      : vendor_(std::move(vendor)), context_(context), attribute_(attribute) {}

  Result<void*> take(int64_t bytes) override {
    FERRY_TRY_VOID(set_context(*vendor_, context_));
    void* data = nullptr;
    const int status = vendor_->aclrtMalloc(&data, static_cast<size_t>(bytes), kMallocHugeFirst);
    if (status != kAclSuccess) return acl_error(*vendor_, "aclrtMalloc", status);
    return data;
  }
  // Neither can report anything: buffers go when they go.
  void give_back(void* data) override {
    if (set_context(*vendor_, context_).ok()) vendor_->aclrtFree(data);
  }
  void wait_idle() override {
    if (set_context(*vendor_, context_).ok()) vendor_->aclrtSynchronizeDevice();
  }
  Result<MemoryInfo> info() override {
    FERRY_TRY_VOID(set_context(*vendor_, context_));
    size_t free = 0, total = 0;
    const int status = vendor_->aclrtGetMemInfo(attribute_, &free, &total);
    if (status != kAclSuccess) return acl_error(*vendor_, "aclrtGetMemInfo", status);
    return MemoryInfo{.total_bytes = static_cast<int64_t>(total),
                      .free_bytes = static_cast<int64_t>(free)};
  }

 private:
  std::shared_ptr<const Vendor> vendor_;
  const AclContext context_;
  const int attribute_;
};

Result<int> number_of_devices(const Vendor& vendor) {
  uint32_t count = 0;
  const int status = vendor.aclrtGetDeviceCount(&count);
  if (status != kAclSuccess) return acl_error(vendor, "aclrtGetDeviceCount", status);
  if (count == 0) return acl_error(vendor, "aclrtGetDeviceCount", kRtNoDevice);
  return static_cast<int>(count);
}

}  // namespace

Soc soc_of(const std::string& name) {
  Soc soc{.name = name};
  if (name.starts_with("Ascend310")) {
    soc.narrow = Dtype::kF16;
    soc.exact_f32 = false;
  }
  return soc;
}

Result<std::shared_ptr<Device>> Device::open(int ordinal) {
  FERRY_TRY(auto vendor, load_vendor());
  FERRY_TRY(const int count, number_of_devices(*vendor));
  if (ordinal < 0 || ordinal >= count) {
    return not_found("ascend: device {}: there are {}, counted from 0", ordinal, count);
  }
  int status = vendor->aclrtSetDevice(ordinal);
  if (status != kAclSuccess) return acl_error(*vendor, "aclrtSetDevice", status);
  std::shared_ptr<Device> device(new Device(vendor));
  status = vendor->aclrtCreateContext(&device->context_, ordinal);
  if (status != kAclSuccess) return acl_error(*vendor, "aclrtCreateContext", status);
  FERRY_TRY_VOID(device->bind());
  const char* name = vendor->aclrtGetSocName();
  device->soc_ = soc_of(name == nullptr ? "unnamed device" : name);
  // 310P has DDR only, the 910s tell what they have as HBM.
  const int attribute = device->soc_.exact_f32 ? kHbmMemory : kDdrMemory;
  auto memory = std::make_unique<AclMemory>(vendor, device->context_, attribute);
  FERRY_TRY(const MemoryInfo info, memory->info());
  device->pool_ = std::make_shared<MemoryPool>("ascend", std::move(memory));
  device->total_bytes_ = info.total_bytes;
  return device;
}

Device::~Device() {
  pool_.reset();  // gives its memory back, which needs the context
  if (context_ != nullptr) vendor_->aclrtDestroyContext(context_);
}

Status Device::bind() const { return set_context(*vendor_, context_); }

Result<Buffer> Device::allocate_host(int64_t bytes, std::shared_ptr<const void> owner) const {
  FERRY_TRY_VOID(bind());
  void* data = nullptr;
  const int status =
      vendor_->aclrtMallocHost(&data, static_cast<size_t>(std::max<int64_t>(bytes, 1)));
  if (status == kRtMemoryAllocation) {
    return out_of_memory("ascend: {} bytes of pinned host memory were refused", bytes);
  }
  if (status != kAclSuccess) return acl_error(*vendor_, "aclrtMallocHost", status);
  std::shared_ptr<void> memory(data, [vendor = vendor_, owner = std::move(owner)](void* address) {
    vendor->aclrtFreeHost(address);
  });
  return Buffer{.owner = std::move(memory), .data = data, .bytes = bytes};
}

Status Device::send(void* dst, const void* src, int64_t bytes) const {
  if (bytes == 0) return {};
  FERRY_TRY_VOID(bind());
  const auto count = static_cast<size_t>(bytes);
  const int status = vendor_->aclrtMemcpy(dst, count, src, count, kHostToDevice);
  if (status != kAclSuccess) return acl_error(*vendor_, "aclrtMemcpy", status);
  return {};
}

int count_devices(std::string* why) {
  const auto vendor = load_vendor();
  if (!vendor.ok()) {
    *why = vendor.error().message;
    return 0;
  }
  const auto count = number_of_devices(**vendor);
  if (!count.ok()) *why = count.error().message;
  return count.ok() ? *count : 0;
}

}  // namespace ferry::ascend
