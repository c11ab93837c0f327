// The op table: every operation a chip can be asked for, and its arguments. The reference backend
// (backends/reference) is the specification of each; backends/*/ must agree with it (device
// conformance suite). Shapes: T tokens, H heads, D hidden size, E experts, K experts per token.
// Activations are f32 unless a comment says otherwise; strides may be any non-negative number as
// long as the last dimension is contiguous (stride 1).
//
// Arguments are read during the call; arrays behind BatchView and `experts` spans must stay
// unchanged until the stream is synchronised. Shapes are the caller's promise (CHECK, not Result):
// files were validated when they were read.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "base/tensor_view.h"
#include "device/batch.h"
#include "device/ops_v4.h"
#include "device/weight.h"

namespace ferry {

class Workspace;

enum class Op {
  kEmbed,
  kRmsNorm,
  kAddRmsNorm,
  kLayerNorm,
  kMatmul,
  kRope,
  kKvWrite,
  kGqaAttention,
  kPerHeadMatmul,
  kMlaPrefillAttention,
  kMlaDecodeAttention,
  kIndexScores,
  kIndexTopK,
  kMlaSparseAttention,
  kSwiglu,
  kMoeGate,
  kMoePermute,
  kGroupedMatmul,
  kMoeCombine,
  kMoeExperts,
  kGatherRows,
  kAdd,
  kCopy,
  kHyperCollapse,
  kHyperExpand,
  kCompress,
  kEntryScores,
  kWindowAttention,
  kMoeHashGate,
  kClampedSwiglu,
  kTopLogits,
};
inline constexpr int kNumOps = static_cast<int>(Op::kTopLogits) + 1;
std::string_view op_name(Op op);
// Whether Stream has a default for it that runs on the host, so that every backend has it.
bool has_host_default(Op op);
// Whether OpQuery::dtype is that of cache pages.
bool is_cache_op(Op op);

// out[t] = table[ids[t]].  REQUIRES: 0 <= ids[t] < table.rows
struct EmbedArgs {
  WeightView table;  // [V, D]
  TensorView ids;    // i32 [T]
  TensorView out;    // [T, D]
};

// out = weight ∘ x · (mean(x²) + epsilon)^(-1/2) over the last dimension (Zhang & Sennrich 2019).
struct RmsNormArgs {
  TensorView x;       // [T, D] or [T, H, D]
  TensorView weight;  // [D]
  float epsilon = 0;
  TensorView out;  // as x; may be x itself
};

// residual += delta; out = rms_norm(residual). Fused; the composite is add + rms_norm.
struct AddRmsNormArgs {
  TensorView residual;  // [T, D], updated in place
  TensorView delta;     // [T, D]
  TensorView weight;    // [D]
  float epsilon = 0;
  TensorView out;  // [T, D]
};

// out = weight ∘ (x − mean x) · (var x + epsilon)^(-1/2) + bias over the last dimension (Ba et al.
// 2016); the variance is that of the population.
struct LayerNormArgs {
  TensorView x;       // [T, D]
  TensorView weight;  // [D]
  TensorView bias;    // [D]
  float epsilon = 0;
  TensorView out;  // [T, D]; may be x
};

// out = x Wᵀ + bias
struct MatmulArgs {
  TensorView x;     // [T, cols]
  WeightView w;     // [rows, cols], any storage format
  TensorView bias;  // [rows] or empty
  TensorView out;   // [T, rows]
};

// Which entries of a head form a pair: interleaved x[2i], x[2i+1]; half x[i], x[i+d/2].
enum class RopeLayout : uint8_t { kInterleaved, kHalf };

// Rotates each pair of x by its angle at the token's position (Su et al. 2021), in place.
struct RopeArgs {
  TensorView x;          // [T, H, d]: the rotary slice of each head
  TensorView positions;  // i32 [T]
  TensorView cos_sin;    // [max_positions, d]: d/2 cosines, then d/2 sines
  RopeLayout layout = RopeLayout::kHalf;
};

// pages[slots[t]] = rows[t], converted to the dtype of the pages. Pages of every op may be f32,
// f16, bf16 or i8 (device/int8_rows.h); what shares a scale there is one head of keys or of values,
// the `rank` elements of a latent and what is behind them, one key of the indexer.
struct KvWriteArgs {
  TensorView rows;    // [T, width]
  TensorView slots;   // i32 [T]
  TensorView pages;   // [num_pages, block_size, width]
  int64_t group = 0;  // i8: elements that share a scale
};

// Causal softmax attention with grouped KV heads over the paged cache (keys of this step are
// already written). Query head h reads KV head h / (H / KV). Softmax in f32.
struct GqaAttentionArgs {
  TensorView q;        // [T, H, d]
  TensorView k_pages;  // [num_pages, block_size, KV · d]
  TensorView v_pages;  // [num_pages, block_size, KV · d]
  int64_t num_kv_heads = 0;
  float scale = 0;
  const BatchView* batch = nullptr;
  TensorView out;  // [T, H, d]
};

// out[t, h] = U_h x[t, h], or U_hᵀ x[t, h] with apply_transposed.
struct PerHeadMatmulArgs {
  TensorView x;  // [T, H, in]; a stride of 0 over H shares one x between the heads
  HeadMatrixView u;
  bool apply_transposed = false;
  TensorView out;  // [T, H, out]
};

inline constexpr int64_t kAllKeys = INT64_MAX;

// Multi-head latent attention (DeepSeek-V2 paper §2.1), expanded form: keys and values of every
// head are made from the cached latents, k_h(s) = [U^K_h c_s ; k^r_s], v_h(s) = U^V_h c_s. Works on
// sequences [first_sequence, first_sequence + num_sequences) of the batch; rows of q and out are
// those of the whole batch.
struct MlaPrefillAttentionArgs {
  TensorView q;         // [T, H, nope + rope], rope applied
  TensorView pages;     // [num_pages, block_size, rank + rope]: c_s, then k^r_s
  HeadMatrixView up_k;  // U^K_h [nope, rank]
  HeadMatrixView up_v;  // U^V_h [value, rank]
  float scale = 0;
  const BatchView* batch = nullptr;
  int64_t first_sequence = 0;
  int64_t num_sequences = 0;
  int64_t max_keys = kAllKeys;  // tokens that see more keys are another op's: left as they are
  TensorView out;               // [T, H, value]
};

// The absorbed form: score = scale · (q_latent · c_s + q_rope · k^r_s), out = Σ p_s c_s.
struct MlaDecodeAttentionArgs {
  TensorView q_latent;  // [T, H, rank] = U^K_hᵀ q^n_h
  TensorView q_rope;    // [T, H, rope], rope applied
  TensorView pages;     // [num_pages, block_size, rank + rope]
  float scale = 0;
  const BatchView* batch = nullptr;
  int64_t first_sequence = 0;
  int64_t num_sequences = 0;
  int64_t max_keys = kAllKeys;  // as in MlaPrefillAttentionArgs
  TensorView out;               // [T, H, rank]
};

// The lightning indexer of DeepSeek-V3.2 (arXiv 2512.02556, eq. 1): how much each cached position
// matters to a token, out[i, s] = Σ_h weights[i, h] · max(0, q[i, h] · k_s). −∞ where s is not
// before or at the token. Rows are tokens [first_token, first_token + n) of the batch.
struct IndexScoresArgs {
  TensorView q;        // [n, H, d]
  TensorView weights;  // [n, H]
  TensorView pages;    // [num_pages, block_size, d]: k_s
  const BatchView* batch = nullptr;
  int64_t first_token = 0;
  TensorView out;  // [n, S], S >= the longest context of these tokens
};

// out[i] = the K columns of the largest scores[i, ·], ascending; ties go to the lower column. −∞
// and NaN are never chosen; where less than K are left, −1 fills the row.
struct IndexTopKArgs {
  TensorView scores;  // [n, S]
  TensorView out;     // i32 [n, K]
};

// mla_decode_attention over the chosen positions alone (same paper, eq. 2), for tokens of either
// phase: rows are tokens [first_token, first_token + n) of the batch. Tokens that see at most K
// keys are left as they are. With positions 0 … K − 1 the result is that of K keys. REQUIRES: the K
// positions of every other token are distinct, ascending, and seen by it
struct MlaSparseAttentionArgs {
  TensorView q_latent;   // [n, H, rank]
  TensorView q_rope;     // [n, H, rope], rope applied
  TensorView pages;      // [num_pages, block_size, rank + rope]
  TensorView positions;  // i32 [n, K]
  float scale = 0;
  const BatchView* batch = nullptr;
  int64_t first_token = 0;
  TensorView out;  // [n, H, rank]
};

// out = silu(gate) ∘ up
struct SwigluArgs {
  TensorView gate;  // [T, I]
  TensorView up;    // [T, I]
  TensorView out;   // [T, I]; may be gate
};

enum class GateScore : uint8_t { kSoftmax, kSigmoid, kSqrtSoftplus };
enum class GroupScore : uint8_t { kMax, kSumOfTopTwo };

struct GateSpec {
  GateScore score = GateScore::kSoftmax;
  int64_t num_experts = 0;
  int64_t top_k = 0;
  int64_t num_groups = 1;    // contiguous groups of num_experts / num_groups
  int64_t top_k_groups = 1;  // groups that stay eligible; the others are excluded (−∞)
  GroupScore group_score = GroupScore::kMax;
  bool renormalize = false;  // divide the chosen scores by their sum + 1e-20
  float scale = 1.0f;        // then multiply
};

// Chooses K experts per token by score (+ bias, for the choice only); ties go to the lower index.
// Weights are the unbiased scores, renormalised and scaled. Experts come out in descending order
// of the biased score. (MODELS §3.4, §4.3)
struct MoeGateArgs {
  TensorView logits;  // [T, E]
  TensorView bias;    // [E] or empty
  GateSpec spec;
  TensorView ids;      // i32 [T, K] out
  TensorView weights;  // f32 [T, K] out
};

// Sorts the T·K (token, choice) pairs by expert, stable.
struct MoePermuteArgs {
  TensorView ids;  // i32 [T, K]
  int64_t num_experts = 0;
  TensorView token_of_row;    // i32 [T·K] out: which token row r computes
  TensorView row_of_choice;   // i32 [T, K] out: where choice (t, k) went
  TensorView expert_offsets;  // i32 [E+1] out: rows of expert e are [offsets[e], offsets[e+1])
};

// out[r] = x[r] W_eᵀ for the expert e whose range holds row r.
struct GroupedMatmulArgs {
  TensorView x;                         // [R, cols]
  TensorView expert_offsets;            // i32 [E+1]
  std::span<const WeightView> experts;  // E matrices [rows, cols]
  TensorView out;                       // [R, rows]
};

// out[t] = Σ_k weights[t, k] · rows[row_of_choice[t, k]], summed in order of k.
struct MoeCombineArgs {
  TensorView rows;           // [T·K, D]
  TensorView row_of_choice;  // i32 [T, K]
  TensorView weights;        // [T, K]
  TensorView out;            // [T, D]
};

// out[t] = Σ_k weights[t, k] · down_e(silu(gate_e x) ∘ up_e x), e = ids[t, k]. Fused; the composite
// is permute → gather → grouped matmuls → swiglu → grouped matmul → combine.
struct MoeExpertsArgs {
  TensorView x;        // [T, D]
  TensorView ids;      // i32 [T, K]
  TensorView weights;  // [T, K]
  std::span<const WeightView> gate;
  std::span<const WeightView> up;
  std::span<const WeightView> down;
  // Scratch, given back before the call returns. A fused version takes no more of it than the
  // composite does, which is what the memory plan measures.
  Workspace* workspace = nullptr;
  TensorView out;  // [T, D]
};

// A hint, see Stream::expect_experts(): the three matrices of each expert in `ids`.
struct ExpectExpertsArgs {
  TensorView ids;  // i32 [T, K], or empty: none
  std::span<const WeightView> gate;
  std::span<const WeightView> up;
  std::span<const WeightView> down;
};

// out[r] = x[rows[r]]
struct GatherRowsArgs {
  TensorView x;     // [T, D]
  TensorView rows;  // i32 [R]
  TensorView out;   // [R, D]
};

// out = a + b; out may be a or b.
struct AddArgs {
  TensorView a;
  TensorView b;
  TensorView out;
};

// out = x, element by element, between any two of f32, f16, bf16 (round to nearest even), any
// strides (the last dimension included).
struct CopyArgs {
  TensorView x;
  TensorView out;
};

inline constexpr int64_t kMaxTopLogits = 128;

// The K largest of each row, what sampling needs of one: larger first, the lower column first among
// equals (−0 equals 0). NaN and +∞, which no logit may be, come before all numbers, the lowest
// column of either first. Values keep their bits. Where V < K the row ends with −∞ in columns −1.
// Has a default that computes on the host. REQUIRES: V >= 1, 1 <= K <= kMaxTopLogits
struct TopLogitsArgs {
  TensorView x;       // [R, V]
  TensorView values;  // [R, K]
  TensorView ids;     // i32 [R, K]: their columns
};

// One line of what a model will ask of a backend; supports() answers it at load. Of a fused op the
// answer is yes also where its composite would run, of one with a default on the host only where
// the backend has its own; one that takes several weights is asked once for each of their formats.
struct OpQuery {
  Op op = Op::kEmbed;
  const quant::StorageFormat* format = nullptr;  // of the weight, where there is one
  Dtype dtype = Dtype::kF32;                     // of the cache pages or activations
  bool block_scaled = false;                     // the weight has a scale grid
  int64_t rows = 0;                              // out features, or heads
  int64_t cols = 0;                              // in features, or head size

  bool operator==(const OpQuery&) const = default;
};

}  // namespace ferry
