// The ops of DeepSeek-V4: hyper-connections, compressed entries, hash routing, clamped SwiGLU.
//
// Attention goes through a token's keys, its window and then its entries, in tiles of kKeyTile with
// a running maximum and sum; tiles begin where the token's own keys begin, so that the order of
// operations is its position's alone. The keys of a tile are read once for all heads of a task.
//
// Scratch per thread, in floats: 64 · (H + d) + 2 H for attention, 64 · (H + d + 1) for scores,
// one row for the clamped SwiGLU.
#include <cmath>
#include <limits>

#include "backends/cpu/paged_rows.h"
#include "device/host_ops.h"

namespace ferry::cpu {
namespace {

using host_ops::BatchToken;
using host_ops::SequenceRows;

constexpr int64_t kV4TaskHeads = 16;  // of one token; fewer would read its keys more often

// Row `index` of a plane as f32: where it lies, or converted to `scratch`.
const float* load_row(const Kernels& kernels, const TensorView& pages, const SequenceRows& rows,
                      int64_t index, float* scratch) {
  if (pages.dtype == Dtype::kF32) return static_cast<const float*>(rows.address(index));
  if (pages.dtype == Dtype::kI8) {
    rows.load(index, scratch);
  } else {
    kernels.to_f32(static_cast<const uint16_t*>(rows.address(index)), pages.dtype, scratch,
                   rows.width());
  }
  return scratch;
}

struct AttentionScratch {
  float *keys, *scores, *largest, *sums;
  int64_t floats;

  AttentionScratch(float* data, int64_t heads, int64_t size) {
    ScratchCutter cut(data);
    keys = cut.take(kKeyTile * size);
    scores = cut.take(heads * kKeyTile);
    largest = cut.take(heads);
    sums = cut.take(heads);
    floats = cut.used();
  }
};

// Heads [first_head, first_head + heads) of one token.
class TokenAttention {
 public:
  TokenAttention(const Kernels& kernels, const WindowAttentionArgs& args, int64_t row,
                 const BatchToken& token, int64_t first_head, int64_t heads,
                 const AttentionScratch& scratch)
      : kernels_(kernels),
        args_(args),
        row_(row),
        token_(token),
        first_head_(first_head),
        heads_(heads),
        s_(scratch) {}

  void run() {
    const int64_t seen = token_.position + 1;
    const int64_t begin = std::max<int64_t>(0, seen - args_.window);
    const SequenceRows window(args_.pages, *args_.batch, token_.sequence, PageKind::kRecent, 1,
                              args_.group);
    attend(args_.pages, window, seen - begin, [begin](int64_t i) { return begin + i; });
    const int64_t entries = args_.entry_pages.empty() ? 0 : seen / args_.ratio;
    if (entries > 0) {
      const SequenceRows far(args_.entry_pages, *args_.batch, token_.sequence, PageKind::kAll,
                             args_.ratio, args_.group);
      const bool chosen = !args_.entries.empty() && entries > args_.entries.shape[1];
      const int32_t* which = chosen ? row_of<int32_t>(args_.entries, row_) : nullptr;
      attend(args_.entry_pages, far, chosen ? args_.entries.shape[1] : entries, [&](int64_t i) {
        const int64_t entry = chosen ? which[i] : i;
        CHECK(entry >= 0 && entry < entries);
        return entry;
      });
    }
    finish();
  }

 private:
  template <typename IndexOf>
  void attend(const TensorView& pages, const SequenceRows& rows, int64_t count, IndexOf index_of) {
    const int64_t size = args_.q.shape[2];
    TileRows keys;
    for (int64_t tile = 0; tile < count; tile += kKeyTile) {
      const int64_t here = std::min(kKeyTile, count - tile);
      for (int64_t i = 0; i < here; ++i) {
        keys[static_cast<size_t>(i)] =
            load_row(kernels_, pages, rows, index_of(tile + i), s_.keys + i * size);
      }
      kernels_.key_scores({.rows = heads_,
                           .num_keys = here,
                           .size = size,
                           .q = row_of(args_.q, row_, first_head_),
                           .q_stride = args_.q.stride[1],
                           .keys = keys.data(),
                           .scores = s_.scores,
                           .next = {}});
      for (int64_t h = 0; h < heads_; ++h) {
        kernels_.softmax_row({.scores = s_.scores + h * kKeyTile,
                              .num_keys = here,
                              .scale = args_.scale,
                              .first = first_,
                              .largest = s_.largest + h,
                              .sum = s_.sums + h,
                              .out = row_of(args_.out, row_, first_head_ + h),
                              .size = size});
      }
      kernels_.add_values({.rows = heads_,
                           .num_keys = here,
                           .size = size,
                           .p = s_.scores,
                           .values = keys.data(),
                           .out = row_of(args_.out, row_, first_head_),
                           .out_stride = args_.out.stride[1],
                           .next = {}});
      first_ = false;
    }
  }

