// Attention of tokens in the decode phase by aclnnFusedInferAttentionScore, one query each: one
// call for all of them, reading the pages where they lie. What a token sees is the length of its
// keys, so that several tokens of a sequence are as many queries, over the same pages. Prompts stay
// with the composite, which needs no pages of 128.
//
// The operator takes the keys of latents (rank 512) and the rotary keys (64) as two tensors, where
// ferry's pages have them in one row: they are copied apart, some sequences at a time.
#include <algorithm>
#include <utility>

#include "backends/ascend/plan.h"
#include "backends/ascend/stream.h"
#include "base/checked_math.h"

namespace ferry::ascend {
namespace {

using composed::reshape;
using composed::strided;

// Documented limits of calls with one query per sequence.
constexpr int64_t kMaxQueryHeads = 256, kMaxHeadsPerKey = 64, kMaxHeadSize = 512;
constexpr int64_t kMaxKeyWidth = 65535, kMaxQueries = 65536, kMaxPageRows = 512;
constexpr int64_t kLatentRank = 512, kLatentRope = 64;
// Rows of latents that are copied apart at once: 72 MiB in 16 bits.
constexpr int64_t kMaxLatentRows = int64_t{64} << 10;

// The tokens of some sequences: which sequence, and how many keys.
struct Queries {
  std::vector<int64_t> sequences, keys;
  int64_t first = 0;  // token of the batch
  int64_t count() const { return static_cast<int64_t>(keys.size()); }
};

Queries queries_of(const BatchView& batch, int64_t first_sequence, int64_t num_sequences) {
  Queries queries{.first = batch.query_start.host[first_sequence]};
  for (int64_t s = first_sequence; s < first_sequence + num_sequences; ++s) {
    const int64_t end = batch.query_start.host[s + 1];
    for (int64_t t = batch.query_start.host[s]; t < end; ++t) {
      queries.sequences.push_back(s);
      queries.keys.push_back(batch.context_lengths.host[s] - (end - 1 - t));
    }
  }
  return queries;
}

bool fits_pages(const TensorView& pages, Dtype narrow, int64_t block) {
  return pages.dtype == narrow && pages.is_contiguous() && block % 16 == 0 && block <= kMaxPageRows;
}

}  // namespace

// The queries in 16 bits, from a copy of them where they are not contiguous, the table of pages,
// and what the operator makes in 16 bits.
int64_t most_fused_bytes(const GqaAttentionArgs& args) {
  const int64_t numbers = args.q.num_elements(), tokens = args.q.shape[0];
  return 4 * numbers + 2 * numbers + 2 * numbers + 4 * tokens * args.batch->max_blocks +
         kFusedRoundedBytes;
}

// Pages of latents, again in two parts, and which these are; besides as above.
int64_t most_fused_bytes(const MlaDecodeAttentionArgs& args) {
  const BatchView& batch = *args.batch;
  const int64_t longest = ceil_div(batch.max_context_length, batch.block_size);
  const int64_t of_all = batch.num_sequences * longest * batch.block_size;
  const int64_t rows = std::min(of_all, std::max(kMaxLatentRows, longest * batch.block_size));
  const int64_t numbers = args.q_latent.num_elements() + args.q_rope.num_elements();
  const int64_t tokens = args.q_latent.shape[0];
  return 2 * 2 * rows * args.pages.shape[2] + 4 * rows / batch.block_size + 4 * tokens * longest +
         (4 + 2 + 2) * numbers + kFusedRoundedBytes;
}

bool AscendStream::fuses(const GqaAttentionArgs& args) const {
  const int64_t heads = args.q.shape[1], size = args.q.shape[2];
  return paths_.attention != FusedAttention::kNone && args.batch->num_decode_tokens > 0 &&
         args.batch->num_decode_tokens <= kMaxQueries && heads <= kMaxQueryHeads &&
         heads / args.num_kv_heads <= kMaxHeadsPerKey && size % 16 == 0 && size <= kMaxHeadSize &&
         args.num_kv_heads * size <= kMaxKeyWidth &&
         fits_pages(args.k_pages, narrow_, args.batch->block_size) &&
         fits_pages(args.v_pages, narrow_, args.batch->block_size);
}

void AscendStream::gqa_attention(const GqaAttentionArgs& args) {
  if (!fuses(args)) return ComposedStream::gqa_attention(args);
  if (!calls().begin("gqa_attention")) return;
  const BatchView& batch = *args.batch;
  Queries queries = queries_of(batch, 0, batch.num_decode_sequences);
  const int64_t count = queries.count(), heads = args.q.shape[1], size = args.q.shape[2];
  TensorView table = strided(batch.block_tables.device.data, Dtype::kI32, {count, batch.max_blocks},
                             {batch.max_blocks, 1});
  if (count != batch.num_decode_sequences) {  // a row for each token
    std::vector<int32_t> rows;
    for (int64_t s : queries.sequences) {
      const auto row = batch.block_tables.host.begin() + s * batch.max_blocks;
      rows.insert(rows.end(), row, row + batch.max_blocks);
    }
    table = calls().upload(std::move(rows), {count, batch.max_blocks});
  }
  const TensorView q = calls().as(args.q.slice(0, 0, count), narrow_);
  calls().attention({.version = paths_.attention,
                     .q = reshape(q, {count, 1, heads, size}),
                     .q_rope = {},
                     .keys = args.k_pages,
                     .values = args.v_pages,
                     .key_rope = {},
                     .block_table = table,
                     .lengths = std::move(queries.keys),
                     .scale = args.scale},
                    args.out.slice(0, 0, count));
  attend_sequences(args, batch.num_decode_sequences);
}

bool AscendStream::fuses(const MlaDecodeAttentionArgs& args) const {
  const int64_t heads = args.q_latent.shape[1], rope = args.q_rope.shape[2];
  return takes_latents(paths_.attention) && args.max_keys == kAllKeys &&
         (heads & (heads - 1)) == 0 && heads <= 128 && args.q_latent.shape[2] == kLatentRank &&
         rope == kLatentRope && fits_pages(args.pages, narrow_, args.batch->block_size);
}

void AscendStream::mla_decode_attention(const MlaDecodeAttentionArgs& args) {
  if (!fuses(args)) return ComposedStream::mla_decode_attention(args);
  const BatchView& batch = *args.batch;
  const int64_t end = args.first_sequence + args.num_sequences;
  const auto blocks_of = [&](int64_t s) {
    return ceil_div(int64_t{batch.context_lengths.host[s]}, batch.block_size);
  };
  for (int64_t first = args.first_sequence; first < end;) {
    int64_t last = first, blocks = 0;  // of the sequences [first, last)
    while (last < end &&
           (last == first || (blocks + blocks_of(last)) * batch.block_size <= kMaxLatentRows)) {
      blocks += blocks_of(last++);
    }
    attend_latents(args, first, last - first, blocks);
    first = last;
  }
}

void AscendStream::attend_latents(const MlaDecodeAttentionArgs& args, int64_t first_sequence,
                                  int64_t num_sequences, int64_t num_blocks) {
  if (!calls().begin("mla_decode_attention")) return;
  const BatchView& batch = *args.batch;
  const int64_t block = batch.block_size, width = args.pages.shape[2];
  Queries queries = queries_of(batch, first_sequence, num_sequences);
  const int64_t count = queries.count(), heads = args.q_latent.shape[1];
  // The pages of all sequences one behind the other, and where those of each begin.
  std::vector<int32_t> pages;
  std::vector<int64_t> begins;
  int64_t longest = 1;
  for (int64_t s = first_sequence; s < first_sequence + num_sequences; ++s) {
    const int64_t blocks = ceil_div(int64_t{batch.context_lengths.host[s]}, block);
    const auto row = batch.block_tables.host.begin() + s * batch.max_blocks;
    begins.push_back(static_cast<int64_t>(pages.size()));
    pages.insert(pages.end(), row, row + blocks);
    longest = std::max(longest, blocks);
  }
  const TensorView rows = calls().scratch(narrow_, {num_blocks, block * width});
  calls().select_rows(reshape(args.pages, {args.pages.shape[0], block * width}),
                      calls().upload(std::move(pages), {num_blocks}), rows);
  const TensorView flat = reshape(rows, {num_blocks * block, width});
  const TensorView latents = calls().dense(flat.slice(1, 0, kLatentRank));
  const TensorView ropes = calls().dense(flat.slice(1, kLatentRank, kLatentRope));
  std::vector<int32_t> table(static_cast<size_t>(count * longest), 0);
  for (int64_t i = 0; i < count; ++i) {
    const int64_t begin = begins[queries.sequences[i] - first_sequence];
    const int64_t blocks = ceil_div(queries.keys[i], block);
    for (int64_t b = 0; b < blocks; ++b) {
      table[i * longest + b] = static_cast<int32_t>(begin + b);
    }
  }
  const auto query = [&](const TensorView& q, int64_t size) {
    return reshape(calls().as(q.slice(0, queries.first, count), narrow_), {count, 1, heads, size});
  };
  const TensorView q = query(args.q_latent, kLatentRank), q_rope = query(args.q_rope, kLatentRope);
  const TensorView keys = reshape(latents, {num_blocks, block, kLatentRank});
  calls().attention({.version = paths_.attention,
                     .q = q,
                     .q_rope = q_rope,
                     .keys = keys,
                     .values = keys,
                     .key_rope = reshape(ropes, {num_blocks, block, kLatentRope}),
                     .block_table = calls().upload(std::move(table), {count, longest}),
                     .lengths = std::move(queries.keys),
                     .scale = args.scale},
                    args.out.slice(0, queries.first, count));
}

}  // namespace ferry::ascend
