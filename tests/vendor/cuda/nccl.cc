// libnccl.so.2, emulated: communicators and collectives with the vendor's names and error codes.
// Ranks meet in their streams (vendor/common/collectives.h); sends and receives of a group are one
// exchange.
#include "backends/cuda/nccl.h"

#include <cstring>

#include "vendor/common/collectives.h"
#include "vendor/cuda/emulated_streams.h"

namespace ferry::cuda {
struct CommOfNccl {
  std::shared_ptr<emulated::Clique> clique;
  int rank, size, device;
};
}  // namespace ferry::cuda

namespace emulated {
namespace {

using namespace ferry::cuda;  // NOLINT: their names are these

constexpr int kStreamTimeout = 909;

// What a thread has begun and not ended.
struct Exchange {
  TaskQueue* queue = nullptr;
  Part part;
};
thread_local int depth = 0;
thread_local std::vector<std::shared_ptr<Clique>> starting;
thread_local std::map<NcclComm, Exchange> exchanges;

bool element_of(int dtype, Element* element) {
  switch (dtype) {
    case kNcclFloat32: *element = Element::kF32; return true;
    case kNcclFloat16: *element = Element::kF16; return true;
    case kNcclBfloat16: *element = Element::kBF16; return true;
    case kNcclInt8: *element = Element::kI8; return true;
    case kNcclInt32: *element = Element::kI32; return true;
    case kNcclInt64: *element = Element::kI64; return true;
    default: return false;
  }
}

char* inside(NcclComm comm, const void* data, int64_t count, Element element) {
  const Memory& memory = cuda_memory(comm->device);
  return memory.holds(data, count * element_bytes(element)) ? memory.inside(data) : nullptr;
}

void push(NcclComm comm, TaskQueue& queue, Part part, const char* name) {
  part.wrong = is_wrong(name);
  queue.push([clique = comm->clique, rank = comm->rank, part = std::move(part)] {
    switch (clique->run(rank, part)) {
      case Outcome::kDone: return kSuccess;
      case Outcome::kTimeout: return kStreamTimeout;
      default: return kLaunchFailed;
    }
  });
}

int run(NcclComm comm, DriverStream stream, const char* name, Collective what, const void* send,
        int64_t sent, const void* receive, int64_t received, size_t count, int dtype, int sum) {
  if (comm == nullptr || comm->device != cuda_device()) return kNcclInvalidUsage;
  TaskQueue* queue = cuda_queue(stream);
  Part part{.what = what, .element = Element::kF32, .count = static_cast<int64_t>(count)};
  if (queue == nullptr || !element_of(dtype, &part.element) || sum != kNcclSum) {
    return kNcclInvalidArgument;
  }
  part.send = inside(comm, send, sent, part.element);
  part.receive = inside(comm, receive, received, part.element);
  if (part.send == nullptr || part.receive == nullptr) return kNcclInvalidArgument;
  push(comm, *queue, std::move(part), name);
  return kNcclSuccess;
}

// A send or a receive; only in groups, as one alone would wait for its peer in the same thread.
int add_piece(bool send, const void* data, size_t count, int dtype, int peer, NcclComm comm,
              DriverStream stream) {
  if (comm == nullptr || comm->device != cuda_device() || depth == 0) return kNcclInvalidUsage;
  Exchange& exchange = exchanges[comm];
  Part& part = exchange.part;
  if (exchange.queue == nullptr) {
    exchange.queue = cuda_queue(stream);
    part.what = Collective::kAllToAllV;
    part.sends.resize(static_cast<size_t>(comm->size));
    part.receives.resize(static_cast<size_t>(comm->size));
    if (!element_of(dtype, &part.element)) return kNcclInvalidArgument;
  }
  Element element{};
  if (exchange.queue == nullptr || exchange.queue != cuda_queue(stream) || peer < 0 ||
      peer >= comm->size || !element_of(dtype, &element) || element != part.element) {
    return kNcclInvalidArgument;
  }
  Part::Piece& piece = (send ? part.sends : part.receives)[static_cast<size_t>(peer)];
  char* there = inside(comm, data, static_cast<int64_t>(count), element);
  if (piece.data != nullptr || there == nullptr) return kNcclInvalidArgument;
  piece = {there, static_cast<int64_t>(count)};
  return kNcclSuccess;
}

}  // namespace
}  // namespace emulated

