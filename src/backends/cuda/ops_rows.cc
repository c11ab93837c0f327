// Ops that look at rows or elements.
#include <vector>

#include "backends/cuda/scratch.h"
#include "backends/cuda/stream.h"
#include "backends/cuda/views.h"
#include "backends/cuda/weights.h"
#include "device/composed/weights.h"

namespace ferry::cuda {
namespace {

ElementParams element_params(const TensorView& a, const TensorView& b, const TensorView& out,
                             ElementOp op) {
  ElementParams params{.a = a.data,
                       .b = b.data,
                       .out = out.data,
                       .count = out.num_elements(),
                       .op = op,
                       .a_type = element_type(a.dtype),
                       .out_type = element_type(out.dtype)};
  for (int dim = 0; dim < kMaxRank; ++dim) params.shape[dim] = 1;
  if (a.is_contiguous() && b.is_contiguous() && out.is_contiguous()) {
    params.shape[3] = params.count;
    params.a_stride[3] = params.b_stride[3] = params.out_stride[3] = 1;
    return params;
  }
  for (int dim = 0; dim < out.rank; ++dim) {
    const int to = kMaxRank - out.rank + dim;
    params.shape[to] = out.shape[dim];
    params.a_stride[to] = a.stride[dim];
    params.b_stride[to] = b.stride[dim];
    params.out_stride[to] = out.stride[dim];
  }
  return params;
}

// Of so many, what a launch of top_logits leaves.
int64_t columns_left(int64_t columns, int64_t top) { return ceil_div(columns, kTopColumns) * top; }

}  // namespace

void CudaStream::embed(const EmbedArgs& args) {
  if (!begin("embed")) return;
  if (imported_weight(args.table).host.rows > 0) return embed_on_host(args);
  const EmbedParams params{.table = weight_param(args.table),
                           .ids = data_of<int32_t>(args.ids),
                           .out = data_of(args.out),
                           .out_stride = args.out.stride[0]};
  launch(Kernel::k_embed, {args.ids.shape[0]}, kThreads, params);
}

// What the device holds is rounded, and an embedding would carry that through every layer.
void CudaStream::embed_on_host(const EmbedArgs& args) {
  const HostWeight& table = imported_weight(args.table).host;
  const int64_t tokens = args.ids.shape[0];
  std::vector<int32_t> ids(static_cast<size_t>(tokens));
  copy_out(ids.data(), args.ids.data, tokens * static_cast<int64_t>(sizeof(int32_t)));
  if (!synchronize().ok()) return;
  std::vector<float> rows(static_cast<size_t>(tokens * table.cols));
  for (int64_t t = 0; t < tokens; ++t) {
    const int32_t id = ids[static_cast<size_t>(t)];
    CHECK(id >= 0 && id < table.rows);
    float* row = rows.data() + t * table.cols;
    composed::decode_host_row(table, id, row);
    copy_in(data_of(args.out) + t * args.out.stride[0], row,
            table.cols * static_cast<int64_t>(sizeof(float)));
  }
  static_cast<void>(synchronize());  // the copies end here; an error sticks
}

void CudaStream::launch_norm(NormParams params, const TensorView& x, const TensorView& out) {
  const bool heads = x.rank == 3;
  params.x = data_of(x);
  params.out = data_of(out);
  params.inner_rows = heads ? x.shape[1] : 1;
  params.size = x.shape[x.rank - 1];
  for (int dim = 0; dim < (heads ? 2 : 1); ++dim) {
    params.x_stride[dim] = x.stride[dim];
    params.out_stride[dim] = out.stride[dim];
  }
  launch(Kernel::k_norm, {params.size == 0 ? 0 : x.shape[0] * params.inner_rows}, kThreads, params);
}

void CudaStream::rms_norm(const RmsNormArgs& args) {
  if (!begin("rms_norm")) return;
  launch_norm({.weight = data_of(args.weight), .epsilon = args.epsilon}, args.x, args.out);
}

void CudaStream::add_rms_norm(const AddRmsNormArgs& args) {
  if (!begin("add_rms_norm")) return;
  launch_norm({.weight = data_of(args.weight),
               .residual = data_of(args.residual),
               .residual_stride = args.residual.stride[0],
               .epsilon = args.epsilon},
              args.delta, args.out);
}

void CudaStream::layer_norm(const LayerNormArgs& args) {
  if (!begin("layer_norm")) return;
  launch_norm({.weight = data_of(args.weight), .bias = data_of(args.bias), .epsilon = args.epsilon},
              args.x, args.out);
}

void CudaStream::rope(const RopeArgs& args) {
  if (!begin("rope")) return;
  const RopeParams params{.x = data_of(args.x),
                          .x_stride = {args.x.stride[0], args.x.stride[1]},
                          .heads = args.x.shape[1],
                          .size = args.x.shape[2],
                          .positions = data_of<int32_t>(args.positions),
                          .cos_sin = data_of(args.cos_sin),
                          .cos_sin_stride = args.cos_sin.stride[0],
                          .max_positions = args.cos_sin.shape[0],
                          .interleaved = args.layout == RopeLayout::kInterleaved};
  launch(Kernel::k_rope, {args.x.shape[0]}, kThreads, params);
}

void CudaStream::launch_elements(const AddArgs& args, ElementOp op, float limit) {
  ElementParams params = element_params(args.a, args.b, args.out, op);
  params.limit = limit;
  launch(Kernel::k_elementwise, {ceil_div(params.count, kThreads)}, kThreads, params);
}

void CudaStream::swiglu(const SwigluArgs& args) {
  if (!begin("swiglu")) return;
  launch_elements({.a = args.gate, .b = args.up, .out = args.out}, kOpSwiglu);
}

void CudaStream::add(const AddArgs& args) {
  if (begin("add")) launch_elements(args, kOpAdd);
}

void CudaStream::copy(const CopyArgs& args) {
  if (begin("copy")) launch_elements({.a = args.x, .b = args.x, .out = args.out}, kOpCopy);
}

void CudaStream::gather_rows(const GatherRowsArgs& args) {
  if (!begin("gather_rows")) return;
  const GatherParams params{.x = data_of(args.x),
                            .x_stride = args.x.stride[0],
                            .num_rows = args.x.shape[0],
                            .size = args.x.shape[1],
                            .rows = data_of<int32_t>(args.rows),
                            .out = data_of(args.out),
                            .out_stride = args.out.stride[0]};
  launch(Kernel::k_gather_rows, {args.rows.shape[0]}, kThreads, params);
}

int64_t most_top_logits_floats(const TopLogitsArgs& args) {
  int64_t floats = 0;
  for (int64_t size = args.x.shape[1]; size > kTopColumns;) {
    size = columns_left(size, args.values.shape[1]);
    floats += 2 * args.x.shape[0] * size;
  }
  return floats;
}

// Every launch leaves the largest of each piece of a row side by side, the lower columns first, for
// the next launch to choose from.
void CudaStream::top_logits(const TopLogitsArgs& args) {
  if (!begin("top_logits")) return;
  const int64_t rows = args.x.shape[0], top = args.values.shape[1];
  CHECK(top >= 1 && top <= kMaxTopLogits && args.ids.shape[1] == top);
  const int64_t floats = most_top_logits_floats(args);
  float* memory = floats > 0 ? scratch(floats) : nullptr;
  if (floats > 0 && memory == nullptr) return;
  TopLogitsParams params{.x = data_of(args.x),
                         .x_stride = args.x.stride[0],
                         .size = args.x.shape[1],
                         .columns = nullptr,
                         .columns_stride = 0,
                         .top = top};
  while (params.size > kTopColumns) {
    const int64_t left = columns_left(params.size, top);
    params.values = memory;
    params.ids = reinterpret_cast<int32_t*>(memory + rows * left);
    params.values_stride = params.ids_stride = left;
    launch(Kernel::k_top_logits, {left / top, rows}, kThreads, params);
    params.x = params.values;
    params.columns = params.ids;
    params.x_stride = params.columns_stride = params.size = left;
    memory += 2 * rows * left;
  }
  params.values = data_of(args.values);
  params.values_stride = args.values.stride[0];
  params.ids = data_of<int32_t>(args.ids);
  params.ids_stride = args.ids.stride[0];
  launch(Kernel::k_top_logits, {1, rows}, kThreads, params);
}

}  // namespace ferry::cuda