  // The sink joins the sum; then the result is rotated back.
  void finish() {
    const int64_t size = args_.q.shape[2];
    const int64_t rope = args_.cos_sin.shape[1];
    for (int64_t h = 0; h < heads_; ++h) {
      const float sink = row_of(args_.sinks, 0)[first_head_ + h];
      const float largest = std::max(s_.largest[h], sink);
      const float factor = std::exp(s_.largest[h] - largest);
      const float sum = s_.sums[h] * factor + std::exp(sink - largest);
      float* out = row_of(args_.out, row_, first_head_ + h);
      kernels_.multiply(out, factor / sum, out, size);
      host_ops::rotate(out + size - rope, row_of(args_.cos_sin, token_.position), rope, -1.0f);
    }
  }

  const Kernels& kernels_;
  const WindowAttentionArgs& args_;
  const int64_t row_;
  const BatchToken& token_;
  const int64_t first_head_, heads_;
  const AttentionScratch& s_;
  bool first_ = true;
};

struct V4ScoreScratch {
  float *keys, *products;
  int64_t floats;

  V4ScoreScratch(float* data, int64_t heads, int64_t size) {
    ScratchCutter cut(data);
    keys = cut.take(kKeyTile * size);
    products = cut.take(heads * kKeyTile);
    floats = cut.used();
  }
};

void score_token(const Kernels& kernels, const EntryScoresArgs& args, int64_t row,
                 const BatchToken& token, const V4ScoreScratch& scratch) {
  const int64_t heads = args.q.shape[1];
  const int64_t size = args.q.shape[2];
  const SequenceRows rows(args.pages, *args.batch, token.sequence, PageKind::kAll, args.ratio,
                          size);
  const int64_t entries = (token.position + 1) / args.ratio;
  CHECK(entries <= args.out.shape[1]);
  const float* weights = row_of(args.weights, row);
  float* out = row_of(args.out, row);
  std::fill(out + entries, out + args.out.shape[1], -std::numeric_limits<float>::infinity());
  TileRows keys;
  for (int64_t tile = 0; tile < entries; tile += kKeyTile) {
    const int64_t count = std::min(kKeyTile, entries - tile);
    for (int64_t i = 0; i < count; ++i) {
      keys[static_cast<size_t>(i)] =
          load_row(kernels, args.pages, rows, tile + i, scratch.keys + i * size);
    }
    kernels.key_scores({.rows = heads,
                        .num_keys = count,
                        .size = size,
                        .q = row_of(args.q, row, 0),
                        .q_stride = args.q.stride[1],
                        .keys = keys.data(),
                        .scores = scratch.products,
                        .next = {}});
    std::fill_n(out + tile, count, 0.0f);
    for (int64_t h = 0; h < heads; ++h) {
      const float* products = scratch.products + h * kKeyTile;
      for (int64_t i = 0; i < count; ++i) {
        out[tile + i] += weights[h] * (products[i] > 0.0f ? products[i] : 0.0f);
      }
    }
  }
}

}  // namespace

void CpuStream::hyper_collapse(const HyperCollapseArgs& args) {
  check_view(args.streams, Dtype::kF32, 3);
  check_view(args.out, Dtype::kF32, 2);
  parallel(args.out.shape[0], 4 * args.streams.shape[1] * args.streams.shape[2],
           [&](int64_t begin, int64_t end, int) { host_ops::hyper_collapse(args, begin, end); });
}

void CpuStream::hyper_expand(const HyperExpandArgs& args) {
  check_view(args.streams, Dtype::kF32, 3);
  check_view(args.x, Dtype::kF32, 2);
  const int64_t streams = args.streams.shape[1];
  parallel(args.x.shape[0], streams * (streams + 1) * args.x.shape[1],
           [&](int64_t begin, int64_t end, int) { host_ops::hyper_expand(args, begin, end); });
}

void CpuStream::compress(const CompressArgs& args) {
  check_view(args.rows, Dtype::kF32, 3);
  check_view(args.ape, Dtype::kF32, 2);
  const std::vector<BatchToken> ends = host_ops::entry_ends(*args.batch, args.ratio);
  const int64_t cost = 16 * args.ratio * args.ape.shape[1];
  parallel(static_cast<int64_t>(ends.size()), cost, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) host_ops::compress(args, ends[static_cast<size_t>(i)]);
  });
}

