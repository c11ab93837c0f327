// The queue itself, and the ops that look at rows or elements: embed, norms, rope, SwiGLU, add,
// copy, gather, kv_write, argmax.
#include <cstring>

#include "backends/cambricon/host_ops.h"
#include "backends/cambricon/stream.h"

namespace ferry::cambricon {
namespace {

// A notifier that destroys itself; keeps its device alive.
struct CnrtEvent {
  std::shared_ptr<Device> device;
  Notifier notifier = nullptr;
  ~CnrtEvent() {
    if (notifier != nullptr && device->bind().ok()) device->vendor().cnrtNotifierDestroy(notifier);
  }
};

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

CambriconStream::CambriconStream(std::unique_ptr<Calls> calls, std::unique_ptr<Stream> reference,
                                 const Paths& paths)
    : calls_(std::move(calls)), reference_(std::move(reference)), paths_(paths) {}

void CambriconStream::copy_in(void* dst, const void* src, int64_t bytes) {
  if (calls_->begin("copy_in")) calls_->copy_in(dst, src, bytes);
}
void CambriconStream::copy_out(void* dst, const void* src, int64_t bytes) {
  if (calls_->begin("copy_out")) calls_->copy_out(dst, src, bytes);
}
void CambriconStream::fill_zero(void* dst, int64_t bytes) {
  if (calls_->begin("fill_zero")) calls_->fill_zero(dst, bytes);
}

Event CambriconStream::record() {
  auto event = std::make_shared<CnrtEvent>();
  event->device = calls_->device();
  if (!calls_->begin("record")) return {.state = event};
  const Vendor& v = calls_->vendor();
  calls_->check_cnrt("cnrtNotifierCreate", v.cnrtNotifierCreate(&event->notifier));
  if (calls_->ok()) {
    calls_->check_cnrt("cnrtPlaceNotifier", v.cnrtPlaceNotifier(event->notifier, calls_->queue()));
  }
  return {.state = event};
}

void CambriconStream::wait(const Event& event) {
  CHECK(event.state != nullptr);
  const auto& waited = *static_cast<const CnrtEvent*>(event.state.get());
  if (waited.notifier == nullptr || !calls_->begin("wait")) return;
  calls_->check_cnrt("cnrtQueueWaitNotifier",
                     calls_->vendor().cnrtQueueWaitNotifier(waited.notifier, calls_->queue(), 0));
}

Status CambriconStream::synchronize() { return calls_->synchronize(); }

TensorView CambriconStream::target(const TensorView& out) {
  if (out.is_contiguous()) return out;
  TensorView made = calls_->scratch(out.dtype, {out.num_elements()});
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

void CambriconStream::put(const TensorView& made, const TensorView& out) {
  if (!out.is_contiguous()) calls_->copy(made, out);
}

void CambriconStream::embed(const EmbedArgs& args) {
  if (!calls_->begin("embed")) return;
  const DeviceWeight& table = device_weight(args.table);
  if (!table.rounded) {
    const TensorView rows =
        calls_->scratch(table.matrix.dtype, {args.out.shape[0], args.out.shape[1]});
    calls_->select_rows(table.matrix, args.ids, rows);
    calls_->copy(calls_->as(rows, Dtype::kF32), args.out);
    return;
  }
  // What the device holds is rounded, and an embedding would carry that through every layer.
  const std::vector<int32_t> ids = calls_->read_back(args.ids);
  if (!calls_->ok()) return;
  std::vector<float> rows(static_cast<size_t>(args.out.num_elements()));
  for (size_t t = 0; t < ids.size(); ++t) {
    decode_host_row(table.host, ids[t], rows.data() + static_cast<int64_t>(t) * table.host.cols);
  }
  calls_->copy(calls_->upload(std::move(rows), {args.out.shape[0], args.out.shape[1]}), args.out);
}

void CambriconStream::rms_norm(const RmsNormArgs& args) {
  if (!paths_.fuse_norm) {
    return on_host(Op::kRmsNorm, args, {&RmsNormArgs::x, &RmsNormArgs::weight}, {&RmsNormArgs::out},
                   &Stream::rms_norm);
  }
  if (!calls_->begin("rms_norm")) return;
  // Not in place: nothing public says that it may.
  const TensorView x = flat_rows(calls_->dense(args.x));
  const TensorView out = calls_->scratch(Dtype::kF32, {x.shape[0], x.shape[1]});
  calls_->rms_norm(x, args.weight, args.epsilon, nullptr, nullptr, out);
  calls_->copy(like(args.out, out), args.out);
}

void CambriconStream::add_rms_norm(const AddRmsNormArgs& args) {
  if (!paths_.fuse_norm) return Stream::add_rms_norm(args);
  if (!calls_->begin("add_rms_norm")) return;
  const TensorView delta = calls_->dense(args.delta), residual = calls_->dense(args.residual);
  const TensorView sum = calls_->scratch(Dtype::kF32, {delta.shape[0], delta.shape[1]});
  const TensorView out = target(args.out);
  calls_->rms_norm(delta, args.weight, args.epsilon, &residual, &sum, out);
  calls_->copy(sum, args.residual);
  put(out, args.out);
}

void CambriconStream::layer_norm(const LayerNormArgs& args) {
  if (!paths_.layer_norm) {
    return on_host(Op::kLayerNorm, args,
                   {&LayerNormArgs::x, &LayerNormArgs::weight, &LayerNormArgs::bias},
                   {&LayerNormArgs::out}, &Stream::layer_norm);
  }
  if (!calls_->begin("layer_norm")) return;
  const TensorView out = target(args.out);
  calls_->layer_norm(calls_->dense(args.x), args.weight, args.bias, args.epsilon, out);
  put(out, args.out);
}

// The pairs are copied apart, turned, and copied back: [T, H, d/2] each.
void CambriconStream::rope(const RopeArgs& args) {
  if (!calls_->begin("rope")) return;
  const TensorView& x = args.x;
  const int64_t tokens = x.shape[0], heads = x.shape[1], half = x.shape[2] / 2;
  const bool interleaved = args.layout == RopeLayout::kInterleaved;
  const auto part = [&](int64_t first) {
    return strided(at(x, 0, 0, first), x.dtype, {tokens, heads, half},
                   {x.stride[0], x.stride[1], interleaved ? 2 : 1});
  };
  const TensorView first = part(0), second = part(interleaved ? 1 : half);
  const TensorView angles = calls_->scratch(Dtype::kF32, {tokens, 2 * half});
  calls_->select_rows(args.cos_sin, args.positions, angles);
  const auto angle = [&](int64_t from) {
    return calls_->dense(
        strided(at(angles, 0, from), Dtype::kF32, {tokens, 1, half}, {2 * half, 2 * half, 1}));
  };
  const TensorView cosine = angle(0), sine = angle(half);
  const TensorView a = calls_->scratch(Dtype::kF32, {tokens, heads, half});
  const TensorView b = calls_->scratch(Dtype::kF32, {tokens, heads, half});
  calls_->copy(first, a);
  calls_->copy(second, b);
  const auto turned = [&](const TensorView& times_cosine, int operation,
                          const TensorView& times_sine, const TensorView& out) {
    const TensorView left = calls_->scratch(Dtype::kF32, {tokens, heads, half});
    const TensorView right = calls_->scratch(Dtype::kF32, {tokens, heads, half});
    calls_->binary(kOpTensorMul, times_cosine, cosine, left);
    calls_->binary(kOpTensorMul, times_sine, sine, right);
    calls_->binary(operation, left, right, left);
    calls_->copy(left, out);
  };
  turned(a, kOpTensorSub, b, first);
  turned(b, kOpTensorAdd, a, second);
}

void CambriconStream::kv_write(const KvWriteArgs& args) {
  if (!calls_->begin("kv_write")) return;
  const int64_t width = args.pages.shape[2];
  const TensorView rows = calls_->as(args.rows, args.pages.dtype);
  calls_->write_rows(rows, args.slots,
                     reshape(args.pages, {args.pages.shape[0] * args.pages.shape[1], width}));
}

void CambriconStream::swiglu_rows(const TensorView& gate, const TensorView& up,
                                  const TensorView& out) {
  const TensorView sigmoid = calls_->scratch(Dtype::kF32, {gate.shape[0], gate.shape[1]});
  calls_->activation(kSigmoid, gate, sigmoid);
  calls_->binary(kOpTensorMul, gate, sigmoid, sigmoid);
  calls_->binary(kOpTensorMul, sigmoid, up, out);
}

void CambriconStream::swiglu(const SwigluArgs& args) {
  if (!calls_->begin("swiglu")) return;
  const TensorView out = target(args.out);
  swiglu_rows(calls_->dense(args.gate), calls_->dense(args.up), out);
  put(out, args.out);
}

void CambriconStream::gather_rows(const GatherRowsArgs& args) {
  if (!calls_->begin("gather_rows")) return;
  const TensorView out = target(args.out);
  calls_->select_rows(calls_->dense(args.x), args.rows, out);
  put(out, args.out);
}

void CambriconStream::add(const AddArgs& args) {
  if (!calls_->begin("add")) return;
  const TensorView out = target(args.out);
  calls_->binary(kOpTensorAdd, calls_->dense(args.a), calls_->dense(args.b), out);
  put(out, args.out);
}

void CambriconStream::copy(const CopyArgs& args) {
  if (!calls_->begin("copy")) return;
  if (args.x.dtype == args.out.dtype) return calls_->copy(args.x, args.out);
  const bool over_f32 = args.x.dtype != Dtype::kF32 && args.out.dtype != Dtype::kF32;
  const TensorView x = over_f32 ? calls_->as(args.x, Dtype::kF32) : args.x;
  calls_->copy(calls_->as(x, args.out.dtype), args.out);
}

void CambriconStream::argmax(const ArgmaxArgs& args) {
  on_host(Op::kArgmax, args, {&ArgmaxArgs::x}, {&ArgmaxArgs::out}, &Stream::argmax);
}

}  // namespace ferry::cambricon
