// The part of CNRT and CNNL that ferry calls: prototypes of our own, found by dlsym when a device
// is opened, so that no vendor header is needed to build. What is known of each name comes from
// programs that call it in public; tests/vendor/cambricon/vendor_headers.cc holds all of it against
// the vendor's own headers where they are installed (-DFERRY_NEUWARE_HOME=…).
//
// The vendor's enumerations are int and its descriptors pointers to hidden structs, which is all
// that the calling convention sees.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ferry::cambricon {

using Queue = struct QueueOfCnrt*;
using Notifier = struct NotifierOfCnrt*;
using Handle = struct HandleOfCnnl*;
using TensorDesc = struct TensorDescOfCnnl*;
using OpDesc = struct OpDescOfCnnl*;  // of an operation, of any kind

// cnrtRet_t
inline constexpr int kCnrtSuccess = 0;
inline constexpr int kCnrtNotReady = 1;
inline constexpr int kCnrtInit = 100002;
inline constexpr int kCnrtNoDevice = 100004;
inline constexpr int kCnrtDeviceInvalid = 100005;
inline constexpr int kCnrtArgsInvalid = 100006;
inline constexpr int kCnrtOpsNotPermitted = 100051;
inline constexpr int kCnrtNoMem = 100100;
inline constexpr int kCnrtUnsupportedKernelVersion = 100303;
inline constexpr int kCnrtBusy = 632014;
inline constexpr int kCnrtDriverFunctionNotFound = 632020;

// cnrtMemTransDir_t
inline constexpr int kHostToDevice = 0;
inline constexpr int kDeviceToDevice = 1;
inline constexpr int kDeviceToHost = 2;

// cnrtDeviceAttr_t
inline constexpr int kAttrClusterCount = 0x205;
inline constexpr int kAttrCoresPerCluster = 0x206;

// cnnlStatus_t
inline constexpr int kCnnlSuccess = 0;
inline constexpr int kCnnlNotInitialized = 1;
inline constexpr int kCnnlAllocFailed = 2;
inline constexpr int kCnnlBadParam = 3;
inline constexpr int kCnnlArchMismatch = 5;
inline constexpr int kCnnlNotSupported = 7;

inline constexpr int kLayoutArray = 4;  // cnnlTensorLayout_t

// cnnlDataType_t
inline constexpr int kHalf = 1;
inline constexpr int kFloat = 2;
inline constexpr int kInt8 = 3;
inline constexpr int kInt32 = 6;
inline constexpr int kBfloat16 = 17;

// cnnlMatMulDescAttribute_t. TF32 is on unless it is turned off.
inline constexpr int kMatMulAllowTf32 = 10;
inline constexpr int kMatMulUseStride = 13;

inline constexpr int kScatterNdUpdate = 3;  // cnnlScatterNdMode_t
inline constexpr int kPointerModeHost = 0;  // cnnlPointerMode_t
inline constexpr int kHighPrecision = 1;  // cnnlComputationPreference_t, cnnlActivationPreference_t
inline constexpr int kPropagateNan = 1;   // cnnlNanPropagation_t

// The numbers below are not in public text; they are what the order of names suggests. The backend
// tries each of them out when it is opened (self_check.cc) and won't run on wrong ones.
inline constexpr int kOpTensorAdd = 0;  // cnnlOpTensorDesc_t
inline constexpr int kOpTensorSub = 1;
inline constexpr int kOpTensorMul = 2;
inline constexpr int kSigmoid = 0;  // cnnlActivationMode_t
inline constexpr int kRelu = 1;
inline constexpr int kSoftmaxAccurate = 1;      // cnnlSoftmaxAlgorithm_t
inline constexpr int kSoftmaxLowDimension = 2;  // cnnlSoftmaxMode_t
inline constexpr int kScatterReplace = 0;       // cnnlScatterMode_t
inline constexpr int kTransformerRmsNorm = 1;   // cnnlTransformerNormType_t
inline constexpr int kCastFloatToHalf = 0;      // cnnlCastDataType_t
inline constexpr int kCastHalfToFloat = 6;
inline constexpr int kCastInt8ToFloat = 19;
inline constexpr int kCastFloatToBfloat16 = 38;
inline constexpr int kCastBfloat16ToFloat = 39;

