// What ferry knows of Huawei's CANN: the runtime (aclrt…), the objects of operators (aclCreate…)
// and the operators it calls (aclnn…), prototypes and constants in our own words from public
// documentation, so that nothing of CANN is needed to build. tests/vendor/ascend holds them against
// the vendor's headers where those are installed.
//
// Structs of the vendor's are opaque here, enumerations are int, which is what the calling
// convention sees.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace ferry::ascend {

struct AclTensor;
struct AclScalar;
struct AclIntArray;
struct AclTensorList;
struct AclExecutor;
using AclStream = struct StreamOfAcl*;
using AclEvent = struct EventOfAcl*;
using AclContext = struct ContextOfAcl*;

// aclError
inline constexpr int kAclSuccess = 0;
inline constexpr int kAclRepeatInitialize = 100002;
inline constexpr int kRtParamInvalid = 107000;
inline constexpr int kRtInvalidDeviceId = 107001;
inline constexpr int kRtContextNull = 107002;
inline constexpr int kRtStreamContext = 107003;
inline constexpr int kRtFeatureNotSupport = 207000;
inline constexpr int kRtMemoryAllocation = 207001;
inline constexpr int kRtNoDevice = 207004;
inline constexpr int kRtNoPermission = 207006;
inline constexpr int kRtRepeatedInit = 207015;
inline constexpr int kRtDeviceOom = 207018;
inline constexpr int kRtAicoreException = 507015;
inline constexpr int kRtDevSetupError = 507033;
inline constexpr int kRtDrvInternalError = 507899;
// aclnnStatus
inline constexpr int kAclnnSuccess = 0;
inline constexpr int kAclnnParamNullptr = 161001;
inline constexpr int kAclnnParamInvalid = 161002;
inline constexpr int kAclnnRuntimeError = 361001;

// aclDataType
inline constexpr int kAclFloat = 0;
inline constexpr int kAclFloat16 = 1;
inline constexpr int kAclInt8 = 2;
inline constexpr int kAclInt32 = 3;
inline constexpr int kAclInt64 = 9;
inline constexpr int kAclBf16 = 27;
inline constexpr int kFormatNd = 2;  // aclFormat

// aclrtMemcpyKind
inline constexpr int kHostToDevice = 1;
inline constexpr int kDeviceToHost = 2;
inline constexpr int kMallocHugeFirst = 0;  // aclrtMemMallocPolicy
inline constexpr int kDdrMemory = 0;        // aclrtMemAttr
inline constexpr int kHbmMemory = 1;

// cubeMathType of the matrix products
inline constexpr int8_t kKeepDtype = 0;
inline constexpr int8_t kAllowF32DownPrecision = 1;

// aclnnMoeGatingTopK
inline constexpr int64_t kGateSoftmax = 0;  // normType
inline constexpr int64_t kGateSigmoid = 1;
inline constexpr int64_t kGroupMax = 0;  // groupSelectMode
inline constexpr int64_t kGroupSumOfTopTwo = 1;

// aclnnGroupedMatmul: one x and one out, rows cut into groups by their ends.
inline constexpr int64_t kSplitOneOut = 3;    // splitItem
inline constexpr int64_t kGroupRows = 0;      // groupType
inline constexpr int64_t kGroupListEnds = 0;  // groupListType: running sums
inline constexpr int64_t kMaxGroups = 128;    // tensors of a list

// aclnnRotaryPositionEmbedding
inline constexpr int64_t kRotateHalves = 0;
inline constexpr int64_t kRotateNeighbours = 1;

// aclnnFusedInferAttentionScore
inline constexpr char kBatchSequenceHeads[] = "BSND";  // inputLayout
inline constexpr int64_t kAnyTokens = 2147483647;      // preTokens, nextTokens: no window
inline constexpr int64_t kNoSparsity = 0;              // sparseMode: all keys of the length
inline constexpr int64_t kPreciseAttention = 0;        // innerPrecise

// aclnnWeightQuantBatchMatmul
inline constexpr int64_t kMaxWeightQuantRows = 65535;

