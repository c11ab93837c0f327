// See collectives.h.
#include "backends/ascend/collectives.h"

#include <dlfcn.h>

#include "device/library_communicator.h"

namespace ferry::ascend {
namespace {

int hccl_dtype(Dtype dtype) {
  switch (dtype) {
    case Dtype::kF32: return kHcclFp32;
    case Dtype::kF16: return kHcclFp16;
    case Dtype::kBF16: return kHcclBfp16;
    case Dtype::kI8: return kHcclInt8;
    case Dtype::kI32: return kHcclInt32;
    case Dtype::kI64: return kHcclInt64;
  }
  return kHcclInt8;
}

Error hccl_error(std::string_view call, int status) {
  switch (status) {
    case kHcclTimeout:
      return device_error(
          "ascend: {}: HCCL gave up waiting for the other ranks (error 9); see "
          "HCCL_CONNECT_TIMEOUT "
          "and HCCL_EXEC_TIMEOUT, and whether npu-smi sees all devices",
          call);
    case kHcclNotSupported:
    case kHcclParameter:
      return unsupported("ascend: {} does not take these arguments: error {} of HCCL", call,
                         status);
    default: return device_error("ascend: {}: error {} of HCCL", call, status);
  }
}

class HcclCommunicator : public LibraryCommunicator {
 public:
  HcclCommunicator(int rank, int size, std::shared_ptr<Group> group,
                   std::shared_ptr<const Hccl> hccl, HcclRank own, HcclComm comm)
      : LibraryCommunicator(rank, size, std::move(group)),
        hccl_(std::move(hccl)),
        own_(std::move(own)),
        comm_(comm) {}
  ~HcclCommunicator() override {
    if (own_.device->bind().ok()) hccl_->HcclCommDestroy(comm_);
  }

 protected:
  void do_all_reduce(const TensorView& x) override {
    if (!bind()) return;
    check("HcclAllReduce",
          hccl_->HcclAllReduce(x.data, x.data, static_cast<uint64_t>(x.num_elements()),
                               hccl_dtype(x.dtype), kHcclSum, comm_, own_.stream));
  }
  void do_all_gather(const TensorView& x, const TensorView& out) override {
    if (!bind()) return;
    check("HcclAllGather",
          hccl_->HcclAllGather(x.data, out.data, static_cast<uint64_t>(x.num_elements()),
                               hccl_dtype(x.dtype), comm_, own_.stream));
  }
  void do_reduce_scatter(const TensorView& x, const TensorView& out) override {
    if (!bind()) return;
    check("HcclReduceScatter",
          hccl_->HcclReduceScatter(x.data, out.data, static_cast<uint64_t>(out.num_elements()),
                                   hccl_dtype(x.dtype), kHcclSum, comm_, own_.stream));
  }
  void do_all_to_all_v(const TensorView& x, std::span<const int64_t> send_counts,
                       const TensorView& out, std::span<const int64_t> receive_counts) override {
    if (!bind()) return;
    const std::vector<int64_t> send_offsets = offsets_of(send_counts);
    const std::vector<int64_t> receive_offsets = offsets_of(receive_counts);
    check("HcclAlltoAllV",
          hccl_->HcclAlltoAllV(x.data, send_counts.data(), send_offsets.data(), hccl_dtype(x.dtype),
                               out.data, receive_counts.data(), receive_offsets.data(),
                               hccl_dtype(x.dtype), comm_, own_.stream));
  }

 private:
  bool bind() { return bound_to_device(own_.device->bind()); }
  void check(std::string_view call, int status) {
    if (status != kHcclSuccess) fail(hccl_error(call, status));
  }

  const std::shared_ptr<const Hccl> hccl_;
  const HcclRank own_;
  const HcclComm comm_;
};

}  // namespace

std::shared_ptr<const Hccl> load_hccl(std::string* why) {
  void* library = open_library("libhccl.so", why);
  if (library == nullptr) {
    *why = "libhccl.so can't be opened (" + *why + ")";
    return nullptr;
  }
  auto hccl = std::make_shared<Hccl>();
  std::string missing;
#define FERRY_FIND(name, result, arguments)                                   \
  hccl->name = reinterpret_cast<decltype(hccl->name)>(dlsym(library, #name)); \
  if (hccl->name == nullptr && missing.empty()) missing = #name;
  FERRY_HCCL_SYMBOLS(FERRY_FIND)
#undef FERRY_FIND
  if (missing.empty()) return hccl;
  *why = "libhccl.so has no " + missing;
  return nullptr;
}

Result<Communicators> connect_by_hccl(const std::shared_ptr<const Hccl>& hccl,
                                      std::span<const HcclRank> ranks) {
  const int size = static_cast<int>(ranks.size());
  HcclRootInfo root{};
  FERRY_TRY_VOID(ranks[0].device->bind());
  int status = hccl->HcclGetRootInfo(&root);
  if (status != kHcclSuccess) return hccl_error("HcclGetRootInfo", status);
  std::vector<HcclComm> comms(ranks.size(), nullptr);
  const Status started = start_ranks(size, [&](int rank) -> Status {
    const auto r = static_cast<size_t>(rank);
    FERRY_TRY_VOID(ranks[r].device->bind());
    const int code = hccl->HcclCommInitRootInfo(static_cast<uint32_t>(size), &root,
                                                static_cast<uint32_t>(rank), &comms[r]);
    if (code != kHcclSuccess) return hccl_error("HcclCommInitRootInfo", code);
    return {};
  });
  auto group = std::make_shared<LibraryCommunicator::Group>();
  Communicators all;
  for (int r = 0; r < size; ++r) {
    const auto at = static_cast<size_t>(r);
    if (comms[at] == nullptr) continue;
    all.push_back(std::make_unique<HcclCommunicator>(r, size, group, hccl, ranks[at], comms[at]));
  }
  FERRY_TRY_VOID(started);
  return all;
}

std::vector<CollectivePath> describe_collectives() {
  std::string why;
  const bool there = load_hccl(&why) != nullptr;
  return collective_paths(there, why,
                          {"HcclAllReduce", "HcclAllGather", "HcclReduceScatter", "HcclAlltoAllV"});
}

}  // namespace ferry::ascend
