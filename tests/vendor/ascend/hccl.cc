// libhccl.so, emulated: communicators and collectives with the vendor's names and error codes.
// Ranks meet in their streams (vendor/common/collectives.h).
#include "backends/ascend/hccl.h"

#include <cstring>

#include "vendor/ascend/emulated_acl.h"
#include "vendor/common/collectives.h"

namespace ferry::ascend {
struct CommOfHccl {
  std::shared_ptr<emulated::Clique> clique;
  int rank, size, device;
};
}  // namespace ferry::ascend

namespace emulated {
namespace {

constexpr int kStreamTimeout = 507046;

bool element_of(int dtype, Element* element) {
  switch (dtype) {
    case kHcclFp32: *element = Element::kF32; return true;
    case kHcclFp16: *element = Element::kF16; return true;
    case kHcclBfp16: *element = Element::kBF16; return !is_310p();
    case kHcclInt8: *element = Element::kI8; return true;
    case kHcclInt32: *element = Element::kI32; return true;
    case kHcclInt64: *element = Element::kI64; return true;
    default: return false;
  }
}

// Where the emulator finds `count` elements; nullptr unless they lie in this device's memory.
char* inside(const HcclComm comm, const void* data, int64_t count, Element element) {
  const Memory& memory = device_memory(comm->device);
  return memory.holds(data, count * element_bytes(element)) ? memory.inside(data) : nullptr;
}

int check(HcclComm comm, AclStream stream) {
  if (comm == nullptr || stream == nullptr) return kHcclNullPointer;
  const bool here = stream->device == comm->device && current_device() == comm->device;
  return here ? kHcclSuccess : kHcclRuntime;
}

void push(HcclComm comm, AclStream stream, Part part, const char* name) {
  part.wrong = is_wrong(name);
  stream->queue.push([clique = comm->clique, rank = comm->rank, part = std::move(part)] {
    switch (clique->run(rank, part)) {
      case Outcome::kDone: return kAclSuccess;
      case Outcome::kTimeout: return kStreamTimeout;
      default: return kRtAicoreException;
    }
  });
}

// A collective of one buffer on each side, sent and received counts apart.
int run(HcclComm comm, AclStream stream, const char* name, Collective what, const void* send,
        int64_t sent, const void* receive, int64_t received, uint64_t count, int dtype, int sum) {
  if (check(comm, stream) != kHcclSuccess) return check(comm, stream);
  Part part{.what = what, .element = Element::kF32, .count = static_cast<int64_t>(count)};
  if (!element_of(dtype, &part.element) || sum != kHcclSum) return kHcclNotSupported;
  part.send = inside(comm, send, sent, part.element);
  part.receive = inside(comm, receive, received, part.element);
  if (part.send == nullptr || part.receive == nullptr || count == 0) return kHcclParameter;
  push(comm, stream, std::move(part), name);
  return kHcclSuccess;
}

bool pieces(HcclComm comm, Element element, const void* data, const void* counts,
            const void* offsets, std::vector<Part::Piece>& out) {
  const auto* how_many = static_cast<const uint64_t*>(counts);
  const auto* where = static_cast<const uint64_t*>(offsets);
  for (int r = 0; r < comm->size; ++r) {
    const auto count = static_cast<int64_t>(how_many[r]);
    const char* from =
        static_cast<const char*>(data) + static_cast<int64_t>(where[r]) * element_bytes(element);
    char* there = count == 0 ? nullptr : inside(comm, from, count, element);
    if (count > 0 && there == nullptr) return false;
    out.push_back({there, count});
  }
  return true;
}

}  // namespace
}  // namespace emulated

using emulated::Collective;

extern "C" {

int HcclGetRootInfo(HcclRootInfo* root) {
  if (root == nullptr) return kHcclNullPointer;
  if (emulated::current_device() < 0) return kHcclRuntime;
  const uint64_t id = emulated::Clique::new_id();
  std::memset(root->internal, 0x5A, sizeof root->internal);
  std::memcpy(root->internal, &id, sizeof id);
  return kHcclSuccess;
}

int HcclCommInitRootInfo(uint32_t ranks, const HcclRootInfo* root, uint32_t rank, HcclComm* comm) {
  if (root == nullptr || comm == nullptr) return kHcclNullPointer;
  if (emulated::current_device() < 0) return kHcclRuntime;
  uint64_t id = 0;
  std::memcpy(&id, root->internal, sizeof id);
  const auto clique = emulated::Clique::of(id);
  const int device = emulated::current_device();
  // A rank that stays away, in this test.
  if (emulated::setting("FERRY_EMULATED_ABSENT_RANK", -1) != static_cast<int64_t>(rank)) {
    if (!clique->enter(static_cast<int>(ranks), static_cast<int>(rank), device)) {
      return kHcclParameter;
    }
  }
  if (!clique->wait_for_all()) return kHcclTimeout;
  *comm = new CommOfHccl{clique, static_cast<int>(rank), static_cast<int>(ranks), device};
  return kHcclSuccess;
}

int HcclCommDestroy(HcclComm comm) {
  delete comm;
  return kHcclSuccess;
}

int HcclAllReduce(void* send, void* receive, uint64_t count, int dtype, int sum, HcclComm comm,
                  AclStream stream) {
  const auto n = static_cast<int64_t>(count);
  return emulated::run(comm, stream, "HcclAllReduce", Collective::kAllReduce, send, n, receive, n,
                       count, dtype, sum);
}

int HcclAllGather(void* send, void* receive, uint64_t count, int dtype, HcclComm comm,
                  AclStream stream) {
  if (comm == nullptr) return kHcclNullPointer;
  const auto n = static_cast<int64_t>(count);
  return emulated::run(comm, stream, "HcclAllGather", Collective::kAllGather, send, n, receive,
                       n * comm->size, count, dtype, kHcclSum);
}

int HcclReduceScatter(void* send, void* receive, uint64_t count, int dtype, int sum, HcclComm comm,
                      AclStream stream) {
  if (comm == nullptr) return kHcclNullPointer;
  const auto n = static_cast<int64_t>(count);
  return emulated::run(comm, stream, "HcclReduceScatter", Collective::kReduceScatter, send,
                       n * comm->size, receive, n, count, dtype, sum);
}

int HcclAlltoAllV(const void* send, const void* send_counts, const void* send_offsets,
                  int send_dtype, const void* receive, const void* receive_counts,
                  const void* receive_offsets, int receive_dtype, HcclComm comm, AclStream stream) {
  if (emulated::check(comm, stream) != kHcclSuccess) return emulated::check(comm, stream);
  emulated::Part part{.what = Collective::kAllToAllV};
  if (!emulated::element_of(send_dtype, &part.element) || receive_dtype != send_dtype) {
    return kHcclNotSupported;
  }
  if (!emulated::pieces(comm, part.element, send, send_counts, send_offsets, part.sends) ||
      !emulated::pieces(comm, part.element, receive, receive_counts, receive_offsets,
                        part.receives)) {
    return kHcclParameter;
  }
  emulated::push(comm, stream, std::move(part), "HcclAlltoAllV");
  return kHcclSuccess;
}

}  // extern "C"
