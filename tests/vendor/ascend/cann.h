// For the tests of the ascend backend: where the emulated releases are.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "device/backend.h"

namespace ferry::ascend {

// Each test runs in a process of its own: settings are read when the libraries are first opened.
inline void use_release(const std::string& release) {
  setenv("ASCEND_HOME_PATH", (FERRY_EMULATED_CANN "-" + release).c_str(), 1);
}

inline std::shared_ptr<Backend> open_emulated(const BackendOptions& options = {}) {
  auto backend = open_backend("ascend", options);
  if (!backend.ok()) ADD_FAILURE() << backend.error().message;
  return backend.ok() ? *backend : nullptr;
}

}  // namespace ferry::ascend
