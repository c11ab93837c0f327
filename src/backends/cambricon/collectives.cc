// See collectives.h.
#include "backends/cambricon/collectives.h"

#include <dlfcn.h>

#include <limits>

#include "device/library_communicator.h"

namespace ferry::cambricon {
namespace {

int cncl_dtype(Dtype dtype) {
  switch (dtype) {
    case Dtype::kF32: return kCnclFloat32;
    case Dtype::kF16: return kCnclFloat16;
    case Dtype::kBF16: return kCnclBfloat16;
    case Dtype::kI8: return kCnclInt8;
    case Dtype::kI32: return kCnclInt32;
    case Dtype::kI64: return kCnclInt64;
  }
  return kCnclInt8;
}

Error cncl_error(const Cncl& cncl, std::string_view call, int status) {
  const char* text = cncl.cnclGetErrorStr(status);
  return device_error(
      "cambricon: {}: error {:#x} of CNCL ({}); see whether cnmon lists all devices and their "
      "links",
      call, status, text == nullptr ? "no name for it" : text);
}

// The communicators of all ranks: they are made and have to go together.
struct Clique {
  std::shared_ptr<const Cncl> cncl;
  std::vector<CnclComm> comms;
  ~Clique() { cncl->cnclDestroyComms(comms.data(), static_cast<int>(comms.size())); }
};

class CnclCommunicator : public LibraryCommunicator {
 public:
  CnclCommunicator(int rank, std::shared_ptr<Group> group, std::shared_ptr<const Clique> clique,
                   CnclRank own)
      : LibraryCommunicator(rank, static_cast<int>(clique->comms.size()), std::move(group)),
        clique_(std::move(clique)),
        own_(std::move(own)),
        comm_(clique_->comms[static_cast<size_t>(rank)]) {}

 protected:
  void do_all_reduce(const TensorView& x) override {
    if (!bind()) return;
    check("cnclAllReduce",
          cncl().cnclAllReduce(x.data, x.data, static_cast<size_t>(x.num_elements()),
                               cncl_dtype(x.dtype), kCnclSum, comm_, own_.queue));
  }
  void do_all_gather(const TensorView& x, const TensorView& out) override {
    if (!bind()) return;
    check("cnclAllGather",
          cncl().cnclAllGather(x.data, out.data, static_cast<size_t>(x.num_elements()),
                               cncl_dtype(x.dtype), comm_, own_.queue));
  }
  void do_reduce_scatter(const TensorView& x, const TensorView& out) override {
    if (!bind()) return;
    check("cnclReduceScatter",
          cncl().cnclReduceScatter(x.data, out.data, static_cast<size_t>(out.num_elements()),
                                   cncl_dtype(x.dtype), kCnclSum, comm_, own_.queue));
  }
  void do_all_to_all_v(const TensorView& x, std::span<const int64_t> send_counts,
                       const TensorView& out, std::span<const int64_t> receive_counts) override {
    std::vector<const void*> send;
    std::vector<void*> receive;
    std::vector<uint32_t> send_sizes, receive_sizes;
    if (!bind() || !split(x, send_counts, send, send_sizes) ||
        !split(out, receive_counts, receive, receive_sizes)) {
      return;
    }
    std::vector<int> dtypes(send.size(), cncl_dtype(x.dtype));
    check("cnclAlltoAllv",
          cncl().cnclAlltoAllv(send.data(), send_sizes.data(), dtypes.data(), receive.data(),
                               receive_sizes.data(), dtypes.data(), comm_, own_.queue));
  }

 private:
  const Cncl& cncl() const { return *clique_->cncl; }
  bool bind() { return bound_to_device(own_.device->bind()); }
  void check(std::string_view call, int status) {
    if (status != kCnclSuccess) fail(cncl_error(cncl(), call, status));
  }

  // Where the parts for each rank begin. False: one has more elements than CNCL counts.
  template <typename Pointer>
  bool split(const TensorView& x, std::span<const int64_t> counts, std::vector<Pointer>& parts,
             std::vector<uint32_t>& sizes) {
    const std::vector<int64_t> offsets = offsets_of(counts);
    for (size_t r = 0; r < counts.size(); ++r) {
      if (counts[r] > std::numeric_limits<uint32_t>::max()) {
        fail(unsupported("cambricon: cnclAlltoAllv counts to 2^32, not to {}", counts[r]));
        return false;
      }
      parts.push_back(static_cast<char*>(x.data) + offsets[r] * dtype_bytes(x.dtype));
      sizes.push_back(static_cast<uint32_t>(counts[r]));
    }
    return true;
  }

  const std::shared_ptr<const Clique> clique_;
  const CnclRank own_;
  const CnclComm comm_;
};

}  // namespace

std::shared_ptr<const Cncl> load_cncl(std::string* why) {
  void* library = open_library("libcncl.so", why);
  if (library == nullptr) {
    *why = "libcncl.so can't be opened (" + *why + ")";
    return nullptr;
  }
  auto cncl = std::make_shared<Cncl>();
  std::string missing;
#define FERRY_FIND(name, result, arguments)                                   \
  cncl->name = reinterpret_cast<decltype(cncl->name)>(dlsym(library, #name)); \
  if (cncl->name == nullptr && missing.empty()) missing = #name;
  FERRY_CNCL_SYMBOLS(FERRY_FIND)
#undef FERRY_FIND
  if (missing.empty()) return cncl;
  *why = "libcncl.so has no " + missing;
  return nullptr;
}

Result<Communicators> connect_by_cncl(const std::shared_ptr<const Cncl>& cncl,
                                      std::span<const CnclRank> ranks) {
  const int size = static_cast<int>(ranks.size());
  CnclCliqueId id{};
  int status = cncl->cnclGetCliqueId(&id);
  if (status != kCnclSuccess) return cncl_error(*cncl, "cnclGetCliqueId", status);
  std::vector<int> devices, numbers;
  for (int r = 0; r < size; ++r) {
    devices.push_back(ranks[static_cast<size_t>(r)].device->ordinal());
    numbers.push_back(r);
  }
  std::vector<CnclComm> comms(ranks.size(), nullptr);
  status = cncl->cnclInitComms(comms.data(), size, devices.data(), numbers.data(), size, &id);
  if (status != kCnclSuccess) return cncl_error(*cncl, "cnclInitComms", status);
  auto clique = std::make_shared<Clique>();
  clique->cncl = cncl;
  clique->comms = std::move(comms);
  auto group = std::make_shared<LibraryCommunicator::Group>();
  Communicators all;
  for (int r = 0; r < size; ++r) {
    all.push_back(
        std::make_unique<CnclCommunicator>(r, group, clique, ranks[static_cast<size_t>(r)]));
  }
  return all;
}

std::vector<CollectivePath> describe_collectives() {
  std::string why;
  const bool there = load_cncl(&why) != nullptr;
  return collective_paths(there, why,
                          {"cnclAllReduce", "cnclAllGather", "cnclReduceScatter", "cnclAlltoAllv"});
}

}  // namespace ferry::cambricon
