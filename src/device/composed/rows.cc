// The queue itself, and the ops that look at rows or elements: embed, norms, rope, SwiGLU, add,
// copy, gather, kv_write.
#include <cstring>

#include "device/composed/on_host.h"
#include "device/composed/stream.h"

namespace ferry::composed {
namespace {

// Contiguous [T, H, D] as [T · H, D].
TensorView flat_rows(const TensorView& x) {
  return x.rank == 2 ? x : reshape(x, {x.shape[0] * x.shape[1], x.shape[2]});
}

// Contiguous `data` in the shape of `x`.
TensorView like(const TensorView& x, const TensorView& data) {
  return x.rank == 2 ? reshape(data, {x.shape[0], x.shape[1]})
                     : reshape(data, {x.shape[0], x.shape[1], x.shape[2]});
}

}  // namespace

ComposedStream::ComposedStream(std::unique_ptr<Primitives> primitives,
                               std::unique_ptr<Stream> reference, const ComposedPaths& paths)
    : p_(std::move(primitives)), reference_(std::move(reference)), paths_(paths) {}

void ComposedStream::copy_in(void* dst, const void* src, int64_t bytes) {
  if (p_->begin("copy_in")) p_->copy_in(dst, src, bytes);
}
void ComposedStream::copy_out(void* dst, const void* src, int64_t bytes) {
  if (p_->begin("copy_out")) p_->copy_out(dst, src, bytes);
}
void ComposedStream::fill_zero(void* dst, int64_t bytes) {
  if (p_->begin("fill_zero")) p_->fill_zero(dst, bytes);
}

Event ComposedStream::record() {
  if (!p_->begin("record")) return {.state = std::make_shared<std::shared_ptr<const void>>()};
  return {.state = std::make_shared<std::shared_ptr<const void>>(p_->record())};
}

void ComposedStream::wait(const Event& event) {
  CHECK(event.state != nullptr);
  const auto& left = *static_cast<const std::shared_ptr<const void>*>(event.state.get());
  if (left != nullptr && p_->begin("wait")) p_->wait(left.get());
}

Status ComposedStream::synchronize() { return p_->synchronize(); }

TensorView ComposedStream::target(const TensorView& out) {
  if (out.is_contiguous()) return out;
  TensorView made = p_->scratch(out.dtype, {out.num_elements()});
  const void* data = made.data;
  made = out;
  made.data = const_cast<void*>(data);
  int64_t step = 1;
  for (int i = out.rank - 1; i >= 0; --i) {
    made.stride[i] = step;
    step *= out.shape[i];
  }
  return made;
}

void ComposedStream::put(const TensorView& made, const TensorView& out) {
  if (!out.is_contiguous()) p_->copy(made, out);
}

void ComposedStream::embed(const EmbedArgs& args) {
  if (!p_->begin("embed")) return;
  const DeviceWeight& table = device_weight(args.table);
  if (!table.rounded) {
    const TensorView rows = p_->scratch(table.matrix.dtype, {args.out.shape[0], args.out.shape[1]});
    p_->select_rows(table.matrix, args.ids, rows);
    p_->copy(p_->as(rows, Dtype::kF32), args.out);
    return;
  }
  // What the device holds is rounded, and an embedding would carry that through every layer.
  const std::vector<int32_t> ids = p_->read_back(args.ids);
  if (!p_->ok()) return;
  std::vector<float> rows(static_cast<size_t>(args.out.num_elements()));
  for (size_t t = 0; t < ids.size(); ++t) {
    decode_host_row(table.host, ids[t], rows.data() + static_cast<int64_t>(t) * table.host.cols);
  }
  p_->copy(p_->upload(std::move(rows), {args.out.shape[0], args.out.shape[1]}), args.out);
}

void ComposedStream::rms_norm(const RmsNormArgs& args) {
  if (!paths_.rms_norm) {
    return on_host(Op::kRmsNorm, args, {&RmsNormArgs::x, &RmsNormArgs::weight}, {&RmsNormArgs::out},
                   &Stream::rms_norm);
  }
  if (!p_->begin("rms_norm")) return;
  // Not in place: nothing public says that it may.
  const TensorView x = flat_rows(p_->dense(args.x));
  const TensorView out = p_->scratch(Dtype::kF32, {x.shape[0], x.shape[1]});
  p_->rms_norm(x, args.weight, args.epsilon, nullptr, nullptr, out);
  p_->copy(like(args.out, out), args.out);
}

void ComposedStream::add_rms_norm(const AddRmsNormArgs& args) {
  if (!paths_.rms_norm) return Stream::add_rms_norm(args);
  if (!p_->begin("add_rms_norm")) return;
  const TensorView delta = p_->dense(args.delta), residual = p_->dense(args.residual);
  const TensorView sum = p_->scratch(Dtype::kF32, {delta.shape[0], delta.shape[1]});
  const TensorView out = target(args.out);
  p_->rms_norm(delta, args.weight, args.epsilon, &residual, &sum, out);
  p_->copy(sum, args.residual);
  put(out, args.out);
}

void ComposedStream::layer_norm(const LayerNormArgs& args) {
  if (!paths_.layer_norm) {
    return on_host(Op::kLayerNorm, args,
                   {&LayerNormArgs::x, &LayerNormArgs::weight, &LayerNormArgs::bias},
                   {&LayerNormArgs::out}, &Stream::layer_norm);
  }
  if (!p_->begin("layer_norm")) return;
  const TensorView out = target(args.out);
  p_->layer_norm(p_->dense(args.x), args.weight, args.bias, args.epsilon, out);
  put(out, args.out);
}

// The pairs are copied apart, turned, and copied back: [T, H, d/2] each.
void ComposedStream::rope(const RopeArgs& args) {
  if (!p_->begin("rope")) return;
  const TensorView& x = args.x;
  const int64_t tokens = x.shape[0], heads = x.shape[1], half = x.shape[2] / 2;
  const bool interleaved = args.layout == RopeLayout::kInterleaved;
  const auto part = [&](int64_t first) {
    return strided(at(x, 0, 0, first), x.dtype, {tokens, heads, half},
                   {x.stride[0], x.stride[1], interleaved ? 2 : 1});
  };
  const TensorView first = part(0), second = part(interleaved ? 1 : half);
  const TensorView angles = p_->scratch(Dtype::kF32, {tokens, 2 * half});
  p_->select_rows(args.cos_sin, args.positions, angles);
  if (paths_.rope && heads < kMaxRopeHeads && 2 * half < kMaxRopeSize) {
    return turn_pairs(x, angles, interleaved);
  }
  const auto angle = [&](int64_t from) {
    return p_->dense(
        strided(at(angles, 0, from), Dtype::kF32, {tokens, 1, half}, {2 * half, 2 * half, 1}));
  };
  const TensorView cosine = angle(0), sine = angle(half);
  const TensorView a = p_->scratch(Dtype::kF32, {tokens, heads, half});
  const TensorView b = p_->scratch(Dtype::kF32, {tokens, heads, half});
  p_->copy(first, a);
  p_->copy(second, b);
  const auto turned = [&](const TensorView& times_cosine, BinaryOp operation,
                          const TensorView& times_sine, const TensorView& out) {
    const TensorView left = p_->scratch(Dtype::kF32, {tokens, heads, half});
    const TensorView right = p_->scratch(Dtype::kF32, {tokens, heads, half});
    p_->binary(BinaryOp::kMul, times_cosine, cosine, left);
    p_->binary(BinaryOp::kMul, times_sine, sine, right);
    p_->binary(operation, left, right, left);
    p_->copy(left, out);
  };
  turned(a, BinaryOp::kSub, b, first);
  turned(b, BinaryOp::kAdd, a, second);
}

// angles [T, d]: cosines, then sines, of pairs; each is written for both entries of its pair.
void ComposedStream::turn_pairs(const TensorView& x, const TensorView& angles, bool interleaved) {
  const int64_t tokens = x.shape[0], heads = x.shape[1], size = x.shape[2], half = size / 2;
  const TensorView both = p_->scratch(Dtype::kF32, {2, tokens, size});
  p_->copy(strided(angles.data, Dtype::kF32, {2, tokens, 2, half}, {half, size, 0, 1}),
           strided(both.data, Dtype::kF32, {2, tokens, 2, half},
                   {tokens * size, size, interleaved ? 1 : half, interleaved ? 2 : 1}));
  const auto part = [&](int64_t i) { return reshape(both.slice(0, i, 1), {tokens, size}); };
  const TensorView out = p_->scratch(Dtype::kF32, {tokens, heads, size});
  p_->rope(x, part(0), part(1), interleaved, out);
  p_->copy(out, x);
}

void ComposedStream::kv_write(const KvWriteArgs& args) {
  if (!p_->begin("kv_write")) return;
  const int64_t width = args.pages.shape[2];
  const TensorView rows = p_->as(args.rows, args.pages.dtype);
  p_->write_rows(rows, args.slots,
                 reshape(args.pages, {args.pages.shape[0] * args.pages.shape[1], width}));
}

void ComposedStream::swiglu_rows(const TensorView& gate, const TensorView& up,
                                 const TensorView& out) {
  const TensorView sigmoid = p_->scratch(Dtype::kF32, {gate.shape[0], gate.shape[1]});
  p_->activation(Activation::kSigmoid, gate, sigmoid);
  p_->binary(BinaryOp::kMul, gate, sigmoid, sigmoid);
  p_->binary(BinaryOp::kMul, sigmoid, up, out);
}

void ComposedStream::swiglu(const SwigluArgs& args) {
  if (!p_->begin("swiglu")) return;
  const TensorView out = target(args.out);
  swiglu_rows(p_->dense(args.gate), p_->dense(args.up), out);
  put(out, args.out);
}

void ComposedStream::gather_rows(const GatherRowsArgs& args) {
  if (!p_->begin("gather_rows")) return;
  const TensorView out = target(args.out);
  p_->select_rows(p_->dense(args.x), args.rows, out);
  put(out, args.out);
}

void ComposedStream::add(const AddArgs& args) {
  if (!p_->begin("add")) return;
  const TensorView out = target(args.out);
  p_->binary(BinaryOp::kAdd, p_->dense(args.a), p_->dense(args.b), out);
  put(out, args.out);
}

void ComposedStream::copy(const CopyArgs& args) {
  if (!p_->begin("copy")) return;
  if (args.x.dtype == args.out.dtype) return p_->copy(args.x, args.out);
  const bool over_f32 = args.x.dtype != Dtype::kF32 && args.out.dtype != Dtype::kF32;
  const TensorView x = over_f32 ? p_->as(args.x, Dtype::kF32) : args.x;
  p_->copy(p_->as(x, args.out.dtype), args.out);
}

}  // namespace ferry::composed
