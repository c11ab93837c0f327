// A stream of the driver, and every op of device/ops.h as launches of ferry's kernels (kernels/)
// or, for products of many tokens, of cuBLASLt's.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "backends/cuda/device.h"
#include "backends/cuda/step_graphs.h"
#include "device/backend.h"

namespace ferry::cuda {

class CudaStream : public Stream {
 public:
  // f32_products: none on tensor cores, which would round activations to bf16.
  static Result<std::unique_ptr<Stream>> create(std::shared_ptr<Device> device, bool f32_products);
  ~CudaStream() override;

  void copy_in(void* device_dst, const void* host_src, int64_t bytes) override;
  void copy_out(void* host_dst, const void* device_src, int64_t bytes) override;
  void fill_zero(void* device_dst, int64_t bytes) override;
  Event record() override;
  void wait(const Event& event) override;
  Status synchronize() override;
  void* native_queue() override { return stream_; }
  void begin_step() override;
  void end_step() override;
  Status reserve_scratch(int64_t bytes) override;

  void embed(const EmbedArgs& args) override;
  void rms_norm(const RmsNormArgs& args) override;
  void add_rms_norm(const AddRmsNormArgs& args) override;
  void layer_norm(const LayerNormArgs& args) override;
  void matmul(const MatmulArgs& args) override;
  void matmuls(std::span<const MatmulArgs> products) override;
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
  void grouped_matmul(const GroupedMatmulArgs& args) override;
  void moe_combine(const MoeCombineArgs& args) override;
  void gather_rows(const GatherRowsArgs& args) override;
  void add(const AddArgs& args) override;
  void copy(const CopyArgs& args) override;
  void hyper_collapse(const HyperCollapseArgs& args) override;
  void hyper_expand(const HyperExpandArgs& args) override;
  void compress(const CompressArgs& args) override;
  void entry_scores(const EntryScoresArgs& args) override;
  void window_attention(const WindowAttentionArgs& args) override;
  void moe_hash_gate(const MoeHashGateArgs& args) override;
  void clamped_swiglu(const ClampedSwigluArgs& args) override;
  void top_logits(const TopLogitsArgs& args) override;

 private:
  struct Grid {
    int64_t x = 1, y = 1, z = 1;
  };
  // How a product is made by cuBLASLt. Strides are in elements.
  struct LibraryUse {
    int32_t type;  // of both operands: kLtBF16 or kLtF32
    bool w_in_place, x_in_place;
    int64_t w_stride, x_stride;
    int64_t rows_at_once, tokens_at_once;  // fewer than all where they are made in bf16 first
    int64_t x_bytes, bytes;  // behind the workspace: for x, and with a part of w behind it
  };

  CudaStream(std::shared_ptr<Device> device, bool f32_products)
      : device_(std::move(device)), f32_products_(f32_products) {}

  // Starts an op; false: an error before it stuck, and nothing is to be done.
  bool begin(std::string_view op);
  // The same for what is no launch: those held back for a graph go first.
  bool begin_between(std::string_view op);
  void fail(const Error& error);
  void check(const char* call, int status);
  // Kernels of an empty grid are not launched.
  template <typename Params>
  void launch(Kernel kernel, const Grid& grid, int threads, const Params& params) {
    launch_with(kernel, grid, threads,
                std::string(reinterpret_cast<const char*>(&params), sizeof params));
  }
  void launch_with(Kernel kernel, const Grid& grid, int threads, std::string params);
  void queue(Launch launch);
  void make(StepGraphs::ToLaunch launches);
  // nullptr: the driver makes no graph of them.
  GraphExec graph_of(StepGraphs::ToLaunch launches);
  void embed_on_host(const EmbedArgs& args);
  void launch_product(const MatmulParams& params, int64_t heads);
  // Products by cuBLASLt: see ops_matmul.cc.
  // nullopt: kernels of ferry's own make it.
  std::optional<LibraryUse> library_use(const MatmulParams& params);
  static LtShape shape_of_part(const MatmulParams& params, const LibraryUse& use, int64_t rows,
                               int64_t tokens);
  // `workspace`: kLtWorkspaceBytes, and use.bytes behind it, where x may lie in bf16 already.
  void launch_by_library(const MatmulParams& params, const LibraryUse& use, uint8_t* workspace,
                         bool x_is_there);
  // Rows [first, first + rows) in bf16, `out_stride` numbers apart.
  void launch_to_bf16(const WeightParam& from, int64_t first, int64_t rows, void* out,
                      int64_t out_stride);
  void launch_elements(const AddArgs& args, ElementOp op, float limit = 0);
  void launch_heads(const TensorView& x, const HeadMatrixView& u, bool apply_transposed,
                    const TensorView& out);
  void launch_norm(NormParams params, const TensorView& x, const TensorView& out);
  // Of `tokens` tokens that see up to max_keys keys. may_split: scratch() may be used. tile_tokens
  // is the most that a tile may have.
  void launch_attention(AttentionParams params, int64_t tokens, int64_t max_keys, bool may_split);
  // Of tokens [first, last) of the batch.
  void launch_tokens(AttentionParams params, int64_t first, int64_t last, int64_t max_keys);
  // Prompts (ops_prefill.cc).
  void launch_flash(FlashParams params);
  bool fills_flash_tiles(const GqaAttentionArgs& args, int64_t tokens) const;
  void attend_flash(const GqaAttentionArgs& args, int64_t sequence);
  bool expands(const MlaPrefillAttentionArgs& args, int64_t tokens, int64_t keys) const;
  void launch_expand(const HeadMatrixView& u, ExpandParams params);
  void attend_expanded(const MlaPrefillAttentionArgs& args, int64_t sequence, int64_t tokens,
                       int64_t first_keys);
  void attend_absorbed(const MlaPrefillAttentionArgs& args, int64_t begin, int64_t tokens,
                       int64_t max_keys);
  // The experts as an array on the device, kept for the next call with the same ones.
  const WeightParam* experts_on_device(std::span<const WeightView> experts);
  // Memory that is used by what is queued here, in order; grows beyond what was reserved for it.
  float* scratch(int64_t floats);

  std::shared_ptr<Device> device_;
  const bool f32_products_;
  DriverStream stream_ = nullptr;
  Status status_;
  std::string op_;
  std::map<std::string, Buffer> expert_arrays_;  // by what is in them
  Buffer scratch_;
  StepGraphs graphs_;
};

}  // namespace ferry::cuda