void CpuStream::entry_scores(const EntryScoresArgs& args) {
  check_view(args.q, Dtype::kF32, 3);
  check_view(args.weights, Dtype::kF32, 2);
  check_view(args.out, Dtype::kF32, 2);
  const int64_t count = args.q.shape[0];
  const int64_t heads = args.q.shape[1];
  const int64_t size = args.q.shape[2];
  CHECK(is_cache_dtype(args.pages.dtype) && args.pages.shape[2] == size);
  const auto tokens = host_ops::batch_tokens(*args.batch, args.first_token, count);
  scratch_.reserve(V4ScoreScratch(nullptr, heads, size).floats);
  const int64_t cost = args.batch->max_context_length / args.ratio * heads * size / 8;
  parallel(count, cost, [&](int64_t begin, int64_t end, int thread) {
    const V4ScoreScratch scratch(scratch_.of(thread), heads, size);
    for (int64_t i = begin; i < end; ++i) {
      score_token(kernels_, args, i, tokens[static_cast<size_t>(i)], scratch);
    }
  });
}

void CpuStream::window_attention(const WindowAttentionArgs& args) {
  check_view(args.q, Dtype::kF32, 3);
  check_view(args.out, Dtype::kF32, 3);
  check_view(args.sinks, Dtype::kF32, 1);
  check_view(args.cos_sin, Dtype::kF32, 2);
  const int64_t count = args.q.shape[0];
  const int64_t heads = args.q.shape[1];
  const int64_t size = args.q.shape[2];
  CHECK(is_cache_dtype(args.pages.dtype) && args.pages.shape[2] == size);
  CHECK(same_shape(args.q, args.out) && args.sinks.shape[0] == heads);
  const auto tokens = host_ops::batch_tokens(*args.batch, args.first_token, count);
  const int64_t blocks = ceil_div(heads, kV4TaskHeads);
  scratch_.reserve(AttentionScratch(nullptr, kV4TaskHeads, size).floats);
  const int64_t cost = args.window * kV4TaskHeads * size / 4;
  parallel(count * blocks, cost, [&](int64_t begin, int64_t end, int thread) {
    const AttentionScratch scratch(scratch_.of(thread), kV4TaskHeads, size);
    for (int64_t task = begin; task < end; ++task) {
      const int64_t row = task / blocks;
      const int64_t first = task % blocks * kV4TaskHeads;
      TokenAttention(kernels_, args, row, tokens[static_cast<size_t>(row)], first,
                     std::min(kV4TaskHeads, heads - first), scratch)
          .run();
    }
  });
}

void CpuStream::moe_hash_gate(const MoeHashGateArgs& args) {
  check_view(args.logits, Dtype::kF32, 2);
  check_view(args.table, Dtype::kI32, 2);
  host_ops::moe_hash_gate(args, 0, args.ids.shape[0]);
}

void CpuStream::clamped_swiglu(const ClampedSwigluArgs& args) {
  const RowView gate(args.gate), up(args.up), out(args.out);
  CHECK(same_shape(args.gate, args.up) && same_shape(args.gate, args.out));
  const int64_t size = gate.size;
  const float limit = args.limit;
  scratch_.reserve(size);
  parallel(gate.count, 5 * size, [&](int64_t begin, int64_t end, int thread) {
    float* clamped = scratch_.of(thread);
    for (int64_t r = begin; r < end; ++r) {
      const float *from = gate[r], *other = up[r];
      float* to = out[r];
      for (int64_t i = 0; i < size; ++i) {
        to[i] = std::min(from[i], limit);
        clamped[i] = std::clamp(other[i], -limit, limit);
      }
      kernels_.swiglu(to, clamped, to, size);
    }
  });
}

}  // namespace ferry::cpu
