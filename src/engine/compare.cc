// See compare.h.
#include "engine/compare.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/half.h"
#include "device/watched_stream.h"

namespace ferry::engine {
namespace {

using Bytes = std::vector<char>;

// What an op of the reference found and left where it writes.
struct TracedOp {
  Op op = Op::kEmbed;
  std::vector<TensorView> outputs;  // shapes only
  std::vector<Bytes> before, after;
};

class TraceStream : public WatchedStream {
 public:
  TraceStream(std::unique_ptr<Stream> inner, std::vector<TracedOp>& trace)
      : WatchedStream(std::move(inner)), trace_(trace) {}

 protected:
  std::vector<Bytes> read(std::span<const TensorView> tensors) {
    std::vector<Bytes> all;
    for (const TensorView& x : tensors) {
      all.emplace_back(static_cast<size_t>(x.extent_bytes()));
      inner().copy_out(all.back().data(), x.data, x.extent_bytes());
    }
    static_cast<void>(inner().synchronize());  // errors stick and come out at the end
    return all;
  }

  void on_op(Op op, const Call& call, std::span<const TensorView> outputs) override {
    TracedOp traced{.op = op, .outputs = {outputs.begin(), outputs.end()}};
    traced.before = read(outputs);
    call(inner());
    traced.after = read(outputs);
    trace_.push_back(std::move(traced));
  }

  std::vector<TracedOp>& trace_;
};

float float_at(const char* data, Dtype dtype, int64_t offset) {
  if (dtype == Dtype::kF32) {
    float value = 0;
    std::memcpy(&value, data + offset * 4, sizeof value);
    return value;
  }
  uint16_t bits = 0;
  std::memcpy(&bits, data + offset * 2, sizeof bits);
  return dtype == Dtype::kBF16 ? bf16_to_f32(bits) : f16_to_f32(bits);
}

// Sums over all outputs of an op.
struct Deviation {
  double difference = 0, size = 0;  // squares
  int64_t integers = 0, wrong_integers = 0;
  bool finite = true;

  void add(const TensorView& x, const Bytes& got, const Bytes& expected) {
    const int64_t count = x.num_elements();
    for (int64_t i = 0; i < count; ++i) {
      int64_t offset = 0, rest = i;
      for (int d = x.rank - 1; d >= 0; --d) {
        offset += rest % x.shape[d] * x.stride[d];
        rest /= x.shape[d];
      }
      if (x.dtype == Dtype::kI32) {
        ++integers;
        wrong_integers +=
            std::memcmp(got.data() + offset * 4, expected.data() + offset * 4, 4) != 0;
        continue;
      }
      const float a = float_at(got.data(), x.dtype, offset);
      const float b = float_at(expected.data(), x.dtype, offset);
      if (std::isfinite(b) && !std::isfinite(a)) finite = false;
      if (!std::isfinite(a) || !std::isfinite(b)) continue;
      difference += (double{a} - b) * (double{a} - b);
      size += double{b} * b;
    }
  }

  double error() const {
    const double floats = difference == 0 ? 0 : std::sqrt(difference / std::max(size, 1e-60));
    const double counted = integers == 0 ? 0 : static_cast<double>(wrong_integers) / integers;
    return std::max(floats, counted);
  }
};

// Runs the same ops again elsewhere, each on what the trace has.
class ReplayStream : public TraceStream {
 public:
  ReplayStream(std::unique_ptr<Stream> inner, std::vector<TracedOp>& trace,
               std::vector<OpDifference>& differences)
      : TraceStream(std::move(inner), trace), differences_(differences) {}

