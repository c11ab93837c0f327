// libcncl.so, emulated: cliques and collectives with the vendor's names and error codes. Ranks meet
// in their queues (vendor/common/collectives.h).
#include "backends/cambricon/cncl.h"

#include <cstring>

#include "vendor/cambricon/emulated_cnnl.h"
#include "vendor/common/collectives.h"

namespace ferry::cambricon {
struct CommOfCncl {
  std::shared_ptr<emulated::Clique> clique;
  int rank, size, device;
};
}  // namespace ferry::cambricon

namespace emulated {
namespace {

constexpr int kQueueTimeout = 100128;

bool element_of(int dtype, Element* element) {
  switch (dtype) {
    case kCnclFloat32: *element = Element::kF32; return true;
    case kCnclFloat16: *element = Element::kF16; return true;
    case kCnclBfloat16: *element = Element::kBF16; return true;
    case kCnclInt8: *element = Element::kI8; return true;
    case kCnclInt32: *element = Element::kI32; return true;
    case kCnclInt64: *element = Element::kI64; return true;
    default: return false;
  }
}

char* inside(CnclComm comm, const void* data, int64_t count, Element element) {
  const Memory& memory = device_memory(comm->device);
  return memory.holds(data, count * element_bytes(element)) ? memory.inside(data) : nullptr;
}

bool is_here(CnclComm comm, Queue queue) {
  return comm != nullptr && queue != nullptr && queue->device == comm->device;
}

void push(CnclComm comm, Queue queue, Part part, const char* name) {
  part.wrong = is_wrong(name);
  queue->queue.push([clique = comm->clique, rank = comm->rank, part = std::move(part)] {
    switch (clique->run(rank, part)) {
      case Outcome::kDone: return kCnrtSuccess;
      case Outcome::kTimeout: return kQueueTimeout;
      default: return kTrap;
    }
  });
}

int run(CnclComm comm, Queue queue, const char* name, Collective what, const void* send,
        int64_t sent, const void* receive, int64_t received, size_t count, int dtype, int sum) {
  Part part{.what = what, .element = Element::kF32, .count = static_cast<int64_t>(count)};
  if (!is_here(comm, queue) || !element_of(dtype, &part.element) || sum != kCnclSum) {
    return kCnclArguments;
  }
  part.send = inside(comm, send, sent, part.element);
  part.receive = inside(comm, receive, received, part.element);
  if (part.send == nullptr || part.receive == nullptr || count == 0) return kCnclArguments;
  push(comm, queue, std::move(part), name);
  return kCnclSuccess;
}

}  // namespace
}  // namespace emulated

using emulated::Collective;

extern "C" {

const char* cnclGetErrorStr(int status) {
  switch (status) {
    case kCnclSuccess: return "CNCL_RET_SUCCESS";
    case kCnclArguments: return "CNCL_RET_ERR_ARGUMENTS";
    case kCnclAsyncError: return "CNCL_RET_ASYNC_ERROR";
    default: return "CNCL_RET_ERR_UNKNOWN";
  }
}

int cnclGetCliqueId(CnclCliqueId* id) {
  if (id == nullptr) return kCnclArguments;
  std::memset(id->data, 0x5A, sizeof id->data);
  id->hash = emulated::Clique::new_id();
  return kCnclSuccess;
}

int cnclInitComms(CnclComm* comms, int count, const int* devices, const int* ranks, int all_ranks,
                  CnclCliqueId* id) {
  if (comms == nullptr || count < 1 || (id == nullptr && count != all_ranks)) return kCnclArguments;
  const auto clique = emulated::Clique::of(id == nullptr ? emulated::Clique::new_id() : id->hash);
  const int64_t absent = emulated::setting("FERRY_EMULATED_ABSENT_RANK", -1);
  for (int i = 0; i < count; ++i) {
    if (ranks[i] == absent) continue;  // a rank that stays away, in this test
    if (!clique->enter(all_ranks, ranks[i], devices[i])) return kCnclArguments;
  }
  if (!clique->wait_for_all()) return kCnclAsyncError;
  for (int i = 0; i < count; ++i) {
    comms[i] = new CommOfCncl{clique, ranks[i], all_ranks, devices[i]};
  }
  return kCnclSuccess;
}

int cnclDestroyComms(CnclComm* comms, int count) {
  for (int i = 0; i < count; ++i) delete comms[i];
  return kCnclSuccess;
}

int cnclAllReduce(const void* send, void* receive, size_t count, int dtype, int sum, CnclComm comm,
                  Queue queue) {
  const auto n = static_cast<int64_t>(count);
  return emulated::run(comm, queue, "cnclAllReduce", Collective::kAllReduce, send, n, receive, n,
                       count, dtype, sum);
}

int cnclAllGather(const void* send, void* receive, size_t count, int dtype, CnclComm comm,
                  Queue queue) {
  if (comm == nullptr) return kCnclArguments;
  const auto n = static_cast<int64_t>(count);
  return emulated::run(comm, queue, "cnclAllGather", Collective::kAllGather, send, n, receive,
                       n * comm->size, count, dtype, kCnclSum);
}

int cnclReduceScatter(const void* send, void* receive, size_t count, int dtype, int sum,
                      CnclComm comm, Queue queue) {
  if (comm == nullptr) return kCnclArguments;
  const auto n = static_cast<int64_t>(count);
  return emulated::run(comm, queue, "cnclReduceScatter", Collective::kReduceScatter, send,
                       n * comm->size, receive, n, count, dtype, sum);
}

int cnclAlltoAllv(const void** send, uint32_t* send_counts, int* send_dtypes, void** receive,
                  uint32_t* receive_counts, int* receive_dtypes, CnclComm comm, Queue queue) {
  if (!emulated::is_here(comm, queue)) return kCnclArguments;
  emulated::Part part{.what = Collective::kAllToAllV};
  for (int r = 0; r < comm->size; ++r) {
    if (!emulated::element_of(send_dtypes[r], &part.element)) return kCnclArguments;
    if (send_dtypes[r] != send_dtypes[0] || receive_dtypes[r] != send_dtypes[0]) {
      return kCnclArguments;
    }
    for (const bool out : {false, true}) {
      const int64_t count = out ? receive_counts[r] : send_counts[r];
      const void* data = out ? receive[r] : send[r];
      char* there = count == 0 ? nullptr : emulated::inside(comm, data, count, part.element);
      if (count > 0 && there == nullptr) return kCnclArguments;
      (out ? part.receives : part.sends).push_back({there, count});
    }
  }
  // Not in place: nothing may arrive where something is sent from.
  for (const auto& from : part.sends) {
    for (const auto& to : part.receives) {
      if (from.data != nullptr && from.data == to.data) return kCnclArguments;
    }
  }
  emulated::push(comm, queue, std::move(part), "cnclAlltoAllv");
  return kCnclSuccess;
}

}  // extern "C"
