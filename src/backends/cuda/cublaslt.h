// What ferry knows of cuBLASLt, NVIDIA's products of matrices: prototypes, structs and constants in
// our own words from public documentation, as in driver_api.h. Matrices are column-major there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "backends/cuda/driver_api.h"

namespace ferry::cuda {

using LtHandle = struct HandleOfLt*;
using LtOperation = struct OperationOfLt*;    // cublasLtMatmulDesc_t
using LtLayout = struct LayoutOfLt*;          // cublasLtMatrixLayout_t
using LtPreference = struct PreferenceOfLt*;  // cublasLtMatmulPreference_t

// cublasStatus_t
inline constexpr int kLtSuccess = 0;
inline constexpr int kLtNotInitialized = 1;
inline constexpr int kLtAllocFailed = 3;
inline constexpr int kLtInvalidValue = 7;
inline constexpr int kLtArchMismatch = 8;
inline constexpr int kLtMappingError = 11;
inline constexpr int kLtExecutionFailed = 13;
inline constexpr int kLtInternalError = 14;
inline constexpr int kLtNotSupported = 15;

// cudaDataType_t
inline constexpr int kLtF32 = 0;
inline constexpr int kLtBF16 = 14;

inline constexpr int kLtCompute32F =
    68;                                 // cublasComputeType_t: sums in f32; of f32, exact products
inline constexpr int kLtTranspose = 1;  // cublasOperation_t; what isn't set is as it is stored

// cublasLtMatmulDescAttributes_t, and the type of each
inline constexpr int kLtOperationTransA = 3;       // int32_t
inline constexpr int kLtOperationEpilogue = 7;     // uint32_t
inline constexpr int kLtOperationBiasPointer = 8;  // const void*

inline constexpr uint32_t kLtEpilogueBias = 4;  // cublasLtEpilogue_t; 1, nothing, is the default

// cublasLtMatmulPreferenceAttributes_t
inline constexpr int kLtPreferenceWorkspaceBytes = 1;  // uint64_t
inline constexpr int kLtPreferenceAlignmentA = 5;      // uint32_t, bytes; and so on for
inline constexpr int kLtPreferenceAlignmentB = 6;
inline constexpr int kLtPreferenceAlignmentC = 7;
inline constexpr int kLtPreferenceAlignmentD = 8;

inline constexpr int64_t kLtWorkspaceAlignment = 256;

// libraryPropertyType
inline constexpr int kLtMajorVersion = 0;
inline constexpr int kLtMinorVersion = 1;
inline constexpr int kLtPatchLevel = 2;

struct LtAlgorithm {
  uint64_t data[8];
};
struct LtHeuristic {
  LtAlgorithm algorithm;
  size_t workspace_bytes;
  int state;  // kLtSuccess, or nothing else here means anything
  float waves;
  int reserved[4];
};

// SYMBOL(name, arguments): all return cublasStatus_t. In libcublasLt.so.
#define FERRY_CUBLASLT_SYMBOLS(SYMBOL)                                                            \
  SYMBOL(cublasLtCreate, (LtHandle * handle))                                                     \
  SYMBOL(cublasLtDestroy, (LtHandle handle))                                                      \
  SYMBOL(cublasLtGetProperty, (int property, int* value))                                         \
  SYMBOL(cublasLtMatmulDescCreate, (LtOperation * operation, int compute_type, int scale_type))   \
  SYMBOL(cublasLtMatmulDescDestroy, (LtOperation operation))                                      \
  SYMBOL(cublasLtMatmulDescSetAttribute,                                                          \
         (LtOperation operation, int attribute, const void* value, size_t bytes))                 \
  SYMBOL(cublasLtMatrixLayoutCreate,                                                              \
         (LtLayout * layout, int type, uint64_t rows, uint64_t cols, int64_t leading_dimension))  \
  SYMBOL(cublasLtMatrixLayoutDestroy, (LtLayout layout))                                          \
  SYMBOL(cublasLtMatmulPreferenceCreate, (LtPreference * preference))                             \
  SYMBOL(cublasLtMatmulPreferenceDestroy, (LtPreference preference))                              \
  SYMBOL(cublasLtMatmulPreferenceSetAttribute,                                                    \
         (LtPreference preference, int attribute, const void* value, size_t bytes))               \
  SYMBOL(cublasLtMatmulAlgoGetHeuristic,                                                          \
         (LtHandle handle, LtOperation operation, LtLayout a, LtLayout b, LtLayout c, LtLayout d, \
          LtPreference preference, int wanted, LtHeuristic* found, int* num_found))               \
  SYMBOL(cublasLtMatmul,                                                                          \
         (LtHandle handle, LtOperation operation, const void* alpha, const void* a,               \
          LtLayout a_layout, const void* b, LtLayout b_layout, const void* beta, const void* c,   \
          LtLayout c_layout, void* d, LtLayout d_layout, const LtAlgorithm* algorithm,            \
          void* workspace, size_t workspace_bytes, DriverStream stream))

struct CublasLt {
#define FERRY_CUDA_MEMBER(name, arguments) int(*name) arguments = nullptr;
  FERRY_CUBLASLT_SYMBOLS(FERRY_CUDA_MEMBER)
#undef FERRY_CUDA_MEMBER
  std::string name;  // "libcublasLt.so.13 (13.1.0)"
};

// libcublasLt.so.13, .12 or .11, the first that is there and whole, in $FERRY_CUBLASLT (a folder)
// if that is set, otherwise where the loader looks; none for a newer CUDA than `driver_version`
// says. nullptr, and why, where there is none. Never closed again. Thread-safe.
std::shared_ptr<const CublasLt> load_cublaslt(int driver_version, std::string* why);

// "CUBLAS_STATUS_NOT_SUPPORTED"
std::string lt_status_name(int status);

}  // namespace ferry::cuda
