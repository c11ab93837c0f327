// Finding Cambricon's libraries: see library.h.
#include "backends/cambricon/library.h"

#include <dlfcn.h>

#include <cstdlib>
#include <vector>

namespace ferry::cambricon {
namespace {

constexpr const char* kUsualFolder = "/usr/local/neuware/lib64/";

}  // namespace

void* open_library(const std::string& name, std::string* why) {
  std::vector<std::string> paths;
  const char* home = std::getenv("NEUWARE_HOME");
  if (home != nullptr && *home != '\0') {
    paths = {std::string(home) + "/lib64/" + name};
  } else {
    paths = {name, kUsualFolder + name};
  }
  for (const std::string& path : paths) {
    void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL);
    if (library != nullptr) return library;
    if (why->empty()) *why = dlerror();
  }
  return nullptr;
}

namespace {

Error library_missing(const std::string& name, const std::string& why) {
  return not_found(
      "cambricon: {} can't be opened ({}); install Cambricon Neuware, or set NEUWARE_HOME to where "
      "it is",
      name, why);
}

// Fills the table; remembers the first name that had to be there and wasn't.
class Resolver {
 public:
  template <typename Function>
  void find(Function& function, const char* name, std::initializer_list<void*> libraries,
            const char* needed_in) {
    for (void* library : libraries) {
      if (library == nullptr) continue;
      function = reinterpret_cast<Function>(dlsym(library, name));
      if (function != nullptr) return;
    }
    if (needed_in != nullptr && missing_.empty()) {
      missing_ = name;
      library_ = needed_in;
    }
  }
  const std::string& missing() const { return missing_; }
  const std::string& library() const { return library_; }

 private:
  std::string missing_, library_;
};

Error with_driver(const Vendor& vendor, std::string_view call, std::string_view reason) {
  return device_error(
      "cambricon: {}: driver {} does not fit CNRT {} ({}); update the driver to the one that this "
      "Neuware was released with",
      call, version_text(vendor.driver), version_text(vendor.cnrt), reason);
}

}  // namespace

std::string version_text(const Vendor::Version& v) {
  return fmt::format("{}.{}.{}", v.major, v.minor, v.patch);
}

Result<std::shared_ptr<const Vendor>> load_vendor() {
  std::string why;
  void* cnrt = open_library("libcnrt.so", &why);
  if (cnrt == nullptr) return library_missing("libcnrt.so", why);
  why.clear();
  void* cnnl = open_library("libcnnl.so", &why);
  if (cnnl == nullptr) return library_missing("libcnnl.so", why);
  void* extra = open_library("libcnnl_extra.so", &why);

  auto vendor = std::make_shared<Vendor>();
  Resolver resolver;
#define FERRY_CNRT(name, result, arguments) \
  resolver.find(vendor->name, #name, {cnrt}, "libcnrt.so");
#define FERRY_CNNL(name, result, arguments) \
  resolver.find(vendor->name, #name, {cnnl}, "libcnnl.so");
#define FERRY_OPTIONAL(name, result, arguments) \
  resolver.find(vendor->name, #name, {cnnl, extra}, nullptr);
  FERRY_CNRT_SYMBOLS(FERRY_CNRT)
  FERRY_CNNL_SYMBOLS(FERRY_CNNL)
  FERRY_CNNL_OPTIONAL_SYMBOLS(FERRY_OPTIONAL)
#undef FERRY_CNRT
#undef FERRY_CNNL
#undef FERRY_OPTIONAL
  // The struct behind it has grown under new names; its first member is always the name.
  for (const char* name : {"cnrtGetDeviceProperties_V3", "cnrtGetDeviceProperties"}) {
    if (vendor->cnrtGetDeviceProperties != nullptr) break;
    resolver.find(vendor->cnrtGetDeviceProperties, name, {cnrt}, nullptr);
  }
  Vendor::Version& r = vendor->cnrt;
  if (vendor->cnrtGetLibVersion != nullptr) {
    vendor->cnrtGetLibVersion(&r.major, &r.minor, &r.patch);
  }
  Vendor::Version& n = vendor->cnnl;
  if (vendor->cnnlGetLibVersion != nullptr) {
    vendor->cnnlGetLibVersion(&n.major, &n.minor, &n.patch);
  }
  if (!resolver.missing().empty()) {
    return unsupported(
        "cambricon: {} has no {} (CNRT {}, CNNL {}); ferry needs a Neuware release that has it",
        resolver.library(), resolver.missing(), version_text(r), version_text(n));
  }
  Vendor::Version& d = vendor->driver;
  vendor->cnrtDriverGetVersion(&d.major, &d.minor, &d.patch);
  return std::shared_ptr<const Vendor>(std::move(vendor));
}

Error cnrt_error(const Vendor& vendor, std::string_view call, int status) {
  switch (status) {
    case kCnrtNoDevice:
      return device_error(
          "cambricon: {}: no device; check that the card is seated and the driver loaded "
          "(/dev/cambricon_dev0, cnmon)",
          call);
    case kCnrtOpsNotPermitted:
      return device_error(
          "cambricon: {}: no permission; let this user read and write /dev/cambricon_dev* and "
          "/dev/cambricon_ctl",
          call);
    case kCnrtNotReady:
    case kCnrtBusy:
      return busy(
          "cambricon: {}: the device is busy; another process holds it (cnmon lists them), choose "
          "another with --device or wait",
          call);
    case kCnrtInit:
    case kCnrtUnsupportedKernelVersion:
    case kCnrtDriverFunctionNotFound:
      return with_driver(vendor, call, vendor.cnrtGetErrorStr(status));
    case kCnrtNoMem: return out_of_memory("cambricon: {}: out of device memory", call);
    default:
      return device_error("cambricon: {}: error {} ({})", call, status,
                          vendor.cnrtGetErrorStr(status));
  }
}

Error cnnl_error(const Vendor& vendor, std::string_view call, int status) {
  const char* name = vendor.cnnlGetErrorString(status);
  switch (status) {
    case kCnnlNotInitialized:
    case kCnnlArchMismatch:
      return device_error(
          "cambricon: {}: {}: CNNL {} does not fit this device or driver {}; install the releases "
          "that belong together",
          call, name, version_text(vendor.cnnl), version_text(vendor.driver));
    case kCnnlAllocFailed: return out_of_memory("cambricon: {}: {}", call, name);
    case kCnnlNotSupported:
      return unsupported("cambricon: {}: {} by CNNL {}", call, name, version_text(vendor.cnnl));
    default:
      return device_error("cambricon: {}: {} ({}); CNNL {}", call, name, status,
                          version_text(vendor.cnnl));
  }
}

}  // namespace ferry::cambricon
