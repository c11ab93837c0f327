// The conformance suite must bite: a backend that is the reference but for one mistake of the kind
// that real kernels have is refused, and for that op.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>
#include <vector>

#include "device/conformance/conformance.h"

namespace ferry {
namespace {

enum class Mistake {
  kNone,
  kForgetsBlockScales,
  kForgetsBias,
  kForgetsEpsilon,
  kSwapsRopeLayouts,
  kOneKeyTooMany,
  kSeesTheFuture,
  kOtherScale,
  kFirstSequenceIgnored,
  kForgetsFirstRow,
  kForgetsGateBias,
  kForgetsGroups,
  kSkipsLastExpert,
  kWritesBetweenRows,
  kDependsOnBatch,
  kWrongSlot,
  kForgetsNormBias,
  kForgetsIndexWeights,
  kIndexSeesTheFuture,
  kTakesTheNext,
  kOtherSparseScale,
  kMakesZeroPositive,
};

// Forwards everything to the reference, changing the arguments of one op on the way.
class Saboteur : public Stream {
 public:
  Saboteur(Mistake mistake, std::unique_ptr<Stream> stream)
      : mistake_(mistake), s_(std::move(stream)) {}

  void copy_in(void* d, const void* s, int64_t n) override { s_->copy_in(d, s, n); }
  void copy_out(void* d, const void* s, int64_t n) override { s_->copy_out(d, s, n); }
  void fill_zero(void* d, int64_t n) override { s_->fill_zero(d, n); }
  Event record() override { return s_->record(); }
  void wait(const Event& event) override { s_->wait(event); }
  Status synchronize() override { return s_->synchronize(); }

  void embed(const EmbedArgs& a) override { s_->embed(a); }
  void per_head_matmul(const PerHeadMatmulArgs& args) override {
    PerHeadMatmulArgs a = args;
    if (is(Mistake::kForgetsFirstRow)) a.u.first_row = 0;
    s_->per_head_matmul(a);
  }
  void layer_norm(const LayerNormArgs& args) override {
    LayerNormArgs a = args;
    if (is(Mistake::kForgetsNormBias)) a.bias = a.weight;
    s_->layer_norm(a);
  }
  void index_scores(const IndexScoresArgs& args) override {
    IndexScoresArgs a = args;
    BatchView batch = *a.batch;
    std::vector<int32_t> lengths(batch.context_lengths.host.begin(),
                                 batch.context_lengths.host.end());
    if (is(Mistake::kIndexSeesTheFuture) && batch.max_query_length > 1) ++lengths.back();
    batch.context_lengths.host = lengths;
    a.batch = &batch;
    if (is(Mistake::kForgetsIndexWeights)) a.weights.stride[0] = 0;
    s_->index_scores(a);
  }
  void index_top_k(const IndexTopKArgs& args) override {
    s_->index_top_k(args);
    int32_t* out = static_cast<int32_t*>(args.out.data);
    if (is(Mistake::kTakesTheNext) && out[0] > 0) --out[0];
  }
  void mla_sparse_attention(const MlaSparseAttentionArgs& args) override {
    MlaSparseAttentionArgs a = args;
    if (is(Mistake::kOtherSparseScale)) a.scale *= 1.001f;
    s_->mla_sparse_attention(a);
  }
  void swiglu(const SwigluArgs& a) override { s_->swiglu(a); }
  void moe_permute(const MoePermuteArgs& a) override { s_->moe_permute(a); }
  void moe_combine(const MoeCombineArgs& a) override { s_->moe_combine(a); }
  void gather_rows(const GatherRowsArgs& a) override { s_->gather_rows(a); }
  void copy(const CopyArgs& a) override { s_->copy(a); }
  void top_logits(const TopLogitsArgs& args) override {
    s_->top_logits(args);
    float* values = static_cast<float*>(args.values.data);
    if (is(Mistake::kMakesZeroPositive) && values[0] == 0) values[0] = 0;
  }

