// libascendcl.so, emulated: devices, contexts, memory, streams, events, with the vendor's names and
// error codes.
#include <dlfcn.h>

#include <cstdlib>
#include <cstring>
#include <set>

#include "vendor/ascend/emulated_acl.h"

namespace emulated {
namespace {

thread_local ContextOfAcl* current_context = nullptr;
thread_local std::string last_message;
bool is_initialized = false;

int device_count() { return static_cast<int>(setting("FERRY_EMULATED_DEVICES", 1)); }

// What opening a device says in this test.
int opening() {
  const std::string fault = setting("FERRY_EMULATED_FAULT");
  if (fault == "busy") return kRtDevSetupError;
  if (fault == "permission") return kRtNoPermission;
  if (fault == "driver") return kRtDrvInternalError;
  return kAclSuccess;
}

// Host memory is any that isn't the device's.
int check_copy(const Memory& memory, const void* dst, size_t most, const void* src, size_t bytes,
               int kind) {
  const auto length = static_cast<int64_t>(bytes);
  if (bytes > most || (kind != kHostToDevice && kind != kDeviceToHost)) return kRtParamInvalid;
  const void* device = kind == kHostToDevice ? dst : src;
  const void* host = kind == kHostToDevice ? src : dst;
  return memory.holds(device, length) && !memory.is_device(host) ? kAclSuccess : kRtParamInvalid;
}

void move_bytes(const Memory& memory, void* dst, const void* src, size_t bytes) {
  const void* from = memory.is_device(src) ? memory.inside(src) : src;
  std::memmove(memory.is_device(dst) ? memory.inside(dst) : dst, from, bytes);
}

// Every stream there is, for aclrtSynchronizeDevice().
std::mutex& streams_mutex() {
  static std::mutex mutex;
  return mutex;
}
std::set<AclStream>& all_streams() {
  static auto& streams = *new std::set<AclStream>;
  return streams;
}

const std::string& library_path() {
  static const auto& path = *new std::string([] {
    Dl_info info{};
    dladdr(reinterpret_cast<const void*>(&aclrtSetDevice), &info);
    return std::string(info.dli_fname);
  }());
  return path;
}

}  // namespace

bool is_release(const char* name) {
  return library_path().find(std::string("cann-") + name + "/") != std::string::npos;
}
bool is_310p() { return is_release("310p"); }

int current_device() { return current_context == nullptr ? -1 : current_context->device; }

Memory& device_memory(int device) {
  static std::mutex mutex;
  // Never destroyed: buffers may be given back while the process ends.
  static auto& memories = *new std::map<int, std::unique_ptr<Memory>>;
  const std::lock_guard lock(mutex);
  auto& memory = memories[device];
  if (memory == nullptr) {
    memory = std::make_unique<Memory>(setting("FERRY_EMULATED_MEMORY_MIB", 16384) << 20);
  }
  return *memory;
}

}  // namespace emulated

using emulated::current_context;
using emulated::current_device;
using emulated::device_memory;

