// libcuda.so.1, emulated: devices, memory, streams, events, modules and launches, with the names
// and error codes of the driver API. Kernels come from kernels.cc; of a module's image only the
// first word is looked at. FERRY_EMULATED_CUDA_VERSION is what cuDriverGetVersion says (13000).
#include "backends/cuda/driver_api.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <iterator>
#include <set>
#include <thread>
#include <vector>

#include "vendor/cuda/emulated_streams.h"
#include "vendor/cuda/simt.h"

namespace ferry::cuda {

struct ContextOfCuda {
  int device = 0;
  int retained = 0;
};
using Task = std::function<int()>;
// What is between cuStreamBeginCapture_v2 and cuStreamEndCapture: launches only.
struct Capture {
  std::thread::id thread;
  std::vector<Task> launches;
  bool invalid = false;
};
struct StreamOfCuda {
  Context context = nullptr;
  emulated::TaskQueue queue;
  std::unique_ptr<Capture> capture;
};
struct GraphOfCuda {
  Context context = nullptr;
  std::vector<Task> launches;
};
struct GraphExecOfCuda {
  Context context = nullptr;
  std::vector<Task> launches;
};
struct EventOfCuda {
  std::shared_ptr<emulated::Mark> mark;
};
struct ModuleOfCuda {
  bool loaded = true;
};
struct FunctionOfCuda {
  const emulated::simt::Kernel* kernel;
};

namespace {

using emulated::setting;

constexpr uint32_t kFatbinMagic = 0xBA55ED50;
constexpr unsigned kMostThreads = 1024, kMostGridYz = 65535;

std::mutex mutex;
bool initialized = false;
thread_local Context current = nullptr;
thread_local DriverStream captured = nullptr;  // by this thread
std::atomic<int64_t> graph_launches = 0;

int device_count() { return static_cast<int>(setting("FERRY_EMULATED_DEVICES", 1)); }

emulated::Memory& memory_of(int device) {
  // Never destroyed: buffers may be given back while the process ends.
  static auto& memories = *new std::map<int, std::unique_ptr<emulated::Memory>>;
  const std::lock_guard lock(mutex);
  auto& memory = memories[device];
  if (memory == nullptr) {
    memory = std::make_unique<emulated::Memory>(setting("FERRY_EMULATED_MEMORY_MIB", 16384) << 20);
  }
  return *memory;
}

Context context_of(int device) {
  static auto& contexts = *new std::map<int, ContextOfCuda>;
  const std::lock_guard lock(mutex);
  contexts[device].device = device;
  return &contexts[device];
}

std::set<DriverStream>& all_streams() {
  static auto& streams = *new std::set<DriverStream>;
  return streams;
}

emulated::Memory& memory() { return memory_of(current->device); }

char* pointer(DeviceAddress address) { return reinterpret_cast<char*>(address); }

bool holds(DeviceAddress address, size_t bytes) {
  return memory().holds(pointer(address), static_cast<int64_t>(bytes));
}

// A stream of the context that this thread has chosen.
int check_stream(DriverStream stream) {
  if (current == nullptr || current->retained == 0) return kInvalidContext;
  return stream == nullptr || stream->context != current ? kInvalidHandle : kSuccess;
}

// The same for calls that can't be captured: they end the capture for good.
int check_no_capture(DriverStream stream) {
  const int status = check_stream(stream);
  if (status != kSuccess || stream->capture == nullptr) return status;
  stream->capture->invalid = true;
  return kCaptureUnsupported;
}

// Calls that may wait for a stream or change memory, while this thread captures.
int check_thread() {
  if (current == nullptr) return kInvalidContext;
  if (captured == nullptr) return kSuccess;
  captured->capture->invalid = true;
  return kCaptureUnsupported;
}

const char* name_of(int status) {
  switch (status) {
    case kSuccess: return "CUDA_SUCCESS";
    case kInvalidValue: return "CUDA_ERROR_INVALID_VALUE";
    case kOutOfMemory: return "CUDA_ERROR_OUT_OF_MEMORY";
    case kNoDevice: return "CUDA_ERROR_NO_DEVICE";
    case kInvalidContext: return "CUDA_ERROR_INVALID_CONTEXT";
    case kNoBinaryForGpu: return "CUDA_ERROR_NO_BINARY_FOR_GPU";
    case kIllegalAddress: return "CUDA_ERROR_ILLEGAL_ADDRESS";
    case kMisalignedAddress: return "CUDA_ERROR_MISALIGNED_ADDRESS";
    case kLaunchFailed: return "CUDA_ERROR_LAUNCH_FAILED";
    default: return nullptr;
  }
}

}  // namespace
}  // namespace ferry::cuda

