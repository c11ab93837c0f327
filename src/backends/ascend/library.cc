// Finding CANN's libraries: see library.h.
#include "backends/ascend/library.h"

#include <dlfcn.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "base/quote_name.h"

namespace ferry::ascend {
namespace {

constexpr const char* kUsualFolder = "/usr/local/Ascend/ascend-toolkit/latest/lib64/";

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

}  // namespace

void* open_library(const std::string& name, std::string* why) {
  std::string home = environment("ASCEND_HOME_PATH");
  if (home.empty()) home = environment("ASCEND_TOOLKIT_HOME");
  std::vector<std::string> paths = {name, kUsualFolder + name};
  if (!home.empty()) paths = {home + "/lib64/" + name};
  for (const std::string& path : paths) {
    void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL);
    if (library != nullptr) return library;
    if (why->empty()) *why = dlerror();
  }
  return nullptr;
}

namespace {

// In the order in which an operator is looked for; those that aren't there are left out.
std::vector<void*> operator_libraries(std::string* why) {
  std::vector<void*> found;
  const std::string custom = environment("ASCEND_CUSTOM_OPP_PATH");
  for (size_t at = 0; at < custom.size();) {  // folders apart by colons
    const size_t end = std::min(custom.find(':', at), custom.size());
    const std::string path = custom.substr(at, end - at) + "/op_api/lib/libcust_opapi.so";
    if (void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL)) found.push_back(library);
    at = end + 1;
  }
  for (const char* name : {"libopapi_transformer.so", "libopapi_nn.so", "libopapi_math.so",
                           "libopapi.so", "libaclnn_ops_infer.so", "libaclnn_math.so"}) {
    if (void* library = open_library(name, why)) found.push_back(library);
  }
  return found;
}

Error library_missing(const std::string& name, const std::string& why) {
  return not_found(
      "ascend: {} can't be opened ({}); install CANN and its kernels for this chip, or source its "
      "set_env.sh, which sets ASCEND_HOME_PATH to where it is",
      name, why);
}

// Fills the table; remembers the first name that had to be there and wasn't.
class SymbolFinder {
 public:
  template <typename Function>
  void find(Function& function, const std::string& name, const std::vector<void*>& libraries,
            const char* needed_in) {
    for (void* library : libraries) {
      function = reinterpret_cast<Function>(dlsym(library, name.c_str()));
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

// The first line of what CANN itself says about the last failure, or nothing.
std::string reason_of(const Vendor& vendor) {
  const char* text = vendor.aclGetRecentErrMsg();
  if (text == nullptr) return "";
  const std::string_view all(text);
  const std::string_view line = all.substr(0, all.find('\n'));
  return line.empty() ? "" : fmt::format(" ({})", one_line(line));
}

}  // namespace

Result<std::shared_ptr<const Vendor>> load_vendor() {
  std::string why;
  void* runtime = open_library("libascendcl.so", &why);
  if (runtime == nullptr) return library_missing("libascendcl.so", why);
  why.clear();
  void* base = open_library("libnnopbase.so", &why);
  if (base == nullptr) return library_missing("libnnopbase.so", why);
  why.clear();
  const std::vector<void*> operators = operator_libraries(&why);
  if (operators.empty()) return library_missing("libopapi.so", why);

  auto vendor = std::make_shared<Vendor>();
  SymbolFinder finder;
#define FERRY_RUNTIME(name, result, arguments) \
  finder.find(vendor->name, #name, {runtime}, "libascendcl.so");
#define FERRY_BASE(name, result, arguments) \
  finder.find(vendor->name, #name, {base}, "libnnopbase.so");
#define FERRY_FIND(name, needed)                                                          \
  finder.find(vendor->name.prepare, "aclnn" #name "GetWorkspaceSize", operators, needed); \
  finder.find(vendor->name.execute, "aclnn" #name, operators, needed);
#define FERRY_NEEDED(name, ...) FERRY_FIND(name, "libopapi.so")
#define FERRY_OPTIONAL(name, ...) FERRY_FIND(name, nullptr)
  FERRY_ACL_SYMBOLS(FERRY_RUNTIME)
  FERRY_NNOPBASE_SYMBOLS(FERRY_BASE)
  FERRY_ACLNN_SYMBOLS(FERRY_NEEDED)
  FERRY_ACLNN_OPTIONAL_SYMBOLS(FERRY_OPTIONAL)
#undef FERRY_RUNTIME
#undef FERRY_BASE
#undef FERRY_FIND
#undef FERRY_NEEDED
#undef FERRY_OPTIONAL
  int32_t major = 0, minor = 0, patch = 0;
  if (vendor->aclrtGetVersion != nullptr) vendor->aclrtGetVersion(&major, &minor, &patch);
  vendor->version = fmt::format("{}.{}.{}", major, minor, patch);
  if (!finder.missing().empty()) {
    return unsupported("ascend: {} has no {} (runtime {}); ferry needs a CANN release that has it",
                       finder.library(), finder.missing(), vendor->version);
  }
  const int status = vendor->aclInit(nullptr);
  if (status != kAclSuccess && status != kAclRepeatInitialize && status != kRtRepeatedInit) {
    return acl_error(*vendor, "aclInit", status);
  }
  return std::shared_ptr<const Vendor>(std::move(vendor));
}

Error acl_error(const Vendor& vendor, std::string_view call, int status) {
  switch (status) {
    case kRtNoDevice:
      return device_error(
          "ascend: {}: no device; check that the card is seated and the driver loaded "
          "(/dev/davinci0, npu-smi info)",
          call);
    case kRtNoPermission:
      return device_error(
          "ascend: {}: no permission; let this user read and write /dev/davinci* and "
          "/dev/davinci_manager (they belong to the group HwHiAiUser)",
          call);
    case kRtDevSetupError:
      return busy(
          "ascend: {}: the device can't be set up; another process may hold it (npu-smi info lists "
          "them), choose another with --device or wait{}",
          call, reason_of(vendor));
    case kRtDrvInternalError:
      return device_error(
          "ascend: {}: the driver does not fit CANN runtime {}; install the driver and firmware "
          "that this CANN was released with{}",
          call, vendor.version, reason_of(vendor));
    case kRtMemoryAllocation:
    case kRtDeviceOom: return out_of_memory("ascend: {}: out of device memory", call);
    default: return device_error("ascend: {}: error {}{}", call, status, reason_of(vendor));
  }
}

Error aclnn_error(const Vendor& vendor, std::string_view call, int status) {
  if (status == kAclnnParamInvalid || status == kAclnnParamNullptr) {
    return unsupported("ascend: {} does not take these arguments: error {}, runtime {}{}", call,
                       status, vendor.version, reason_of(vendor));
  }
  return device_error("ascend: {}: error {}, runtime {}{}", call, status, vendor.version,
                      reason_of(vendor));
}

}  // namespace ferry::ascend
