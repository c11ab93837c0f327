// The emulated CANN: every function of the backend's prototypes is declared here, so that a
// definition with other arguments would not compile, and what the libraries share.
#pragma once

#include <string>
#include <vector>

#include "backends/ascend/vendor.h"
#include "vendor/common/emulated.h"

// The vendor's objects, as the emulator makes them.
namespace ferry::ascend {
struct AclTensor {
  int dtype = 0;
  std::vector<int64_t> sizes, strides;
  int64_t storage = 0;  // elements
  void* data = nullptr;
};
struct AclScalar {
  float value;
};
struct AclIntArray {
  std::vector<int64_t> values;
};
struct AclTensorList {
  std::vector<const AclTensor*> tensors;
};
struct AclExecutor {
  std::string name;
  int device;
  uint64_t workspace;
  std::function<int()> task;
};
struct ContextOfAcl {
  int device;
};
struct StreamOfAcl {
  int device;
  emulated::TaskQueue queue;
};
struct EventOfAcl {
  std::shared_ptr<emulated::Mark> mark;  // of the last record; nullptr: never recorded
};
}  // namespace ferry::ascend

namespace emulated {

using namespace ferry::ascend;  // NOLINT: their names are these

// Which release and chip the folder of this library stands for (CMakeLists.txt).
bool is_release(const char* name);
bool is_310p();

// Of the context that the calling thread has chosen; -1: none.
int current_device();
Memory& device_memory(int device);

// A tensor as a task sees it.
struct Tensor {
  int dtype = 0;
  std::vector<int64_t> sizes, strides;
  char* data = nullptr;  // where the emulator may touch it

  int64_t count() const;
  bool is_contiguous() const;
  // By offset in elements. Rounds to nearest even.
  float load(int64_t offset) const;
  void store(int64_t offset, float value) const;
  int64_t integer(int64_t offset) const;
  // Offset of element number `index`, counted in row-major order.
  int64_t offset_of(int64_t index) const;
  float at(int64_t index) const { return load(offset_of(index)); }
  void put(int64_t index, float value) const { store(offset_of(index), value); }
};
int64_t bytes_of(int dtype);
bool is_float(const Tensor& x);
bool same_sizes(const Tensor& a, const Tensor& b);

// The first phase of an operator: collects what is wrong with its arguments, then makes an
// executor.
class Call {
 public:
  explicit Call(const char* name);
  // Fails unless the tensor lies in device memory and the chip has its dtype.
  Tensor tensor(const AclTensor* tensor);
  void require(bool condition, int status = kAclnnParamInvalid) {
    if (!condition && status_ == kAclnnSuccess) status_ = status;
  }
  bool ok() const { return status_ == kAclnnSuccess; }
  // A library that is wrong in this test gives something else.
  bool wrong() const { return is_wrong(name_); }
  int make(std::function<int()> task, uint64_t* workspace, AclExecutor** executor);

 private:
  const char* name_;
  int device_;
  int status_ = kAclnnSuccess;
};

// The second phase: poisons the workspace, runs the executor once and ends it.
int execute(const char* name, void* workspace, uint64_t bytes, AclExecutor* executor, AclStream);

inline constexpr uint64_t kWorkspace = 512;

}  // namespace emulated

extern "C" {
#define FERRY_DECLARE(name, result, arguments) result name arguments;
#define FERRY_DECLARE_OPERATOR(name, ...)                                             \
  int aclnn##name##GetWorkspaceSize(__VA_ARGS__, uint64_t* workspace, AclExecutor**); \
  int aclnn##name(void* workspace, uint64_t bytes, AclExecutor* executor, AclStream);
using namespace ferry::ascend;  // NOLINT: as above
FERRY_ACL_SYMBOLS(FERRY_DECLARE)
FERRY_NNOPBASE_SYMBOLS(FERRY_DECLARE)
FERRY_ACLNN_SYMBOLS(FERRY_DECLARE_OPERATOR)
FERRY_ACLNN_OPTIONAL_SYMBOLS(FERRY_DECLARE_OPERATOR)
#undef FERRY_DECLARE
#undef FERRY_DECLARE_OPERATOR
}
