// BatchMemory: lays the index arrays of one forward out for the chip, in one piece of host memory
// that goes over in one copy:
//   token_ids [T] · positions [T] · slots [T] · query_start [S+1] · context_lengths [S] ·
//   logit_rows [R] · block_tables [S, max_blocks]      i32, each on 64 bytes
// and, where recent tokens have pages of their own, recent_slots [T] · recent_tables [S,
// max_blocks].
#pragma once

#include <cstdint>
#include <span>

#include "device/backend.h"

namespace ferry::nn {

struct BatchLimits {
  int64_t max_tokens = 0;
  int64_t max_sequences = 0;
  int64_t max_context = 0;    // tokens of one sequence in the cache
  int64_t block_size = 16;    // tokens per page
  bool recent_pages = false;  // planes of recent tokens have pages of their own
};

enum class WantedLogits : uint8_t { kNone, kLast, kAll };

// Tokens [first_position, first_position + tokens.size()) of one sequence, all of one phase.
struct BatchInput {
  std::span<const int32_t> tokens;
  int64_t first_position = 0;
  std::span<const int32_t> pages;  // of the whole sequence so far, in order
  // The same of recent tokens, if they have pages of their own: any number where a page was let go.
  std::span<const int32_t> recent_pages = {};
  bool decode = false;
  WantedLogits logits = WantedLogits::kNone;
  bool only_top_logits = false;  // of these rows no others than Stream::top_logits() are looked at
};

int64_t num_logit_rows(const BatchInput& input);

class BatchMemory {
 public:
  static Result<BatchMemory> allocate(Backend& backend, const BatchLimits& limits);
  // Bytes of each of the two pieces (host, device) that allocate() takes.
  static int64_t bytes_for(const BatchLimits& limits);

  // The batch of these inputs; its copy to the chip is on the stream. Host and device arrays are
  // valid until the next lay_out(), which must not come before the stream was synchronised.
  // REQUIRES: decode inputs first, within the limits, enough pages
  const BatchView& lay_out(Stream& stream, std::span<const BatchInput> inputs);

 private:
  void count(std::span<const BatchInput> inputs);
  void fill_pages(const BatchInput& input, std::span<int32_t> table, std::span<int32_t> slots,
                  PageKind kind) const;

  BatchLimits limits_;
  Buffer host_;
  Buffer device_;
  BatchView batch_;
  int64_t num_logit_rows_ = 0;
};

}  // namespace ferry::nn
