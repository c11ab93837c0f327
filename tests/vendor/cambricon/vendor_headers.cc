// Grade 2: our prototypes and constants against the vendor's own headers. Compiled only where they
// are installed, with -DFERRY_NEUWARE_HOME=/usr/local/neuware; a difference is an error here and
// not garbage on a chip. Nothing of it is run.
//
// Pointers to the vendor's structs and its enumerations have names of their own in each header, so
// types are compared by what the calling convention sees: a pointer, an int, a float, a bool.
#include <cnnl.h>
#include <cnrt.h>
#if __has_include(<cnnl_extra.h>)
#include <cnnl_extra.h>
#define FERRY_HAS_CNNL_EXTRA 1
#endif

#include <type_traits>

#include "backends/cambricon/vendor.h"

namespace ferry::cambricon {
namespace {

template <typename T>
struct Seen {
  using Plain = std::remove_cv_t<T>;
  using type = std::conditional_t<std::is_pointer_v<Plain> || std::is_array_v<Plain>, void*,
                                  std::conditional_t<std::is_enum_v<Plain>, int, Plain>>;
};
template <typename Result, typename... Arguments>
struct Seen<Result(Arguments...)> {
  using type = typename Seen<Result>::type(typename Seen<Arguments>::type...);
};

template <typename Theirs, typename Ours>
constexpr bool kAgree = std::is_same_v<typename Seen<std::remove_pointer_t<Theirs>>::type,
                                       typename Seen<std::remove_pointer_t<Ours>>::type>;

#define FERRY_AGREES(name, result, arguments)                      \
  static_assert(kAgree<decltype(&::name), decltype(Vendor::name)>, \
                "the prototype of " #name " is not the one of this release");
FERRY_CNRT_SYMBOLS(FERRY_AGREES)
FERRY_CNNL_SYMBOLS(FERRY_AGREES)
#if FERRY_HAS_CNNL_EXTRA
FERRY_CNNL_OPTIONAL_SYMBOLS(FERRY_AGREES)
#endif
#undef FERRY_AGREES

static_assert(sizeof(cnrtRet_t) == sizeof(int) && sizeof(cnnlStatus_t) == sizeof(int));
static_assert(kCnrtSuccess == cnrtSuccess && kCnrtNotReady == cnrtErrorNotReady);
static_assert(kCnrtInit == cnrtErrorInit && kCnrtNoDevice == cnrtErrorNoDevice);
static_assert(kCnrtDeviceInvalid == cnrtErrorDeviceInvalid);
static_assert(kCnrtArgsInvalid == cnrtErrorArgsInvalid && kCnrtNoMem == cnrtErrorNoMem);
static_assert(kCnrtOpsNotPermitted == cnrtErrorOpsNotPermitted && kCnrtBusy == cnrtErrorBusy);
static_assert(kCnrtUnsupportedKernelVersion == cnrtErrorUnsupportedKernelVersion);
static_assert(kCnrtDriverFunctionNotFound == cnrtErrorCndrvFuncNotFound);
static_assert(kHostToDevice == cnrtMemcpyHostToDev && kDeviceToHost == cnrtMemcpyDevToHost);
static_assert(kDeviceToDevice == cnrtMemcpyDevToDev);
static_assert(kAttrClusterCount == cnrtAttrClusterCount);
static_assert(kAttrCoresPerCluster == cnrtAttrMcorePerCluster);
static_assert(kCnnlSuccess == CNNL_STATUS_SUCCESS);
static_assert(kCnnlNotInitialized == CNNL_STATUS_NOT_INITIALIZED);
static_assert(kCnnlAllocFailed == CNNL_STATUS_ALLOC_FAILED);
static_assert(kCnnlBadParam == CNNL_STATUS_BAD_PARAM);
static_assert(kCnnlArchMismatch == CNNL_STATUS_ARCH_MISMATCH);
static_assert(kCnnlNotSupported == CNNL_STATUS_NOT_SUPPORTED);
static_assert(kLayoutArray == CNNL_LAYOUT_ARRAY && kHalf == CNNL_DTYPE_HALF);
static_assert(kFloat == CNNL_DTYPE_FLOAT && kInt8 == CNNL_DTYPE_INT8);
static_assert(kInt32 == CNNL_DTYPE_INT32);
static_assert(kBfloat16 == CNNL_DTYPE_BFLOAT16);
static_assert(kMatMulAllowTf32 == CNNL_MATMUL_ALLOW_TF32);
static_assert(kMatMulUseStride == CNNL_MATMUL_USE_STRIDE);
static_assert(kScatterNdUpdate == CNNL_SCATTERND_UPDATE && kScatterReplace == CNNL_SCATTER);
static_assert(kPointerModeHost == CNNL_POINTER_MODE_HOST);
static_assert(kHighPrecision == CNNL_COMPUTATION_HIGH_PRECISION);
static_assert(kHighPrecision == CNNL_ACTIVATION_HIGH_PRECISION);
static_assert(kPropagateNan == CNNL_PROPAGATE_NAN);
static_assert(kOpTensorAdd == CNNL_OP_TENSOR_ADD && kOpTensorSub == CNNL_OP_TENSOR_SUB);
static_assert(kOpTensorMul == CNNL_OP_TENSOR_MUL);
static_assert(kSigmoid == CNNL_ACTIVATION_SIGMOID && kRelu == CNNL_ACTIVATION_RELU);
static_assert(kSoftmaxAccurate == CNNL_SOFTMAX_ACCURATE);
static_assert(kSoftmaxLowDimension == CNNL_SOFTMAX_MODE_LOW_DIMENSION);
static_assert(kCastFloatToHalf == CNNL_CAST_FLOAT_TO_HALF);
static_assert(kCastHalfToFloat == CNNL_CAST_HALF_TO_FLOAT);
static_assert(kCastInt8ToFloat == CNNL_CAST_INT8_TO_FLOAT);
static_assert(kCastFloatToBfloat16 == CNNL_CAST_FLOAT_TO_BFLOAT16);
static_assert(kCastBfloat16ToFloat == CNNL_CAST_BFLOAT16_TO_FLOAT);
#if FERRY_HAS_CNNL_EXTRA
static_assert(kTransformerRmsNorm == CNNL_TRANSFORMER_RMSNORM);
#endif

}  // namespace
}  // namespace ferry::cambricon
