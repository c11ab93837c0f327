// Finding NVIDIA's driver: see library.h.
#include "backends/cuda/library.h"

#include <dlfcn.h>

#include <cstdlib>

namespace ferry::cuda {
namespace {

constexpr const char* kLibrary = "libcuda.so.1";
constexpr int kOldestDriver = 11040;  // the first with cuGraphInstantiateWithFlags

}  // namespace

std::string cuda_version_text(int version) {
  return fmt::format("{}.{}", version / 1000, version % 1000 / 10);
}

Result<std::shared_ptr<const Driver>> load_driver() {
  const char* folder = std::getenv("FERRY_CUDA_DRIVER");
  const bool chosen = folder != nullptr && *folder != '\0';
  const std::string path = chosen ? std::string(folder) + "/" + kLibrary : kLibrary;
  // Never closed again: streams and buffers may live until the process ends.
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    return not_found("cuda: {} can't be opened ({}); install NVIDIA's driver", path, dlerror());
  }
  auto driver = std::make_shared<Driver>();
  std::string missing;
#define FERRY_CUDA_FIND(name, arguments)                                          \
  driver->name = reinterpret_cast<decltype(driver->name)>(dlsym(library, #name)); \
  if (driver->name == nullptr && missing.empty()) missing = #name;
  FERRY_CUDA_SYMBOLS(FERRY_CUDA_FIND)
#undef FERRY_CUDA_FIND
  if (driver->cuDriverGetVersion != nullptr) driver->cuDriverGetVersion(&driver->version);
  if (!missing.empty()) {
    return unsupported("cuda: {} has no {} (it is for CUDA {}); update NVIDIA's driver", kLibrary,
                       missing, cuda_version_text(driver->version));
  }
  if (driver->version < kOldestDriver) {
    return unsupported("cuda: the driver is for CUDA {}, ferry needs {} or newer; update it",
                       cuda_version_text(driver->version), cuda_version_text(kOldestDriver));
  }
  const int status = driver->cuInit(0);
  if (status != kSuccess) return driver_error(*driver, "cuInit", status);
  return std::shared_ptr<const Driver>(std::move(driver));
}

Error driver_error(const Driver& driver, std::string_view call, int status) {
  const char* name = nullptr;
  if (driver.cuGetErrorName(status, &name) != kSuccess || name == nullptr) name = "no name for it";
  switch (status) {
    case kNoDevice:
      return device_error(
          "cuda: {}: no device; check that the card is seated and the driver loaded (nvidia-smi), "
          "and CUDA_VISIBLE_DEVICES",
          call);
    case kNotPermitted:
      return device_error(
          "cuda: {}: no permission; let this user read and write /dev/nvidia* and /dev/nvidiactl",
          call);
    case kDeviceUnavailable:
      return busy(
          "cuda: {}: the device is busy; another process holds it alone (nvidia-smi lists them), "
          "choose another with --device or wait",
          call);
    case kSystemDriverMismatch:
      return device_error(
          "cuda: {}: libcuda.so.1 and the loaded kernel module are of different releases; restart "
          "the machine, or install the driver again",
          call);
    case kNoBinaryForGpu:
    case kInvalidPtx:
    case kUnsupportedPtxVersion:
      return unsupported(
          "cuda: {}: this device or driver (for CUDA {}) takes none of the kernels ({}); update "
          "the driver",
          call, cuda_version_text(driver.version), name);
    case kOutOfMemory: return out_of_memory("cuda: {}: out of device memory", call);
    default: return device_error("cuda: {}: error {} ({})", call, status, name);
  }
}

}  // namespace ferry::cuda
