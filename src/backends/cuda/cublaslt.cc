// Finding cuBLASLt: see cublaslt.h.
#include "backends/cuda/cublaslt.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <cstdlib>
#include <initializer_list>

namespace ferry::cuda {
namespace {

constexpr int kNewestCublasLt = 13, kOldestCublasLt = 11;

std::string version_of(const CublasLt& library) {
  int parts[3] = {};
  for (const int property : {kLtMajorVersion, kLtMinorVersion, kLtPatchLevel}) {
    if (library.cublasLtGetProperty(property, &parts[property]) != kLtSuccess) return "no version";
  }
  return fmt::format("{}.{}.{}", parts[0], parts[1], parts[2]);
}

}  // namespace

std::shared_ptr<const CublasLt> load_cublaslt(int driver_version, std::string* why) {
  const char* folder = std::getenv("FERRY_CUBLASLT");
  const bool chosen = folder != nullptr && *folder != '\0';
  why->clear();
  for (int major = kNewestCublasLt; major >= kOldestCublasLt; --major) {
    const std::string name = fmt::format("libcublasLt.so.{}", major);
    // What is wrong with the newest that is there is said rather than that an older one isn't.
    const auto say = [why](std::string reason) {
      if (why->empty()) *why = std::move(reason);
    };
    if (major > driver_version / 1000) continue;
    const std::string path = chosen ? fmt::format("{}/{}", folder, name) : name;
    void* opened = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (opened == nullptr) {
      if (major == kOldestCublasLt) say(fmt::format("{} can't be opened ({})", name, dlerror()));
      continue;
    }
    auto library = std::make_shared<CublasLt>();
    std::string missing;
#define FERRY_CUDA_FIND(name, arguments)                                           \
  library->name = reinterpret_cast<decltype(library->name)>(dlsym(opened, #name)); \
  if (library->name == nullptr && missing.empty()) missing = #name;
    FERRY_CUBLASLT_SYMBOLS(FERRY_CUDA_FIND)
#undef FERRY_CUDA_FIND
    if (missing.empty()) {
      library->name = fmt::format("{} ({})", name, version_of(*library));
      return library;
    }
    say(fmt::format("{} has no {}", name, missing));
  }
  if (why->empty()) *why = "the driver is for an older CUDA than libcublasLt.so.11";
  return nullptr;
}

std::string lt_status_name(int status) {
  switch (status) {
    case kLtSuccess: return "CUBLAS_STATUS_SUCCESS";
    case kLtNotInitialized: return "CUBLAS_STATUS_NOT_INITIALIZED";
    case kLtAllocFailed: return "CUBLAS_STATUS_ALLOC_FAILED";
    case kLtInvalidValue: return "CUBLAS_STATUS_INVALID_VALUE";
    case kLtArchMismatch: return "CUBLAS_STATUS_ARCH_MISMATCH";
    case kLtMappingError: return "CUBLAS_STATUS_MAPPING_ERROR";
    case kLtExecutionFailed: return "CUBLAS_STATUS_EXECUTION_FAILED";
    case kLtInternalError: return "CUBLAS_STATUS_INTERNAL_ERROR";
    case kLtNotSupported: return "CUBLAS_STATUS_NOT_SUPPORTED";
    default: return fmt::format("status {}", status);
  }
}

}  // namespace ferry::cuda
