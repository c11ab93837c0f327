// The table of backends, the names of ops, and what was counted since.
#include "base/quote_name.h"
#include "device/backend.h"

#include "backends_table.inc"  // needs what is above

namespace ferry {

OnDemandStats OnDemandStats::since(const OnDemandStats& earlier) const {
  OnDemandStats now = *this;
  now.hits -= earlier.hits;
  now.misses -= earlier.misses;
  now.guesses -= earlier.guesses;
  now.guesses_used -= earlier.guesses_used;
  now.read_bytes -= earlier.read_bytes;
  now.read_seconds -= earlier.read_seconds;
  now.wait_seconds -= earlier.wait_seconds;
  return now;
}

std::span<const BackendEntry* const> all_backends() { return kBackendEntryTable; }

Result<std::shared_ptr<Backend>> open_backend(std::string_view name,
                                              const BackendOptions& options) {
  std::string known;
  for (const BackendEntry* entry : all_backends()) {
    if (entry->name == name) return entry->open(options);
    known += (known.empty() ? "" : ", ") + std::string(entry->name);
  }
  return not_found("backend {}: unknown; this build has: {}", quote_name(name), known);
}

std::string_view op_name(Op op) {
  static constexpr std::string_view kNames[kNumOps] = {
      "embed",
      "rms_norm",
      "add_rms_norm",
      "layer_norm",
      "matmul",
      "rope",
      "kv_write",
      "gqa_attention",
      "per_head_matmul",
      "mla_prefill_attention",
      "mla_decode_attention",
      "index_scores",
      "index_top_k",
      "mla_sparse_attention",
      "swiglu",
      "moe_gate",
      "moe_permute",
      "grouped_matmul",
      "moe_combine",
      "moe_experts",
      "gather_rows",
      "add",
      "copy",
      "hyper_collapse",
      "hyper_expand",
      "compress",
      "entry_scores",
      "window_attention",
      "moe_hash_gate",
      "clamped_swiglu",
      "top_logits",
  };
  return kNames[static_cast<int>(op)];
}

bool has_host_default(Op op) { return op >= Op::kHyperCollapse; }

bool is_cache_op(Op op) {
  switch (op) {
    case Op::kKvWrite:
    case Op::kGqaAttention:
    case Op::kMlaPrefillAttention:
    case Op::kMlaDecodeAttention:
    case Op::kIndexScores:
    case Op::kMlaSparseAttention:
    case Op::kCompress:
    case Op::kEntryScores:
    case Op::kWindowAttention: return true;
    default: return false;
  }
}

}  // namespace ferry
