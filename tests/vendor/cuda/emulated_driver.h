// For the tests of the cuda backend: where the emulated drivers are.
#pragma once

#include <dlfcn.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "device/backend.h"

namespace ferry::cuda {

// Each test runs in a process of its own: settings are read when the library is first opened.
inline void use_driver(const std::string& release) {
  setenv("FERRY_CUDA_DRIVER", (FERRY_EMULATED_CUDA "-" + release).c_str(), 1);
  // No library but an emulated one may meet this driver.
  setenv("FERRY_CUBLASLT", "/nonexistent", 1);
}
// After use_driver().
inline void use_cublaslt(const std::string& release) {
  setenv("FERRY_CUBLASLT", (FERRY_EMULATED_CUBLASLT "-" + release).c_str(), 1);
}

inline std::shared_ptr<Backend> open_on_driver(const BackendOptions& options = {}) {
  auto backend = open_backend("cuda", options);
  if (!backend.ok()) ADD_FAILURE() << backend.error().message;
  return backend.ok() ? *backend : nullptr;
}

inline std::string driver_path() {
  return std::string(std::getenv("FERRY_CUDA_DRIVER")) + "/libcuda.so.1";
}

// How many graphs the driver that this process has loaded was asked to launch so far.
inline int64_t graph_launches() {
  void* library = dlopen(driver_path().c_str(), RTLD_NOW | RTLD_NOLOAD);
  auto* count = reinterpret_cast<int64_t (*)()>(dlsym(library, "ferry_emulated_graph_launches"));
  return count();
}

// What the cuBLASLt that this process has loaded counted so far: "products", "questions" for an
// algorithm, "living" handles and descriptors. 0 where none is loaded.
inline int64_t cublaslt_count(const std::string& of) {
  const std::string path = std::string(std::getenv("FERRY_CUBLASLT")) + "/libcublasLt.so.13";
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_NOLOAD);
  if (library == nullptr) return 0;
  auto* count =
      reinterpret_cast<int64_t (*)()>(dlsym(library, ("ferry_emulated_cublaslt_" + of).c_str()));
  return count();
}

// Bytes of device memory that the driver has given away, as they were asked for.
inline int64_t device_memory() {
  void* library = dlopen(driver_path().c_str(), RTLD_NOW | RTLD_NOLOAD);
  return reinterpret_cast<int64_t (*)()>(dlsym(library, "ferry_emulated_taken_bytes"))();
}

// How many launches of a kernel there were so far.
inline int64_t kernel_launches(const char* name) {
  void* library = dlopen(driver_path().c_str(), RTLD_NOW | RTLD_NOLOAD);
  auto* count =
      reinterpret_cast<int64_t (*)(const char*)>(dlsym(library, "ferry_emulated_kernel_launches"));
  return count(name);
}

}  // namespace ferry::cuda