// X(name, result, arguments). In libcnrt.so, all of them needed.
#define FERRY_CNRT_SYMBOLS(X)                                                 \
  X(cnrtGetLibVersion, int, (int* major, int* minor, int* patch))             \
  X(cnrtDriverGetVersion, int, (int* major, int* minor, int* patch))          \
  X(cnrtGetErrorStr, const char*, (int status))                               \
  X(cnrtGetDeviceCount, int, (unsigned int* count))                           \
  X(cnrtSetDevice, int, (int device))                                         \
  X(cnrtDeviceGetAttribute, int, (int* value, int attribute, int device))     \
  X(cnrtMemGetInfo, int, (size_t * free, size_t * total))                     \
  X(cnrtMalloc, int, (void** data, size_t bytes))                             \
  X(cnrtFree, int, (void* data))                                              \
  X(cnrtHostMalloc, int, (void** data, size_t bytes))                         \
  X(cnrtFreeHost, int, (void* data))                                          \
  X(cnrtMemcpy, int, (void* dst, void* src, size_t bytes, int direction))     \
  X(cnrtMemcpyAsync_V2, int, (void*, void*, size_t, Queue, int direction))    \
  X(cnrtMemsetAsync, int, (void* data, int value, size_t bytes, Queue queue)) \
  X(cnrtSyncDevice, int, ())                                                  \
  X(cnrtQueueCreate, int, (Queue * queue))                                    \
  X(cnrtQueueDestroy, int, (Queue queue))                                     \
  X(cnrtQueueSync, int, (Queue queue))                                        \
  X(cnrtNotifierCreate, int, (Notifier * notifier))                           \
  X(cnrtNotifierDestroy, int, (Notifier notifier))                            \
  X(cnrtPlaceNotifier, int, (Notifier notifier, Queue queue))                 \
  X(cnrtQueueWaitNotifier, int, (Notifier notifier, Queue queue, unsigned int flags))

// In libcnnl.so, all of them needed.
#define FERRY_CNNL_SYMBOLS(X)                                                                      \
  X(cnnlGetLibVersion, void, (int* major, int* minor, int* patch))                                 \
  X(cnnlGetErrorString, const char*, (int status))                                                 \
  X(cnnlCreate, int, (Handle * handle))                                                            \
  X(cnnlDestroy, int, (Handle handle))                                                             \
  X(cnnlSetQueue, int, (Handle handle, Queue queue))                                               \
  X(cnnlCreateTensorDescriptor, int, (TensorDesc * desc))                                          \
  X(cnnlDestroyTensorDescriptor, int, (TensorDesc desc))                                           \
  X(cnnlSetTensorDescriptorEx, int,                                                                \
    (TensorDesc desc, int layout, int dtype, int rank, const int* sizes, const int* strides))      \
  X(cnnlCreateMatMulDescriptor, int, (OpDesc * desc))                                              \
  X(cnnlDestroyMatMulDescriptor, int, (OpDesc desc))                                               \
  X(cnnlSetMatMulDescAttr, int, (OpDesc desc, int attribute, const void* value, size_t bytes))     \
  X(cnnlCreateMatMulAlgo, int, (OpDesc * algo))                                                    \
  X(cnnlDestroyMatMulAlgo, int, (OpDesc algo))                                                     \
  X(cnnlCreateMatMulHeuristicResult, int, (OpDesc * result))                                       \
  X(cnnlDestroyMatMulHeuristicResult, int, (OpDesc result))                                        \
  X(cnnlGetBatchMatMulExAlgoHeuristic, int,                                                        \
    (Handle, OpDesc matmul, TensorDesc a, TensorDesc b, TensorDesc c, OpDesc preference,           \
     int wanted, OpDesc* results, int* found))                                                     \
  X(cnnlGetBatchMatMulExHeuristicResult, int, (OpDesc result, OpDesc algo, size_t * workspace))    \
  X(cnnlBatchMatMulEx, int,                                                                        \
    (Handle, OpDesc matmul, OpDesc algo, const void* alpha, TensorDesc, const void* a, TensorDesc, \
     const void* b, const void* beta, TensorDesc, void* c, void* workspace, size_t))               \
  X(cnnlCreateOpTensorDescriptor, int, (OpDesc * desc))                                            \
  X(cnnlDestroyOpTensorDescriptor, int, (OpDesc desc))                                             \
  X(cnnlSetOpTensorDescriptor, int, (OpDesc desc, int operation, int dtype, int nan))              \
  X(cnnlGetOpTensorWorkspaceSize_v2, int,                                                          \
    (Handle, OpDesc desc, const void* alpha1, TensorDesc, const void* a, const void* alpha2,       \
     TensorDesc, const void* b, const void* beta, TensorDesc, const void* c, size_t* workspace))   \
  X(cnnlOpTensor, int,                                                                             \
    (Handle, OpDesc desc, const void* alpha1, TensorDesc, const void* a, const void* alpha2,       \
     TensorDesc, const void* b, void* workspace, size_t, const void* beta, TensorDesc, void* c))   \
  X(cnnlGetCopyWorkspaceSize, int, (Handle, TensorDesc in, TensorDesc out, size_t * workspace))    \
  X(cnnlCopy_v2, int,                                                                              \
    (Handle, TensorDesc, const void* in, TensorDesc, void* out, void* workspace, size_t))          \
  X(cnnlCastDataType, int, (Handle, TensorDesc, const void* in, int kind, TensorDesc, void* out))  \
  X(cnnlIndexSelect, int,                                                                          \
    (Handle, int dim, TensorDesc, const void* in, TensorDesc, const void* index, TensorDesc,       \
     void* out))                                                                                   \
  X(cnnlScatterNd_v2, int,                                                                         \
    (Handle, int mode, TensorDesc, const void* index, TensorDesc, const void* updates, TensorDesc, \
     const void* in, TensorDesc, void* out))                                                       \
  X(cnnlSoftmaxForward, int,                                                                       \
    (Handle, int algorithm, int mode, const void* alpha, TensorDesc, const void* x,                \
     const void* beta, TensorDesc, void* y))                                                       \
  X(cnnlCreateActivationDescriptor, int, (OpDesc * desc))                                          \
  X(cnnlDestroyActivationDescriptor, int, (OpDesc desc))                                           \
  X(cnnlSetActivationDescriptor_v6, int,                                                           \
    (OpDesc desc, int mode, int preference, int nan, float coefficient, int sliced_dim,            \
     float gamma, float scale, bool is_result, bool approximate))                                  \
  X(cnnlActivationForward, int,                                                                    \
    (Handle, OpDesc desc, const void* alpha, TensorDesc, const void* x, const void* beta,          \
     TensorDesc, void* y))                                                                         \
  X(cnnlTransform_v2, int,                                                                         \
    (Handle, int pointer_mode, const void* alpha, TensorDesc, const void* x, const void* beta,     \
     TensorDesc, void* y))

