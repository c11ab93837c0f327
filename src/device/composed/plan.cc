// See plan.h.
#include "device/composed/plan.h"

#include <algorithm>
#include <utility>

#include "base/checked_math.h"

namespace ferry::composed {
namespace {

// Any address that is not null: none is followed.
void* anywhere() { return reinterpret_cast<void*>(intptr_t{4096}); }

// Nothing is computed. Where a library needs memory for what a primitive does in several calls, it
// is asked for here as in the backends: a product of 16 bits that becomes f32, what norms note of
// their rows.
class MeasuringPrimitives : public Primitives {
 public:
  std::string_view symbol_of(Primitive) const override { return ""; }
  void* native_queue() override { return nullptr; }
  void copy_in(void*, const void*, int64_t) override {}
  void copy_out(void*, const void*, int64_t) override {}
  void fill_zero(void*, int64_t) override {}
  std::shared_ptr<const void> record() override { return nullptr; }
  void wait(const void*) override {}
  void copy(const TensorView&, const TensorView&) override {}
  void cast(const TensorView&, const TensorView&) override {}
  void binary(BinaryOp, const TensorView&, const TensorView&, const TensorView&) override {}
  void affine(const TensorView&, float, float, const TensorView&) override {}
  void activation(Activation, const TensorView&, const TensorView&) override {}
  void softmax(const TensorView&, const TensorView&) override {}
  void matmul(const TensorView& a, const TensorView&, const TensorView& c, float) override {
    if (a.dtype != c.dtype) scratch(a.dtype, {c.num_elements()});
  }
  void select_rows(const TensorView&, const TensorView&, const TensorView&) override {}
  void write_rows(const TensorView&, const TensorView&, const TensorView&) override {}
  // In pieces of the rows of b, each rounded up.
  void int8_matmul(const TensorView& a, const TensorView& b, const TensorView&,
                   const TensorView& c) override {
    scratch(a.dtype, {c.num_elements()});
    scratch(Dtype::kF32, {b.shape[0]});
  }
  void rope(const TensorView&, const TensorView&, const TensorView&, bool,
            const TensorView&) override {}
  void swiglu(const TensorView&, const TensorView&) override {}
  void top_k(const TensorView&, int64_t, const TensorView&, const TensorView&) override {}
  void gather(const TensorView&, const TensorView&, const TensorView&) override {}
  void scatter(const TensorView&, const TensorView&, const TensorView&) override {}
  void divide(const TensorView&, const TensorView&, const TensorView&) override {}
  void rms_norm(const TensorView& x, const TensorView&, float, const TensorView*, const TensorView*,
                const TensorView&) override {
    scratch(Dtype::kF32, {x.shape[0]});
  }
  void layer_norm(const TensorView& x, const TensorView&, const TensorView&, float,
                  const TensorView&) override {
    scratch(Dtype::kF32, {x.shape[0]});
    scratch(Dtype::kF32, {x.shape[0]});
  }