using namespace ferry::cuda;

namespace emulated {

int cuda_device() { return current == nullptr ? -1 : current->device; }
Memory& cuda_memory(int device) { return memory_of(device); }
TaskQueue* cuda_queue(DriverStream stream) {
  return stream != nullptr && check_stream(stream) == kSuccess ? &stream->queue : nullptr;
}
int cuda_enqueue(DriverStream stream, std::function<int()> task) {
  if (check_stream(stream) != kSuccess) return check_stream(stream);
  Capture* capture = stream->capture.get();
  if (capture == nullptr) {
    stream->queue.push(std::move(task));
  } else if (capture->invalid) {
    return kCaptureInvalidated;
  } else {
    capture->launches.push_back(std::move(task));
  }
  return kSuccess;
}

}  // namespace emulated

extern "C" {

int cuInit(unsigned flags) {
  if (flags != 0) return kInvalidValue;
  const std::string fault = setting("FERRY_EMULATED_FAULT");
  if (fault == "driver") return kSystemDriverMismatch;
  if (fault == "permission") return kNotPermitted;
  initialized = true;
  return device_count() == 0 ? kNoDevice : kSuccess;
}

int cuDriverGetVersion(int* version) {
  const int64_t said = setting("FERRY_EMULATED_CUDA_VERSION", 13000);
  *version = setting("FERRY_EMULATED_FAULT") == "old" ? 10020 : static_cast<int>(said);
  return kSuccess;
}

int cuGetErrorName(int status, const char** name) {
  *name = name_of(status);
  return *name == nullptr ? kInvalidValue : kSuccess;
}

int cuGetErrorString(int status, const char** text) { return cuGetErrorName(status, text); }

int cuDeviceGetCount(int* count) {
  *count = device_count();
  return initialized ? kSuccess : kNotInitialized;
}

int cuDeviceGet(int* device, int ordinal) {
  if (!initialized) return kNotInitialized;
  if (ordinal < 0 || ordinal >= device_count()) return kInvalidDevice;
  *device = ordinal;
  return kSuccess;
}

int cuDeviceGetName(char* name, int length, int) {
  if (length < 16) return kInvalidValue;
  std::strcpy(name, "emulated GPU");
  return kSuccess;
}

int cuDeviceGetAttribute(int* value, int attribute, int) {
  switch (attribute) {
    case kAttributeMultiprocessors: *value = 4; return kSuccess;
    case kAttributeMajor:
      *value = setting("FERRY_EMULATED_FAULT") == "chip" ? 6 : 9;
      return kSuccess;
    case kAttributeMinor: *value = 0; return kSuccess;
    default: return kInvalidValue;
  }
}

int cuDevicePrimaryCtxRetain(Context* context, int device) {
  if (setting("FERRY_EMULATED_FAULT") == "busy") return kDeviceUnavailable;
  *context = context_of(device);
  ++(*context)->retained;
  return kSuccess;
}

int cuDevicePrimaryCtxRelease_v2(int device) {
  --context_of(device)->retained;
  return kSuccess;
}

int cuCtxSetCurrent(Context context) {
  current = context;
  return kSuccess;
}

int cuCtxSynchronize() {
  if (const int status = check_thread(); status != kSuccess) return status;
  // Waited for without the lock: other contexts go on, and what is waited for may wait for them.
  std::vector<DriverStream> streams;
  {
    const std::lock_guard lock(mutex);
    std::copy_if(all_streams().begin(), all_streams().end(), std::back_inserter(streams),
                 [](DriverStream stream) { return stream->context == current; });
  }
  int status = kSuccess;
  for (DriverStream stream : streams) {
    const int its = stream->queue.sync();
    status = status == kSuccess ? its : status;
  }
  return status;
}

int cuMemGetInfo_v2(size_t* free, size_t* total) {
  if (current == nullptr) return kInvalidContext;
  *free = static_cast<size_t>(memory().free_bytes());
  *total = static_cast<size_t>(memory().total_bytes());
  return kSuccess;
}

int cuMemAlloc_v2(DeviceAddress* address, size_t bytes) {
  if (const int status = check_thread(); status != kSuccess) return status;
  if (bytes == 0) return kInvalidValue;
  void* data = memory().take(static_cast<int64_t>(bytes));
  *address = reinterpret_cast<DeviceAddress>(data);
  return data == nullptr ? kOutOfMemory : kSuccess;
}

int cuMemFree_v2(DeviceAddress address) {
  if (const int status = check_thread(); status != kSuccess) return status;
  return memory().give_back(pointer(address)) ? kSuccess : kInvalidValue;
}

int cuMemHostAlloc(void** data, size_t bytes, unsigned) {
  if (const int status = check_thread(); status != kSuccess) return status;
  *data = bytes == 0 ? nullptr : std::malloc(bytes);
  return *data == nullptr ? kInvalidValue : kSuccess;
}

int cuMemFreeHost(void* data) {
  std::free(data);
  return kSuccess;
}

int cuMemcpyHtoD_v2(DeviceAddress dst, const void* src, size_t bytes) {
  if (const int status = check_thread(); status != kSuccess) return status;
  if (!holds(dst, bytes) || memory().is_device(src)) return kInvalidValue;
  std::memcpy(memory().inside(pointer(dst)), src, bytes);
  return kSuccess;
}

// Reads its source when the queue gets there, as it does from pinned memory.
int cuMemcpyHtoDAsync_v2(DeviceAddress dst, const void* src, size_t bytes, DriverStream stream) {
  if (const int status = check_no_capture(stream); status != kSuccess) return status;
  if (!holds(dst, bytes) || memory().is_device(src)) return kInvalidValue;
  stream->queue.push([to = memory().inside(pointer(dst)), src, bytes] {
    std::memcpy(to, src, bytes);
    return kSuccess;
  });
  return kSuccess;
}

// Until the queue gets there the target holds noise.
int cuMemcpyDtoHAsync_v2(void* dst, DeviceAddress src, size_t bytes, DriverStream stream) {
  if (const int status = check_no_capture(stream); status != kSuccess) return status;
  if (!holds(src, bytes) || memory().is_device(dst)) return kInvalidValue;
  std::memset(dst, 0xA5, bytes);
  stream->queue.push([dst, from = memory().inside(pointer(src)), bytes] {
    std::memcpy(dst, from, bytes);
    return kSuccess;
  });
  return kSuccess;
}

int cuMemsetD8Async(DeviceAddress dst, unsigned char value, size_t bytes, DriverStream stream) {
  if (const int status = check_no_capture(stream); status != kSuccess) return status;
  if (!holds(dst, bytes)) return kInvalidValue;
  stream->queue.push([to = memory().inside(pointer(dst)), value, bytes] {
    std::memset(to, value, bytes);
    return kSuccess;
  });
  return kSuccess;
}

int cuStreamCreate(DriverStream* stream, unsigned) {
  if (current == nullptr) return kInvalidContext;
  *stream = new StreamOfCuda{.context = current, .queue = {}};
  const std::lock_guard lock(mutex);
  all_streams().insert(*stream);
  return kSuccess;
}

int cuStreamDestroy_v2(DriverStream stream) {
  {
    const std::lock_guard lock(mutex);
    if (all_streams().erase(stream) == 0) return kInvalidHandle;
  }
  delete stream;
  return kSuccess;
}

// nullptr: the default stream, on which only copies that are done at once are made here.
int cuStreamSynchronize(DriverStream stream) {
  if (stream == nullptr) return check_thread();
  const int status = check_no_capture(stream);
  return status == kSuccess ? stream->queue.sync() : status;
}

int cuEventCreate(DriverEvent* event, unsigned) {
  if (current == nullptr) return kInvalidContext;
  *event = new EventOfCuda;
  return kSuccess;
}

int cuEventDestroy_v2(DriverEvent event) {
  delete event;
  return kSuccess;
}

int cuEventRecord(DriverEvent event, DriverStream stream) {
  if (const int status = check_no_capture(stream); status != kSuccess) return status;
  event->mark = std::make_shared<emulated::Mark>();
  stream->queue.push(event->mark);
  return kSuccess;
}

int cuStreamWaitEvent(DriverStream stream, DriverEvent event, unsigned) {
  if (const int status = check_no_capture(stream); status != kSuccess) return status;
  if (event->mark == nullptr) return kSuccess;
  stream->queue.push([mark = event->mark] {
    mark->wait();
    return kSuccess;
  });
  return kSuccess;
}

int cuModuleLoadData(Module* module, const void* image) {
  if (current == nullptr) return kInvalidContext;
  uint32_t magic = 0;
  std::memcpy(&magic, image, sizeof magic);
  if (magic != kFatbinMagic || setting("FERRY_EMULATED_FAULT") == "image") return kNoBinaryForGpu;
  *module = new ModuleOfCuda;
  return kSuccess;
}

int cuModuleUnload(Module module) {
  delete module;
  return kSuccess;
}

int cuModuleGetFunction(Function* function, Module, const char* name) {
  const emulated::simt::Kernel* kernel = emulated::simt::find_kernel(name);
  if (kernel == nullptr || emulated::is_wrong(name)) return kNotFound;
  *function = new FunctionOfCuda{kernel};
  return kSuccess;
}

// Parameters are read during the call, as the driver does.
int cuLaunchKernel(Function function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                   unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared_bytes,
                   DriverStream stream, void** params, void** extra) {
  if (check_stream(stream) != kSuccess) return check_stream(stream);
  if (function == nullptr || params == nullptr || extra != nullptr) return kInvalidValue;
  if (grid_x == 0 || grid_y == 0 || grid_z == 0 || grid_x > 0x7FFFFFFF || grid_y > kMostGridYz ||
      grid_z > kMostGridYz || block_x == 0 || block_x > kMostThreads || block_y != 1 ||
      block_z != 1 || shared_bytes != 0) {
    return kInvalidValue;
  }
  const char* from = static_cast<const char*>(params[0]);
  const std::string copy(from, from + function->kernel->param_bytes);
  Task task = [=, &memory = memory(), kernel = function->kernel] {
    return emulated::simt::launch(*kernel, {grid_x, grid_y, grid_z}, {block_x, 1, 1}, copy.data(),
                                  memory);
  };
  return emulated::cuda_enqueue(stream, std::move(task));
}

int cuStreamBeginCapture_v2(DriverStream stream, int mode) {
  if (stream == nullptr) return kCaptureUnsupported;
  if (check_stream(stream) != kSuccess) return check_stream(stream);
  if (mode != kCaptureThreadLocal || emulated::is_wrong("cuStreamBeginCapture_v2")) {
    return kInvalidValue;
  }
  if (stream->capture != nullptr || captured != nullptr) return kIllegalState;
  stream->capture = std::make_unique<Capture>();
  stream->capture->thread = std::this_thread::get_id();
  captured = stream;
  return kSuccess;
}

int cuStreamEndCapture(DriverStream stream, Graph* graph) {
  *graph = nullptr;
  if (check_stream(stream) != kSuccess) return check_stream(stream);
  if (stream->capture == nullptr) return kIllegalState;
  if (stream->capture->thread != std::this_thread::get_id()) return kCaptureWrongThread;
  const std::unique_ptr<Capture> capture = std::move(stream->capture);
  captured = nullptr;
  if (capture->invalid) return kCaptureInvalidated;
  *graph = new GraphOfCuda{stream->context, std::move(capture->launches)};
  return kSuccess;
}

int cuGraphInstantiateWithFlags(GraphExec* exec, Graph graph, unsigned long long flags) {
  if (const int status = check_thread(); status != kSuccess) return status;
  if (graph == nullptr || flags != 0) return kInvalidValue;
  if (emulated::is_wrong("cuGraphInstantiateWithFlags")) return kOutOfMemory;
  *exec = new GraphExecOfCuda{graph->context, graph->launches};
  return kSuccess;
}

// Its launches find the memory that there is then, as those of a stream do.
int cuGraphLaunch(GraphExec exec, DriverStream stream) {
  if (const int status = check_no_capture(stream); status != kSuccess) return status;
  if (exec == nullptr || exec->context != stream->context) return kInvalidValue;
  for (const Task& task : exec->launches) stream->queue.push(task);
  ++graph_launches;
  return kSuccess;
}

int cuGraphExecDestroy(GraphExec exec) {
  delete exec;
  return kSuccess;
}

int cuGraphDestroy(Graph graph) {
  delete graph;
  return kSuccess;
}

// For tests: how many graphs were launched so far.
int64_t ferry_emulated_graph_launches() { return graph_launches; }
// The same of a kernel, once they are done.
int64_t ferry_emulated_kernel_launches(const char* name) {
  return emulated::simt::find_kernel(name)->launches;
}

}  // extern "C"