 protected:
  void on_op(Op op, const Call& call, std::span<const TensorView> outputs) override {
    CHECK(differences_.size() < trace_.size());
    TracedOp& traced = trace_[differences_.size()];
    CHECK(traced.op == op && traced.outputs.size() == outputs.size());
    write(outputs, traced.before);
    call(inner());
    const std::vector<Bytes> got = read(outputs);
    Deviation deviation;
    for (size_t i = 0; i < outputs.size(); ++i) {
      CHECK(got[i].size() == traced.after[i].size());
      deviation.add(outputs[i], got[i], traced.after[i]);
    }
    write(outputs, traced.after);
    const TensorView& first = outputs[0];
    differences_.push_back({.op = op,
                            .shape = {first.shape.begin(), first.shape.begin() + first.rank},
                            .error = deviation.error(),
                            .finite = deviation.finite});
    traced = {.op = op};  // not needed any more
  }

 private:
  void write(std::span<const TensorView> tensors, const std::vector<Bytes>& contents) {
    for (size_t i = 0; i < tensors.size(); ++i) {
      inner().copy_in(tensors[i].data, contents[i].data(), tensors[i].extent_bytes());
    }
    static_cast<void>(inner().synchronize());
  }

  std::vector<OpDifference>& differences_;
};

bool is_norm(const OpDifference& op, const std::vector<int64_t>& hidden) {
  return (op.op == Op::kRmsNorm || op.op == Op::kAddRmsNorm || op.op == Op::kHyperCollapse) &&
         op.shape == hidden;
}

bool ends_layer(Op op) {
  return op == Op::kSwiglu || op == Op::kMoeExperts || op == Op::kClampedSwiglu;
}

// A forward begins with its embedding, a layer with the last norm of the hidden state before its
// first write to the cache.
void name_layers(std::vector<OpDifference>& ops) {
  int64_t forward = -1, layer = -1, position = 0;
  std::vector<int64_t> hidden;
  bool in_layer = false;  // a write to the cache was seen, and no feed-forward block since
  size_t norm = 0;
  for (size_t i = 0; i < ops.size(); ++i) {
    if (ops[i].op == Op::kEmbed) {
      ++forward;
      layer = -1;
      position = 0;
      in_layer = false;
      hidden = ops[i].shape;
    }
    ops[i].forward = forward;
    ops[i].position = position++;
    ops[i].layer = layer;
    if (is_norm(ops[i], hidden)) norm = i;
    if (ops[i].op == Op::kKvWrite && !in_layer) {
      in_layer = true;
      ++layer;
      for (size_t j = norm; j <= i; ++j) ops[j].layer = layer;
    }
    if (ends_layer(ops[i].op)) in_layer = false;
  }
}

}  // namespace

Result<Comparison> compare_ops(const LoadedModel& reference, const LoadedModel& subject,
                               std::span<const int32_t> tokens, const LogitsOptions& options) {
  if (static_cast<int64_t>(tokens.size()) > kMaxComparedTokens) {
    return invalid_input("{} tokens to compare: {} are as many as are kept, and enough",
                         tokens.size(), kMaxComparedTokens);
  }
  if (options.kv_dtype == Dtype::kI8) {
    return unsupported("comparing ops over a cache of int8; take f32, f16 or bf16");
  }
  std::vector<TracedOp> trace;
  LogitsOptions watched = options;
  watched.watch = [&](std::unique_ptr<Stream> stream) -> std::unique_ptr<Stream> {
    return std::make_unique<TraceStream>(std::move(stream), trace);
  };
  FERRY_TRY(const auto expected, compute_logits(reference, tokens, watched));
  Comparison out;
  watched.watch = [&](std::unique_ptr<Stream> stream) -> std::unique_ptr<Stream> {
    return std::make_unique<ReplayStream>(std::move(stream), trace, out.ops);
  };
  FERRY_TRY(const auto got, compute_logits(subject, tokens, watched));
  name_layers(out.ops);
  const Backend& backend = *subject.backend;
  out.limit = 1e-3 + 4 * std::max(backend.spec().matmul_rounding,
                                  backend.attention_rounding(options.kv_dtype));
  return out;
}

}  // namespace ferry::engine