// X(name, result, arguments). In libascendcl.so, all of them needed.
#define FERRY_ACL_SYMBOLS(X)                                                                  \
  X(aclInit, int, (const char* config))                                                       \
  X(aclrtGetVersion, int, (int32_t * major, int32_t * minor, int32_t * patch))                \
  X(aclrtGetDeviceCount, int, (uint32_t * count))                                             \
  X(aclrtSetDevice, int, (int32_t device))                                                    \
  X(aclrtCreateContext, int, (AclContext * context, int32_t device))                          \
  X(aclrtDestroyContext, int, (AclContext context))                                           \
  X(aclrtSetCurrentContext, int, (AclContext context))                                        \
  X(aclrtGetSocName, const char*, ())                                                         \
  X(aclrtGetMemInfo, int, (int attribute, size_t* free, size_t* total))                       \
  X(aclrtMalloc, int, (void** data, size_t bytes, int policy))                                \
  X(aclrtFree, int, (void* data))                                                             \
  X(aclrtMallocHost, int, (void** data, size_t bytes))                                        \
  X(aclrtFreeHost, int, (void* data))                                                         \
  X(aclrtMemcpy, int, (void* dst, size_t dst_bytes, const void* src, size_t bytes, int kind)) \
  X(aclrtMemcpyAsync, int,                                                                    \
    (void* dst, size_t dst_bytes, const void* src, size_t bytes, int kind, AclStream stream)) \
  X(aclrtMemsetAsync, int,                                                                    \
    (void* data, size_t most_bytes, int32_t value, size_t bytes, AclStream stream))           \
  X(aclrtSynchronizeDevice, int, ())                                                          \
  X(aclrtCreateStream, int, (AclStream * stream))                                             \
  X(aclrtDestroyStream, int, (AclStream stream))                                              \
  X(aclrtSynchronizeStream, int, (AclStream stream))                                          \
  X(aclrtCreateEvent, int, (AclEvent * event))                                                \
  X(aclrtDestroyEvent, int, (AclEvent event))                                                 \
  X(aclrtRecordEvent, int, (AclEvent event, AclStream stream))                                \
  X(aclrtStreamWaitEvent, int, (AclStream stream, AclEvent event))                            \
  X(aclGetRecentErrMsg, const char*, ())

// In libnnopbase.so, all of them needed. A tensor list owns the tensors in it.
#define FERRY_NNOPBASE_SYMBOLS(X)                                                            \
  X(aclCreateTensor, AclTensor*,                                                             \
    (const int64_t* sizes, uint64_t rank, int dtype, const int64_t* strides, int64_t offset, \
     int format, const int64_t* storage_sizes, uint64_t storage_rank, void* data))           \
  X(aclDestroyTensor, int, (const AclTensor* tensor))                                        \
  X(aclCreateScalar, AclScalar*, (void* value, int dtype))                                   \
  X(aclDestroyScalar, int, (const AclScalar* scalar))                                        \
  X(aclCreateIntArray, AclIntArray*, (const int64_t* values, uint64_t count))                \
  X(aclDestroyIntArray, int, (const AclIntArray* array))                                     \
  X(aclCreateTensorList, AclTensorList*, (const AclTensor* const* tensors, uint64_t count))  \
  X(aclDestroyTensorList, int, (const AclTensorList* list))                                  \
  X(aclDestroyAclOpExecutor, int, (AclExecutor * executor))

// X(name, types of the arguments before the workspace's size and the executor…) of the operators
// aclnn + name, all of them needed.
#define FERRY_ACLNN_SYMBOLS(X)                                              \
  X(InplaceCopy, AclTensor*, const AclTensor*)                              \
  X(Cast, const AclTensor*, int, AclTensor*)                                \
  X(Add, const AclTensor*, const AclTensor*, const AclScalar*, AclTensor*)  \
  X(Sub, const AclTensor*, const AclTensor*, const AclScalar*, AclTensor*)  \
  X(Mul, const AclTensor*, const AclTensor*, AclTensor*)                    \
  X(Div, const AclTensor*, const AclTensor*, AclTensor*)                    \
  X(Muls, const AclTensor*, const AclScalar*, AclTensor*)                   \
  X(Adds, const AclTensor*, const AclScalar*, const AclScalar*, AclTensor*) \
  X(Sigmoid, const AclTensor*, AclTensor*)                                  \
  X(Relu, const AclTensor*, AclTensor*)                                     \
  X(Softmax, const AclTensor*, int64_t, AclTensor*)                         \
  X(Matmul, const AclTensor*, const AclTensor*, AclTensor*, int8_t)         \
  X(BatchMatMul, const AclTensor*, const AclTensor*, AclTensor*, int8_t)    \
  X(IndexSelect, const AclTensor*, int64_t, const AclTensor*, AclTensor*)   \
  X(ScatterNdUpdate, AclTensor*, const AclTensor*, const AclTensor*)

