// Calls, part 2: one method per operator. See calls.h.
#include "backends/ascend/objects.h"

namespace ferry::ascend {

using composed::reshape;
using composed::strided;

std::string_view Calls::symbol_of(Primitive primitive) const {
  switch (primitive) {
    case Primitive::kCopy: return "aclnnInplaceCopy";
    case Primitive::kCast: return "aclnnCast";
    case Primitive::kBinary: return "aclnnAdd, aclnnSub, aclnnMul";
    case Primitive::kAffine: return "aclnnMuls, aclnnAdds";
    case Primitive::kActivation: return "aclnnSigmoid, aclnnRelu";
    case Primitive::kSoftmax: return "aclnnSoftmax";
    case Primitive::kMatmul: return "aclnnMatmul, aclnnBatchMatMul";
    case Primitive::kSelectRows: return "aclnnIndexSelect";
    case Primitive::kWriteRows: return "aclnnScatterNdUpdate";
    case Primitive::kDivide: return "aclnnDiv";
    case Primitive::kRmsNorm: return "aclnnRmsNorm, aclnnAddRmsNorm";
    case Primitive::kLayerNorm: return "aclnnLayerNorm";
    case Primitive::kInt8Matmul: return "aclnnWeightQuantBatchMatmulV2";
    case Primitive::kRope: return "aclnnRotaryPositionEmbedding";
    case Primitive::kSwiglu: return "aclnnSwiGlu";
    default: return "";  // not called
  }
}

void Calls::copy(const TensorView& x, const TensorView& out) {
  CHECK(x.dtype == out.dtype && x.num_elements() == out.num_elements());
  if (!ok() || x.num_elements() == 0) return;
  const TensorArg from(vendor(), x), to(vendor(), out);
  run(vendor().InplaceCopy, to, from);
}

void Calls::cast(const TensorView& x, const TensorView& out) {
  CHECK(x.num_elements() == out.num_elements());
  if (!ok() || x.num_elements() == 0) return;
  const TensorArg from(vendor(), x), to(vendor(), out);
  run(vendor().Cast, from, acl_dtype(out.dtype), to);
}

void Calls::binary(BinaryOp operation, const TensorView& a, const TensorView& b,
                   const TensorView& out) {
  if (!ok() || out.num_elements() == 0) return;
  const TensorArg left(vendor(), a), right(vendor(), b), to(vendor(), out);
  if (operation == BinaryOp::kMul) return run(vendor().Mul, left, right, to);
  const ScalarArg one(vendor(), 1);
  run(operation == BinaryOp::kAdd ? vendor().Add : vendor().Sub, left, right, one, to);
}

void Calls::affine(const TensorView& x, float factor, float offset, const TensorView& out) {
  if (!ok() || x.num_elements() == 0) return;
  const TensorArg from(vendor(), x), to(vendor(), out);
  const ScalarArg times(vendor(), factor), plus(vendor(), offset), one(vendor(), 1);
  run(vendor().Muls, from, times, to);
  if (offset != 0) run(vendor().Adds, to, plus, one, to);
}

void Calls::activation(Activation mode, const TensorView& x, const TensorView& out) {
  if (!ok() || x.num_elements() == 0) return;
  const TensorArg from(vendor(), x), to(vendor(), out);
  run(mode == Activation::kSigmoid ? vendor().Sigmoid : vendor().Relu, from, to);
}

void Calls::softmax(const TensorView& x, const TensorView& out) {
  if (!ok() || x.num_elements() == 0) return;
  const TensorArg from(vendor(), x), to(vendor(), out);
  run(vendor().Softmax, from, -1, to);
}

// A product has its operands' dtype; what should be f32 is made of that.
void Calls::matmul(const TensorView& a, const TensorView& b, const TensorView& c, float factor) {
  CHECK(a.dtype == b.dtype && (c.dtype == a.dtype || c.dtype == Dtype::kF32));
  CHECK(a.shape[2] == b.shape[1] && a.shape[1] == c.shape[1] && b.shape[2] == c.shape[2]);
  if (!ok() || c.num_elements() == 0) return;
  const bool narrow = c.dtype != a.dtype;
  const TensorView made = narrow ? scratch(a.dtype, {c.shape[0], c.shape[1], c.shape[2]}) : c;
  const auto matrix = [](const TensorView& x) {
    return strided(x.data, x.dtype, {x.shape[1], x.shape[2]}, {x.stride[1], x.stride[2]});
  };
  const int8_t precision = device_->soc().exact_f32 ? kKeepDtype : kAllowF32DownPrecision;
  if (!ok()) return;
  if (c.shape[0] == 1) {
    const TensorArg left(vendor(), matrix(a)), right(vendor(), matrix(b));
    const TensorArg to(vendor(), matrix(made));
    run(vendor().Matmul, left, right, to, precision);
  } else {
    const TensorArg left(vendor(), a), right(vendor(), b), to(vendor(), made);
    run(vendor().BatchMatMul, left, right, to, precision);
  }
  if (narrow) cast(made, c);
  if (factor != 1) affine(c, factor, 0, c);
}

// Rows of the weight in pieces, as the operator takes so many.
void Calls::int8_matmul(const TensorView& a, const TensorView& b, const TensorView& scales,
                        const TensorView& c) {
  if (!ok() || c.num_elements() == 0) return;
  for (int64_t first = 0; first < b.shape[0]; first += kMaxWeightQuantRows) {
    const int64_t count = std::min(kMaxWeightQuantRows, b.shape[0] - first);
    TensorView turned = b.slice(0, first, count);
    std::swap(turned.shape[0], turned.shape[1]);
    std::swap(turned.stride[0], turned.stride[1]);
    const TensorView made = scratch(a.dtype, {a.shape[0], count});
    if (!ok()) return;
    const TensorArg x(vendor(), a), weight(vendor(), turned), to(vendor(), made);
    const TensorArg scale(vendor(), scales.slice(0, first, count));
    run(vendor().WeightQuantBatchMatmulV2, x, weight, scale, nullptr, nullptr, nullptr, nullptr, 0,
        to);
    cast(made, c.slice(1, first, count));
  }
}

// Tokens are the sequence of a batch of one.
void Calls::rope(const TensorView& x, const TensorView& cosines, const TensorView& sines,
                 bool interleaved, const TensorView& out) {
  if (!ok() || x.num_elements() == 0) return;
  const auto batch = [](const TensorView& v) {
    return strided(v.data, v.dtype,
                   {1, v.shape[0], v.rank == 3 ? v.shape[1] : 1, v.shape[v.rank - 1]},
                   {v.shape[0] * v.stride[0], v.stride[0], v.rank == 3 ? v.stride[1] : v.stride[0],
                    v.stride[v.rank - 1]});
  };
  const TensorArg from(vendor(), batch(x)), to(vendor(), batch(out));
  const TensorArg cosine(vendor(), batch(cosines)), sine(vendor(), batch(sines));
  run(vendor().RotaryPositionEmbedding, from, cosine, sine,
      interleaved ? kRotateNeighbours : kRotateHalves, to);
}

void Calls::swiglu(const TensorView& x, const TensorView& out) {
  if (!ok() || x.num_elements() == 0) return;
  const TensorArg from(vendor(), x), to(vendor(), out);
  run(vendor().SwiGlu, from, -1, to);
}

void Calls::select_rows(const TensorView& table, const TensorView& index, const TensorView& out) {
  if (!ok() || out.num_elements() == 0) return;
  const TensorArg from(vendor(), table), which(vendor(), index), to(vendor(), out);
  run(vendor().IndexSelect, from, 0, which, to);
}

void Calls::write_rows(const TensorView& rows, const TensorView& index, const TensorView& table) {
  if (!ok() || rows.num_elements() == 0) return;
  const TensorArg to(vendor(), table), from(vendor(), rows);
  const TensorArg which(vendor(), reshape(index, {index.shape[0], 1}));
  run(vendor().ScatterNdUpdate, to, which, from);
}

void Calls::divide(const TensorView& a, const TensorView& b, const TensorView& out) {
  if (!ok() || out.num_elements() == 0) return;
  const TensorArg left(vendor(), a), right(vendor(), b), to(vendor(), out);
  run(vendor().Div, left, right, to);
}

void Calls::rms_norm(const TensorView& x, const TensorView& weight, float epsilon,
                     const TensorView* residual, const TensorView* sum, const TensorView& out) {
  CHECK((residual == nullptr) == (sum == nullptr));
  if (!ok() || x.num_elements() == 0) return;
  const TensorView roots = scratch(Dtype::kF32, {x.shape[0], 1});
  if (!ok()) return;
  const TensorArg from(vendor(), x), scale(vendor(), weight), rstd(vendor(), roots);
  const TensorArg to(vendor(), out);
  if (residual == nullptr) return run(vendor().RmsNorm, from, scale, epsilon, to, rstd);
  const TensorArg other(vendor(), *residual), both(vendor(), *sum);
  run(vendor().AddRmsNorm, from, other, scale, epsilon, to, rstd, both);
}

void Calls::layer_norm(const TensorView& x, const TensorView& weight, const TensorView& bias,
                       float epsilon, const TensorView& out) {
  if (!ok() || x.num_elements() == 0) return;
  const TensorView means = scratch(Dtype::kF32, {x.shape[0], 1});
  const TensorView roots = scratch(Dtype::kF32, {x.shape[0], 1});
  if (!ok()) return;
  const TensorArg from(vendor(), x), scale(vendor(), weight), shift(vendor(), bias);
  const TensorArg to(vendor(), out), mean(vendor(), means), rstd(vendor(), roots);
  const IntArrayArg normed(vendor(), {&x.shape[1], 1});
  run(vendor().LayerNorm, from, normed, scale, shift, epsilon, to, mean, rstd);
}

void Calls::gate(const TensorView& logits, const TensorView& bias, const Gate& spec,
                 const TensorView& ids, const TensorView& weights) {
  if (!ok() || logits.num_elements() == 0) return;
  const TensorView all = scratch(Dtype::kF32, {logits.shape[0], logits.shape[1]});
  if (!ok()) return;
  const TensorArg x(vendor(), logits), chosen(vendor(), ids), to(vendor(), weights);
  const TensorArg scores(vendor(), all);  // not written, as they aren't asked for
  const auto choose = [&](const AclTensor* shift) {
    run(vendor().MoeGatingTopK, x, shift, spec.top_k, spec.top_k_groups, spec.num_groups,
        spec.group_mode, 0, spec.norm, false, spec.scale, 1e-20, to, chosen, scores);
  };
  if (bias.empty()) return choose(nullptr);
  const TensorArg shift(vendor(), bias);
  choose(shift);
}

void Calls::grouped_matmul(const TensorView& x, std::span<const TensorView> weights,
                           std::span<const TensorView> scales, std::span<const int32_t> offsets,
                           const TensorView& out) {
  CHECK(offsets.size() == weights.size() + 1);
  CHECK(x.dtype == (scales.empty() ? weights : scales)[0].dtype);
  const int64_t experts = static_cast<int64_t>(weights.size());
  for (int64_t first = 0; first < experts; first += kMaxGroups) {
    const int64_t count = std::min(kMaxGroups, experts - first);
    const int32_t begin = offsets[first], rows = offsets[first + count] - begin;
    if (rows == 0) continue;
    std::vector<TensorView> turned;
    std::vector<int32_t> ends;  // of 64 bits, low half first
    for (int64_t e = first; e < first + count; ++e) {
      turned.push_back(weights[e]);
      std::swap(turned.back().shape[0], turned.back().shape[1]);
      std::swap(turned.back().stride[0], turned.back().stride[1]);
      ends.push_back(offsets[e + 1] - begin);
      ends.push_back(0);
    }
    const TensorView groups = reshape(upload(std::move(ends), {count, 2}), {2 * count});
    const TensorView made = scratch(x.dtype, {rows, out.shape[1]});
    const TensorView part = x.slice(0, begin, rows);
    // int8 has scales and, documented as just as necessary, offsets.
    const TensorView zeros = scratch(x.dtype, {scales.empty() ? 1 : out.shape[1]});
    if (!scales.empty()) fill_zero(zeros.data, zeros.extent_bytes());
    if (!ok()) return;
    const std::vector<TensorView> none(scales.empty() ? 0 : static_cast<size_t>(count), zeros);
    const TensorListArg from(vendor(), {&part, 1}), by(vendor(), turned), to(vendor(), {&made, 1});
    const TensorListArg times(vendor(), scales.empty() ? scales : scales.subspan(first, count));
    const TensorListArg plus(vendor(), none);
    const TensorArg ends_of(vendor(), groups.slice(0, 0, count), kAclInt64);
    if (vendor().GroupedMatmulV5) {
      run(vendor().GroupedMatmulV5, from, by, nullptr, nullptr, nullptr, times, plus, nullptr,
          ends_of, nullptr, nullptr, nullptr, kSplitOneOut, kGroupRows, kGroupListEnds, 0, nullptr,
          to, nullptr, nullptr);
    } else {
      run(vendor().GroupedMatmulV4, from, by, nullptr, nullptr, nullptr, times, plus, nullptr,
          ends_of, nullptr, nullptr, nullptr, kSplitOneOut, kGroupRows, kGroupListEnds, 0, to,
          nullptr, nullptr);
    }
    const TensorView target = out.slice(0, begin, rows);
    made.dtype == out.dtype ? copy(made, target) : cast(made, target);
  }
}

void Calls::attention(const Attention& a, const TensorView& out) {
  const int64_t count = a.q.shape[0], heads = a.q.shape[2], size = a.q.shape[3];
  const int64_t kv_heads = a.keys.shape[2] / size, block = a.keys.shape[1];
  if (!ok() || count == 0) return;
  const TensorView made = scratch(a.q.dtype, {count, 1, heads, size});
  if (!ok()) return;
  const TensorArg q(vendor(), a.q), table(vendor(), a.block_table), to(vendor(), made);
  const TensorListArg keys(vendor(), {&a.keys, 1}), values(vendor(), {&a.values, 1});
  const IntArrayArg lengths(vendor(), a.lengths);
  const OptionalTensorArg q_rope(vendor(), a.q_rope), key_rope(vendor(), a.key_rope);
  char layout[sizeof kBatchSequenceHeads];
  std::copy(std::begin(kBatchSequenceHeads), std::end(kBatchSequenceHeads), layout);
  const auto call = [&](const auto& op, auto... behind_inputs) {
    run(op, q, keys, values, nullptr, nullptr, nullptr, lengths, nullptr, nullptr, nullptr, nullptr,
        nullptr, nullptr, nullptr, table, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr,
        nullptr, nullptr, nullptr, behind_inputs...);
  };
  const double scale = a.scale;
  const AclTensor* none = nullptr;
  const AclTensor* rotary[] = {q_rope, key_rope};
  AclTensor* result = to;
  switch (a.version) {
    case FusedAttention::kNone: CHECK(false); break;
    case FusedAttention::kV2:
      call(vendor().FusedInferAttentionScoreV2, heads, scale, kAnyTokens, kAnyTokens, layout,
           kv_heads, kNoSparsity, kPreciseAttention, block, 0, false, 0, 0, result, none);
      break;
    case FusedAttention::kV3:
      call(vendor().FusedInferAttentionScoreV3, rotary[0], rotary[1], none, heads, scale,
           kAnyTokens, kAnyTokens, layout, kv_heads, kNoSparsity, kPreciseAttention, block, 0,
           false, 0, 0, result, none);
      break;
    case FusedAttention::kV4:
      call(vendor().FusedInferAttentionScoreV4, rotary[0], rotary[1], none, none, none, heads,
           scale, kAnyTokens, kAnyTokens, layout, kv_heads, kNoSparsity, kPreciseAttention, block,
           0, false, 0, 0, 0, result, none);
      break;
  }
  cast(reshape(made, {count, heads, size}), out);
}

}  // namespace ferry::ascend