extern "C" {

int aclInit(const char*) {
  if (emulated::is_initialized) return kAclRepeatInitialize;
  emulated::is_initialized = true;
  return kAclSuccess;
}

int aclrtGetVersion(int32_t* major, int32_t* minor, int32_t* patch) {
  *major = 1;
  *minor = emulated::is_release("old") ? 9 : 15;
  *patch = 2;
  return kAclSuccess;
}

const char* aclGetRecentErrMsg() {
  if (emulated::setting("FERRY_EMULATED_FAULT") != "driver") return nullptr;
  return "EZ9999: emulated driver 22.0\nand more lines";
}

int aclrtGetDeviceCount(uint32_t* count) {
  *count = static_cast<uint32_t>(emulated::device_count());
  return *count == 0 ? kRtNoDevice : kAclSuccess;
}

int aclrtSetDevice(int32_t device) {
  if (device < 0 || device >= emulated::device_count()) return kRtInvalidDeviceId;
  return emulated::opening();
}

int aclrtCreateContext(AclContext* context, int32_t device) {
  *context = new ContextOfAcl{.device = device};
  current_context = *context;
  return kAclSuccess;
}
int aclrtDestroyContext(AclContext context) {
  if (current_context == context) current_context = nullptr;
  delete context;
  return kAclSuccess;
}
int aclrtSetCurrentContext(AclContext context) {
  if (context == nullptr) return kRtContextNull;
  current_context = context;
  return kAclSuccess;
}

const char* aclrtGetSocName() { return emulated::is_310p() ? "Ascend310P3" : "Ascend910B3"; }

int aclrtGetMemInfo(int attribute, size_t* free, size_t* total) {
  if (current_device() < 0) return kRtContextNull;
  if (attribute != (emulated::is_310p() ? kDdrMemory : kHbmMemory)) return kRtParamInvalid;
  *free = static_cast<size_t>(device_memory(current_device()).free_bytes());
  *total = static_cast<size_t>(device_memory(current_device()).total_bytes());
  return kAclSuccess;
}

int aclrtMalloc(void** data, size_t bytes, int policy) {
  if (current_device() < 0) return kRtContextNull;
  if (bytes == 0 || policy != kMallocHugeFirst) return kRtParamInvalid;
  *data = device_memory(current_device()).take(static_cast<int64_t>(bytes));
  return *data == nullptr ? kRtMemoryAllocation : kAclSuccess;
}
int aclrtFree(void* data) {
  if (current_device() < 0) return kRtContextNull;
  return device_memory(current_device()).give_back(data) ? kAclSuccess : kRtParamInvalid;
}

int aclrtMallocHost(void** data, size_t bytes) {
  *data = std::malloc(bytes);
  return bytes == 0 ? kRtParamInvalid : kAclSuccess;
}
int aclrtFreeHost(void* data) {
  std::free(data);
  return kAclSuccess;
}

int aclrtMemcpy(void* dst, size_t most, const void* src, size_t bytes, int kind) {
  if (current_device() < 0) return kRtContextNull;
  const emulated::Memory& memory = device_memory(current_device());
  const int status = emulated::check_copy(memory, dst, most, src, bytes, kind);
  if (status == kAclSuccess) emulated::move_bytes(memory, dst, src, bytes);
  return status;
}

// Reads the source when the stream gets there, not before; until then the target of a copy to the
// host holds noise.
int aclrtMemcpyAsync(void* dst, size_t most, const void* src, size_t bytes, int kind,
                     AclStream stream) {
  if (stream == nullptr || stream->device != current_device()) return kRtStreamContext;
  const emulated::Memory& memory = device_memory(stream->device);
  const int status = emulated::check_copy(memory, dst, most, src, bytes, kind);
  if (status != kAclSuccess) return status;
  if (kind == kDeviceToHost) std::memset(dst, 0xA5, bytes);
  stream->queue.push([&memory, dst, src, bytes] {
    emulated::move_bytes(memory, dst, src, bytes);
    return kAclSuccess;
  });
  return kAclSuccess;
}

int aclrtMemsetAsync(void* data, size_t most, int32_t value, size_t bytes, AclStream stream) {
  if (stream == nullptr || stream->device != current_device()) return kRtStreamContext;
  const emulated::Memory& memory = device_memory(stream->device);
  if (bytes > most || !memory.holds(data, static_cast<int64_t>(bytes))) return kRtParamInvalid;
  stream->queue.push([&memory, data, value, bytes] {
    std::memset(memory.inside(data), value, bytes);
    return kAclSuccess;
  });
  return kAclSuccess;
}

int aclrtCreateStream(AclStream* stream) {
  if (current_device() < 0) return kRtContextNull;
  *stream = new StreamOfAcl{.device = current_device(), .queue = {}};
  const std::lock_guard lock(emulated::streams_mutex());
  emulated::all_streams().insert(*stream);
  return kAclSuccess;
}
int aclrtDestroyStream(AclStream stream) {
  {
    const std::lock_guard lock(emulated::streams_mutex());
    emulated::all_streams().erase(stream);
  }
  delete stream;
  return kAclSuccess;
}
int aclrtSynchronizeStream(AclStream stream) {
  if (stream == nullptr || stream->device != current_device()) return kRtStreamContext;
  return stream->queue.sync();
}
int aclrtSynchronizeDevice() {
  const std::lock_guard lock(emulated::streams_mutex());
  int status = kAclSuccess;
  for (AclStream stream : emulated::all_streams()) {
    if (stream->device == current_device() && status == kAclSuccess) status = stream->queue.sync();
  }
  return status;
}

int aclrtCreateEvent(AclEvent* event) {
  *event = new EventOfAcl;
  return kAclSuccess;
}
int aclrtDestroyEvent(AclEvent event) {
  delete event;
  return kAclSuccess;
}
int aclrtRecordEvent(AclEvent event, AclStream stream) {
  if (stream == nullptr || event == nullptr) return kRtParamInvalid;
  event->mark = std::make_shared<emulated::Mark>();
  stream->queue.push(event->mark);
  return kAclSuccess;
}
int aclrtStreamWaitEvent(AclStream stream, AclEvent event) {
  if (stream == nullptr || event == nullptr) return kRtParamInvalid;
  if (event->mark == nullptr) return kAclSuccess;  // nothing to wait for
  stream->queue.push([mark = event->mark] {
    mark->wait();
    return kAclSuccess;
  });
  return kAclSuccess;
}

}  // extern "C"
