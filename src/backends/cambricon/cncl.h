// What ferry knows of CNCL, Cambricon's collectives: prototypes and constants in our own words from
// public documentation, as in vendor.h.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "backends/cambricon/vendor.h"

namespace ferry::cambricon {

struct CnclCliqueId {
  char data[128];
  uint64_t hash;
};
using CnclComm = struct CommOfCncl*;

// cnclResult_t
inline constexpr int kCnclSuccess = 0;
inline constexpr int kCnclAsyncError = 0x16;
inline constexpr int kCnclArguments = 0x07;

// cnclDataType_t
inline constexpr int kCnclFloat16 = 0x10;
inline constexpr int kCnclBfloat16 = 0x11;
inline constexpr int kCnclFloat32 = 0x12;
inline constexpr int kCnclInt8 = 0x20;
inline constexpr int kCnclInt32 = 0x22;
inline constexpr int kCnclInt64 = 0x23;

inline constexpr int kCnclSum = 0;  // cnclReduceOp_t

// X(name, result, arguments). In libcncl.so. Counts are of elements: what a rank sends to
// cnclAllGather, what it receives of cnclReduceScatter; of cnclAlltoAllv arrays with an address, a
// count and a dtype for each rank, on the host, where nothing may be sent from where it arrives.
// cnclInitComms makes the communicators of several devices at once.
#define FERRY_CNCL_SYMBOLS(X)                                                                  \
  X(cnclGetErrorStr, const char*, (int status))                                                \
  X(cnclGetCliqueId, int, (CnclCliqueId * id))                                                 \
  X(cnclInitComms, int,                                                                        \
    (CnclComm * comms, int count, const int* devices, const int* ranks, int all_ranks,         \
     CnclCliqueId* id))                                                                        \
  X(cnclDestroyComms, int, (CnclComm * comms, int count))                                      \
  X(cnclAllReduce, int,                                                                        \
    (const void* send, void* receive, size_t count, int dtype, int sum, CnclComm comm, Queue)) \
  X(cnclAllGather, int,                                                                        \
    (const void* send, void* receive, size_t count, int dtype, CnclComm comm, Queue))          \
  X(cnclReduceScatter, int,                                                                    \
    (const void* send, void* receive, size_t count, int dtype, int sum, CnclComm comm, Queue)) \
  X(cnclAlltoAllv, int,                                                                        \
    (const void** send, uint32_t* send_counts, int* send_dtypes, void** receive,               \
     uint32_t* receive_counts, int* receive_dtypes, CnclComm comm, Queue))

struct Cncl {
#define FERRY_POINTER(name, result, arguments) result(*name) arguments = nullptr;
  FERRY_CNCL_SYMBOLS(FERRY_POINTER)
#undef FERRY_POINTER
};

// nullptr, and why, where libcncl.so is not beside the other libraries or lacks a function.
std::shared_ptr<const Cncl> load_cncl(std::string* why);

}  // namespace ferry::cambricon
