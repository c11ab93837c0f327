// The stream of a chip behind a vendor's libraries: every op of device/ops.h composed of
// Primitives, or on the host where there is none (ComposedPaths says which). Activations are f32; a
// product with a stored weight rounds its other operand to the weight's dtype and sums in f32;
// attention computes in f32 over cache pages of any float dtype.
//
// Some ops wait for the queue, because vendors take counts on the host: those of experts, and the
// ones whose choice the host makes.
#pragma once

#include <initializer_list>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "device/backend.h"
#include "device/composed/primitives.h"
#include "device/composed/weights.h"

namespace ferry::composed {

// Which optional primitives there are and give right results; without them the host computes.
struct ComposedPaths {
  bool rms_norm = false;  // rms_norm, add_rms_norm
  bool layer_norm = false;
  bool rope = false;
  bool swiglu = false;        // of experts, whose gate and up projections have no other reader
  bool exact_f32 = true;      // products of f32 are made in f32, and serve for sums too
  bool device_gate = false;   // top_k, gather, scatter, divide: moe_gate by softmax or sigmoid
  bool int8_weights = false;  // cast takes i8: weights may be packed so
  bool int8_matmul = false;   // otherwise they are made wide for each product
};

class ComposedStream : public Stream {
 public:
  // `reference` computes what the host has to.
  ComposedStream(std::unique_ptr<Primitives> primitives, std::unique_ptr<Stream> reference,
                 const ComposedPaths& paths);

  void copy_in(void* device_dst, const void* host_src, int64_t bytes) override;
  void copy_out(void* host_dst, const void* device_src, int64_t bytes) override;
  void fill_zero(void* device_dst, int64_t bytes) override;
  Event record() override;
  void wait(const Event& event) override;
  Status synchronize() override;
  void* native_queue() override { return p_->native_queue(); }
  Status reserve_scratch(int64_t bytes) override { return p_->reserve(bytes); }

  void embed(const EmbedArgs& args) override;
  void rms_norm(const RmsNormArgs& args) override;
  void add_rms_norm(const AddRmsNormArgs& args) override;
  void layer_norm(const LayerNormArgs& args) override;
  void matmul(const MatmulArgs& args) override;
  void rope(const RopeArgs& args) override;
  void kv_write(const KvWriteArgs& args) override;
  void gqa_attention(const GqaAttentionArgs& args) override;
  void per_head_matmul(const PerHeadMatmulArgs& args) override;
  void mla_prefill_attention(const MlaPrefillAttentionArgs& args) override;
  void mla_decode_attention(const MlaDecodeAttentionArgs& args) override;
  void index_scores(const IndexScoresArgs& args) override;
  void index_top_k(const IndexTopKArgs& args) override;
  void mla_sparse_attention(const MlaSparseAttentionArgs& args) override;
  void swiglu(const SwigluArgs& args) override;
  void moe_gate(const MoeGateArgs& args) override;
  void moe_permute(const MoePermuteArgs& args) override;
  void moe_experts(const MoeExpertsArgs& args) override;
  void grouped_matmul(const GroupedMatmulArgs& args) override;
  void moe_combine(const MoeCombineArgs& args) override;
  void gather_rows(const GatherRowsArgs& args) override;
  void add(const AddArgs& args) override;
  void copy(const CopyArgs& args) override;

 protected:
  Primitives& primitives() { return *p_; }
  // Rows [offsets[e], offsets[e + 1]) of x by expert e; out contiguous f32.
  virtual void multiply_experts(const TensorView& x, const std::vector<int32_t>& offsets,
                                std::span<const WeightView> experts, const TensorView& out);
  // gqa_attention of the sequences from `first_sequence` on.
  void attend_sequences(const GqaAttentionArgs& args, int64_t first_sequence);
  // Weights of the chosen experts: to a sum of 1 and times the scale, as the spec has it.
  void scale_weights(const TensorView& weights, const GateSpec& spec);

 private:
  // The tokens of one sequence that a call of attention computes, and their keys.
  struct Span {
    int64_t sequence, first, last;  // tokens of the batch
    int64_t context;                // keys that the last token of the sequence sees
    int64_t sequence_last;          // the token behind the sequence
    int64_t num_keys(int64_t token) const { return context - (sequence_last - 1 - token); }
  };

  // Runs `op` by the reference on copies of these members, and brings back the outputs.
  template <typename Args>
  void on_host(Op name, const Args& args, std::initializer_list<TensorView Args::*> inputs,
               std::initializer_list<TensorView Args::*> outputs, void (Stream::*op)(const Args&));

  // out, or scratch of its shape where out is not contiguous; put() then copies it there.
  TensorView target(const TensorView& out);
  void put(const TensorView& made, const TensorView& out);

  // out = x Wᵀ; x and out [T, ·] with any row stride.
  void multiply(const TensorView& x, const DeviceWeight& w, const TensorView& out);
  void multiply_widened(const TensorView& x, const DeviceWeight& w, const TensorView& out);
  std::vector<int32_t> permute(const TensorView& ids, int64_t num_experts,
                               const TensorView& token_of_row, const TensorView& row_of_choice);
  void turn_pairs(const TensorView& x, const TensorView& angles, bool interleaved);
  void swiglu_rows(const TensorView& gate, const TensorView& up, const TensorView& out);
  void combine(const TensorView& rows, const TensorView& row_of_choice, const TensorView& weights,
               const TensorView& out);
  TensorView gate_scores(const MoeGateArgs& args);
  TensorView without_lost_groups(const TensorView& biased, const GateSpec& spec);

  static Span span_of(const BatchView& batch, int64_t sequence);
  // The cached rows of a sequence as f32, in order: [num_keys, width].
  TensorView cached_rows(const TensorView& pages, const BatchView& batch, int64_t sequence,
                         int64_t num_keys);
  // scores [T, H, keys] += −∞ where a key is behind the token; softmax.
  void mask_and_normalize(const TensorView& scores, const Span& span, int64_t first);
  // How many tokens at once, so that their scores stay within bounds.
  static int64_t tokens_at_once(int64_t heads, int64_t keys);
  // attend(span, first, tokens, rows) for the tokens of each sequence, as many at once as may be,
  // but those that see more than args.max_keys; rows [keys of the last of them, width] are their
  // cache.
  template <typename Args, typename Attend>
  void each_piece(const char* op, const Args& args, int64_t heads, const Attend& attend);
  void attend_absorbed(const TensorView& q_latent, const TensorView& q_rope, const TensorView& rows,
                       float scale, const Span* span, int64_t first, const TensorView& out);
  // U_h c for all keys and heads: a view [H, keys, out features].
  TensorView expand(const HeadMatrixView& u, const TensorView& latents);
  std::pair<TensorView, TensorView> expand_both(const MlaPrefillAttentionArgs& args,
                                                const TensorView& latents);

  std::unique_ptr<Primitives> p_;
  std::unique_ptr<Stream> reference_;
  const ComposedPaths paths_;
};

}  // namespace ferry::composed
