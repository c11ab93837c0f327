// The parts of NVIDIA's driver API that ferry calls: prototypes of our own, found by name in
// libcuda.so.1 at run time, so that neither the toolkit nor a driver is needed to build. Names and
// values are those of the public documentation of the CUDA driver API; of functions with versions
// the newest name.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ferry::cuda {

using Context = struct ContextOfCuda*;
using Module = struct ModuleOfCuda*;
using Function = struct FunctionOfCuda*;
using DriverStream = struct StreamOfCuda*;
using DriverEvent = struct EventOfCuda*;
using Graph = struct GraphOfCuda*;
using GraphExec = struct GraphExecOfCuda*;
using DeviceAddress = unsigned long long;

// CUresult
inline constexpr int kSuccess = 0;
inline constexpr int kInvalidValue = 1;
inline constexpr int kOutOfMemory = 2;
inline constexpr int kNotInitialized = 3;
inline constexpr int kNoDevice = 100;
inline constexpr int kInvalidDevice = 101;
inline constexpr int kDeviceUnavailable = 46;
inline constexpr int kInvalidContext = 201;
inline constexpr int kNoBinaryForGpu = 209;
inline constexpr int kInvalidPtx = 218;
inline constexpr int kUnsupportedPtxVersion = 222;
inline constexpr int kInvalidHandle = 400;
inline constexpr int kNotFound = 500;
inline constexpr int kIllegalAddress = 700;
inline constexpr int kMisalignedAddress = 716;
inline constexpr int kLaunchFailed = 719;
inline constexpr int kIllegalState = 401;
inline constexpr int kNotPermitted = 800;
inline constexpr int kSystemDriverMismatch = 803;
inline constexpr int kCaptureUnsupported = 900;
inline constexpr int kCaptureInvalidated = 901;
inline constexpr int kCaptureWrongThread = 908;
inline constexpr int kUnknown = 999;

// CUdevice_attribute
inline constexpr int kAttributeMultiprocessors = 16;
inline constexpr int kAttributeMajor = 75;
inline constexpr int kAttributeMinor = 76;

inline constexpr int kCaptureThreadLocal = 1;  // CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
inline constexpr unsigned kNonBlocking = 1;    // CU_STREAM_NON_BLOCKING
inline constexpr unsigned kDisableTiming = 2;  // CU_EVENT_DISABLE_TIMING
inline constexpr unsigned kPortable = 1;       // CU_MEMHOSTALLOC_PORTABLE

#define FERRY_CUDA_SYMBOLS(SYMBOL)                                                                \
  SYMBOL(cuInit, (unsigned flags))                                                                \
  SYMBOL(cuDriverGetVersion, (int* version))                                                      \
  SYMBOL(cuGetErrorName, (int status, const char** name))                                         \
  SYMBOL(cuGetErrorString, (int status, const char** text))                                       \
  SYMBOL(cuDeviceGetCount, (int* count))                                                          \
  SYMBOL(cuDeviceGet, (int* device, int ordinal))                                                 \
  SYMBOL(cuDeviceGetName, (char* name, int length, int device))                                   \
  SYMBOL(cuDeviceGetAttribute, (int* value, int attribute, int device))                           \
  SYMBOL(cuDevicePrimaryCtxRetain, (Context * context, int device))                               \
  SYMBOL(cuDevicePrimaryCtxRelease_v2, (int device))                                              \
  SYMBOL(cuCtxSetCurrent, (Context context))                                                      \
  SYMBOL(cuCtxSynchronize, ())                                                                    \
  SYMBOL(cuMemGetInfo_v2, (size_t * free, size_t * total))                                        \
  SYMBOL(cuMemAlloc_v2, (DeviceAddress * address, size_t bytes))                                  \
  SYMBOL(cuMemFree_v2, (DeviceAddress address))                                                   \
  SYMBOL(cuMemHostAlloc, (void** data, size_t bytes, unsigned flags))                             \
  SYMBOL(cuMemFreeHost, (void* data))                                                             \
  SYMBOL(cuMemcpyHtoD_v2, (DeviceAddress dst, const void* src, size_t bytes))                     \
  SYMBOL(cuMemcpyHtoDAsync_v2,                                                                    \
         (DeviceAddress dst, const void* src, size_t bytes, DriverStream stream))                 \
  SYMBOL(cuMemcpyDtoHAsync_v2, (void* dst, DeviceAddress src, size_t bytes, DriverStream stream)) \
  SYMBOL(cuMemsetD8Async,                                                                         \
         (DeviceAddress dst, unsigned char value, size_t bytes, DriverStream stream))             \
  SYMBOL(cuStreamCreate, (DriverStream * stream, unsigned flags))                                 \
  SYMBOL(cuStreamDestroy_v2, (DriverStream stream))                                               \
  SYMBOL(cuStreamSynchronize, (DriverStream stream))                                              \
  SYMBOL(cuStreamWaitEvent, (DriverStream stream, DriverEvent event, unsigned flags))             \
  SYMBOL(cuEventCreate, (DriverEvent * event, unsigned flags))                                    \
  SYMBOL(cuEventRecord, (DriverEvent event, DriverStream stream))                                 \
  SYMBOL(cuEventDestroy_v2, (DriverEvent event))                                                  \
  SYMBOL(cuModuleLoadData, (Module * module, const void* image))                                  \
  SYMBOL(cuModuleUnload, (Module module))                                                         \
  SYMBOL(cuModuleGetFunction, (Function * function, Module module, const char* name))             \
  SYMBOL(cuLaunchKernel,                                                                          \
         (Function function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x, \
          unsigned block_y, unsigned block_z, unsigned shared_bytes, DriverStream stream,         \
          void** params, void** extra))                                                           \
  SYMBOL(cuStreamBeginCapture_v2, (DriverStream stream, int mode))                                \
  SYMBOL(cuStreamEndCapture, (DriverStream stream, Graph * graph))                                \
  SYMBOL(cuGraphInstantiateWithFlags, (GraphExec * exec, Graph graph, unsigned long long flags))  \
  SYMBOL(cuGraphLaunch, (GraphExec exec, DriverStream stream))                                    \
  SYMBOL(cuGraphExecDestroy, (GraphExec exec))                                                    \
  SYMBOL(cuGraphDestroy, (Graph graph))

struct Driver {
#define FERRY_CUDA_MEMBER(name, arguments) int(*name) arguments = nullptr;
  FERRY_CUDA_SYMBOLS(FERRY_CUDA_MEMBER)
#undef FERRY_CUDA_MEMBER
  int version = 0;  // of CUDA that the driver is for: 1000 · major + 10 · minor
};

}  // namespace ferry::cuda
