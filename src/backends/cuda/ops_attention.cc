// The paged cache and attention over it; that of long prompts is in ops_prefill.cc. Short prompts
// of MLA are computed absorbed, as what is generated: the queries are taken to the latents, some
// tokens at a time, and what is attended to is taken back.
#include <algorithm>

#include "backends/cuda/scratch.h"
#include "backends/cuda/stream.h"
#include "backends/cuda/views.h"

namespace ferry::cuda {
namespace {

constexpr int64_t kBlocksPerMultiprocessor = 4;
constexpr int64_t kPartKeys = 512;  // keys of one block of `attention`, where a head has several
constexpr int64_t kSmallestPartKeys = 64;  // the fewest of mma_attention
constexpr int64_t kMostPartFloats = int64_t{16} << 20;
constexpr int64_t kMostLatentFloats = int64_t{16} << 20;  // of queries at a time: 64 MiB

AttentionParams attention_params(const TensorView& q, const TensorView& out, float scale,
                                 const BatchView& batch) {
  return {.q = data_of(q),
          .q_stride = {q.stride[0], q.stride[1]},
          .key_size = q.shape[2],
          .value_size = out.shape[2],
          .batch = batch_param(batch),
          .max_keys = kAllKeys,
          .out = data_of(out),
          .out_stride = {out.stride[0], out.stride[1]},
          .tokens = q.shape[0],
          .heads = q.shape[1],
          .num_parts = 1,
          .part_keys = kPartKeys,
          .tile_tokens = 1,
          .row_tiles = 1,
          .scale = scale};
}

void add_latent_keys(AttentionParams& params, const TensorView& q_rope, const TensorView& pages) {
  params.q_rope = data_of(q_rope);
  params.q_rope_stride[0] = q_rope.stride[0];
  params.q_rope_stride[1] = q_rope.stride[1];
  params.rope_size = q_rope.shape[2];
  params.keys = params.values = pages_param(pages, params.key_size);
}

bool fits(const AttentionParams& params) {
  return params.key_size + params.rope_size <= kMaxKeySize && params.value_size <= kMaxValueSize;
}

// Whether a key and its value fit into what mma_attention holds of them; values that are the
// beginnings of their keys take nothing more.
bool fits_stage(int64_t key_size, int64_t value_size, bool separate) {
  const int64_t key = ceil_div(key_size, 16) * 16;
  const int64_t value = separate ? ceil_div(value_size, 16) * 16 : 0;
  return key + value <= kStageColumns && value_size <= kMaxMmaValueSize;
}

// A tile of mma_attention: tokens, of at most so many, and how many tiles the heads of one of them
// make that share keys.
struct QueryTile {
  int64_t tokens, row_tiles;
};
QueryTile query_tile(int64_t most_tokens, int64_t members) {
  return {std::min(most_tokens, std::max<int64_t>(1, kQueryRows / members)),
          ceil_div(members, kQueryRows)};
}

// Keys of one block of mma_attention, where so many blocks would not share any.
int64_t part_keys(int64_t max_keys, int64_t blocks, int64_t enough) {
  const int64_t wanted = ceil_div(max_keys * blocks, enough);
  return std::max<int64_t>(1, ceil_div(wanted, kSmallestPartKeys)) * kSmallestPartKeys;
}

int64_t part_floats(int64_t tokens, int64_t heads, int64_t parts, int64_t value_size) {
  return tokens * heads * parts * (value_size + 2);
}

int64_t latent_tokens_at_once(int64_t heads, int64_t rank) {
  return std::max<int64_t>(1, kMostLatentFloats / (heads * rank));
}

// Attention by launch_tokens().
struct PlannedAttention {
  int64_t tokens, keys;  // at most
  int64_t heads, heads_per_kv, value_size;
  bool by_mma;
};

// The most part_floats() of any launch. By `attention`: with as many tokens as leave less than
// enough blocks. By mma_attention: part_keys() makes no more parts of max_keys than
// enough / blocks, rounded up, and none of less than kSmallestPartKeys keys.
int64_t most_floats(const PlannedAttention& planned, int64_t most_tile_tokens, int64_t enough) {
  if (!planned.by_mma) {
    const int64_t tokens = std::min(planned.tokens, (enough - 1) / planned.heads);
    const int64_t parts = ceil_div(planned.keys, kPartKeys);
    const int64_t floats = part_floats(tokens, planned.heads, parts, planned.value_size);
    return parts > 1 ? std::min(floats, kMostPartFloats) : 0;
  }
  const QueryTile tile = query_tile(most_tile_tokens, planned.heads_per_kv);
  const int64_t of_token = planned.heads / planned.heads_per_kv * tile.row_tiles;
  int64_t most = 0;
  for (int64_t tokens = tile.tokens;; tokens += tile.tokens) {
    const int64_t blocks = tokens / tile.tokens * of_token;
    if (blocks >= enough) break;
    const int64_t parts =
        std::min(ceil_div(planned.keys, kSmallestPartKeys), ceil_div(enough, blocks));
    const int64_t there = std::min(tokens, planned.tokens);
    if (parts > 1) {
      most = std::max(most, part_floats(there, planned.heads, parts, planned.value_size));
    }
    if (there == planned.tokens) break;
  }
  return std::min(most, kMostPartFloats);
}

int64_t enough_blocks(int64_t multiprocessors) {
  return kBlocksPerMultiprocessor * multiprocessors;
}

Error too_large(const AttentionParams& params) {
  return unsupported("cuda: heads of {} + {} numbers with values of {}; at most {} and {}",
                     params.key_size, params.rope_size, params.value_size, kMaxKeySize,
                     kMaxValueSize);
}

}  // namespace

int64_t most_gqa_floats(const GqaAttentionArgs& args, const ScratchTerms& terms) {
  const int64_t size = args.q.shape[2];
  const PlannedAttention planned{.tokens = args.q.shape[0],
                                 .keys = args.batch->max_context_length,
                                 .heads = args.q.shape[1],
                                 .heads_per_kv = args.q.shape[1] / args.num_kv_heads,
                                 .value_size = size,
                                 .by_mma = !terms.f32_products && fits_stage(size, size, true)};
  const int64_t enough = enough_blocks(terms.multiprocessors);
  return std::max(most_floats(planned, 1, enough), most_floats(planned, kQueryRows, enough));
}

int64_t most_mla_decode_floats(const MlaDecodeAttentionArgs& args, const ScratchTerms& terms) {
  const int64_t heads = args.q_latent.shape[1], rank = args.q_latent.shape[2];
  const bool fits = fits_stage(rank + args.q_rope.shape[2], rank, false);
  return most_floats({.tokens = args.q_latent.shape[0],
                      .keys = args.batch->max_context_length,
                      .heads = heads,
                      .heads_per_kv = heads,
                      .value_size = rank,
                      .by_mma = !terms.f32_products && fits},
                     1, enough_blocks(terms.multiprocessors));
}

int64_t most_mla_sparse_floats(const MlaSparseAttentionArgs& args, const ScratchTerms& terms) {
  const int64_t heads = args.q_latent.shape[1];
  return most_floats({.tokens = args.q_latent.shape[0],
                      .keys = args.positions.shape[1],
                      .heads = heads,
                      .heads_per_kv = heads,
                      .value_size = args.q_latent.shape[2],
                      .by_mma = false},
                     1, enough_blocks(terms.multiprocessors));
}

int64_t absorbed_floats(int64_t tokens, int64_t heads, int64_t rank) {
  return std::min(tokens, latent_tokens_at_once(heads, rank)) * heads * rank;
}

void CudaStream::kv_write(const KvWriteArgs& args) {
  if (!begin("kv_write")) return;
  const KvWriteParams params{.rows = data_of(args.rows),
                             .row_stride = args.rows.stride[0],
                             .slots = data_of<int32_t>(args.slots),
                             .pages = pages_param(args.pages, args.group)};
  launch(Kernel::k_kv_write, {args.rows.shape[0]}, kThreads, params);
}

void CudaStream::gqa_attention(const GqaAttentionArgs& args) {
  if (!begin("gqa_attention")) return;
  AttentionParams params = attention_params(args.q, args.out, args.scale, *args.batch);
  params.keys = pages_param(args.k_pages, params.key_size);
  params.values = pages_param(args.v_pages, params.key_size);
  params.heads_per_kv = args.q.shape[1] / args.num_kv_heads;
  // Tokens that are generated see keys of their own sequence: no tile is to have several of them.
  const BatchView& batch = *args.batch;
  launch_tokens(params, 0, batch.num_decode_tokens, batch.max_context_length);
  params.tile_tokens = kQueryRows;
  int64_t first = batch.num_decode_tokens;  // of the prompts before `s` that are not done
  for (int64_t s = batch.num_decode_sequences; s < batch.num_sequences; ++s) {
    const auto i = static_cast<size_t>(s);
    const int64_t begin_token = batch.query_start.host[i], end = batch.query_start.host[i + 1];
    if (!fills_flash_tiles(args, end - begin_token)) continue;
    launch_tokens(params, first, begin_token, batch.max_context_length);
    attend_flash(args, s);
    first = end;
  }
  launch_tokens(params, first, batch.num_tokens, batch.max_context_length);
}

// Few queries would leave most of the device idle: then several blocks share the keys of one.
void CudaStream::launch_attention(AttentionParams params, int64_t tokens, int64_t max_keys,
                                  bool may_split) {
  if (tokens == 0) return;
  if (!fits(params)) return fail(too_large(params));
  params.tokens = tokens;
  const bool mma = !f32_products_ && params.positions == nullptr &&
                   fits_stage(params.key_size + params.rope_size, params.value_size,
                              params.keys.data != params.values.data);
  Grid grid{tokens, params.heads};
  const int64_t enough = enough_blocks(device_->multiprocessors());
  if (mma) {
    const int64_t members = params.heads_per_kv == 0 ? params.heads : params.heads_per_kv;
    const QueryTile tile = query_tile(params.tile_tokens, members);
    params.tile_tokens = tile.tokens;
    params.row_tiles = tile.row_tiles;
    grid = {ceil_div(tokens, tile.tokens), params.heads / members * tile.row_tiles};
    params.part_keys = part_keys(max_keys, grid.x * grid.y, enough);
  }
  const int64_t parts = ceil_div(max_keys, params.part_keys);
  const int64_t floats = part_floats(tokens, params.heads, parts, params.value_size);
  if (may_split && parts > 1 && grid.x * grid.y < enough && floats <= kMostPartFloats) {
    params.parts = scratch(floats);
    params.num_parts = grid.z = parts;
    if (params.parts == nullptr) return;
  }
  launch(mma ? Kernel::k_mma_attention : Kernel::k_attention, grid,
         mma ? kThreads : kAttentionThreads, params);
  if (params.num_parts == 1) return;
  launch(Kernel::k_merge_attention, {tokens, params.heads}, kAttentionThreads, params);
}

// q, q_rope and out are those of the whole batch.
void CudaStream::launch_tokens(AttentionParams params, int64_t first, int64_t last,
                               int64_t max_keys) {
  params.first_token = first;
  params.q += first * params.q_stride[0];
  if (params.q_rope != nullptr) params.q_rope += first * params.q_rope_stride[0];
  params.out += first * params.out_stride[0];
  launch_attention(params, last - first, max_keys, true);
}

void CudaStream::mla_decode_attention(const MlaDecodeAttentionArgs& args) {
  if (!begin("mla_decode_attention")) return;
  AttentionParams params = attention_params(args.q_latent, args.out, args.scale, *args.batch);
  add_latent_keys(params, args.q_rope, args.pages);
  params.max_keys = args.max_keys;
  const auto starts = args.batch->query_start.host;
  const auto first = static_cast<size_t>(args.first_sequence);
  launch_tokens(params, starts[first], starts[first + static_cast<size_t>(args.num_sequences)],
                args.batch->max_context_length);
}

// Of `tokens` tokens of a sequence, from `begin` of the batch on, the last of which sees max_keys.
void CudaStream::attend_absorbed(const MlaPrefillAttentionArgs& args, int64_t begin, int64_t tokens,
                                 int64_t max_keys) {
  const int64_t heads = args.q.shape[1];
  const int64_t rank = args.up_k.in_features(), nope = args.up_k.out_features();
  const TensorView q_nope = args.q.slice(2, 0, nope);
  const TensorView q_rope = args.q.slice(2, nope, args.q.shape[2] - nope);
  const int64_t at_once = latent_tokens_at_once(heads, rank);
  for (int64_t first = begin; first < begin + tokens; first += at_once) {
    const int64_t count = std::min(at_once, begin + tokens - first);
    float* memory = scratch(count * heads * rank);
    if (memory == nullptr) return;
    const TensorView latent = TensorView::contiguous(memory, Dtype::kF32, {count, heads, rank});
    launch_heads(q_nope.slice(0, first, count), args.up_k, true, latent);
    // A block reads its query before it writes over it.
    AttentionParams params = attention_params(latent, latent, args.scale, *args.batch);
    add_latent_keys(params, q_rope.slice(0, first, count), args.pages);
    params.first_token = first;
    params.tile_tokens = kQueryRows;
    launch_attention(params, count, max_keys, false);  // scratch() holds the queries
    launch_heads(latent, args.up_v, false, args.out.slice(0, first, count));
  }
}

void CudaStream::mla_sparse_attention(const MlaSparseAttentionArgs& args) {
  if (!begin("mla_sparse_attention")) return;
  AttentionParams params = attention_params(args.q_latent, args.out, args.scale, *args.batch);
  add_latent_keys(params, args.q_rope, args.pages);
  params.first_token = args.first_token;
  params.positions = data_of<int32_t>(args.positions);
  params.positions_stride = args.positions.stride[0];
  params.top_k = args.positions.shape[1];
  launch_attention(params, args.q_latent.shape[0], params.top_k, true);
}

void CudaStream::index_scores(const IndexScoresArgs& args) {
  if (!begin("index_scores")) return;
  const int64_t size = args.q.shape[2];
  if (size > kMaxKeySize) {
    return fail(unsupported("cuda: an indexer with keys of {}; at most {}", size, kMaxKeySize));
  }
  const IndexScoresParams params = scores_param(args);
  launch(Kernel::k_index_scores, {args.q.shape[0], ceil_div(args.out.shape[1], kThreads)}, kThreads,
         params);
}

}  // namespace ferry::cuda
