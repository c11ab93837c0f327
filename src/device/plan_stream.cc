// PlanStream: see plan_stream.h.
#include "device/plan_stream.h"

#include <algorithm>
#include <cmath>

#include "base/checked_math.h"
#include "device/int8_rows.h"
#include "device/workspace.h"

namespace ferry {
namespace {

int64_t bytes_of(const TensorView& x) { return x.num_elements() * dtype_bytes(x.dtype); }

// Rows [0, rows) of a weight, as stored, with their share of the scale grid.
int64_t weight_bytes(const WeightView& w, int64_t rows) {
  int64_t bytes = w.format->bytes_for(rows * w.cols);
  if (w.scale_rows > 0) {
    bytes += ceil_div(rows, w.scale_rows) * ceil_div(w.cols, w.scale_cols) * 4;
  }
  return bytes;
}

// What `rows` tokens take of a plane of the cache.
int64_t cache_bytes(const TensorView& pages, int64_t rows) {
  return static_cast<int64_t>(bytes_per_row(pages) * static_cast<double>(rows));
}

// What attention over sequences [first, first + count) of a batch has to go through.
struct AttentionWork {
  int64_t keys = 0;   // cached rows, each counted once per sequence
  int64_t pairs = 0;  // (token, key) pairs under the causal mask
};

AttentionWork attention_work(const BatchView& batch, int64_t first, int64_t count,
                             int64_t max_keys = kAllKeys) {
  AttentionWork work;
  for (int64_t i = first; i < first + count; ++i) {
    const bool known = !batch.context_lengths.host.empty();
    int64_t context = known ? batch.context_lengths.host[i] : batch.max_context_length;
    int64_t tokens = known ? batch.query_start.host[i + 1] - batch.query_start.host[i]
                           : std::min(batch.max_query_length, batch.max_context_length);
    // The last tokens are left out, as far as they see too much.
    const int64_t left_out = std::max<int64_t>(0, context - max_keys);
    if (left_out >= tokens) continue;
    context -= left_out;
    tokens -= left_out;
    work.keys += context;
    work.pairs += tokens * context - tokens * (tokens - 1) / 2;
  }
  return work;
}

// How many of `num_experts` are chosen by anyone when each of `tokens` picks `top_k` at random.
double touched_experts(int64_t num_experts, int64_t tokens, int64_t top_k) {
  const double share = static_cast<double>(top_k) / static_cast<double>(num_experts);
  const double missed = std::pow(1.0 - std::min(share, 1.0), static_cast<double>(tokens));
  return static_cast<double>(num_experts) * (1.0 - missed);
}

double multiply_flops(int64_t tokens, int64_t rows, int64_t cols) {
  return 2.0 * static_cast<double>(tokens) * static_cast<double>(rows) * static_cast<double>(cols);
}

}  // namespace

OpCost& OpCost::operator+=(const OpCost& other) {
  calls += other.calls;
  flops += other.flops;
  weight_bytes += other.weight_bytes;
  activation_bytes += other.activation_bytes;
  cache_bytes += other.cache_bytes;
  return *this;
}

OpCost PlanStream::total() const {
  OpCost sum;
  for (const OpCost& cost : costs_) sum += cost;
  return sum;
}

void PlanStream::ask(const OpQuery& query) {
  if (inside_fused_) return;
  if (std::find(queries_.begin(), queries_.end(), query) == queries_.end()) {
    queries_.push_back(query);
  }
}

void PlanStream::ask_weight(Op op, const WeightView& w) {
  ask({.op = op,
       .format = w.format,
       .block_scaled = w.scale_rows > 0,
       .rows = w.rows,
       .cols = w.cols});
}

void PlanStream::charge(Op op, const OpCost& cost) {
  OpCost& account = costs_[static_cast<int>(inside_fused_ ? fused_ : op)];
  account += cost;
  if (!inside_fused_) ++account.calls;
}

void PlanStream::embed(const EmbedArgs& args) {
  ask_weight(Op::kEmbed, args.table);
  charge(Op::kEmbed, {.weight_bytes = weight_bytes(args.table, args.out.shape[0]),
                      .activation_bytes = bytes_of(args.out)});
}

void PlanStream::rms_norm(const RmsNormArgs& args) {
  ask({.op = Op::kRmsNorm, .cols = args.weight.shape[0]});
  charge(Op::kRmsNorm, {.flops = 4.0 * static_cast<double>(args.x.num_elements()),
                        .activation_bytes = bytes_of(args.x) + bytes_of(args.out)});
}

void PlanStream::layer_norm(const LayerNormArgs& args) {
  ask({.op = Op::kLayerNorm, .cols = args.weight.shape[0]});
  charge(Op::kLayerNorm, {.flops = 6.0 * static_cast<double>(args.x.num_elements()),
                          .activation_bytes = bytes_of(args.x) + bytes_of(args.out)});
}

void PlanStream::matmul(const MatmulArgs& args) {
  ask_weight(Op::kMatmul, args.w);
  charge(Op::kMatmul, {.flops = multiply_flops(args.x.shape[0], args.w.rows, args.w.cols),
                       .weight_bytes = weight_bytes(args.w, args.w.rows),
                       .activation_bytes = bytes_of(args.x) + bytes_of(args.out)});
}

void PlanStream::rope(const RopeArgs& args) {
  ask({.op = Op::kRope, .rows = args.x.shape[1], .cols = args.x.shape[2]});
  charge(Op::kRope, {.flops = 3.0 * static_cast<double>(args.x.num_elements()),
                     .activation_bytes = 2 * bytes_of(args.x)});
}

void PlanStream::kv_write(const KvWriteArgs& args) {
  ask({.op = Op::kKvWrite, .dtype = args.pages.dtype, .cols = args.rows.shape[1]});
  charge(Op::kKvWrite, {.activation_bytes = bytes_of(args.rows),
                        .cache_bytes = cache_bytes(args.pages, args.rows.shape[0])});
}

void PlanStream::gqa_attention(const GqaAttentionArgs& args) {
  const int64_t heads = args.q.shape[1];
  const int64_t size = args.q.shape[2];
  ask({.op = Op::kGqaAttention, .dtype = args.k_pages.dtype, .rows = heads, .cols = size});
  const AttentionWork work = attention_work(*args.batch, 0, args.batch->num_sequences);
  charge(Op::kGqaAttention, {.flops = multiply_flops(work.pairs, heads, 2 * size),
                             .activation_bytes = bytes_of(args.q) + bytes_of(args.out),
                             .cache_bytes = cache_bytes(args.k_pages, work.keys) +
                                            cache_bytes(args.v_pages, work.keys)});
}

void PlanStream::per_head_matmul(const PerHeadMatmulArgs& args) {
  const HeadMatrixView& u = args.u;
  ask({.op = Op::kPerHeadMatmul,
       .format = u.weight.format,
       .block_scaled = u.weight.scale_rows > 0,
       .rows = u.rows,
       .cols = u.cols});
  charge(Op::kPerHeadMatmul,
         {.flops = multiply_flops(args.x.shape[0] * u.num_heads, u.rows, u.cols),
          .weight_bytes = weight_bytes(u.weight, u.num_heads * u.rows),
          .activation_bytes = bytes_of(args.x) + bytes_of(args.out)});
}

void PlanStream::mla_prefill_attention(const MlaPrefillAttentionArgs& args) {
  const int64_t heads = args.q.shape[1];
  const int64_t value_size = args.out.shape[2];
  const WeightView& w = args.up_k.weight;
  ask({.op = Op::kMlaPrefillAttention,
       .format = w.format,
       .dtype = args.pages.dtype,
       .block_scaled = w.scale_rows > 0,
       .rows = heads,
       .cols = args.q.shape[2]});
  if (args.up_v.weight.format != w.format) {
    ask({.op = Op::kMlaPrefillAttention,
         .format = args.up_v.weight.format,
         .dtype = args.pages.dtype,
         .block_scaled = args.up_v.weight.scale_rows > 0,
         .rows = heads,
         .cols = args.q.shape[2]});
  }
  const AttentionWork work =
      attention_work(*args.batch, args.first_sequence, args.num_sequences, args.max_keys);
  const double expand = multiply_flops(work.keys * heads, args.up_k.rows, args.up_k.cols) +
                        multiply_flops(work.keys * heads, args.up_v.rows, args.up_v.cols);
  charge(Op::kMlaPrefillAttention,
         {.flops = expand + multiply_flops(work.pairs, heads, args.q.shape[2] + value_size),
          .weight_bytes = weight_bytes(w, heads * args.up_k.rows) +
                          weight_bytes(args.up_v.weight, heads * args.up_v.rows),
          .activation_bytes = bytes_of(args.q) + bytes_of(args.out),
          .cache_bytes = cache_bytes(args.pages, work.keys)});
}

void PlanStream::mla_decode_attention(const MlaDecodeAttentionArgs& args) {
  const int64_t heads = args.q_latent.shape[1];
  const int64_t rank = args.q_latent.shape[2];
  const int64_t width = args.pages.shape[2];
  ask({.op = Op::kMlaDecodeAttention, .dtype = args.pages.dtype, .rows = heads, .cols = rank});
  const AttentionWork work =
      attention_work(*args.batch, args.first_sequence, args.num_sequences, args.max_keys);
  charge(Op::kMlaDecodeAttention,
         {.flops = multiply_flops(work.pairs, heads, width + rank),
          .activation_bytes = bytes_of(args.q_latent) + bytes_of(args.q_rope) + bytes_of(args.out),
          .cache_bytes = cache_bytes(args.pages, work.keys)});
}

void PlanStream::index_scores(const IndexScoresArgs& args) {
  const int64_t heads = args.q.shape[1];
  const int64_t size = args.q.shape[2];
  ask({.op = Op::kIndexScores, .dtype = args.pages.dtype, .rows = heads, .cols = size});
  const int64_t tokens = args.q.shape[0];
  const int64_t context = args.batch->max_context_length;
  charge(Op::kIndexScores, {.flops = multiply_flops(tokens * context, heads, size + 1),
                            .activation_bytes = bytes_of(args.q) + bytes_of(args.out),
                            .cache_bytes = cache_bytes(args.pages, tokens * context)});
}

void PlanStream::index_top_k(const IndexTopKArgs& args) {
  ask({.op = Op::kIndexTopK, .cols = args.out.shape[1]});
  charge(Op::kIndexTopK, {.flops = static_cast<double>(args.scores.num_elements()),
                          .activation_bytes = bytes_of(args.scores) + bytes_of(args.out)});
}

void PlanStream::mla_sparse_attention(const MlaSparseAttentionArgs& args) {
  const int64_t heads = args.q_latent.shape[1];
  const int64_t rank = args.q_latent.shape[2];
  const int64_t width = args.pages.shape[2];
  ask({.op = Op::kMlaSparseAttention, .dtype = args.pages.dtype, .rows = heads, .cols = rank});
  const int64_t pairs = args.positions.num_elements();
  charge(Op::kMlaSparseAttention,
         {.flops = multiply_flops(pairs, heads, width + rank),
          .activation_bytes = bytes_of(args.q_latent) + bytes_of(args.q_rope) + bytes_of(args.out),
          .cache_bytes = cache_bytes(args.pages, pairs)});
}

void PlanStream::swiglu(const SwigluArgs& args) {
  ask({.op = Op::kSwiglu, .cols = args.gate.shape[1]});
  charge(Op::kSwiglu, {.flops = 4.0 * static_cast<double>(args.gate.num_elements()),
                       .activation_bytes = 3 * bytes_of(args.gate)});
}

void PlanStream::moe_gate(const MoeGateArgs& args) {
  ask({.op = Op::kMoeGate, .rows = args.spec.num_experts, .cols = args.spec.top_k});
  charge(Op::kMoeGate, {.flops = 4.0 * static_cast<double>(args.logits.num_elements()),
                        .activation_bytes = bytes_of(args.logits) + 2 * bytes_of(args.ids)});
}

void PlanStream::moe_permute(const MoePermuteArgs& args) {
  ask({.op = Op::kMoePermute, .rows = args.num_experts, .cols = args.ids.shape[1]});
  charge(Op::kMoePermute, {.activation_bytes = 3 * bytes_of(args.ids)});
}

void PlanStream::grouped_matmul(const GroupedMatmulArgs& args) {
  for (const WeightView& expert : args.experts) ask_weight(Op::kGroupedMatmul, expert);
  const WeightView& w = args.experts[0];
  const int64_t rows = args.x.shape[0];
  const int64_t num_experts = static_cast<int64_t>(args.experts.size());
  const double touched = touched_experts(num_experts, rows, 1);
  charge(
      Op::kGroupedMatmul,
      {.flops = multiply_flops(rows, w.rows, w.cols),
       .weight_bytes = static_cast<int64_t>(touched * static_cast<double>(weight_bytes(w, w.rows))),
       .activation_bytes = bytes_of(args.x) + bytes_of(args.out)});
}

void PlanStream::moe_combine(const MoeCombineArgs& args) {
  ask({.op = Op::kMoeCombine, .cols = args.out.shape[1]});
  charge(Op::kMoeCombine, {.flops = 2.0 * static_cast<double>(args.rows.num_elements()),
                           .activation_bytes = bytes_of(args.rows) + bytes_of(args.out)});
}

void PlanStream::gather_rows(const GatherRowsArgs& args) {
  ask({.op = Op::kGatherRows, .cols = args.out.shape[1]});
  charge(Op::kGatherRows, {.activation_bytes = 2 * bytes_of(args.out)});
}

void PlanStream::add(const AddArgs& args) {
  ask({.op = Op::kAdd, .cols = args.a.shape[args.a.rank - 1]});
  charge(Op::kAdd, {.flops = static_cast<double>(args.a.num_elements()),
                    .activation_bytes = 3 * bytes_of(args.a)});
}

void PlanStream::copy(const CopyArgs& args) {
  const Dtype dtype = args.out.dtype != Dtype::kF32 ? args.out.dtype : args.x.dtype;
  ask({.op = Op::kCopy, .dtype = dtype, .cols = args.x.shape[args.x.rank - 1]});
  charge(Op::kCopy, {.activation_bytes = bytes_of(args.x) + bytes_of(args.out)});
}

void PlanStream::add_rms_norm(const AddRmsNormArgs& args) {
  ask({.op = Op::kAddRmsNorm, .cols = args.weight.shape[0]});
  charge(Op::kAddRmsNorm, {.flops = 5.0 * static_cast<double>(args.residual.num_elements()),
                           .activation_bytes = 4 * bytes_of(args.residual)});
}

void PlanStream::moe_experts(const MoeExpertsArgs& args) {
  for (const auto& experts : {args.gate, args.up, args.down}) {
    for (const WeightView& expert : experts) ask_weight(Op::kMoeExperts, expert);
  }
  charge(Op::kMoeExperts, {});
  // The composite takes the workspace and names the price of its parts; only the weights are
  // charged here, because the parts no longer know that a token's choices are distinct.
  const int64_t weights_before = cost(Op::kMoeExperts).weight_bytes;
  inside_fused_ = true;
  fused_ = Op::kMoeExperts;
  Stream::moe_experts(args);
  inside_fused_ = false;
  const double touched =
      touched_experts(static_cast<int64_t>(args.gate.size()), args.ids.shape[0], args.ids.shape[1]);
  double expert_bytes = 0;
  for (const auto& experts : {args.gate, args.up, args.down}) {
    expert_bytes += static_cast<double>(weight_bytes(experts[0], experts[0].rows));
  }
  costs_[static_cast<int>(Op::kMoeExperts)].weight_bytes =
      weights_before + static_cast<int64_t>(touched * expert_bytes);
}

void PlanStream::hyper_collapse(const HyperCollapseArgs& args) {
  ask({.op = Op::kHyperCollapse, .rows = args.streams.shape[1], .cols = args.streams.shape[2]});
  charge(Op::kHyperCollapse, {.flops = 4.0 * static_cast<double>(args.streams.num_elements()),
                              .activation_bytes = bytes_of(args.streams) + bytes_of(args.out)});
}

void PlanStream::hyper_expand(const HyperExpandArgs& args) {
  const int64_t streams = args.streams.shape[1];
  ask({.op = Op::kHyperExpand, .rows = streams, .cols = args.streams.shape[2]});
  charge(Op::kHyperExpand,
         {.flops = multiply_flops(args.x.shape[0] * streams, streams + 1, args.x.shape[1]),
          .activation_bytes = 2 * bytes_of(args.streams) + bytes_of(args.x)});
}

void PlanStream::compress(const CompressArgs& args) {
  const int64_t size = args.weight.shape[0];
  ask({.op = Op::kCompress, .dtype = args.pages.dtype, .rows = args.ratio, .cols = size});
  // A token has its share in one entry, or two.
  const int64_t tokens = args.batch->num_tokens;
  charge(Op::kCompress, {.flops = 6.0 * static_cast<double>(tokens * size * (args.overlap ? 2 : 1)),
                         .cache_bytes = cache_bytes(args.rows, tokens) +
                                        cache_bytes(args.pages, ceil_div(tokens, args.ratio))});
}

void PlanStream::entry_scores(const EntryScoresArgs& args) {
  const int64_t heads = args.q.shape[1];
  const int64_t size = args.q.shape[2];
  ask({.op = Op::kEntryScores, .dtype = args.pages.dtype, .rows = heads, .cols = size});
  const int64_t pairs = args.q.shape[0] * (args.batch->max_context_length / args.ratio);
  charge(Op::kEntryScores, {.flops = multiply_flops(pairs, heads, size + 1),
                            .activation_bytes = bytes_of(args.q) + bytes_of(args.out),
                            .cache_bytes = cache_bytes(args.pages, pairs)});
}

void PlanStream::window_attention(const WindowAttentionArgs& args) {
  const int64_t heads = args.q.shape[1];
  const int64_t size = args.q.shape[2];
  ask({.op = Op::kWindowAttention, .dtype = args.pages.dtype, .rows = heads, .cols = size});
  const int64_t context = args.batch->max_context_length;
  int64_t entries = args.entry_pages.empty() ? 0 : context / args.ratio;
  if (!args.entries.empty()) entries = std::min(entries, args.entries.shape[1]);
  const int64_t tokens = args.q.shape[0];
  const int64_t recent = std::min(args.window, context);
  const int64_t far_bytes =
      args.entry_pages.empty() ? 0 : cache_bytes(args.entry_pages, tokens * entries);
  charge(Op::kWindowAttention,
         {.flops = multiply_flops(tokens * (recent + entries), heads, 2 * size),
          .activation_bytes = bytes_of(args.q) + bytes_of(args.out),
          .cache_bytes = cache_bytes(args.pages, tokens * recent) + far_bytes});
}

void PlanStream::moe_hash_gate(const MoeHashGateArgs& args) {
  ask({.op = Op::kMoeHashGate, .rows = args.logits.shape[1], .cols = args.ids.shape[1]});
  charge(Op::kMoeHashGate, {.flops = 4.0 * static_cast<double>(args.ids.num_elements()),
                            .activation_bytes = 4 * bytes_of(args.ids)});
}

void PlanStream::clamped_swiglu(const ClampedSwigluArgs& args) {
  ask({.op = Op::kClampedSwiglu, .cols = args.gate.shape[1]});
  charge(Op::kClampedSwiglu, {.flops = 7.0 * static_cast<double>(args.gate.num_elements()),
                              .activation_bytes = 3 * bytes_of(args.gate)});
}

void PlanStream::top_logits(const TopLogitsArgs& args) {
  ask({.op = Op::kTopLogits, .rows = args.values.shape[1], .cols = args.x.shape[1]});
  charge(Op::kTopLogits,
         {.flops = static_cast<double>(args.x.num_elements()),
          .activation_bytes = bytes_of(args.x) + bytes_of(args.values) + bytes_of(args.ids)});
}

std::unique_ptr<PlanStream> Backend::create_plan_stream() const {
  return std::make_unique<PlanStream>();
}

std::string describe(const OpQuery& query) {
  std::string text(op_name(query.op));
  if (query.format != nullptr) text += fmt::format(" {}", query.format->name);
  if (query.block_scaled) text += " block-scaled";
  if (query.dtype != Dtype::kF32) text += fmt::format(" {}", dtype_name(query.dtype));
  if (query.rows > 0) return text + fmt::format(" [{} x {}]", query.rows, query.cols);
  return text + fmt::format(" [{}]", query.cols);
}

Status check_support(const Backend& backend, std::span<const OpQuery> queries) {
  std::string missing;
  for (const OpQuery& query : queries) {
    if (has_host_default(query.op)) continue;
    if (!backend.supports(query)) missing += (missing.empty() ? "" : ", ") + describe(query);
  }
  if (missing.empty()) return {};
  return unsupported("backend {} ({}) lacks: {}", backend.spec().backend, backend.spec().name,
                     missing);
}

}  // namespace ferry
