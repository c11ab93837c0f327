// See collectives.h.
#include "backends/cuda/collectives.h"

#include <dlfcn.h>

#include <cstdlib>

#include "device/library_communicator.h"

namespace ferry::cuda {
namespace {

int nccl_dtype(Dtype dtype) {
  switch (dtype) {
    case Dtype::kF32: return kNcclFloat32;
    case Dtype::kF16: return kNcclFloat16;
    case Dtype::kBF16: return kNcclBfloat16;
    case Dtype::kI8: return kNcclInt8;
    case Dtype::kI32: return kNcclInt32;
    case Dtype::kI64: return kNcclInt64;
  }
  return kNcclInt8;
}

Error nccl_error(const Nccl& nccl, std::string_view call, int status) {
  const char* text = nccl.ncclGetErrorString(status);
  return device_error("cuda: {}: error {} of NCCL ({}); NCCL_DEBUG=WARN makes it say more", call,
                      status, text == nullptr ? "no name for it" : text);
}

class NcclCommunicator : public LibraryCommunicator {
 public:
  NcclCommunicator(int rank, int size, std::shared_ptr<Group> group,
                   std::shared_ptr<const Nccl> nccl, NcclRank own, NcclComm comm)
      : LibraryCommunicator(rank, size, std::move(group)),
        nccl_(std::move(nccl)),
        own_(std::move(own)),
        comm_(comm) {}
  ~NcclCommunicator() override {
    if (own_.device->bind().ok()) nccl_->ncclCommDestroy(comm_);
  }

 protected:
  void do_all_reduce(const TensorView& x) override {
    if (!bind()) return;
    check("ncclAllReduce",
          nccl_->ncclAllReduce(x.data, x.data, static_cast<size_t>(x.num_elements()),
                               nccl_dtype(x.dtype), kNcclSum, comm_, own_.stream));
  }
  void do_all_gather(const TensorView& x, const TensorView& out) override {
    if (!bind()) return;
    check("ncclAllGather",
          nccl_->ncclAllGather(x.data, out.data, static_cast<size_t>(x.num_elements()),
                               nccl_dtype(x.dtype), comm_, own_.stream));
  }
  void do_reduce_scatter(const TensorView& x, const TensorView& out) override {
    if (!bind()) return;
    check("ncclReduceScatter",
          nccl_->ncclReduceScatter(x.data, out.data, static_cast<size_t>(out.num_elements()),
                                   nccl_dtype(x.dtype), kNcclSum, comm_, own_.stream));
  }
  void do_all_to_all_v(const TensorView& x, std::span<const int64_t> send_counts,
                       const TensorView& out, std::span<const int64_t> receive_counts) override {
    if (!bind()) return;
    const std::vector<int64_t> send_offsets = offsets_of(send_counts);
    const std::vector<int64_t> receive_offsets = offsets_of(receive_counts);
    const int64_t bytes = dtype_bytes(x.dtype);
    const int dtype = nccl_dtype(x.dtype);
    check("ncclGroupStart", nccl_->ncclGroupStart());
    for (int q = 0; q < size(); ++q) {
      const auto at = static_cast<size_t>(q);
      if (send_counts[at] > 0) {
        check("ncclSend",
              nccl_->ncclSend(static_cast<char*>(x.data) + send_offsets[at] * bytes,
                              static_cast<size_t>(send_counts[at]), dtype, q, comm_, own_.stream));
      }
      if (receive_counts[at] > 0) {
        check(
            "ncclRecv",
            nccl_->ncclRecv(static_cast<char*>(out.data) + receive_offsets[at] * bytes,
                            static_cast<size_t>(receive_counts[at]), dtype, q, comm_, own_.stream));
      }
    }
    check("ncclGroupEnd", nccl_->ncclGroupEnd());
  }

 private:
  bool bind() { return bound_to_device(own_.device->bind()); }
  void check(std::string_view call, int status) {
    if (status != kNcclSuccess) fail(nccl_error(*nccl_, call, status));
  }

  const std::shared_ptr<const Nccl> nccl_;
  const NcclRank own_;
  const NcclComm comm_;
};

}  // namespace

std::shared_ptr<const Nccl> load_nccl(std::string* why) {
  const char* folder = std::getenv("FERRY_NCCL");
  const bool chosen = folder != nullptr && *folder != '\0';
  const std::string path = chosen ? std::string(folder) + "/libnccl.so.2" : "libnccl.so.2";
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    *why = fmt::format("libnccl.so.2 can't be opened ({})", dlerror());
    return nullptr;
  }
  auto nccl = std::make_shared<Nccl>();
  std::string missing;
#define FERRY_CUDA_FIND(name)                                                 \
  nccl->name = reinterpret_cast<decltype(nccl->name)>(dlsym(library, #name)); \
  if (nccl->name == nullptr && missing.empty()) missing = #name;
#define FERRY_CUDA_FIND_CALL(name, arguments) FERRY_CUDA_FIND(name)
  FERRY_NCCL_SYMBOLS(FERRY_CUDA_FIND_CALL)
  FERRY_CUDA_FIND(ncclGetErrorString)
#undef FERRY_CUDA_FIND_CALL
#undef FERRY_CUDA_FIND
  if (missing.empty()) return nccl;
  *why = "libnccl.so.2 has no " + missing;
  return nullptr;
}

// The ranks' initialisations wait for one another, so they are one group.
Result<Communicators> connect_by_nccl(const std::shared_ptr<const Nccl>& nccl,
                                      std::span<const NcclRank> ranks) {
  const int size = static_cast<int>(ranks.size());
  NcclUniqueId id{};
  int status = nccl->ncclGetUniqueId(&id);
  if (status != kNcclSuccess) return nccl_error(*nccl, "ncclGetUniqueId", status);
  std::vector<NcclComm> comms(ranks.size(), nullptr);
  status = nccl->ncclGroupStart();
  for (int r = 0; r < size && status == kNcclSuccess; ++r) {
    const auto at = static_cast<size_t>(r);
    FERRY_TRY_VOID(ranks[at].device->bind());
    status = nccl->ncclCommInitRank(&comms[at], size, id, r);
  }
  const int ended = nccl->ncclGroupEnd();
  if (status == kNcclSuccess) status = ended;
  if (status != kNcclSuccess) return nccl_error(*nccl, "ncclCommInitRank", status);
  auto group = std::make_shared<LibraryCommunicator::Group>();
  Communicators all;
  for (int r = 0; r < size; ++r) {
    const auto at = static_cast<size_t>(r);
    all.push_back(std::make_unique<NcclCommunicator>(r, size, group, nccl, ranks[at], comms[at]));
  }
  return all;
}

std::vector<CollectivePath> describe_collectives() {
  std::string why;
  const bool there = load_nccl(&why) != nullptr;
  return collective_paths(
      there, why,
      {"ncclAllReduce", "ncclAllGather", "ncclReduceScatter", "ncclSend, ncclRecv in a group"});
}

}  // namespace ferry::cuda
