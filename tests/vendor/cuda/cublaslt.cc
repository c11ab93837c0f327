// libcublasLt.so, emulated: handles, descriptors, the choice of an algorithm and products, with the
// vendor's names and status codes. As strict as the documentation lets the library be: attributes
// have the size that it states, an algorithm fits only what it was chosen for, and everything that
// a call would read or write lies in memory of the device and is aligned as was promised. What it
// leaves undefined is refused. Sums are made in f32, in another order than ferry's kernels.
//
// FERRY_EMULATED_CUBLASLT says what is wrong with it:
//   handle       cublasLtCreate fails, as with a driver that is too old
//   nothing      no algorithm is found
//   unsupported  the same, by a status
//   greedy       the algorithm wants more workspace than is allowed
//   asked        asking for an algorithm fails
//   attribute    no attribute can be set
//   refused      from the third product on, cublasLtMatmul fails
//   crash        from the third product on, what it launched fails on the device
#include <algorithm>
#include <atomic>
#include <cstring>
#include <map>
#include <mutex>
#include <set>
#include <vector>

#include "backends/cuda/cublaslt.h"
#include "vendor/cuda/emulated_streams.h"

namespace ferry::cuda {
struct HandleOfLt {
  int device = 0;
};
struct OperationOfLt {
  int compute_type = 0, scale_type = 0;
  int32_t transposes_a = 0;
  uint32_t epilogue = 1;
  const void* bias = nullptr;
};
struct LayoutOfLt {
  int type = 0;
  int64_t rows = 0, columns = 0, leading = 0;
  bool operator==(const LayoutOfLt&) const = default;
};
struct PreferenceOfLt {
  uint64_t workspace_bytes = 0;
  uint32_t alignment[4] = {256, 256, 256, 256};  // of a, b, c, d
};
}  // namespace ferry::cuda

