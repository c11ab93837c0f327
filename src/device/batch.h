// BatchView: what one forward works on — any mix of prompt chunks and decoding sequences.
//
// Tokens of one sequence are neighbours and in order of position. Sequences in the decode phase
// come first. The phase belongs to the *token*, not to the batch: prompt tokens are always computed
// as prefill, generated tokens always as decode (also when several are recomputed or verified at
// once), so that the bits of a request never depend on how it was scheduled.
//
// Everything is given twice, on the host and on the device: some chips want lengths and tables
// here, some there. Both stay unchanged until the stream that uses them has been synchronised.
#pragma once

#include <cstdint>
#include <span>

#include "base/tensor_view.h"

namespace ferry {

struct IndexView {
  std::span<const int32_t> host;
  TensorView device;  // i32, same shape, contiguous
};

// Planes of the cache hold every token of a sequence, or those alone that a window still reaches
// (nn/kv_cache.h), and then in pages of their own.
enum class PageKind : uint8_t { kAll, kRecent };

struct BatchView {
  int64_t num_tokens = 0;            // T
  int64_t num_sequences = 0;         // S
  int64_t num_decode_tokens = 0;     // tokens [0, n) are in the decode phase
  int64_t num_decode_sequences = 0;  // sequences [0, n) likewise
  int64_t max_query_length = 0;
  int64_t max_context_length = 0;
  int64_t block_size = 0;  // tokens per KV page

  IndexView token_ids;        // [T]
  IndexView positions;        // [T]
  IndexView slots;            // [T]    where the token's keys go: page · block_size + offset
  IndexView query_start;      // [S+1]  first token of each sequence in this batch; last = T
  IndexView context_lengths;  // [S]    tokens in the cache once this step is done
  IndexView block_tables;     // [S, max_blocks] pages of each sequence, in order; unused: 0
  int64_t max_blocks = 0;
  // The same for planes of recent tokens; where there are no pages of their own for these, the same
  // arrays. Blocks that no token of the batch looks back on: 0.
  IndexView recent_slots;
  IndexView recent_tables;
  IndexView logit_rows;  // [R]    tokens whose logits are wanted, ascending

  const IndexView& slots_of(PageKind kind) const {
    return kind == PageKind::kAll ? slots : recent_slots;
  }
  const IndexView& tables_of(PageKind kind) const {
    return kind == PageKind::kAll ? block_tables : recent_tables;
  }
};

}  // namespace ferry
