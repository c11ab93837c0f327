// The emulated CNRT and CNNL: every function of the backend's prototypes is declared here, so that
// a definition with other arguments would not compile, and what the two libraries share.
#pragma once

#include <string>
#include <vector>

#include "backends/cambricon/vendor.h"
#include "vendor/common/emulated.h"

// The vendor's handles, as the emulator makes them.
namespace ferry::cambricon {
struct QueueOfCnrt {
  int device;
  emulated::TaskQueue queue;
};
struct NotifierOfCnrt {
  std::shared_ptr<emulated::Mark> mark;  // of the last place; nullptr: never placed
};
struct HandleOfCnnl {
  QueueOfCnrt* queue = nullptr;
};
struct TensorDescOfCnnl {
  int dtype = 0;
  std::vector<int64_t> sizes, strides;
};
struct OpDescOfCnnl {
  std::string kind;
  std::map<int, int64_t> values;  // what was set, by attribute or position
  float epsilon = 0;
};
}  // namespace ferry::cambricon

namespace emulated {

using namespace ferry::cambricon;  // NOLINT: their names are these

// Whether this library was opened as the old release (CMakeLists.txt).
bool is_old_release();

// Of the device that the calling thread has chosen.
Memory& device_memory();
Memory& device_memory(int device);

// A tensor as a task sees it.
struct Tensor {
  int dtype = 0;
  std::vector<int64_t> sizes, strides;
  char* data = nullptr;  // where the emulator may touch it

  int64_t count() const;
  bool is_contiguous() const;
  float* floats() const { return reinterpret_cast<float*>(data); }
  const int32_t* integers() const { return reinterpret_cast<const int32_t*>(data); }
  float load(int64_t offset) const;
  void store(int64_t offset, float value) const;
  // Offset of element number `index`, counted in row-major order.
  int64_t offset_of(int64_t index) const;
};
int64_t bytes_of(int dtype);

// Collects what is wrong with the arguments of a call, then queues it.
class Call {
 public:
  Call(Handle handle, const char* name) : handle_(handle), name_(name) {
    if (handle == nullptr || handle->queue == nullptr) fail(kCnnlNotInitialized);
  }
  // Fails unless the tensor lies in device memory.
  Tensor tensor(TensorDesc desc, const void* data);
  void workspace(const void* data, size_t bytes, size_t needed);
  void require(bool condition, int status = kCnnlBadParam) {
    if (!condition) fail(status);
  }
  // A library that is wrong in this test gives `otherwise`.
  bool wrong() const { return is_wrong(name_); }
  bool ok() const { return status_ == kCnnlSuccess; }
  int run(std::function<int()> task);

 private:
  void fail(int status) {
    if (status_ == kCnnlSuccess) status_ = status;
  }
  Handle handle_;
  const char* name_;
  int status_ = kCnnlSuccess;
};

inline constexpr int kTrap = 100132;  // cnrtErrorKernelTrap
inline constexpr size_t kWorkspace = 256;

bool overlap(const Tensor& a, const Tensor& b);
bool same_sizes(const Tensor& a, const Tensor& b);

}  // namespace emulated

extern "C" {
#define FERRY_DECLARE(name, result, arguments) result name arguments;
using namespace ferry::cambricon;  // NOLINT: as above
FERRY_CNRT_SYMBOLS(FERRY_DECLARE)
FERRY_CNNL_SYMBOLS(FERRY_DECLARE)
FERRY_CNNL_OPTIONAL_SYMBOLS(FERRY_DECLARE)
#undef FERRY_DECLARE
int cnrtGetDeviceProperties_V3(void* properties, int device);
}