namespace emulated {
namespace {

using namespace ferry::cuda;  // NOLINT: their names are these

constexpr uint64_t kMagic = 0x41B1C0B1A511Au;
constexpr int kAfterProducts = 2;  // "refused" and "crash" begin

// Every handle and descriptor that was made and not destroyed.
std::mutex mutex;
std::set<const void*>& living() {
  static auto& all = *new std::set<const void*>;
  return all;
}
std::atomic<int64_t> products = 0, questions = 0;

bool fault(const char* name) { return setting("FERRY_EMULATED_CUBLASLT") == name; }

bool lives(const void* object) {
  const std::lock_guard lock(mutex);
  return object != nullptr && living().count(object) == 1;
}

template <typename T>
int make(T** object, T value) {
  if (object == nullptr) return kLtInvalidValue;
  *object = new T(value);
  const std::lock_guard lock(mutex);
  living().insert(*object);
  return kLtSuccess;
}

template <typename T>
int destroy(T* object) {
  {
    const std::lock_guard lock(mutex);
    if (living().erase(object) == 0) return kLtInvalidValue;
  }
  delete object;
  return kLtSuccess;
}

template <typename T>
int set_to(T* member, const void* value, size_t bytes) {
  if (bytes != sizeof(T) || value == nullptr) return kLtInvalidValue;
  std::memcpy(member, value, bytes);
  return kLtSuccess;
}

bool is_power_of_two(uint64_t value) { return value != 0 && (value & (value - 1)) == 0; }

int64_t bytes_of(int type) { return type == kLtF32 ? 4 : 2; }

// Of a matrix, from its first element to one behind its last.
int64_t extent(const LayoutOfLt& layout) {
  return ((layout.columns - 1) * layout.leading + layout.rows) * bytes_of(layout.type);
}

// d = aᵀ b with the sums and types that ferry asks for; others are for others to emulate.
bool fits(const OperationOfLt& operation, const LayoutOfLt& a, const LayoutOfLt& b,
          const LayoutOfLt& c, const LayoutOfLt& d) {
  if (operation.compute_type != kLtCompute32F || operation.scale_type != kLtF32) return false;
  if (operation.transposes_a != kLtTranspose) return false;
  if (operation.epilogue != 1 && operation.epilogue != kLtEpilogueBias) return false;
  if ((operation.epilogue == kLtEpilogueBias) != (operation.bias != nullptr)) return false;
  if (a.type != b.type || (a.type != kLtF32 && a.type != kLtBF16)) return false;
  if (c.type != kLtF32 || !(c == d)) return false;
  return a.rows == b.rows && d.rows == a.columns && d.columns == b.columns;
}

uint64_t mix(uint64_t sum, uint64_t value) {
  sum = (sum ^ value) * 0x9E3779B97F4A7C15u;
  return sum ^ sum >> 29;
}

uint64_t summary(const OperationOfLt& operation, const LayoutOfLt& a, const LayoutOfLt& b,
                 const LayoutOfLt& d) {
  uint64_t sum = operation.epilogue;
  for (const LayoutOfLt* layout : {&a, &b, &d}) {
    for (const int64_t value :
         {static_cast<int64_t>(layout->type), layout->rows, layout->columns, layout->leading}) {
      sum = mix(sum, static_cast<uint64_t>(value));
    }
  }
  return sum;
}

bool aligned(const void* data, uint64_t bytes) {
  return reinterpret_cast<uintptr_t>(data) % bytes == 0;
}

bool overlap(const void* a, int64_t a_bytes, const void* b, int64_t b_bytes) {
  const auto* x = static_cast<const char*>(a);
  const auto* y = static_cast<const char*>(b);
  return x < y + b_bytes && y < x + a_bytes;
}

// What a product reads and writes, as addresses of the device.
struct Product {
  LayoutOfLt a, b, d;
  const void* from_a;
  const void* from_b;
  void* to_d;
  const void* bias;  // nullptr: none
  void* workspace;
  int64_t workspace_bytes;
  float alpha;
  bool wrong, crashes;
};

float number(const char* matrix, int type, int64_t i) {
  if (type == kLtF32) {
    float value;
    std::memcpy(&value, matrix + i * 4, 4);
    return value;
  }
  uint16_t bits;
  std::memcpy(&bits, matrix + i * 2, 2);
  return from_bfloat(bits);
}

std::vector<float> column(const char* matrix, const LayoutOfLt& layout, int64_t j) {
  std::vector<float> numbers(static_cast<size_t>(layout.rows));
  for (int64_t i = 0; i < layout.rows; ++i) {
    numbers[static_cast<size_t>(i)] = number(matrix, layout.type, j * layout.leading + i);
  }
  return numbers;
}

// Eight sums side by side, each of every eighth product.
float dot(const float* x, const float* y, int64_t count) {
  constexpr int kSums = 8;
  float sums[kSums] = {};
  int64_t i = 0;
  for (; i + kSums <= count; i += kSums) {
    for (int s = 0; s < kSums; ++s) sums[s] += x[i + s] * y[i + s];
  }
  for (; i < count; ++i) sums[i % kSums] += x[i] * y[i];
  for (int half = kSums / 2; half > 0; half /= 2) {
    for (int s = 0; s < half; ++s) sums[s] += sums[s + half];
  }
  return sums[0];
}

// Memory may have gone since the call, as it may for a kernel.
int compute(const Product& p, const Memory& memory) {
  if (p.crashes) return kLaunchFailed;
  const int64_t rows = p.d.rows;
  if (!memory.holds(p.from_a, extent(p.a)) || !memory.holds(p.from_b, extent(p.b)) ||
      !memory.holds(p.to_d, extent(p.d)) ||
      (p.workspace_bytes > 0 && !memory.holds(p.workspace, p.workspace_bytes)) ||
      (p.bias != nullptr && !memory.holds(p.bias, rows * 4))) {
    return kIllegalAddress;
  }
  if (p.workspace_bytes > 0) {
    std::memset(memory.inside(p.workspace), 0xA5, static_cast<size_t>(p.workspace_bytes));
  }
  std::vector<std::vector<float>> b_columns;
  for (int64_t t = 0; t < p.b.columns; ++t) {
    b_columns.push_back(column(memory.inside(p.from_b), p.b, t));
  }
  for (int64_t n = 0; n < rows; ++n) {
    const std::vector<float> w = column(memory.inside(p.from_a), p.a, n);
    const float bias = p.bias == nullptr ? 0 : number(memory.inside(p.bias), kLtF32, n);
    for (int64_t t = 0; t < p.b.columns; ++t) {
      const float sum = dot(w.data(), b_columns[static_cast<size_t>(t)].data(), p.a.rows);
      const float out = p.alpha * sum + bias + (p.wrong && n == rows - 1 ? 1.0f : 0.0f);
      std::memcpy(memory.inside(p.to_d) + (t * p.d.leading + n) * 4, &out, 4);
    }
  }
  return kSuccess;
}

}  // namespace
}  // namespace emulated

using namespace ferry::cuda;  // NOLINT: as above
using emulated::fault;
using emulated::lives;

