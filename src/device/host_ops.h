// The ops of DeepSeek-V4 (device/ops_v4.h) and of sampling on memory that the host can reach: plain
// f32 loops, to be read beside the formulas. They are what the reference backend runs and what
// Stream does by default for a chip that has no version of its own (device/host_stage.cc).
//
// Every function works on a range of tokens and writes nothing else, so that a backend can cut the
// work; the bits of a token's result do not depend on how. Each sum has one order, ascending.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "device/ops.h"

namespace ferry::host_ops {

// A token of a batch, by its index there, its sequence and its position in that.
struct BatchToken {
  int64_t token = 0;
  int64_t sequence = 0;
  int64_t position = 0;
};

// Tokens [first, first + count) of the batch, in order. Reads its host arrays.
std::vector<BatchToken> batch_tokens(const BatchView& batch, int64_t first, int64_t count);
// Those that are the last of an entry.
std::vector<BatchToken> entry_ends(const BatchView& batch, int64_t ratio);

// Cached rows of one sequence, wherever they lie: those of positions (ratio 1) or of entries.
class SequenceRows {
 public:
  SequenceRows(const TensorView& pages, const BatchView& batch, int64_t sequence, PageKind kind,
               int64_t ratio, int64_t group);

  int64_t width() const { return pages_.shape[2]; }
  // Row `index` as f32, to dst [width].
  void load(int64_t index, float* dst) const;
  // The row as it lies; REQUIRES: not i8
  const void* address(int64_t index) const;
  // Rounded to the dtype of the pages, to nearest even.
  void store(int64_t index, const float* src) const;

 private:
  int64_t slot(int64_t index) const;  // page · rows of a page + row

  const TensorView& pages_;
  std::span<const int32_t> table_;
  int64_t block_size_, ratio_, group_;
};

// Tokens [first, last) of the op's rows.
void hyper_collapse(const HyperCollapseArgs& args, int64_t first, int64_t last);
void hyper_expand(const HyperExpandArgs& args, int64_t first, int64_t last);
void moe_hash_gate(const MoeHashGateArgs& args, int64_t first, int64_t last);
void clamped_swiglu(const ClampedSwigluArgs& args, int64_t first, int64_t last);
void top_logits(const TopLogitsArgs& args, int64_t first, int64_t last);

// Row i of the op is tokens[i] of batch_tokens(batch, first_token, n).
void entry_scores(const EntryScoresArgs& args, std::span<const BatchToken> tokens, int64_t first,
                  int64_t last);
void window_attention(const WindowAttentionArgs& args, std::span<const BatchToken> tokens,
                      int64_t first, int64_t last);

// The entry that ends with this token.
void compress(const CompressArgs& args, const BatchToken& end);

// x rotated in place by the angles of one position, pairs interleaved; `sign` −1: back.
// cos_sin: dim / 2 cosines, then as many sines.
void rotate(float* x, const float* cos_sin, int64_t dim, float sign);

}  // namespace ferry::host_ops
