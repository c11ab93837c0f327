// Arguments of the ops that DeepSeek-V4 brought (MODELS §6): hyper-connections, compressed keys
// with their indexer and attention, hash routing, the clamped SwiGLU. Conventions: device/ops.h,
// which includes this.
//
// Each has a default that computes on the host from copies (device/host_ops.h): the specification,
// and what a chip runs until it has its own.
//
// Entry e of a compressed plane of ratio R stands for tokens [e · R, e · R + R) and is seen by the
// last of them and all behind: token t sees (t + 1) / R entries. It lies in the page of its last
// token, at row (its offset in the page) / R: a page of B tokens has ceil(B / R) rows.
// Planes of entries go by BatchView::block_tables; planes with a row per token, of which a window
// or a pool reads the last ones, by recent_tables.
#pragma once

#include <cstdint>

#include "base/tensor_view.h"
#include "device/batch.h"

namespace ferry {

struct GateSpec;

// One token's streams collapsed to what the next block reads (manifold-constrained
// hyper-connections). With r = (mean X² + norm_epsilon)^(-1/2) over all S · D numbers of a token
// and m = r · mix:
//   pre_j = σ(m_j scale_0 + base_j) + epsilon;   out = Σ_j pre_j X_j
// and, unless `gates` is empty (the head of the model, where mix, base are S wide and scale is
// one),
//   post_j = 2 σ(m_{S+j} scale_1 + base_{S+j});  C = sinkhorn(m_{2S+jS+k} scale_2 + base_{2S+jS+k})
// Sinkhorn: softmax of rows, + epsilon; columns / (sum + epsilon); then iterations − 1 times rows,
// columns, each / (sum + epsilon).
struct HyperCollapseArgs {
  TensorView streams;  // [T, S, D]
  TensorView mix;      // [T, S · (S + 2)] or [T, S]: F x, of the streams as they are
  TensorView base;     // [S · (S + 2)] or [S]
  TensorView scale;    // [3] or [1]
  float norm_epsilon = 0;
  float epsilon = 0;
  int64_t iterations = 0;
  TensorView out;    // [T, D]
  TensorView gates;  // [T, S · (S + 1)]: post, then C by rows (source, destination); or empty
};

// X_k = post_k x + Σ_j C_jk X_j, in place: what a block computed goes back to the streams.
struct HyperExpandArgs {
  TensorView streams;  // [T, S, D]
  TensorView x;        // [T, D]
  TensorView gates;    // [T, S · (S + 1)] of hyper_collapse
};

// Makes every entry whose last token is in the batch. A token has a row (κ, γ) in `rows`, written
// before. Per channel ω = softmax of γ + ape[token mod R] over the tokens of the entry; the entry
// is rope(norm(Σ ω κ)), rotated (interleaved, last cos_sin.shape[1] numbers) at position e · R.
// Overlapping, κ and γ are 2 d wide and entry e pools 2 R rows: channels [0, d) of the tokens of
// block e − 1 (absent for e = 0), and [d, 2 d) of block e.
struct CompressArgs {
  TensorView rows;  // f32 [num_pages, block_size, 2 · c · d]: κ then γ, c = overlap ? 2 : 1
  int64_t ratio = 0;
  bool overlap = false;
  TensorView ape;     // [R, c · d]
  TensorView weight;  // [d] of the norm
  float epsilon = 0;
  TensorView cos_sin;  // [max_positions, rope]
  const BatchView* batch = nullptr;
  TensorView pages;   // [num_pages, ceil(block_size / R), d]
  int64_t group = 0;  // i8: elements that share a scale
};

// index_scores over entries: out[i, e] = Σ_h weights[i, h] · max(0, q[i, h] · k_e), −∞ for entries
// that the token doesn't see. Rows are tokens [first_token, first_token + n).
struct EntryScoresArgs {
  TensorView q;        // [n, H, d]
  TensorView weights;  // [n, H]
  TensorView pages;    // [num_pages, ceil(block_size / R), d]; as i8 a row has one scale
  int64_t ratio = 0;
  const BatchView* batch = nullptr;
  int64_t first_token = 0;
  TensorView out;  // [n, E], E >= what any of these tokens sees
};

// Attention of all heads over one vector per key, key and value at once: the last `window` tokens
// (itself included) and the entries. A head's sink is one more logit of the softmax, without a
// value. The result is rotated back: its last cos_sin.shape[1] numbers by minus the angle of the
// token's position.
// A token that sees more than K entries attends to the K that `entries` names; the others to all.
struct WindowAttentionArgs {
  TensorView q;      // [n, H, d], rope applied to the last numbers
  TensorView pages;  // [num_pages, block_size, d]
  int64_t window = 0;
  TensorView entry_pages;  // [num_pages, ceil(block_size / R), d], or empty: there are none
  int64_t ratio = 0;
  TensorView entries;  // i32 [n, K], distinct, ascending; or empty: all
  TensorView sinks;    // [H]
  float scale = 0;
  TensorView cos_sin;  // [max_positions, rope]
  const BatchView* batch = nullptr;
  int64_t first_token = 0;
  int64_t group = 0;  // i8: elements that share a scale, in both planes
  TensorView out;     // [n, H, d]
};

// moe_gate where the token itself names its experts: ids[t] = table[token_ids[t]]; weights are the
// scores of those, renormalised and scaled as in moe_gate.
struct MoeHashGateArgs {
  TensorView logits;  // [T, E]
  IndexView token_ids;
  TensorView table;  // i32 [V, K]
  const GateSpec* spec = nullptr;
  TensorView ids;      // i32 [T, K] out
  TensorView weights;  // f32 [T, K] out
};

// out = silu(min(gate, limit)) ∘ clamp(up, −limit, limit)
struct ClampedSwigluArgs {
  TensorView gate;  // [T, I]
  TensorView up;    // [T, I]
  float limit = 0;
  TensorView out;  // [T, I]; may be gate
};

}  // namespace ferry