// What is missing of these has a fall-back (paths.cc). Of versions the newest is taken.
#define FERRY_ACLNN_OPTIONAL_SYMBOLS(X)                                                            \
  X(RmsNorm, const AclTensor*, const AclTensor*, double, const AclTensor*, const AclTensor*)       \
  X(AddRmsNorm, const AclTensor*, const AclTensor*, const AclTensor*, double, const AclTensor*,    \
    const AclTensor*, const AclTensor*)                                                            \
  /* x, weight, its scales and offsets, scales and offsets of a quantised result, bias, how many   \
     rows share a scale (0: all), out */                                                           \
  X(WeightQuantBatchMatmulV2, const AclTensor*, const AclTensor*, const AclTensor*,                \
    const AclTensor*, const AclTensor*, const AclTensor*, const AclTensor*, int, const AclTensor*) \
  /* From V3 on: rotary queries and keys, scales of the latter; V4: scales of queries, sinks, and  \
     how queries are quantised. Then the result and its sums. */                                   \
  X(FusedInferAttentionScoreV2, FERRY_ATTENTION_INPUTS, FERRY_ATTENTION_ATTRIBUTES,                \
    const AclTensor*, const AclTensor*)                                                            \
  X(FusedInferAttentionScoreV3, FERRY_ATTENTION_INPUTS, const AclTensor*, const AclTensor*,        \
    const AclTensor*, FERRY_ATTENTION_ATTRIBUTES, const AclTensor*, const AclTensor*)              \
  X(FusedInferAttentionScoreV4, FERRY_ATTENTION_INPUTS, const AclTensor*, const AclTensor*,        \
    const AclTensor*, const AclTensor*, const AclTensor*, FERRY_ATTENTION_ATTRIBUTES, int64_t,     \
    const AclTensor*, const AclTensor*)                                                            \
  /* x, cosines, sines, how pairs lie, out */                                                      \
  X(RotaryPositionEmbedding, const AclTensor*, const AclTensor*, const AclTensor*, int64_t,        \
    AclTensor*)                                                                                    \
  X(SwiGlu, const AclTensor*, int64_t, const AclTensor*)                                           \
  X(LayerNorm, const AclTensor*, const AclIntArray*, const AclTensor*, const AclTensor*, double,   \
    AclTensor*, AclTensor*, AclTensor*)                                                            \
  /* x, bias, k, groups kept, groups, groupSelectMode, renorm, normType, whether scores are        \
     wanted, scale, epsilon, weights, ids, scores */                                               \
  X(MoeGatingTopK, const AclTensor*, const AclTensor*, int64_t, int64_t, int64_t, int64_t,         \
    int64_t, int64_t, bool, double, double, const AclTensor*, const AclTensor*, const AclTensor*)  \
  /* x, weights, seven kinds of bias, scales and offsets of quantised ones, the ends of the        \
     groups, three of activations, splitItem, groupType, groupListType, actType, (V5: tuning)      \
     out, and two more outputs of activations */                                                   \
  X(GroupedMatmulV4, FERRY_GROUPED_MATMUL_INPUTS, AclTensorList*, AclTensorList*, AclTensorList*)  \
  X(GroupedMatmulV5, FERRY_GROUPED_MATMUL_INPUTS, AclIntArray*, AclTensorList*, AclTensorList*,    \
    AclTensorList*)
/* query, keys, values, two shifts and masks, lengths of queries and of keys on the host, seven of
   quantised inputs, the block table, two of padding, four of a quantised cache, three of a shared
   prefix */
#define FERRY_ATTENTION_INPUTS                                                                  \
  const AclTensor*, const AclTensorList*, const AclTensorList*, const AclTensor*,               \
      const AclTensor*, const AclIntArray*, const AclIntArray*, const AclTensor*,               \
      const AclTensor*, const AclTensor*, const AclTensor*, const AclTensor*, const AclTensor*, \
      const AclTensor*, const AclTensor*, const AclTensor*, const AclTensor*, const AclTensor*, \
      const AclTensor*, const AclTensor*, const AclTensor*, const AclTensor*, const AclTensor*, \
      const AclIntArray*
/* heads, scale, window before and behind, layout, heads of keys, sparseMode, innerPrecise, block
   size, antiquantMode, whether sums are wanted, modes of keys and values */
#define FERRY_ATTENTION_ATTRIBUTES                                                             \
  int64_t, double, int64_t, int64_t, char*, int64_t, int64_t, int64_t, int64_t, int64_t, bool, \
      int64_t, int64_t
#define FERRY_GROUPED_MATMUL_INPUTS                                                                \
  const AclTensorList*, const AclTensorList*, const AclTensorList*, const AclTensorList*,          \
      const AclTensorList*, const AclTensorList*, const AclTensorList*, const AclTensorList*,      \
      const AclTensor*, const AclTensorList*, const AclTensorList*, const AclTensorList*, int64_t, \
      int64_t, int64_t, int64_t

// An operator is called in two phases: the first checks its arguments, says how much workspace it
// needs and makes an executor; the second runs that, once.
template <typename... Arguments>
struct Operator {
  const char* name;
  int (*prepare)(Arguments..., uint64_t* workspace, AclExecutor** executor) = nullptr;
  int (*execute)(void* workspace, uint64_t bytes, AclExecutor* executor, AclStream) = nullptr;
  explicit operator bool() const { return prepare != nullptr && execute != nullptr; }
};

// Every function by its name; those of the optional ones that were not found are null.
struct Vendor {
#define FERRY_POINTER(name, result, arguments) result(*name) arguments = nullptr;
#define FERRY_OPERATOR(name, ...) Operator<__VA_ARGS__> name{"aclnn" #name};
  FERRY_ACL_SYMBOLS(FERRY_POINTER)
  FERRY_NNOPBASE_SYMBOLS(FERRY_POINTER)
  FERRY_ACLNN_SYMBOLS(FERRY_OPERATOR)
  FERRY_ACLNN_OPTIONAL_SYMBOLS(FERRY_OPERATOR)
#undef FERRY_POINTER
#undef FERRY_OPERATOR
  std::string version;  // of the runtime
};

}  // namespace ferry::ascend
