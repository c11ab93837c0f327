// The far backend: see far_backend.h.
#include "far/far_backend.h"

#include <cstring>

#include "base/checked_math.h"
#include "device/host_memory.h"
#include "far/far_stream.h"

namespace ferry::far {
namespace {

class FarBackend : public Backend {
 public:
  FarBackend(std::shared_ptr<Backend> reference, const FarOptions& options)
      : reference_(std::move(reference)),
        memory_(std::make_shared<FarMemory>(options.memory_bytes)) {
    spec_ = reference_->spec();
    spec_.backend = "far";
    spec_.name = "the reference, far away";
    spec_.memory_bytes = options.memory_bytes;
    spec_.host_memory = false;
    spec_.weights_in_place = false;
  }

  const DeviceSpec& spec() const override { return spec_; }
  Result<MemoryInfo> memory_info() const override { return memory_->info(); }
  Result<Buffer> allocate(int64_t bytes) override {
    return memory_->allocate(bytes, shared_from_this());
  }
  Result<Buffer> allocate_host(int64_t bytes) override {
    return allocate_host_memory(bytes, shared_from_this());
  }
  Result<std::unique_ptr<Stream>> create_stream() override {
    FERRY_TRY(auto stream, reference_->create_stream());
    return std::unique_ptr<Stream>(std::make_unique<FarStream>(memory_, std::move(stream)));
  }

  // One piece: the matrix, then its scale grid.
  Result<Weight> import_weight(const HostWeight& weight) override {
    FERRY_TRY(auto checked, reference_->import_weight(weight));
    FERRY_TRY(auto buffer, allocate(import_bytes(weight)));
    char* data = static_cast<char*>(buffer.data);
    char* scale = data + scale_offset(weight);
    {
      const FarMemory::Access access(*memory_);
      std::memcpy(data, weight.data.data(), weight.data.size());
      if (!weight.scale.empty()) {
        std::memcpy(scale, weight.scale.data(), weight.scale.size_bytes());
      }
    }
    checked.view.data = data;
    if (checked.view.scale != nullptr) checked.view.scale = reinterpret_cast<float*>(scale);
    return Weight{.view = checked.view, .storage = std::move(buffer.owner)};
  }
  int64_t import_bytes(const HostWeight& weight) const override {
    return scale_offset(weight) + static_cast<int64_t>(weight.scale.size_bytes());
  }

  bool supports(const OpQuery& query) const override {
    const bool by_default = has_host_default(query.op) && query.op != Op::kTopLogits;
    return !by_default && reference_->supports(query);
  }

 private:
  static int64_t scale_offset(const HostWeight& weight) {
    const int64_t bytes = static_cast<int64_t>(weight.data.size());
    return weight.scale.empty() ? bytes : round_up(bytes, 64);
  }

  std::shared_ptr<Backend> reference_;
  std::shared_ptr<FarMemory> memory_;
  DeviceSpec spec_;
};

}  // namespace

std::shared_ptr<Backend> make_far_backend(const FarOptions& options) {
  auto reference = open_backend("reference", {});
  CHECK(reference.ok());
  return std::make_shared<FarBackend>(std::move(reference).value(), options);
}

}  // namespace ferry::far
