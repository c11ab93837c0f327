// What ferry knows of HCCL, CANN's collectives: prototypes and constants in our own words from
// public documentation, as in vendor.h. Each rank is a thread with its device's context.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "backends/ascend/vendor.h"

namespace ferry::ascend {

// Made by the first rank, known to all.
struct HcclRootInfo {
  char internal[4108];
};
using HcclComm = struct CommOfHccl*;

// HcclResult
inline constexpr int kHcclSuccess = 0;
inline constexpr int kHcclParameter = 1;
inline constexpr int kHcclNullPointer = 2;
inline constexpr int kHcclNotSupported = 5;
inline constexpr int kHcclTimeout = 9;
inline constexpr int kHcclRuntime = 15;
inline constexpr int kHcclRemote = 21;

// HcclDataType
inline constexpr int kHcclInt8 = 0;
inline constexpr int kHcclInt32 = 2;
inline constexpr int kHcclFp16 = 3;
inline constexpr int kHcclFp32 = 4;
inline constexpr int kHcclInt64 = 5;
inline constexpr int kHcclBfp16 = 11;

inline constexpr int kHcclSum = 0;  // HcclReduceOp

// X(name, result, arguments). In libhccl.so. Counts are of elements: what a rank sends to
// HcclAllGather, what it receives of HcclReduceScatter; of HcclAlltoAllV arrays of 64 bits on the
// host, one for each rank, with offsets in elements.
#define FERRY_HCCL_SYMBOLS(X)                                                                  \
  X(HcclGetRootInfo, int, (HcclRootInfo * root))                                               \
  X(HcclCommInitRootInfo, int,                                                                 \
    (uint32_t ranks, const HcclRootInfo* root, uint32_t rank, HcclComm* comm))                 \
  X(HcclCommDestroy, int, (HcclComm comm))                                                     \
  X(HcclAllReduce, int,                                                                        \
    (void* send, void* receive, uint64_t count, int dtype, int sum, HcclComm comm, AclStream)) \
  X(HcclAllGather, int,                                                                        \
    (void* send, void* receive, uint64_t count, int dtype, HcclComm comm, AclStream))          \
  X(HcclReduceScatter, int,                                                                    \
    (void* send, void* receive, uint64_t count, int dtype, int sum, HcclComm comm, AclStream)) \
  X(HcclAlltoAllV, int,                                                                        \
    (const void* send, const void* send_counts, const void* send_offsets, int send_dtype,      \
     const void* receive, const void* receive_counts, const void* receive_offsets,             \
     int receive_dtype, HcclComm comm, AclStream))

struct Hccl {
#define FERRY_POINTER(name, result, arguments) result(*name) arguments = nullptr;
  FERRY_HCCL_SYMBOLS(FERRY_POINTER)
#undef FERRY_POINTER
};

// nullptr, and why, where libhccl.so is not beside CANN's other libraries or lacks a function.
std::shared_ptr<const Hccl> load_hccl(std::string* why);

}  // namespace ferry::ascend
