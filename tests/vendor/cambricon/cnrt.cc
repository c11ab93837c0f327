// libcnrt.so, emulated: devices, memory, queues, notifiers, with the vendor's names and error
// codes.
#include <dlfcn.h>

#include <cstdlib>
#include <cstring>
#include <set>

#include "vendor/cambricon/emulated_cnnl.h"

namespace emulated {
namespace {

constexpr int kInvalidResource = 100014;
constexpr int kDirectionInvalid = 632013;
constexpr int kWrongDevice = 632006;

thread_local int chosen_device = 0;

int device_count() { return static_cast<int>(setting("FERRY_EMULATED_DEVICES", 1)); }

// What opening a device says in this test.
int opening() {
  const std::string fault = setting("FERRY_EMULATED_FAULT");
  if (fault == "busy") return kCnrtBusy;
  if (fault == "permission") return kCnrtOpsNotPermitted;
  if (fault == "driver") return kCnrtDriverFunctionNotFound;
  return kCnrtSuccess;
}

// Host memory is any that isn't the device's.
bool direction_fits(const Memory& memory, const void* dst, const void* src, size_t bytes,
                    int direction) {
  const auto length = static_cast<int64_t>(bytes);
  const bool to_device = direction == kHostToDevice || direction == kDeviceToDevice;
  const bool from_device = direction == kDeviceToHost || direction == kDeviceToDevice;
  if (!to_device && !from_device) return false;
  return (to_device ? memory.holds(dst, length) : !memory.is_device(dst)) &&
         (from_device ? memory.holds(src, length) : !memory.is_device(src));
}

void move_bytes(const Memory& memory, void* dst, const void* src, size_t bytes) {
  const void* from = memory.is_device(src) ? memory.inside(src) : src;
  std::memmove(memory.is_device(dst) ? memory.inside(dst) : dst, from, bytes);
}

// Every queue there is, for cnrtSyncDevice().
std::mutex& queues_mutex() {
  static std::mutex mutex;
  return mutex;
}
std::set<Queue>& all_queues() {
  static auto& queues = *new std::set<Queue>;
  return queues;
}

}  // namespace

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

bool is_old_release() {
  Dl_info info{};
  return dladdr(reinterpret_cast<const void*>(&cnrtSetDevice), &info) != 0 &&
         std::strstr(info.dli_fname, "neuware-old") != nullptr;
}

Memory& device_memory() { return device_memory(chosen_device); }

}  // namespace emulated

using emulated::chosen_device;
using emulated::device_memory;