 protected:
  Status bind() override { return {}; }
  void wait_queue() override {}
};

}  // namespace

// What the host would compute is left out, too.
ComposedPlan::ComposedPlan(const ComposedPaths& paths, const Packing& packing) : packing_(packing) {
  auto primitives = std::make_unique<MeasuringPrimitives>();
  primitives_ = primitives.get();
  stream_ = std::make_unique<ComposedStream>(std::move(primitives), std::make_unique<PlanStream>(),
                                             paths);
}

int64_t ComposedPlan::scratch_bytes() const {
  const int64_t most = std::max(most_bytes_, primitives_->most_scratch_bytes());
  return Primitives::kLibraryBytes + most + besides_bytes_;
}

template <typename Args>
void ComposedPlan::measure(void (Stream::*op)(const Args&), const Args& args) {
  (stream_.get()->*op)(args);
  CHECK(stream_->synchronize().ok());  // lets go of what it uploaded
}

bool ComposedPlan::is_new(Op op, std::initializer_list<TensorView> views, int64_t other) {
  std::vector<int64_t> key = {static_cast<int64_t>(op), other};
  for (const TensorView& view : views) {
    key.push_back(static_cast<int64_t>(view.dtype));
    key.insert(key.end(), view.shape.begin(), view.shape.begin() + view.rank);
    key.insert(key.end(), view.stride.begin(), view.stride.begin() + view.rank);
  }
  return seen_.insert(std::move(key)).second;
}

WeightView ComposedPlan::imported(const WeightView& view, bool by_head) {
  const auto [found, is_first] =
      weights_.try_emplace(WeightKey{view.format, view.rows, view.cols, by_head});
  DeviceWeight& weight = found->second;
  if (is_first) {
    const Dtype dtype = device_dtype(*view.format, packing_, by_head);
    weight.matrix = TensorView::contiguous(anywhere(), dtype, {view.rows, view.cols});
    if (dtype == Dtype::kI8) {
      weight.scales = TensorView::contiguous(anywhere(), packing_.narrow, {view.rows});
    }
  }
  WeightView out = view;
  out.packed = &weight;
  return out;
}

HeadMatrixView ComposedPlan::imported(const HeadMatrixView& view) {
  HeadMatrixView out = view;
  out.weight = imported(view.weight, /*by_head=*/true);
  return out;
}

std::vector<WeightView> ComposedPlan::imported(std::span<const WeightView> views) {
  std::vector<WeightView> out;
  for (const WeightView& view : views) out.push_back(imported(view));
  return out;
}

const BatchView& ComposedPlan::one_sequence(const BatchView& batch) {
  const int64_t context = batch.max_context_length;
  const int64_t tokens = std::min(batch.num_tokens, context);
  starts_ = {0, static_cast<int32_t>(tokens)};
  lengths_ = {static_cast<int32_t>(context)};
  tables_.assign(static_cast<size_t>(batch.max_blocks), 0);
  batch_ = batch;
  batch_.num_tokens = tokens;
  batch_.num_sequences = 1;
  batch_.num_decode_tokens = batch_.num_decode_sequences = 0;
  batch_.query_start.host = starts_;
  batch_.context_lengths.host = lengths_;
  batch_.block_tables.host = tables_;
  return batch_;
}

void ComposedPlan::embed(const EmbedArgs& args) {
  PlanStream::embed(args);
  EmbedArgs own = args;
  own.table = imported(args.table);
  measure(&Stream::embed, own);
}

void ComposedPlan::rms_norm(const RmsNormArgs& args) {
  PlanStream::rms_norm(args);
  measure(&Stream::rms_norm, args);
}

void ComposedPlan::add_rms_norm(const AddRmsNormArgs& args) {
  PlanStream::add_rms_norm(args);
  measure(&Stream::add_rms_norm, args);
}

void ComposedPlan::layer_norm(const LayerNormArgs& args) {
  PlanStream::layer_norm(args);
  measure(&Stream::layer_norm, args);
}

void ComposedPlan::matmul(const MatmulArgs& args) {
  PlanStream::matmul(args);
  MatmulArgs own = args;
  own.w = imported(args.w);
  measure(&Stream::matmul, own);
}

void ComposedPlan::rope(const RopeArgs& args) {
  PlanStream::rope(args);
  measure(&Stream::rope, args);
}

void ComposedPlan::kv_write(const KvWriteArgs& args) {
  PlanStream::kv_write(args);
  measure(&Stream::kv_write, args);
}

void ComposedPlan::gqa_attention(const GqaAttentionArgs& args) {
  PlanStream::gqa_attention(args);
  if (!is_new(Op::kGqaAttention, {args.q, args.k_pages, args.out}, args.num_kv_heads)) return;
  GqaAttentionArgs own = args;
  own.batch = &one_sequence(*args.batch);
  measure(&Stream::gqa_attention, own);
}

void ComposedPlan::per_head_matmul(const PerHeadMatmulArgs& args) {
  PlanStream::per_head_matmul(args);
  PerHeadMatmulArgs own = args;
  own.u = imported(args.u);
  measure(&Stream::per_head_matmul, own);
}

void ComposedPlan::mla_prefill_attention(const MlaPrefillAttentionArgs& args) {
  PlanStream::mla_prefill_attention(args);
  MlaPrefillAttentionArgs own = args;
  own.up_k = imported(args.up_k);
  own.up_v = imported(args.up_v);
  const auto views = {args.q, args.pages, args.out, head_matrix(own.up_k), head_matrix(own.up_v)};
  if (!is_new(Op::kMlaPrefillAttention, views, args.max_keys)) return;
  own.batch = &one_sequence(*args.batch);
  own.first_sequence = 0;
  own.num_sequences = 1;
  measure(&Stream::mla_prefill_attention, own);
}

void ComposedPlan::mla_decode_attention(const MlaDecodeAttentionArgs& args) {
  PlanStream::mla_decode_attention(args);
  const auto views = {args.q_latent, args.q_rope, args.pages, args.out};
  if (!is_new(Op::kMlaDecodeAttention, views, args.max_keys)) return;
  MlaDecodeAttentionArgs own = args;
  own.batch = &one_sequence(*args.batch);
  own.first_sequence = 0;
  own.num_sequences = 1;
  measure(&Stream::mla_decode_attention, own);
}

void ComposedPlan::index_scores(const IndexScoresArgs& args) {
  PlanStream::index_scores(args);
  if (!is_new(Op::kIndexScores, {args.q, args.pages, args.out}, args.first_token)) return;
  IndexScoresArgs own = args;
  own.batch = &one_sequence(*args.batch);
  measure(&Stream::index_scores, own);
}

void ComposedPlan::mla_sparse_attention(const MlaSparseAttentionArgs& args) {
  PlanStream::mla_sparse_attention(args);
  const auto views = {args.q_latent, args.q_rope, args.pages, args.positions, args.out};
  if (!is_new(Op::kMlaSparseAttention, views, args.first_token)) return;
  MlaSparseAttentionArgs own = args;
  own.batch = &one_sequence(*args.batch);
  measure(&Stream::mla_sparse_attention, own);
}

void ComposedPlan::swiglu(const SwigluArgs& args) {
  PlanStream::swiglu(args);
  measure(&Stream::swiglu, args);
}

void ComposedPlan::moe_gate(const MoeGateArgs& args) {
  PlanStream::moe_gate(args);
  measure(&Stream::moe_gate, args);
}

void ComposedPlan::moe_permute(const MoePermuteArgs& args) {
  PlanStream::moe_permute(args);
  measure(&Stream::moe_permute, args);
}

// Where nothing has been computed every choice is expert 0, whose product is the largest then.
void ComposedPlan::moe_experts(const MoeExpertsArgs& args) {
  PlanStream::moe_experts(args);
  const std::vector<WeightView> gate = imported(args.gate), up = imported(args.up),
                                down = imported(args.down);
  MoeExpertsArgs own = args;
  own.gate = gate;
  own.up = up;
  own.down = down;
  measure(&Stream::moe_experts, own);
}

// All rows by one of them.
void ComposedPlan::grouped_matmul(const GroupedMatmulArgs& args) {
  PlanStream::grouped_matmul(args);
  for (const WeightView& expert : args.experts) {
    const WeightView own = imported(expert);
    if (!is_new(Op::kGroupedMatmul, {args.x, args.out, device_weight(own).matrix})) continue;
    measure(&Stream::matmul, {.x = args.x, .w = own, .bias = {}, .out = args.out});
  }
}

void ComposedPlan::moe_combine(const MoeCombineArgs& args) {
  PlanStream::moe_combine(args);
  measure(&Stream::moe_combine, args);
}

void ComposedPlan::gather_rows(const GatherRowsArgs& args) {
  PlanStream::gather_rows(args);
  measure(&Stream::gather_rows, args);
}

void ComposedPlan::add(const AddArgs& args) {
  PlanStream::add(args);
  measure(&Stream::add, args);
}

void ComposedPlan::copy(const CopyArgs& args) {
  PlanStream::copy(args);
  measure(&Stream::copy, args);
}

}  // namespace ferry::composed