using emulated::Collective;
using namespace ferry::cuda;  // NOLINT: as above

extern "C" {

const char* ncclGetErrorString(int status) {
  switch (status) {
    case kNcclSuccess: return "no error";
    case kNcclInvalidArgument: return "invalid argument";
    case kNcclInvalidUsage: return "invalid usage";
    case kNcclRemoteError: return "remote process exited or there was a network error";
    default: return "internal error";
  }
}

int ncclGetUniqueId(NcclUniqueId* id) {
  const uint64_t number = emulated::Clique::new_id();
  std::memset(id->internal, 0x5A, sizeof id->internal);
  std::memcpy(id->internal, &number, sizeof number);
  return kNcclSuccess;
}

// In a group it waits at the group's end.
int ncclCommInitRank(NcclComm* comm, int ranks, NcclUniqueId id, int rank) {
  if (emulated::cuda_device() < 0) return kNcclInvalidUsage;
  uint64_t number = 0;
  std::memcpy(&number, id.internal, sizeof number);
  const auto clique = emulated::Clique::of(number);
  const int device = emulated::cuda_device();
  // A rank that stays away, in this test.
  if (emulated::setting("FERRY_EMULATED_ABSENT_RANK", -1) != rank &&
      !clique->enter(ranks, rank, device)) {
    return kNcclInvalidArgument;
  }
  *comm = new CommOfNccl{clique, rank, ranks, device};
  if (emulated::depth > 0) {
    emulated::starting.push_back(clique);
    return kNcclSuccess;
  }
  return clique->wait_for_all() ? kNcclSuccess : kNcclRemoteError;
}

int ncclCommDestroy(NcclComm comm) {
  delete comm;
  return kNcclSuccess;
}

int ncclGroupStart() {
  ++emulated::depth;
  return kNcclSuccess;
}

int ncclGroupEnd() {
  if (emulated::depth == 0) return kNcclInvalidUsage;
  if (--emulated::depth > 0) return kNcclSuccess;
  int status = kNcclSuccess;
  for (const auto& clique : emulated::starting) {
    if (status == kNcclSuccess && !clique->wait_for_all()) status = kNcclRemoteError;
  }
  emulated::starting.clear();
  for (auto& [comm, exchange] : emulated::exchanges) {
    if (exchange.queue != nullptr) {
      emulated::push(comm, *exchange.queue, std::move(exchange.part), "ncclSend");
    }
  }
  emulated::exchanges.clear();
  return status;
}

int ncclAllReduce(const void* send, void* receive, size_t count, int dtype, int sum, NcclComm comm,
                  DriverStream stream) {
  const auto n = static_cast<int64_t>(count);
  return emulated::run(comm, stream, "ncclAllReduce", Collective::kAllReduce, send, n, receive, n,
                       count, dtype, sum);
}

int ncclAllGather(const void* send, void* receive, size_t count, int dtype, NcclComm comm,
                  DriverStream stream) {
  if (comm == nullptr) return kNcclInvalidUsage;
  const auto n = static_cast<int64_t>(count);
  return emulated::run(comm, stream, "ncclAllGather", Collective::kAllGather, send, n, receive,
                       n * comm->size, count, dtype, kNcclSum);
}

int ncclReduceScatter(const void* send, void* receive, size_t count, int dtype, int sum,
                      NcclComm comm, DriverStream stream) {
  if (comm == nullptr) return kNcclInvalidUsage;
  const auto n = static_cast<int64_t>(count);
  return emulated::run(comm, stream, "ncclReduceScatter", Collective::kReduceScatter, send,
                       n * comm->size, receive, n, count, dtype, sum);
}

int ncclSend(const void* send, size_t count, int dtype, int peer, NcclComm comm,
             DriverStream stream) {
  return emulated::add_piece(true, send, count, dtype, peer, comm, stream);
}

int ncclRecv(void* receive, size_t count, int dtype, int peer, NcclComm comm, DriverStream stream) {
  return emulated::add_piece(false, receive, count, dtype, peer, comm, stream);
}

}  // extern "C"