  void rms_norm(const RmsNormArgs& args) override {
    RmsNormArgs a = args;
    if (is(Mistake::kForgetsEpsilon)) a.epsilon = 0;
    s_->rms_norm(a);
  }
  void matmul(const MatmulArgs& args) override {
    MatmulArgs a = args;
    if (is(Mistake::kForgetsBlockScales)) a.w.scale = nullptr;
    if (is(Mistake::kForgetsBias)) a.bias = {};
    s_->matmul(a);
    float* out = static_cast<float*>(a.out.data);
    if (is(Mistake::kDependsOnBatch) && a.x.shape[0] > 1) out[0] = std::nextafterf(out[0], 0.0f);
  }
  void rope(const RopeArgs& args) override {
    RopeArgs a = args;
    const bool half = a.layout == RopeLayout::kHalf;
    if (is(Mistake::kSwapsRopeLayouts)) {
      a.layout = half ? RopeLayout::kInterleaved : RopeLayout::kHalf;
    }
    s_->rope(a);
  }
  void kv_write(const KvWriteArgs& args) override {
    KvWriteArgs a = args;
    const int32_t* slots = static_cast<const int32_t*>(a.slots.data);
    std::vector<int32_t> swapped(slots, slots + a.slots.shape[0]);
    for (int32_t& slot : swapped) slot ^= a.pages.shape[1] % 2 == 0;  // stays inside the page
    if (is(Mistake::kWrongSlot)) a.slots.data = swapped.data();
    s_->kv_write(a);
  }
  void gqa_attention(const GqaAttentionArgs& args) override {
    GqaAttentionArgs a = args;
    BatchView batch = *a.batch;
    std::vector<int32_t> lengths(batch.context_lengths.host.begin(),
                                 batch.context_lengths.host.end());
    // One key more for everyone: the future inside a prompt, an unused slot at its end.
    if (is(Mistake::kOneKeyTooMany)) ++lengths.back();
    if (is(Mistake::kSeesTheFuture) && batch.max_query_length > 1) ++lengths.back();
    batch.context_lengths.host = lengths;
    a.batch = &batch;
    if (is(Mistake::kOtherScale)) a.scale *= 1.001f;
    s_->gqa_attention(a);
  }
  void mla_prefill_attention(const MlaPrefillAttentionArgs& args) override {
    MlaPrefillAttentionArgs a = args;
    if (is(Mistake::kFirstSequenceIgnored)) {
      a.num_sequences += std::exchange(a.first_sequence, 0);
    }
    s_->mla_prefill_attention(a);
  }
  void mla_decode_attention(const MlaDecodeAttentionArgs& a) override {
    s_->mla_decode_attention(a);
  }
  void moe_gate(const MoeGateArgs& args) override {
    MoeGateArgs a = args;
    if (is(Mistake::kForgetsGateBias)) a.bias = {};
    if (is(Mistake::kForgetsGroups)) a.spec.top_k_groups = a.spec.num_groups;
    s_->moe_gate(a);
  }
  void grouped_matmul(const GroupedMatmulArgs& args) override {
    GroupedMatmulArgs a = args;
    std::vector<int32_t> offsets(static_cast<size_t>(a.expert_offsets.shape[0]));
    std::copy_n(static_cast<int32_t*>(a.expert_offsets.data), offsets.size(), offsets.begin());
    if (is(Mistake::kSkipsLastExpert)) offsets.back() = offsets[offsets.size() - 2];
    a.expert_offsets.data = offsets.data();
    s_->grouped_matmul(a);
  }
  void add(const AddArgs& a) override {
    s_->add(a);
    const bool padded = a.out.stride[0] > a.out.shape[1];
    if (is(Mistake::kWritesBetweenRows) && padded) {
      static_cast<float*>(a.out.data)[a.out.shape[1]] = 0;
    }
  }

 private:
  bool is(Mistake mistake) const { return mistake_ == mistake; }
  Mistake mistake_;
  std::unique_ptr<Stream> s_;
};

class SabotagedBackend : public Backend {
 public:
  SabotagedBackend(Mistake mistake, std::shared_ptr<Backend> backend)
      : mistake_(mistake), backend_(std::move(backend)) {}
  const DeviceSpec& spec() const override { return backend_->spec(); }
  Result<MemoryInfo> memory_info() const override { return backend_->memory_info(); }
  Result<Buffer> allocate(int64_t bytes) override { return backend_->allocate(bytes); }
  Result<Buffer> allocate_host(int64_t bytes) override { return backend_->allocate_host(bytes); }
  Result<std::unique_ptr<Stream>> create_stream() override {
    FERRY_TRY(auto stream, backend_->create_stream());
    return std::unique_ptr<Stream>(std::make_unique<Saboteur>(mistake_, std::move(stream)));
  }
  Result<Weight> import_weight(const HostWeight& weight) override {
    return backend_->import_weight(weight);
  }
  int64_t import_bytes(const HostWeight& weight) const override {
    return backend_->import_bytes(weight);
  }
  bool supports(const OpQuery& query) const override { return backend_->supports(query); }

 private:
  Mistake mistake_;
  std::shared_ptr<Backend> backend_;
};

// How many cases of the ops whose name contains `filter` fail.
int64_t failures(Mistake mistake, std::string_view filter) {
  auto reference = open_backend("reference", {}).value();
  SabotagedBackend subject(mistake, reference);
  int64_t failed = 0;
  for (const auto& result : run_conformance(subject, *reference, {.filter = std::string(filter)})) {
    failed += !result.passed;
  }
  return failed;
}

TEST(Saboteur, EveryMistakeIsFound) {
  const std::map<Mistake, std::string_view> mistakes = {
      {Mistake::kForgetsBlockScales, "matmul F8_E4M3"},
      {Mistake::kForgetsBias, "matmul F32"},
      {Mistake::kForgetsEpsilon, "rms_norm T=2 H=0 D=96"},
      {Mistake::kSwapsRopeLayouts, "rope half"},
      {Mistake::kOneKeyTooMany, "gqa_attention f32"},
      {Mistake::kSeesTheFuture, "gqa_attention f32"},
      {Mistake::kOtherScale, "gqa_attention f32"},
      {Mistake::kFirstSequenceIgnored, "mla_prefill_attention f32 F32"},
      {Mistake::kForgetsGateBias, "moe_gate sigmoid"},
      {Mistake::kForgetsGroups, "moe_gate softmax E=160"},
      {Mistake::kSkipsLastExpert, "grouped_matmul BF16"},
      {Mistake::kWritesBetweenRows, "add T="},
      {Mistake::kDependsOnBatch, "matmul F32 T="},
      {Mistake::kForgetsFirstRow, "per_head_matmul"},
      {Mistake::kWrongSlot, "kv_write bf16"},
      {Mistake::kForgetsNormBias, "layer_norm"},
      {Mistake::kForgetsIndexWeights, "index_scores f32"},
      {Mistake::kIndexSeesTheFuture, "index_scores f32"},
      {Mistake::kTakesTheNext, "index_top_k"},
      {Mistake::kOtherSparseScale, "mla_sparse_attention f32"},
      {Mistake::kMakesZeroPositive, "top_logits"},
  };
  for (const auto& [mistake, filter] : mistakes) {
    EXPECT_GT(failures(mistake, filter), 0) << filter << ", mistake " << static_cast<int>(mistake);
    EXPECT_EQ(failures(Mistake::kNone, filter), 0) << filter;
  }
}

}  // namespace
}  // namespace ferry