extern "C" {

int cublasLtCreate(LtHandle* handle) {
  if (emulated::cuda_device() < 0 || fault("handle")) return kLtNotInitialized;
  return emulated::make(handle, HandleOfLt{emulated::cuda_device()});
}

int cublasLtDestroy(LtHandle handle) {
  return lives(handle) ? emulated::destroy(handle) : kLtNotInitialized;
}

int cublasLtGetProperty(int property, int* value) {
  if (value == nullptr || property < kLtMajorVersion || property > kLtPatchLevel) {
    return kLtInvalidValue;
  }
  const int version[] = {FERRY_EMULATED_CUBLASLT_MAJOR, 1, 0};
  *value = version[property];
  return kLtSuccess;
}

int cublasLtMatmulDescCreate(LtOperation* operation, int compute_type, int scale_type) {
  OperationOfLt made;
  made.compute_type = compute_type;
  made.scale_type = scale_type;
  return emulated::make(operation, made);
}

int cublasLtMatmulDescDestroy(LtOperation operation) { return emulated::destroy(operation); }

int cublasLtMatmulDescSetAttribute(LtOperation operation, int attribute, const void* value,
                                   size_t bytes) {
  if (!lives(operation) || fault("attribute")) return kLtInvalidValue;
  switch (attribute) {
    case kLtOperationTransA: return emulated::set_to(&operation->transposes_a, value, bytes);
    case kLtOperationEpilogue: return emulated::set_to(&operation->epilogue, value, bytes);
    case kLtOperationBiasPointer: return emulated::set_to(&operation->bias, value, bytes);
    default: return kLtInvalidValue;
  }
}

int cublasLtMatrixLayoutCreate(LtLayout* layout, int type, uint64_t rows, uint64_t cols,
                               int64_t leading_dimension) {
  const auto r = static_cast<int64_t>(rows), c = static_cast<int64_t>(cols);
  if (r <= 0 || c <= 0 || leading_dimension < r) return kLtInvalidValue;
  return emulated::make(layout, LayoutOfLt{type, r, c, leading_dimension});
}

int cublasLtMatrixLayoutDestroy(LtLayout layout) { return emulated::destroy(layout); }

int cublasLtMatmulPreferenceCreate(LtPreference* preference) {
  return emulated::make(preference, PreferenceOfLt{});
}

int cublasLtMatmulPreferenceDestroy(LtPreference preference) {
  return emulated::destroy(preference);
}

int cublasLtMatmulPreferenceSetAttribute(LtPreference preference, int attribute, const void* value,
                                         size_t bytes) {
  if (!lives(preference)) return kLtInvalidValue;
  if (attribute == kLtPreferenceWorkspaceBytes) {
    return emulated::set_to(&preference->workspace_bytes, value, bytes);
  }
  if (attribute < kLtPreferenceAlignmentA || attribute > kLtPreferenceAlignmentD) {
    return kLtInvalidValue;
  }
  uint32_t* alignment = &preference->alignment[attribute - kLtPreferenceAlignmentA];
  const int status = emulated::set_to(alignment, value, bytes);
  return status == kLtSuccess && !emulated::is_power_of_two(*alignment) ? kLtInvalidValue : status;
}

// In an algorithm: a mark, what it was chosen for, its workspace, the alignment of a, b, d and of
// the bias that it counts on.
int cublasLtMatmulAlgoGetHeuristic(LtHandle handle, LtOperation operation, LtLayout a, LtLayout b,
                                   LtLayout c, LtLayout d, LtPreference preference, int wanted,
                                   LtHeuristic* found, int* num_found) {
  ++emulated::questions;
  if (!lives(handle)) return kLtNotInitialized;
  for (const void* object :
       {static_cast<void*>(operation), static_cast<void*>(a), static_cast<void*>(b),
        static_cast<void*>(c), static_cast<void*>(d), static_cast<void*>(preference)}) {
    if (!lives(object)) return kLtInvalidValue;
  }
  if (wanted <= 0 || found == nullptr || num_found == nullptr) return kLtInvalidValue;
  *num_found = 0;
  if (fault("asked")) return kLtInternalError;
  if (fault("unsupported")) return kLtNotSupported;
  if (fault("nothing")) return kLtSuccess;
  if (!emulated::fits(*operation, *a, *b, *c, *d)) return kLtNotSupported;
  // Vectors of 16 bytes, which stay aligned from one column to the next.
  for (const LtLayout layout : {a, b, d}) {
    if (layout->leading * emulated::bytes_of(layout->type) % 16 != 0) return kLtNotSupported;
  }
  for (const uint32_t alignment : preference->alignment) {
    if (alignment < 16) return kLtNotSupported;
  }
  uint64_t workspace = std::min<uint64_t>(preference->workspace_bytes, uint64_t{1} << 20);
  if (fault("greedy")) workspace = preference->workspace_bytes + 1;
  std::memset(found, 0, sizeof *found);
  const uint64_t data[8] = {
      emulated::kMagic,
      emulated::summary(*operation, *a, *b, *d),
      workspace,
      preference->alignment[0],
      preference->alignment[1],
      preference->alignment[3],
      reinterpret_cast<uintptr_t>(operation->bias) % 16 == 0 ? uint64_t{16} : uint64_t{4},
      0};
  std::memcpy(found->algorithm.data, data, sizeof data);
  found->workspace_bytes = workspace;
  found->state = kLtSuccess;
  found->waves = 1;
  *num_found = 1;
  return kLtSuccess;
}

int cublasLtMatmul(LtHandle handle, LtOperation operation, const void* alpha, const void* a,
                   LtLayout a_layout, const void* b, LtLayout b_layout, const void* beta,
                   const void* c, LtLayout c_layout, void* d, LtLayout d_layout,
                   const LtAlgorithm* algorithm, void* workspace, size_t workspace_bytes,
                   DriverStream stream) {
  const int64_t before = emulated::products++;
  if (!lives(handle) || handle->device != emulated::cuda_device()) return kLtNotInitialized;
  for (const void* object :
       {static_cast<void*>(operation), static_cast<void*>(a_layout), static_cast<void*>(b_layout),
        static_cast<void*>(c_layout), static_cast<void*>(d_layout)}) {
    if (!lives(object)) return kLtInvalidValue;
  }
  if (fault("refused") && before >= emulated::kAfterProducts) return kLtExecutionFailed;
  if (!emulated::fits(*operation, *a_layout, *b_layout, *c_layout, *d_layout)) {
    return kLtNotSupported;
  }
  if (algorithm == nullptr || algorithm->data[0] != emulated::kMagic ||
      algorithm->data[1] != emulated::summary(*operation, *a_layout, *b_layout, *d_layout)) {
    return kLtInvalidValue;
  }
  const emulated::Memory& memory = emulated::cuda_memory(handle->device);
  // Scale factors are read on the host, during the call.
  if (alpha == nullptr || beta == nullptr || memory.is_device(alpha) || memory.is_device(beta)) {
    return kLtInvalidValue;
  }
  emulated::Product p{.a = *a_layout,
                      .b = *b_layout,
                      .d = *d_layout,
                      .from_a = a,
                      .from_b = b,
                      .to_d = d,
                      .bias = operation->epilogue == kLtEpilogueBias ? operation->bias : nullptr,
                      .workspace = workspace,
                      .workspace_bytes = static_cast<int64_t>(algorithm->data[2]),
                      .alpha = 0,
                      .wrong = emulated::is_wrong("cublasLtMatmul"),
                      .crashes = fault("crash") && before >= emulated::kAfterProducts};
  float read_beta = 0;
  std::memcpy(&p.alpha, alpha, sizeof p.alpha);
  std::memcpy(&read_beta, beta, sizeof read_beta);
  if (read_beta != 0 || c != d) return kLtNotSupported;
  if (p.workspace_bytes > static_cast<int64_t>(workspace_bytes)) return kLtInvalidValue;
  // The whole of what it is told to be, used or not.
  const auto all_workspace = static_cast<int64_t>(workspace_bytes);
  const int64_t a_bytes = emulated::extent(p.a), b_bytes = emulated::extent(p.b);
  const int64_t d_bytes = emulated::extent(p.d), bias_bytes = p.d.rows * 4;
  if (!memory.holds(a, a_bytes) || !memory.holds(b, b_bytes) || !memory.holds(d, d_bytes) ||
      !memory.holds(workspace, all_workspace) ||
      (p.bias != nullptr && !memory.holds(p.bias, bias_bytes))) {
    return kLtInvalidValue;
  }
  if (!emulated::aligned(a, algorithm->data[3]) || !emulated::aligned(b, algorithm->data[4]) ||
      !emulated::aligned(d, algorithm->data[5]) || !emulated::aligned(workspace, 256) ||
      !emulated::aligned(p.bias, algorithm->data[6])) {
    return kLtInvalidValue;
  }
  const std::pair<const void*, int64_t> others[] = {
      {a, a_bytes}, {b, b_bytes}, {p.bias, p.bias == nullptr ? 0 : bias_bytes}};
  for (const auto& [other, bytes] : others) {
    if (emulated::overlap(d, d_bytes, other, bytes)) return kLtInvalidValue;
    if (emulated::overlap(workspace, all_workspace, other, bytes)) return kLtInvalidValue;
  }
  if (emulated::overlap(d, d_bytes, workspace, all_workspace)) return kLtInvalidValue;
  const int queued =
      emulated::cuda_enqueue(stream, [p, &memory] { return emulated::compute(p, memory); });
  return queued == kSuccess ? kLtSuccess : kLtExecutionFailed;
}

// For tests: products asked for, questions for an algorithm, and what was made and not destroyed.
int64_t ferry_emulated_cublaslt_products() { return emulated::products; }
int64_t ferry_emulated_cublaslt_questions() { return emulated::questions; }
int64_t ferry_emulated_cublaslt_living() {
  const std::lock_guard lock(emulated::mutex);
  return static_cast<int64_t>(emulated::living().size());
}

}  // extern "C"