// In libcnnl.so or libcnnl_extra.so; what is missing has a fall-back (paths.cc).
#define FERRY_CNNL_OPTIONAL_SYMBOLS(X)                                                            \
  X(cnnlCreateFuseNormDescriptor, int, (OpDesc * desc))                                           \
  X(cnnlDestroyFuseNormDescriptor, int, (OpDesc desc))                                            \
  X(cnnlSetFuseNormDescriptor, int,                                                               \
    (OpDesc desc, float epsilon, float scale, bool has_norm_scale, bool has_norm_bias,            \
     bool has_bias, bool has_residual, bool store_before_norm, int dtype, int norm))              \
  X(cnnlGetFuseNormWorkspaceSize, int, (Handle, OpDesc desc, TensorDesc x, size_t * workspace))   \
  X(cnnlFuseNorm, int,                                                                            \
    (Handle, OpDesc desc, TensorDesc, const void* x, TensorDesc, const void* norm_scale,          \
     TensorDesc, const void* norm_bias, TensorDesc, const void* bias, TensorDesc,                 \
     const void* residual, void* workspace, size_t, TensorDesc, void* y, TensorDesc,              \
     void* before_norm))                                                                          \
  X(cnnlGetLayerNormOpWorkspaceSize, int, (Handle, int axis, TensorDesc x, size_t* workspace))    \
  X(cnnlLayerNormForward, int,                                                                    \
    (Handle, TensorDesc, const void* x, int axis, TensorDesc, const void* weight,                 \
     const void* bias, float epsilon, void* workspace, size_t, TensorDesc, void* y, TensorDesc,   \
     void* mean, void* rstd))                                                                     \
  X(cnnlGetTopKTensorWorkspaceSize, int,                                                          \
    (Handle, TensorDesc x, int k, int dim, bool largest, TensorDesc out, TensorDesc index,        \
     size_t* workspace))                                                                          \
  X(cnnlTopKTensor_v3, int,                                                                       \
    (Handle, TensorDesc, const void* x, int k, int dim, bool largest, bool sorted,                \
     bool lower_index_first, void* workspace, size_t, TensorDesc, void* out, TensorDesc,          \
     void* index))                                                                                \
  X(cnnlGetGatherWorkspaceSize, int,                                                              \
    (Handle, TensorDesc in, TensorDesc index, TensorDesc out, int dim, size_t* workspace))        \
  X(cnnlGather_v2, int,                                                                           \
    (Handle, int dim, TensorDesc, const void* in, TensorDesc, const void* index, void* workspace, \
     size_t, TensorDesc, void* out))                                                              \
  X(cnnlGetScatterWorkspaceSize, int, (Handle, TensorDesc index, size_t * workspace))             \
  X(cnnlScatter_v2, int,                                                                          \
    (Handle, int dim, TensorDesc, const void* in, TensorDesc, const void* index, TensorDesc,      \
     const void* src, void* workspace, size_t, TensorDesc, void* out, int mode))                  \
  X(cnnlGetDivWorkspaceSize, int, (Handle, TensorDesc a, TensorDesc b, TensorDesc c, size_t*))    \
  X(cnnlDiv_v2, int,                                                                              \
    (Handle, int preference, TensorDesc, const void* a, TensorDesc, const void* b,                \
     void* workspace, size_t, TensorDesc, void* c))

// Every function by its name; those of the optional ones that were not found are null.
struct Vendor {
#define FERRY_POINTER(name, result, arguments) result(*name) arguments = nullptr;
  FERRY_CNRT_SYMBOLS(FERRY_POINTER)
  FERRY_CNNL_SYMBOLS(FERRY_POINTER)
  FERRY_CNNL_OPTIONAL_SYMBOLS(FERRY_POINTER)
  int (*cnrtGetDeviceProperties)(void* properties, int device) = nullptr;  // optional
#undef FERRY_POINTER

  struct Version {
    int major = 0, minor = 0, patch = 0;
  };
  Version cnrt, cnnl, driver;
};

}  // namespace ferry::cambricon
