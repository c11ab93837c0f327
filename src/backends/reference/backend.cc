// The reference backend: ordinary host memory, and a stream that runs each op at once on the
// calling thread. Weights are used where the file is mapped. It is the specification of the op
// table (see ops.h) and must never be optimised.
#include "device/backend.h"

#include <cstring>

#include "backends/reference/ops.h"
#include "device/host_memory.h"

namespace ferry {
namespace reference {
namespace {

class ReferenceStream : public Stream {
 public:
  void copy_in(void* dst, const void* src, int64_t bytes) override { copy_bytes(dst, src, bytes); }
  void copy_out(void* dst, const void* src, int64_t bytes) override { copy_bytes(dst, src, bytes); }
  void fill_zero(void* dst, int64_t bytes) override {
    if (bytes > 0) std::memset(dst, 0, static_cast<size_t>(bytes));
  }

  // Nothing is ever pending, so an event has already happened when it is recorded.
  Event record() override { return {}; }
  void wait(const Event&) override {}
  Status synchronize() override { return {}; }

  void embed(const EmbedArgs& a) override { reference::embed(a); }
  void rms_norm(const RmsNormArgs& a) override { reference::rms_norm(a); }
  void layer_norm(const LayerNormArgs& a) override { reference::layer_norm(a); }
  void matmul(const MatmulArgs& a) override { reference::matmul(a); }
  void rope(const RopeArgs& a) override { reference::rope(a); }
  void kv_write(const KvWriteArgs& a) override { reference::kv_write(a); }
  void gqa_attention(const GqaAttentionArgs& a) override { reference::gqa_attention(a); }
  void per_head_matmul(const PerHeadMatmulArgs& a) override { reference::per_head_matmul(a); }
  void mla_prefill_attention(const MlaPrefillAttentionArgs& a) override {
    reference::mla_prefill_attention(a);
  }
  void mla_decode_attention(const MlaDecodeAttentionArgs& a) override {
    reference::mla_decode_attention(a);
  }
  void index_scores(const IndexScoresArgs& a) override { reference::index_scores(a); }
  void index_top_k(const IndexTopKArgs& a) override { reference::index_top_k(a); }
  void mla_sparse_attention(const MlaSparseAttentionArgs& a) override {
    reference::mla_sparse_attention(a);
  }
  void swiglu(const SwigluArgs& a) override { reference::swiglu(a); }
  void moe_gate(const MoeGateArgs& a) override { reference::moe_gate(a); }
  void moe_permute(const MoePermuteArgs& a) override { reference::moe_permute(a); }
  void grouped_matmul(const GroupedMatmulArgs& a) override { reference::grouped_matmul(a); }
  void moe_combine(const MoeCombineArgs& a) override { reference::moe_combine(a); }
  void gather_rows(const GatherRowsArgs& a) override { reference::gather_rows(a); }
  void add(const AddArgs& a) override { reference::add(a); }
  void copy(const CopyArgs& a) override { reference::copy(a); }

 private:
  static void copy_bytes(void* dst, const void* src, int64_t bytes) {
    if (bytes > 0) std::memcpy(dst, src, static_cast<size_t>(bytes));
  }
};

class ReferenceBackend : public Backend {
 public:
  const DeviceSpec& spec() const override { return spec_; }
  Result<MemoryInfo> memory_info() const override { return host_memory_info(); }

  Result<Buffer> allocate(int64_t bytes) override {
    return allocate_host_memory(bytes, shared_from_this());
  }
  Result<Buffer> allocate_host(int64_t bytes) override { return allocate(bytes); }
  Result<std::unique_ptr<Stream>> create_stream() override {
    return std::unique_ptr<Stream>(std::make_unique<ReferenceStream>());
  }

  Result<Weight> import_weight(const HostWeight& weight) override {
    if (weight.format->decode == nullptr) {
      return unsupported("reference: weights stored as {} can't be computed with",
                         weight.format->name);
    }
    return weight_in_place(weight);
  }
  int64_t import_bytes(const HostWeight&) const override { return 0; }

  bool supports(const OpQuery& query) const override {
    const bool float_dtype =
        query.dtype == Dtype::kF32 || query.dtype == Dtype::kF16 || query.dtype == Dtype::kBF16;
    const bool int8_pages = query.dtype == Dtype::kI8 && is_cache_op(query.op);
    return (float_dtype || int8_pages) &&
           (query.format == nullptr || query.format->decode != nullptr);
  }

 private:
  const DeviceSpec spec_{
      .backend = "reference",
      .name = "scalar reference",
      .detail = "plain f32 loops, one thread: for checking other backends, not for speed",
      .memory_bytes = host_memory_info().total_bytes,
      .compute_units = 1,
      .host_memory = true,
      .weights_in_place = true,
      .batch_invariant = true,
  };
};

int count_devices(std::string*) { return 1; }

Result<std::shared_ptr<Backend>> open(const BackendOptions& options) {
  if (options.device != 0) {
    return not_found("reference: device {}: there is only device 0", options.device);
  }
  return std::shared_ptr<Backend>(std::make_shared<ReferenceBackend>());
}

}  // namespace
}  // namespace reference

extern const BackendEntry backend_reference;  // listed in the generated table
const BackendEntry backend_reference{
    .name = "reference", .count_devices = reference::count_devices, .open = reference::open};

}  // namespace ferry
