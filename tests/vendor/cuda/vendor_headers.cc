// Our prototypes, structs and constants of cuBLASLt against NVIDIA's own header. Compiled only
// where it is installed, with -DFERRY_CUDA_HEADERS=/usr/local/cuda/include; a difference is an
// error here and not garbage on a chip. Nothing of it is run.
//
// Pointers to the vendor's structs and its enumerations have names of their own, so types are
// compared by what the calling convention sees: a pointer, an int, a size.
#include <cublasLt.h>

#include <type_traits>

#include "backends/cuda/cublaslt.h"

namespace ferry::cuda {
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

#define FERRY_AGREES(name, arguments)                                \
  static_assert(kAgree<decltype(&::name), decltype(CublasLt::name)>, \
                "the prototype of " #name " is not the one of this release");
FERRY_CUBLASLT_SYMBOLS(FERRY_AGREES)
#undef FERRY_AGREES

static_assert(kLtSuccess == CUBLAS_STATUS_SUCCESS);
static_assert(kLtNotInitialized == CUBLAS_STATUS_NOT_INITIALIZED);
static_assert(kLtAllocFailed == CUBLAS_STATUS_ALLOC_FAILED);
static_assert(kLtInvalidValue == CUBLAS_STATUS_INVALID_VALUE);
static_assert(kLtArchMismatch == CUBLAS_STATUS_ARCH_MISMATCH);
static_assert(kLtMappingError == CUBLAS_STATUS_MAPPING_ERROR);
static_assert(kLtExecutionFailed == CUBLAS_STATUS_EXECUTION_FAILED);
static_assert(kLtInternalError == CUBLAS_STATUS_INTERNAL_ERROR);
static_assert(kLtNotSupported == CUBLAS_STATUS_NOT_SUPPORTED);
static_assert(kLtF32 == CUDA_R_32F && kLtBF16 == CUDA_R_16BF);
static_assert(kLtCompute32F == CUBLAS_COMPUTE_32F && kLtTranspose == CUBLAS_OP_T);
static_assert(kLtOperationTransA == CUBLASLT_MATMUL_DESC_TRANSA);
static_assert(kLtOperationEpilogue == CUBLASLT_MATMUL_DESC_EPILOGUE);
static_assert(kLtOperationBiasPointer == CUBLASLT_MATMUL_DESC_BIAS_POINTER);
static_assert(kLtEpilogueBias == CUBLASLT_EPILOGUE_BIAS && CUBLASLT_EPILOGUE_DEFAULT == 1);
static_assert(kLtPreferenceWorkspaceBytes == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES);
static_assert(kLtPreferenceAlignmentA == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES);
static_assert(kLtPreferenceAlignmentB == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES);
static_assert(kLtPreferenceAlignmentC == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES);
static_assert(kLtPreferenceAlignmentD == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES);
static_assert(kLtMajorVersion == MAJOR_VERSION && kLtMinorVersion == MINOR_VERSION &&
              kLtPatchLevel == PATCH_LEVEL);
static_assert(sizeof(LtAlgorithm) == sizeof(cublasLtMatmulAlgo_t));
static_assert(sizeof(LtHeuristic) == sizeof(cublasLtMatmulHeuristicResult_t));
static_assert(offsetof(LtHeuristic, workspace_bytes) ==
              offsetof(cublasLtMatmulHeuristicResult_t, workspaceSize));
static_assert(offsetof(LtHeuristic, state) == offsetof(cublasLtMatmulHeuristicResult_t, state));

}  // namespace
}  // namespace ferry::cuda
