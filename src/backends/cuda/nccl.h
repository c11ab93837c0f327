// What ferry knows of NCCL, NVIDIA's collectives: prototypes and constants in our own words from
// public documentation, as in driver_api.h.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "backends/cuda/driver_api.h"

namespace ferry::cuda {

// Made by one rank, known to all; passed by value.
struct NcclUniqueId {
  char internal[128];
};
using NcclComm = struct CommOfNccl*;

// ncclResult_t
inline constexpr int kNcclSuccess = 0;
inline constexpr int kNcclInternalError = 3;
inline constexpr int kNcclInvalidArgument = 4;
inline constexpr int kNcclInvalidUsage = 5;
inline constexpr int kNcclRemoteError = 6;

// ncclDataType_t
inline constexpr int kNcclInt8 = 0;
inline constexpr int kNcclInt32 = 2;
inline constexpr int kNcclInt64 = 4;
inline constexpr int kNcclFloat16 = 6;
inline constexpr int kNcclFloat32 = 7;
inline constexpr int kNcclBfloat16 = 9;

inline constexpr int kNcclSum = 0;  // ncclRedOp_t

// SYMBOL(name, arguments): all return ncclResult_t. In libnccl.so.2. Counts are of elements: what a
// rank sends to ncclAllGather, what it receives of ncclReduceScatter. Between ncclGroupStart and
// ncclGroupEnd of a thread, calls wait for one another: so ranks are started, and so sends and
// receives make up all_to_all_v, which NCCL has no function for.
#define FERRY_NCCL_SYMBOLS(SYMBOL)                                                                \
  SYMBOL(ncclGetUniqueId, (NcclUniqueId * id))                                                    \
  SYMBOL(ncclCommInitRank, (NcclComm * comm, int ranks, NcclUniqueId id, int rank))               \
  SYMBOL(ncclCommDestroy, (NcclComm comm))                                                        \
  SYMBOL(ncclAllReduce, (const void* send, void* receive, size_t count, int dtype, int sum,       \
                         NcclComm comm, DriverStream stream))                                     \
  SYMBOL(ncclAllGather, (const void* send, void* receive, size_t count, int dtype, NcclComm comm, \
                         DriverStream stream))                                                    \
  SYMBOL(ncclReduceScatter, (const void* send, void* receive, size_t count, int dtype, int sum,   \
                             NcclComm comm, DriverStream stream))                                 \
  SYMBOL(ncclSend, (const void* send, size_t count, int dtype, int peer, NcclComm comm,           \
                    DriverStream stream))                                                         \
  SYMBOL(ncclRecv,                                                                                \
         (void* receive, size_t count, int dtype, int peer, NcclComm comm, DriverStream stream))  \
  SYMBOL(ncclGroupStart, ())                                                                      \
  SYMBOL(ncclGroupEnd, ())

struct Nccl {
#define FERRY_CUDA_MEMBER(name, arguments) int(*name) arguments = nullptr;
  FERRY_NCCL_SYMBOLS(FERRY_CUDA_MEMBER)
#undef FERRY_CUDA_MEMBER
  const char* (*ncclGetErrorString)(int status) = nullptr;
};

// libnccl.so.2, in $FERRY_NCCL (a folder) if that is set, otherwise where the loader looks.
// nullptr, and why, where it is not there or lacks a function. Never closed again.
std::shared_ptr<const Nccl> load_nccl(std::string* why);

}  // namespace ferry::cuda
