// The compressor of DeepSeek-V4 (MODELS §6.5): one entry for every R tokens, a softmax-weighted sum
// per channel of what each token offers, and the indexer that chooses among entries (§6.6).
//
// Cache: what a token offers, [2 · c · size] in f32 (κ, then γ; c = 2 where entries overlap), of
// the tokens that an entry to come may still pool, and the entries, one row per R tokens. An entry
// is made from the pages of its sequence whenever its last token is computed, and from nothing
// else: a prompt may be cut anywhere, and a token that is computed again writes the same entry.
#pragma once

#include <optional>
#include <string>

#include "nn/step.h"
#include "weights/weight_loader.h"

namespace ferry::nn {

struct Compressor {
  int64_t ratio = 0;
  int64_t size = 0;      // of an entry
  Weight kv, gate;       // [c · size, hidden]
  weights::Vector ape;   // [R, c · size]
  weights::Vector norm;  // [size]
  int64_t row_plane = 0;
  int64_t entry_plane = 0;
};

// PREFIX.wkv, PREFIX.wgate, PREFIX.ape, PREFIX.norm. Appends two planes.
Compressor load_compressor(weights::WeightLoader& loader, const std::string& prefix,
                           const ModelSpec& spec, int64_t ratio, int64_t size, int64_t group,
                           KvLayout& layout);

// Writes what the tokens offer, and every entry that ends among them. x: [T, hidden]
void run_compressor(const Step& step, const Compressor& compressor, const TensorView& x);

struct EntryIndexer {
  Weight q_b;           // [H^I · d^I, q_lora]
  Weight weights_proj;  // [H^I, hidden]
  Compressor compressor;
};

// PREFIX.wq_b, PREFIX.weights_proj, PREFIX.compressor.
EntryIndexer load_entry_indexer(weights::WeightLoader& loader, const std::string& prefix,
                                const ModelSpec& spec, int64_t ratio, KvLayout& layout);

// Writes the indexer's own entries; then, where a token sees more than top_k of them, the ones it
// attends to into its row of `entries` (i32 [T, top_k]). Other rows are left undefined.
//   x: [T, hidden]; low_query: [T, q_lora], after its norm
void run_entry_indexer(const Step& step, const EntryIndexer& indexer, const TensorView& x,
                       const TensorView& low_query, const TensorView& entries);

}  // namespace ferry::nn
