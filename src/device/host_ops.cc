// See host_ops.h.
#include "device/host_ops.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/half.h"
#include "device/int8_rows.h"

namespace ferry::host_ops {
namespace {

// First element of x[i, ·] or x[i, j, ·]. REQUIRES: last dimension contiguous
template <typename T = float>
T* row(const TensorView& x, int64_t i, int64_t j = 0) {
  CHECK(x.rank >= 2 && (x.stride[x.rank - 1] == 1 || x.shape[x.rank - 1] <= 1));
  CHECK(i >= 0 && i < x.shape[0] && j >= 0 && (x.rank < 3 || j < x.shape[1]));
  return static_cast<T*>(x.data) + i * x.stride[0] + (x.rank > 2 ? j * x.stride[1] : 0);
}

const float* vector(const TensorView& x) {
  CHECK(x.rank == 1 && (x.stride[0] == 1 || x.shape[0] <= 1));
  return static_cast<const float*>(x.data);
}

float sigmoid(float x) { return 1.0f / (1.0f + std::exp(-x)); }

float dot(const float* a, const float* b, int64_t n) {
  float sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

// C [n, n], in place (Sinkhorn & Knopp 1967; MODELS §6.3).
void sinkhorn(float* c, int64_t n, int64_t iterations, float epsilon) {
  const auto divide_rows = [&] {
    for (int64_t j = 0; j < n; ++j) {
      float sum = epsilon;
      for (int64_t k = 0; k < n; ++k) sum += c[j * n + k];
      for (int64_t k = 0; k < n; ++k) c[j * n + k] /= sum;
    }
  };
  const auto divide_columns = [&] {
    for (int64_t k = 0; k < n; ++k) {
      float sum = epsilon;
      for (int64_t j = 0; j < n; ++j) sum += c[j * n + k];
      for (int64_t j = 0; j < n; ++j) c[j * n + k] /= sum;
    }
  };
  for (int64_t j = 0; j < n; ++j) {
    float* values = c + j * n;
    const float largest = *std::max_element(values, values + n);
    float sum = 0;
    for (int64_t k = 0; k < n; ++k) sum += values[k] = std::exp(values[k] - largest);
    for (int64_t k = 0; k < n; ++k) values[k] = values[k] / sum + epsilon;
  }
  divide_columns();
  for (int64_t i = 1; i < iterations; ++i) {
    divide_rows();
    divide_columns();
  }
}

float gate_score(float z, GateScore score) {
  CHECK(score != GateScore::kSoftmax);  // not a matter of one expert
  if (score == GateScore::kSigmoid) return sigmoid(z);
  // sqrt(ln(1 + e^z)), written so that e^z can't overflow
  return std::sqrt(std::max(z, 0.0f) + std::log1p(std::exp(-std::fabs(z))));
}

// Whether logit a, of the lower column, comes before b.
bool first_of(float a, float b) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const bool a_is_none = !(a < kInfinity), b_is_none = !(b < kInfinity);  // no logits
  return a_is_none || b_is_none ? a_is_none : a >= b;
}

}  // namespace

std::vector<BatchToken> batch_tokens(const BatchView& batch, int64_t first, int64_t count) {
  std::vector<BatchToken> tokens;
  for (int64_t s = 0; s < batch.num_sequences; ++s) {
    const size_t i = static_cast<size_t>(s);
    const int64_t begin = batch.query_start.host[i];
    const int64_t end = batch.query_start.host[i + 1];
    CHECK(batch.context_lengths.host[i] <= batch.max_blocks * batch.block_size);
    for (int64_t t = std::max(begin, first); t < std::min(end, first + count); ++t) {
      tokens.push_back({t, s, batch.context_lengths.host[i] - (end - t)});
    }
  }
  CHECK(static_cast<int64_t>(tokens.size()) == count);
  return tokens;
}

std::vector<BatchToken> entry_ends(const BatchView& batch, int64_t ratio) {
  std::vector<BatchToken> tokens = batch_tokens(batch, 0, batch.num_tokens);
  std::erase_if(tokens, [&](const BatchToken& t) { return (t.position + 1) % ratio != 0; });
  return tokens;
}

SequenceRows::SequenceRows(const TensorView& pages, const BatchView& batch, int64_t sequence,
                           PageKind kind, int64_t ratio, int64_t group)
    : pages_(pages),
      table_(batch.tables_of(kind).host.subspan(static_cast<size_t>(sequence * batch.max_blocks),
                                                static_cast<size_t>(batch.max_blocks))),
      block_size_(batch.block_size),
      ratio_(ratio),
      group_(group) {
  CHECK(pages.rank == 3 && pages.stride[2] == 1 && pages.shape[1] == ceil_div(block_size_, ratio));
  CHECK(pages.dtype != Dtype::kI8 || group > 0);
}

int64_t SequenceRows::slot(int64_t index) const {
  const int64_t last = index * ratio_ + ratio_ - 1;
  CHECK(index >= 0 && last / block_size_ < static_cast<int64_t>(table_.size()));
  const int64_t page = table_[static_cast<size_t>(last / block_size_)];
  CHECK(page >= 0 && page < pages_.shape[0]);
  return page * pages_.shape[1] + last % block_size_ / ratio_;
}

const void* SequenceRows::address(int64_t index) const {
  const int64_t at = slot(index);
  const int64_t offset =
      at / pages_.shape[1] * pages_.stride[0] + at % pages_.shape[1] * pages_.stride[1];
  return static_cast<const char*>(pages_.data) + offset * dtype_bytes(pages_.dtype);
}

void SequenceRows::load(int64_t index, float* dst) const {
  const int64_t size = width();
  const void* data = address(index);
  if (pages_.dtype == Dtype::kF32) {
    std::copy_n(static_cast<const float*>(data), size, dst);
  } else if (pages_.dtype == Dtype::kI8) {
    const int64_t at = slot(index);
    const float* scales = int8_scales(pages_, at / pages_.shape[1], at % pages_.shape[1], group_);
    const int8_t* q = static_cast<const int8_t*>(data);
    for (int64_t i = 0; i < size; ++i) dst[i] = scales[i / group_] * static_cast<float>(q[i]);
  } else {
    const uint16_t* half = static_cast<const uint16_t*>(data);
    const bool bf16 = pages_.dtype == Dtype::kBF16;
    for (int64_t i = 0; i < size; ++i) dst[i] = bf16 ? bf16_to_f32(half[i]) : f16_to_f32(half[i]);
  }
}

void SequenceRows::store(int64_t index, const float* src) const {
  const int64_t size = width();
  if (pages_.dtype == Dtype::kI8) return int8_write_row(pages_, slot(index), group_, src);
  void* data = const_cast<void*>(address(index));
  if (pages_.dtype == Dtype::kF32) {
    std::copy_n(src, size, static_cast<float*>(data));
    return;
  }
  uint16_t* half = static_cast<uint16_t*>(data);
  const bool bf16 = pages_.dtype == Dtype::kBF16;
  for (int64_t i = 0; i < size; ++i) half[i] = bf16 ? f32_to_bf16(src[i]) : f32_to_f16(src[i]);
}

void rotate(float* x, const float* cos_sin, int64_t dim, float sign) {
  for (int64_t i = 0; i < dim / 2; ++i) {
    const float cosine = cos_sin[i];
    const float sine = sign * cos_sin[dim / 2 + i];
    const float a = x[2 * i];
    const float b = x[2 * i + 1];
    x[2 * i] = a * cosine - b * sine;
    x[2 * i + 1] = a * sine + b * cosine;
  }
}

void hyper_collapse(const HyperCollapseArgs& args, int64_t first, int64_t last) {
  const int64_t streams = args.streams.shape[1];
  const int64_t size = args.streams.shape[2];
  const bool has_gates = !args.gates.empty();
  const int64_t mixes = has_gates ? streams * (streams + 2) : streams;
  CHECK(args.mix.shape[1] == mixes && args.base.shape[0] == mixes);
  CHECK(args.scale.shape[0] == (has_gates ? 3 : 1));
  const float* base = vector(args.base);
  const float* scale = vector(args.scale);
  for (int64_t t = first; t < last; ++t) {
    double squares = 0;
    for (int64_t j = 0; j < streams; ++j) {
      const float* x = row(args.streams, t, j);
      for (int64_t i = 0; i < size; ++i) squares += static_cast<double>(x[i]) * x[i];
    }
    const double mean = squares / static_cast<double>(streams * size);
    const auto r = static_cast<float>(1.0 / std::sqrt(mean + args.norm_epsilon));
    const float* mix = row(args.mix, t);
    float* out = row(args.out, t);
    std::fill(out, out + size, 0.0f);
    for (int64_t j = 0; j < streams; ++j) {
      const float pre = sigmoid(mix[j] * r * scale[0] + base[j]) + args.epsilon;
      const float* x = row(args.streams, t, j);
      for (int64_t i = 0; i < size; ++i) out[i] += pre * x[i];
    }
    if (!has_gates) continue;
    float* gates = row(args.gates, t);
    for (int64_t j = 0; j < streams; ++j) {
      gates[j] = 2.0f * sigmoid(mix[streams + j] * r * scale[1] + base[streams + j]);
    }
    for (int64_t i = 2 * streams; i < mixes; ++i) {
      gates[i - streams] = mix[i] * r * scale[2] + base[i];
    }
    sinkhorn(gates + streams, streams, args.iterations, args.epsilon);
  }
}

void hyper_expand(const HyperExpandArgs& args, int64_t first, int64_t last) {
  const int64_t streams = args.streams.shape[1];
  const int64_t size = args.streams.shape[2];
  std::vector<float> mixed(static_cast<size_t>(streams * size));
  for (int64_t t = first; t < last; ++t) {
    const float* gates = row(args.gates, t);
    const float* c = gates + streams;
    const float* x = row(args.x, t);
    for (int64_t k = 0; k < streams; ++k) {
      float* out = mixed.data() + k * size;
      for (int64_t i = 0; i < size; ++i) out[i] = gates[k] * x[i];
      for (int64_t j = 0; j < streams; ++j) {
        const float* stream = row(args.streams, t, j);
        for (int64_t i = 0; i < size; ++i) out[i] += c[j * streams + k] * stream[i];
      }
    }
    for (int64_t k = 0; k < streams; ++k) {
      std::copy_n(mixed.data() + k * size, size, row(args.streams, t, k));
    }
  }
}

void moe_hash_gate(const MoeHashGateArgs& args, int64_t first, int64_t last) {
  const GateSpec& spec = *args.spec;
  const int64_t top_k = args.ids.shape[1];
  CHECK(args.table.shape[1] == top_k && args.logits.shape[1] == spec.num_experts);
  for (int64_t t = first; t < last; ++t) {
    const int32_t* chosen =
        row<const int32_t>(args.table, args.token_ids.host[static_cast<size_t>(t)]);
    const float* logits = row(args.logits, t);
    float* weights = row(args.weights, t);
    float sum = 0;
    for (int64_t k = 0; k < top_k; ++k) {
      CHECK(chosen[k] >= 0 && chosen[k] < spec.num_experts);
      row<int32_t>(args.ids, t)[k] = chosen[k];
      weights[k] = gate_score(logits[chosen[k]], spec.score);
      sum += weights[k];
    }
    const float divisor = spec.renormalize ? sum + 1e-20f : 1.0f;
    for (int64_t k = 0; k < top_k; ++k) weights[k] = weights[k] / divisor * spec.scale;
  }
}

void clamped_swiglu(const ClampedSwigluArgs& args, int64_t first, int64_t last) {
  const float limit = args.limit;
  for (int64_t t = first; t < last; ++t) {
    const float* gate = row(args.gate, t);
    const float* up = row(args.up, t);
    float* out = row(args.out, t);
    for (int64_t i = 0; i < args.gate.shape[1]; ++i) {
      const float u = std::min(gate[i], limit);
      out[i] = u * sigmoid(u) * std::clamp(up[i], -limit, limit);
    }
  }
}

void compress(const CompressArgs& args, const BatchToken& end) {
  const int64_t size = args.weight.shape[0];
  const int64_t width = args.overlap ? 2 * size : size;
  const int64_t ratio = args.ratio;
  const int64_t entry = (end.position + 1) / ratio - 1;
  CHECK(args.rows.dtype == Dtype::kF32 && args.rows.shape[2] == 2 * width);
  CHECK(args.ape.shape[0] == ratio && args.ape.shape[1] == width);
  const SequenceRows rows(args.rows, *args.batch, end.sequence, PageKind::kRecent, 1, 0);
  // What is pooled, in order: tokens of the block before by their first channels, then this block.
  const int64_t begin = args.overlap && entry > 0 ? (entry - 1) * ratio : entry * ratio;
  const int64_t items = end.position + 1 - begin;
  std::vector<const float*> kappa;
  std::vector<float> gamma(static_cast<size_t>(items * size));
  for (int64_t i = 0; i < items; ++i) {
    const int64_t position = begin + i;
    const int64_t channel = args.overlap && position >= entry * ratio ? size : 0;
    const float* stored = static_cast<const float*>(rows.address(position));
    const float* ape = row(args.ape, position % ratio) + channel;
    kappa.push_back(stored + channel);
    for (int64_t c = 0; c < size; ++c) {
      gamma[static_cast<size_t>(i * size + c)] = stored[width + channel + c] + ape[c];
    }
  }
  std::vector<float> pooled(static_cast<size_t>(size));
  double squares = 0;
  for (int64_t c = 0; c < size; ++c) {
    float largest = -std::numeric_limits<float>::infinity();
    for (int64_t i = 0; i < items; ++i) largest = std::max(largest, gamma[i * size + c]);
    float sum = 0, weighted = 0;
    for (int64_t i = 0; i < items; ++i) {
      const float weight = std::exp(gamma[i * size + c] - largest);
      sum += weight;
      weighted += weight * kappa[i][c];
    }
    pooled[c] = weighted / sum;
    squares += static_cast<double>(pooled[c]) * pooled[c];
  }
  const double mean = squares / static_cast<double>(size);
  const auto r = static_cast<float>(1.0 / std::sqrt(mean + args.epsilon));
  const float* weight = vector(args.weight);
  for (int64_t c = 0; c < size; ++c) pooled[c] = weight[c] * (pooled[c] * r);
  const int64_t rope = args.cos_sin.shape[1];
  rotate(pooled.data() + size - rope, row(args.cos_sin, entry * ratio), rope, 1.0f);
  SequenceRows(args.pages, *args.batch, end.sequence, PageKind::kAll, ratio, args.group)
      .store(entry, pooled.data());
}

void entry_scores(const EntryScoresArgs& args, std::span<const BatchToken> tokens, int64_t first,
                  int64_t last) {
  const int64_t heads = args.q.shape[1];
  const int64_t size = args.q.shape[2];
  std::vector<float> key(static_cast<size_t>(size));
  for (int64_t i = first; i < last; ++i) {
    const BatchToken& token = tokens[static_cast<size_t>(i)];
    const SequenceRows keys(args.pages, *args.batch, token.sequence, PageKind::kAll, args.ratio,
                            size);
    const int64_t count = (token.position + 1) / args.ratio;
    CHECK(count <= args.out.shape[1]);
    const float* weights = row(args.weights, i);
    float* out = row(args.out, i);
    std::fill(out + count, out + args.out.shape[1], -std::numeric_limits<float>::infinity());
    for (int64_t e = 0; e < count; ++e) {
      keys.load(e, key.data());
      float sum = 0;
      for (int64_t h = 0; h < heads; ++h) {
        sum += weights[h] * std::max(0.0f, dot(row(args.q, i, h), key.data(), size));
      }
      out[e] = sum;
    }
  }
}

void window_attention(const WindowAttentionArgs& args, std::span<const BatchToken> tokens,
                      int64_t first, int64_t last) {
  const int64_t heads = args.q.shape[1];
  const int64_t size = args.q.shape[2];
  const int64_t rope = args.cos_sin.shape[1];
  const float* sinks = vector(args.sinks);
  std::vector<float> keys, scores;
  for (int64_t i = first; i < last; ++i) {
    const BatchToken& token = tokens[static_cast<size_t>(i)];
    const int64_t begin = std::max<int64_t>(0, token.position + 1 - args.window);
    int64_t entries = args.entry_pages.empty() ? 0 : (token.position + 1) / args.ratio;
    const bool chosen = !args.entries.empty() && entries > args.entries.shape[1];
    if (chosen) entries = args.entries.shape[1];
    const int64_t recent = token.position + 1 - begin;
    const int64_t count = recent + entries;
    keys.resize(static_cast<size_t>(count * size));
    scores.resize(static_cast<size_t>(count));
    const SequenceRows window(args.pages, *args.batch, token.sequence, PageKind::kRecent, 1,
                              args.group);
    for (int64_t s = 0; s < recent; ++s) window.load(begin + s, keys.data() + s * size);
    if (entries > 0) {
      const SequenceRows far(args.entry_pages, *args.batch, token.sequence, PageKind::kAll,
                             args.ratio, args.group);
      for (int64_t e = 0; e < entries; ++e) {
        const int64_t entry = chosen ? row<const int32_t>(args.entries, i)[e] : e;
        CHECK(entry >= 0 && entry < (token.position + 1) / args.ratio);
        far.load(entry, keys.data() + (recent + e) * size);
      }
    }
    for (int64_t h = 0; h < heads; ++h) {
      const float* q = row(args.q, i, h);
      float largest = sinks[h];
      for (int64_t s = 0; s < count; ++s) {
        scores[s] = args.scale * dot(q, keys.data() + s * size, size);
        largest = std::max(largest, scores[s]);
      }
      float* out = row(args.out, i, h);
      std::fill(out, out + size, 0.0f);
      float sum = 0;
      for (int64_t s = 0; s < count; ++s) {
        const float p = std::exp(scores[s] - largest);
        sum += p;
        const float* value = keys.data() + s * size;
        for (int64_t c = 0; c < size; ++c) out[c] += p * value[c];
      }
      sum += std::exp(sinks[h] - largest);
      for (int64_t c = 0; c < size; ++c) out[c] /= sum;
      rotate(out + size - rope, row(args.cos_sin, token.position), rope, -1.0f);
    }
  }
}

void top_logits(const TopLogitsArgs& args, int64_t first, int64_t last) {
  const int64_t top = args.values.shape[1];
  CHECK(top >= 1 && top <= kMaxTopLogits && args.ids.shape[1] == top);
  for (int64_t r = first; r < last; ++r) {
    const float* x = row(args.x, r);
    float* values = row(args.values, r);
    int32_t* ids = row<int32_t>(args.ids, r);
    int64_t count = 0;
    for (int64_t i = 0; i < args.x.shape[1]; ++i) {
      if (count == top && first_of(values[top - 1], x[i])) continue;
      int64_t place = count < top ? count++ : top - 1;
      for (; place > 0 && !first_of(values[place - 1], x[i]); --place) {
        values[place] = values[place - 1];
        ids[place] = ids[place - 1];
      }
      values[place] = x[i];
      ids[place] = static_cast<int32_t>(i);
    }
    std::fill(values + count, values + top, -std::numeric_limits<float>::infinity());
    std::fill(ids + count, ids + top, -1);
  }
}

}  // namespace ferry::host_ops
