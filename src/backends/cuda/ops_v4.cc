// The ops that DeepSeek-V4 brought. What is larger than the kernels have room for is left to the
// defaults, on the host.
#include "backends/cuda/stream.h"
#include "backends/cuda/views.h"

namespace ferry::cuda {

void CudaStream::hyper_collapse(const HyperCollapseArgs& args) {
  if (args.streams.shape[1] > kMaxStreams) return Stream::hyper_collapse(args);
  if (!begin("hyper_collapse")) return;
  const HyperCollapseParams params{
      .streams = data_of(args.streams),
      .stream_stride = {args.streams.stride[0], args.streams.stride[1]},
      .num_streams = args.streams.shape[1],
      .size = args.streams.shape[2],
      .mix = data_of(args.mix),
      .mix_stride = args.mix.stride[0],
      .base = data_of(args.base),
      .scale = data_of(args.scale),
      .norm_epsilon = args.norm_epsilon,
      .epsilon = args.epsilon,
      .iterations = args.iterations,
      .out = data_of(args.out),
      .out_stride = args.out.stride[0],
      .gates = data_of(args.gates),
      .gates_stride = args.gates.empty() ? 0 : args.gates.stride[0]};
  launch(Kernel::k_hyper_collapse, {args.streams.shape[0]}, kThreads, params);
}

void CudaStream::hyper_expand(const HyperExpandArgs& args) {
  if (args.streams.shape[1] > kMaxStreams) return Stream::hyper_expand(args);
  if (!begin("hyper_expand")) return;
  const HyperExpandParams params{.streams = data_of(args.streams),
                                 .stream_stride = {args.streams.stride[0], args.streams.stride[1]},
                                 .num_streams = args.streams.shape[1],
                                 .size = args.streams.shape[2],
                                 .x = data_of(args.x),
                                 .x_stride = args.x.stride[0],
                                 .gates = data_of(args.gates),
                                 .gates_stride = args.gates.stride[0]};
  launch(Kernel::k_hyper_expand, {args.streams.shape[0], ceil_div(params.size, kThreads)}, kThreads,
         params);
}

void CudaStream::moe_hash_gate(const MoeHashGateArgs& args) {
  const GateSpec& spec = *args.spec;
  CHECK(spec.score != GateScore::kSoftmax);  // not a matter of one expert
  if (!begin("moe_hash_gate")) return;
  const HashGateParams params{.logits = data_of(args.logits),
                              .logits_stride = args.logits.stride[0],
                              .num_experts = spec.num_experts,
                              .token_ids = data_of<int32_t>(args.token_ids.device),
                              .table = data_of<int32_t>(args.table),
                              .table_stride = args.table.stride[0],
                              .vocabulary = args.table.shape[0],
                              .top_k = args.ids.shape[1],
                              .ids = data_of<int32_t>(args.ids),
                              .ids_stride = args.ids.stride[0],
                              .weights = data_of(args.weights),
                              .weights_stride = args.weights.stride[0],
                              .scale = spec.scale,
                              .renormalize = spec.renormalize,
                              .square_roots = spec.score == GateScore::kSqrtSoftplus};
  launch(Kernel::k_moe_hash_gate, {args.logits.shape[0]}, kWarp, params);
}

void CudaStream::clamped_swiglu(const ClampedSwigluArgs& args) {
  if (begin("clamped_swiglu")) {
    launch_elements({.a = args.gate, .b = args.up, .out = args.out}, kOpClampedSwiglu, args.limit);
  }
}

void CudaStream::compress(const CompressArgs& args) {
  if (args.pages.shape[2] > kMaxKeySize) return Stream::compress(args);
  if (!begin("compress")) return;
  CHECK(args.rows.dtype == Dtype::kF32);
  const CompressParams params{.rows = pages_param(args.rows, 0),
                              .recent_tables = data_of<int32_t>(args.batch->recent_tables.device),
                              .ratio = args.ratio,
                              .ape = data_of(args.ape),
                              .ape_stride = args.ape.stride[0],
                              .weight = data_of(args.weight),
                              .cos_sin = data_of(args.cos_sin),
                              .cos_sin_stride = args.cos_sin.stride[0],
                              .rope = args.cos_sin.shape[1],
                              .max_positions = args.cos_sin.shape[0],
                              .batch = batch_param(*args.batch),
                              .pages = pages_param(args.pages, args.group),
                              .epsilon = args.epsilon,
                              .overlap = args.overlap};
  launch(Kernel::k_compress, {args.batch->num_tokens}, kThreads, params);
}

void CudaStream::entry_scores(const EntryScoresArgs& args) {
  const int64_t size = args.q.shape[2];
  if (size > kMaxKeySize) return Stream::entry_scores(args);
  if (!begin("entry_scores")) return;
  const EntryScoresParams params{.scores = scores_param(args), .ratio = args.ratio};
  launch(Kernel::k_entry_scores, {args.q.shape[0], ceil_div(args.out.shape[1], kThreads)}, kThreads,
         params);
}

void CudaStream::window_attention(const WindowAttentionArgs& args) {
  const int64_t size = args.q.shape[2];
  if (size > kMaxKeySize || size > kMaxValueSize) return Stream::window_attention(args);
  if (!begin("window_attention")) return;
  WindowAttentionParams params{.q = data_of(args.q),
                               .q_stride = {args.q.stride[0], args.q.stride[1]},
                               .size = size,
                               .pages = pages_param(args.pages, args.group),
                               .entry_pages = {},
                               .recent_tables = data_of<int32_t>(args.batch->recent_tables.device),
                               .window = args.window,
                               .ratio = args.ratio,
                               .entries = data_of<int32_t>(args.entries),
                               .entries_stride = args.entries.empty() ? 0 : args.entries.stride[0],
                               .top_k = args.entries.empty() ? 0 : args.entries.shape[1],
                               .sinks = data_of(args.sinks),
                               .cos_sin = data_of(args.cos_sin),
                               .cos_sin_stride = args.cos_sin.stride[0],
                               .rope = args.cos_sin.shape[1],
                               .max_positions = args.cos_sin.shape[0],
                               .batch = batch_param(*args.batch),
                               .first_token = args.first_token,
                               .out = data_of(args.out),
                               .out_stride = {args.out.stride[0], args.out.stride[1]},
                               .scale = args.scale};
  if (!args.entry_pages.empty()) params.entry_pages = pages_param(args.entry_pages, args.group);
  launch(Kernel::k_window_attention, {args.q.shape[0], args.q.shape[1]}, kAttentionThreads, params);
}

}  // namespace ferry::cuda
