// Calls, part 1: the stream, its events and copies. See calls.h.
#include "backends/ascend/calls.h"

namespace ferry::ascend {
namespace {

// An event that destroys itself; keeps its device alive.
struct OwnEvent {
  std::shared_ptr<Device> device;
  AclEvent event = nullptr;
  ~OwnEvent() {
    if (event != nullptr && device->bind().ok()) device->vendor().aclrtDestroyEvent(event);
  }
};

}  // namespace

Result<std::unique_ptr<Calls>> Calls::create(std::shared_ptr<Device> device) {
  std::unique_ptr<Calls> calls(new Calls(std::move(device)));
  FERRY_TRY_VOID(calls->bind());
  calls->set_op("create_stream");
  calls->check_acl("aclrtCreateStream", calls->vendor().aclrtCreateStream(&calls->stream_));
  FERRY_TRY_VOID(calls->status());
  return calls;
}

Calls::~Calls() {
  if (stream_ == nullptr || !device_->bind().ok()) return;
  vendor().aclrtSynchronizeStream(stream_);
  vendor().aclrtDestroyStream(stream_);
}

void Calls::check_acl(const char* call, int status) {
  if (status != kAclSuccess) fail(acl_error(vendor(), call, status));
}

void Calls::wait_queue() {
  check_acl("aclrtSynchronizeStream", vendor().aclrtSynchronizeStream(stream_));
}

std::shared_ptr<const void> Calls::record() {
  auto own = std::make_shared<OwnEvent>();
  own->device = device_;
  check_acl("aclrtCreateEvent", vendor().aclrtCreateEvent(&own->event));
  if (ok()) check_acl("aclrtRecordEvent", vendor().aclrtRecordEvent(own->event, stream_));
  return ok() ? own : nullptr;
}

void Calls::wait(const void* event) {
  check_acl("aclrtStreamWaitEvent",
            vendor().aclrtStreamWaitEvent(stream_, static_cast<const OwnEvent*>(event)->event));
}

void Calls::copy_in(void* dst, const void* src, int64_t bytes) {
  if (!ok() || bytes == 0) return;
  const auto count = static_cast<size_t>(bytes);
  check_acl("aclrtMemcpyAsync",
            vendor().aclrtMemcpyAsync(dst, count, src, count, kHostToDevice, stream_));
}

void Calls::copy_out(void* dst, const void* src, int64_t bytes) {
  if (!ok() || bytes == 0) return;
  const auto count = static_cast<size_t>(bytes);
  check_acl("aclrtMemcpyAsync",
            vendor().aclrtMemcpyAsync(dst, count, src, count, kDeviceToHost, stream_));
}

void Calls::fill_zero(void* dst, int64_t bytes) {
  if (!ok() || bytes == 0) return;
  const auto count = static_cast<size_t>(bytes);
  check_acl("aclrtMemsetAsync", vendor().aclrtMemsetAsync(dst, count, 0, count, stream_));
}

}  // namespace ferry::ascend