extern "C" {

int cnrtGetLibVersion(int* major, int* minor, int* patch) {
  *major = 6;
  *minor = emulated::is_old_release() ? 2 : 14;
  *patch = 1;
  return kCnrtSuccess;
}

int cnrtDriverGetVersion(int* major, int* minor, int* patch) {
  *major = emulated::setting("FERRY_EMULATED_FAULT") == "driver" ? 4 : 6;
  *minor = 2;
  *patch = 10;
  return kCnrtSuccess;
}

const char* cnrtGetErrorStr(int status) {
  switch (status) {
    case kCnrtSuccess: return "cnrtSuccess";
    case kCnrtNoDevice: return "cnrtErrorNoDevice";
    case kCnrtNoMem: return "cnrtErrorNoMem";
    case kCnrtDriverFunctionNotFound: return "cnrtErrorCndrvFuncNotFound";
    case emulated::kTrap: return "cnrtErrorKernelTrap";
    default: return "cnrtErrorUnknown";
  }
}

int cnrtGetDeviceCount(unsigned int* count) {
  *count = static_cast<unsigned int>(emulated::device_count());
  return *count == 0 ? kCnrtNoDevice : kCnrtSuccess;
}

int cnrtSetDevice(int device) {
  if (device < 0 || device >= emulated::device_count()) return kCnrtDeviceInvalid;
  if (emulated::opening() != kCnrtSuccess) return emulated::opening();
  chosen_device = device;
  return kCnrtSuccess;
}

int cnrtDeviceGetAttribute(int* value, int attribute, int) {
  if (attribute != kAttrClusterCount && attribute != kAttrCoresPerCluster) return 632009;
  *value = attribute == kAttrClusterCount ? 12 : 4;
  return kCnrtSuccess;
}

int cnrtGetDeviceProperties_V3(void* properties, int) {
  std::strcpy(static_cast<char*>(properties), "emulated MLU");
  return kCnrtSuccess;
}

int cnrtMemGetInfo(size_t* free, size_t* total) {
  *free = static_cast<size_t>(device_memory().free_bytes());
  *total = static_cast<size_t>(device_memory().total_bytes());
  return kCnrtSuccess;
}

int cnrtMalloc(void** data, size_t bytes) {
  *data = device_memory().take(static_cast<int64_t>(bytes));
  return *data == nullptr ? kCnrtNoMem : kCnrtSuccess;
}

int cnrtFree(void* data) {
  return device_memory().give_back(data) ? kCnrtSuccess : kCnrtArgsInvalid;
}

int cnrtHostMalloc(void** data, size_t bytes) {
  *data = bytes == 0 ? nullptr : std::malloc(bytes);
  return kCnrtSuccess;
}

int cnrtFreeHost(void* data) {
  std::free(data);
  return kCnrtSuccess;
}

int cnrtMemcpy(void* dst, void* src, size_t bytes, int direction) {
  const emulated::Memory& memory = device_memory();
  if (!emulated::direction_fits(memory, dst, src, bytes, direction)) {
    return emulated::kDirectionInvalid;
  }
  emulated::move_bytes(memory, dst, src, bytes);
  return kCnrtSuccess;
}

// Reads the source when the queue gets there, not before; until then the target of a copy to the
// host holds noise.
int cnrtMemcpyAsync_V2(void* dst, void* src, size_t bytes, Queue queue, int direction) {
  if (queue == nullptr) return emulated::kInvalidResource;
  if (queue->device != chosen_device) return emulated::kWrongDevice;
  emulated::Memory& memory = device_memory();
  if (!emulated::direction_fits(memory, dst, src, bytes, direction)) {
    return emulated::kDirectionInvalid;
  }
  if (direction == kDeviceToHost) std::memset(dst, 0xA5, bytes);
  queue->queue.push([&memory, dst, src, bytes] {
    emulated::move_bytes(memory, dst, src, bytes);
    return kCnrtSuccess;
  });
  return kCnrtSuccess;
}

int cnrtMemsetAsync(void* data, int value, size_t bytes, Queue queue) {
  emulated::Memory& memory = device_memory();
  if (queue == nullptr) return emulated::kInvalidResource;
  if (!memory.holds(data, static_cast<int64_t>(bytes))) return kCnrtArgsInvalid;
  queue->queue.push([&memory, data, value, bytes] {
    std::memset(memory.inside(data), value, bytes);
    return kCnrtSuccess;
  });
  return kCnrtSuccess;
}

int cnrtQueueCreate(Queue* queue) {
  *queue = new QueueOfCnrt{.device = chosen_device, .queue = {}};
  const std::lock_guard lock(emulated::queues_mutex());
  emulated::all_queues().insert(*queue);
  return kCnrtSuccess;
}

int cnrtQueueDestroy(Queue queue) {
  {
    const std::lock_guard lock(emulated::queues_mutex());
    emulated::all_queues().erase(queue);
  }
  delete queue;
  return kCnrtSuccess;
}

int cnrtQueueSync(Queue queue) {
  return queue == nullptr ? emulated::kInvalidResource : queue->queue.sync();
}

int cnrtSyncDevice() {
  int status = kCnrtSuccess;
  const std::lock_guard lock(emulated::queues_mutex());
  for (Queue queue : emulated::all_queues()) {
    if (queue->device != chosen_device) continue;
    const int its = queue->queue.sync();
    if (status == kCnrtSuccess) status = its;
  }
  return status;
}

int cnrtNotifierCreate(Notifier* notifier) {
  *notifier = new NotifierOfCnrt;
  return kCnrtSuccess;
}

int cnrtNotifierDestroy(Notifier notifier) {
  delete notifier;
  return kCnrtSuccess;
}

int cnrtPlaceNotifier(Notifier notifier, Queue queue) {
  if (queue == nullptr || notifier == nullptr) return emulated::kInvalidResource;
  notifier->mark = std::make_shared<emulated::Mark>();
  queue->queue.push(notifier->mark);
  return kCnrtSuccess;
}

int cnrtQueueWaitNotifier(Notifier notifier, Queue queue, unsigned int) {
  if (queue == nullptr || notifier == nullptr) return emulated::kInvalidResource;
  if (notifier->mark == nullptr) return kCnrtSuccess;  // nothing to wait for
  queue->queue.push([mark = notifier->mark] {
    mark->wait();
    return kCnrtSuccess;
  });
  return kCnrtSuccess;
}

}  // extern "C"
