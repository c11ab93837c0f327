// See batch_memory.h for the layout.
#include "nn/batch_memory.h"

#include <algorithm>

#include "base/check.h"
#include "base/checked_math.h"

namespace ferry::nn {
namespace {

constexpr int64_t kAlignInts = 16;  // 64 bytes
constexpr int64_t kIntBytes = sizeof(int32_t);

// Hands out the arrays of one step, host and device side by side.
class IndexWriter {
 public:
  IndexWriter(const Buffer& host, const Buffer& device)
      : host_(static_cast<int32_t*>(host.data)),
        device_(static_cast<int32_t*>(device.data)),
        capacity_(host.bytes / kIntBytes) {}

  // Memory for an array; fill `values` before the copy.
  IndexView take(std::initializer_list<int64_t> dims, std::span<int32_t>& values) {
    int64_t count = 1;
    for (int64_t dim : dims) count *= dim;
    CHECK(used_ + count <= capacity_);
    values = {host_ + used_, static_cast<size_t>(count)};
    IndexView view{values, TensorView::contiguous(device_ + used_, Dtype::kI32, dims)};
    used_ = round_up(used_ + count, kAlignInts);
    return view;
  }

  int64_t used_bytes() const { return std::min(used_, capacity_) * kIntBytes; }

 private:
  int32_t* host_;
  int32_t* device_;
  int64_t capacity_;
  int64_t used_ = 0;
};

}  // namespace

int64_t num_logit_rows(const BatchInput& input) {
  switch (input.logits) {
    case WantedLogits::kNone: return 0;
    case WantedLogits::kLast: return 1;
    case WantedLogits::kAll: return static_cast<int64_t>(input.tokens.size());
  }
  return 0;
}

int64_t BatchMemory::bytes_for(const BatchLimits& limits) {
  const int64_t blocks = ceil_div(limits.max_context, limits.block_size);
  const int64_t tokens = round_up(limits.max_tokens, kAlignInts);
  const int64_t table = round_up(limits.max_sequences * blocks, kAlignInts);
  int64_t ints = 4 * tokens + table;  // logit rows: at most all tokens
  ints += 2 * round_up(limits.max_sequences + 1, kAlignInts);
  if (limits.recent_pages) ints += tokens + table;
  return ints * kIntBytes;
}

Result<BatchMemory> BatchMemory::allocate(Backend& backend, const BatchLimits& limits) {
  BatchMemory memory;
  memory.limits_ = limits;
  FERRY_TRY(memory.host_, backend.allocate_host(bytes_for(limits)));
  FERRY_TRY(memory.device_, backend.allocate(bytes_for(limits)));
  return memory;
}

void BatchMemory::count(std::span<const BatchInput> inputs) {
  BatchView& batch = batch_ = {};
  batch.block_size = limits_.block_size;
  batch.num_sequences = static_cast<int64_t>(inputs.size());
  num_logit_rows_ = 0;
  for (const BatchInput& input : inputs) {
    const int64_t tokens = static_cast<int64_t>(input.tokens.size());
    const int64_t context = input.first_position + tokens;
    const int64_t blocks = ceil_div(context, limits_.block_size);
    CHECK(tokens > 0 && static_cast<int64_t>(input.pages.size()) >= blocks);
    CHECK(!limits_.recent_pages || static_cast<int64_t>(input.recent_pages.size()) >= blocks);
    batch.num_tokens += tokens;
    batch.max_query_length = std::max(batch.max_query_length, tokens);
    batch.max_context_length = std::max(batch.max_context_length, context);
    batch.max_blocks = std::max(batch.max_blocks, blocks);
    if (input.decode) {
      CHECK(batch.num_decode_tokens + tokens == batch.num_tokens);  // decode comes first
      batch.num_decode_tokens += tokens;
      ++batch.num_decode_sequences;
    }
    num_logit_rows_ += num_logit_rows(input);
  }
}

// The row of the block table, and where the tokens' keys go.
void BatchMemory::fill_pages(const BatchInput& input, std::span<int32_t> table,
                             std::span<int32_t> slots, PageKind kind) const {
  const std::span<const int32_t> pages = kind == PageKind::kAll ? input.pages : input.recent_pages;
  const int64_t block_size = limits_.block_size;
  const int64_t context = input.first_position + std::ssize(input.tokens);
  std::copy_n(pages.begin(), ceil_div(context, block_size), table.begin());
  for (size_t i = 0; i < slots.size(); ++i) {
    const int64_t position = input.first_position + static_cast<int64_t>(i);
    const int64_t page = pages[static_cast<size_t>(position / block_size)];
    slots[i] = static_cast<int32_t>(page * block_size + position % block_size);
  }
}

const BatchView& BatchMemory::lay_out(Stream& stream, std::span<const BatchInput> inputs) {
  count(inputs);
  BatchView& batch = batch_;
  IndexWriter writer(host_, device_);
  std::span<int32_t> ids, positions, query_start, contexts, logit_rows;
  std::span<int32_t> slots, tables, recent_slots, recent_tables;
  batch.token_ids = writer.take({batch.num_tokens}, ids);
  batch.positions = writer.take({batch.num_tokens}, positions);
  batch.slots = writer.take({batch.num_tokens}, slots);
  batch.query_start = writer.take({batch.num_sequences + 1}, query_start);
  batch.context_lengths = writer.take({batch.num_sequences}, contexts);
  batch.logit_rows = writer.take({num_logit_rows_}, logit_rows);
  batch.block_tables = writer.take({batch.num_sequences, batch.max_blocks}, tables);
  std::fill(tables.begin(), tables.end(), 0);
  batch.recent_slots = batch.slots;
  batch.recent_tables = batch.block_tables;
  if (limits_.recent_pages) {
    batch.recent_slots = writer.take({batch.num_tokens}, recent_slots);
    batch.recent_tables = writer.take({batch.num_sequences, batch.max_blocks}, recent_tables);
    std::fill(recent_tables.begin(), recent_tables.end(), 0);
  }

  size_t token = 0;
  size_t row = 0;
  for (size_t s = 0; s < inputs.size(); ++s) {
    const BatchInput& input = inputs[s];
    const int64_t tokens = static_cast<int64_t>(input.tokens.size());
    query_start[s] = static_cast<int32_t>(token);
    contexts[s] = static_cast<int32_t>(input.first_position + tokens);
    const auto row_of = [&](std::span<int32_t> all) {
      return all.subspan(s * static_cast<size_t>(batch.max_blocks));
    };
    fill_pages(input, row_of(tables), slots.subspan(token, input.tokens.size()), PageKind::kAll);
    if (limits_.recent_pages) {
      fill_pages(input, row_of(recent_tables), recent_slots.subspan(token, input.tokens.size()),
                 PageKind::kRecent);
    }
    for (int64_t i = 0; i < tokens; ++i, ++token) {
      ids[token] = input.tokens[static_cast<size_t>(i)];
      positions[token] = static_cast<int32_t>(input.first_position + i);
      if (tokens - i <= num_logit_rows(input)) logit_rows[row++] = static_cast<int32_t>(token);
    }
  }
  query_start[inputs.size()] = static_cast<int32_t>(token);
  stream.copy_in(device_.data, host_.data, writer.used_bytes());
  return batch;
}

}  // namespace ferry::nn
