// Attention of prompts long enough for tiles of 64 queries (flash_attention.cuh), and the expanded
// form of MLA, whose keys and values are made for them some keys at a time.
#include <algorithm>
#include <bit>

#include "backends/cuda/scratch.h"
#include "backends/cuda/stream.h"
#include "backends/cuda/views.h"
#include "backends/cuda/weights.h"

namespace ferry::cuda {
namespace {

// Expanded keys and values that are there at once: 128 MiB for the 128 heads of DeepSeek-V3.
constexpr int64_t kMostPieceKeys = 2048;
constexpr int64_t kMostPieceBytes = int64_t{192} << 20;
constexpr int64_t kFewestPieceKeys = kWideTokens;

int64_t round_to_8(int64_t n) { return ceil_div(n, 8) * 8; }

struct FlashKernel {
  Kernel kernel;
  int64_t key_size;  // at most
  int64_t value_columns;
};
constexpr FlashKernel kFlashKernels[] = {{Kernel::k_flash_attention_64, 64, 64},
                                         {Kernel::k_flash_attention_128, 128, 128},
                                         {Kernel::k_flash_attention_192, 192, 128}};

// nullptr: none has room for such keys.
const FlashKernel* flash_kernel(int64_t key_size) {
  for (const FlashKernel& one : kFlashKernels) {
    if (key_size <= one.key_size) return &one;
  }
  return nullptr;
}

// Whether rows of bf16 that start at multiples of 8 numbers can be copied 16 bytes at a time.
bool copied_as_they_are(const PagesParam& pages) {
  return pages.type == kElementBF16 && reinterpret_cast<uintptr_t>(pages.data) % 16 == 0 &&
         pages.page_stride % 8 == 0 && pages.row_stride % 8 == 0;
}

// How a piece of expanded keys and values lies in bf16: a row for each key, in it the keys of all
// heads, their values, and the rotary part of the key, which they share.
struct ExpandedRows {
  int64_t values, value_stride, rope, width;
  int64_t keys;  // of a piece
  ExpandedRows(int64_t heads, int64_t nope, int64_t rope_size, int64_t value_size)
      : values(heads * nope),
        value_stride(round_to_8(value_size)),
        rope(values + heads * value_stride),
        width(rope + round_to_8(rope_size)),
        keys(std::clamp(kMostPieceBytes / (kBf16Bytes * width), kFewestPieceKeys, kMostPieceKeys)) {
  }
};

struct LatentHeads {
  int64_t heads, rank, nope, rope, value;
  explicit LatentHeads(const MlaPrefillAttentionArgs& args)
      : heads(args.q.shape[1]),
        rank(args.up_k.in_features()),
        nope(args.up_k.out_features()),
        rope(args.q.shape[2] - nope),
        value(args.out.shape[2]) {}
};

// Whether the tiles have room for them, expanded.
bool can_expand(const LatentHeads& of) {
  if (of.nope % 8 != 0) return false;
  const FlashKernel* kernel = flash_kernel(of.nope + round_to_8(of.rope));
  return kernel != nullptr && of.value <= kernel->value_columns;
}

// Whether expanded there is less to multiply, per head, for `tokens` tokens, the last of which sees
// `keys` keys. They are tiles of kFlashQueries tokens then, however few of these are there.
bool is_less_expanded(const LatentHeads& of, int64_t tokens, int64_t keys) {
  const int64_t pairs = tokens * keys - tokens * (tokens - 1) / 2;
  // Tile i sees the keys of its last token: keys - (tokens - (i + 1) · kFlashQueries), or all.
  const int64_t full = ceil_div(tokens, kFlashQueries) - 1;
  const int64_t unseen = full * tokens - kFlashQueries * (full * (full + 1) / 2);
  const int64_t tile_pairs = kFlashQueries * ((full + 1) * keys - unseen);
  const int64_t expanded =
      keys * of.rank * (of.nope + of.value) + tile_pairs * (of.nope + of.rope + of.value);
  const int64_t absorbed =
      tokens * of.rank * (of.nope + of.value) + pairs * (2 * of.rank + of.rope);
  return expanded < absorbed;
}

// Keys of a piece where a sequence has so many: powers of 2, so that memory doesn't grow with every
// longer context.
int64_t piece_keys(const ExpandedRows& rows, int64_t keys) {
  return std::min(rows.keys, static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(keys))));
}

int64_t piece_floats(const ExpandedRows& rows, int64_t keys) {
  return piece_keys(rows, keys) * rows.width * kBf16Bytes / static_cast<int64_t>(sizeof(float));
}

// What waits for the next piece: the largest score and the total of each query.
int64_t state_floats(const ExpandedRows& rows, int64_t keys, int64_t tokens, int64_t heads) {
  return keys > piece_keys(rows, keys) ? tokens * heads * 2 : 0;
}

}  // namespace

// For a number of tokens the difference of what there is to multiply is linear in their keys, of
// which there are at least as many as tokens: at one of the two ends each form is chosen, if ever.
int64_t most_mla_prefill_floats(const MlaPrefillAttentionArgs& args, const ScratchTerms& terms) {
  const LatentHeads of(args);
  const int64_t keys = std::min(args.batch->max_context_length, args.max_keys);
  const int64_t tokens = std::min(args.q.shape[0], keys);
  const auto is_f32 = [&](const HeadMatrixView& u) {
    return kind_on_device(*u.weight.format, terms.f32_products) == kWeightF32;
  };
  if (terms.f32_products || is_f32(args.up_k) || is_f32(args.up_v) || !can_expand(of)) {
    return absorbed_floats(tokens, of.heads, of.rank);
  }
  int64_t most_expanded = 0, most_absorbed = 0;
  for (int64_t n = 1; n <= tokens; ++n) {
    const bool alone = is_less_expanded(of, n, n), behind = is_less_expanded(of, n, keys);
    if (alone || behind) most_expanded = n;
    if (!alone || !behind) most_absorbed = n;
  }
  const int64_t absorbed = absorbed_floats(most_absorbed, of.heads, of.rank);
  if (most_expanded == 0) return absorbed;
  const ExpandedRows rows(of.heads, of.nope, of.rope, of.value);
  return std::max(absorbed,
                  piece_floats(rows, keys) + state_floats(rows, keys, most_expanded, of.heads));
}

void CudaStream::launch_flash(FlashParams params) {
  const int64_t key_size = params.own_size + round_to_8(params.key_size - params.own_size);
  const FlashKernel* kernel = flash_kernel(key_size);
  CHECK(kernel != nullptr);
  params.tile_tokens = kFlashQueries / params.heads_per_kv;
  launch(kernel->kernel,
         {ceil_div(params.tokens, params.tile_tokens), params.heads / params.heads_per_kv,
          ceil_div(params.value_size, kernel->value_columns)},
         kFlashThreads, params);
}

// Fewer tiles than multiprocessors are left to mma_attention, whose blocks can share keys.
bool CudaStream::fills_flash_tiles(const GqaAttentionArgs& args, int64_t tokens) const {
  const int64_t members = args.q.shape[1] / args.num_kv_heads;
  if (f32_products_ || members > kFlashQueries) return false;
  if (flash_kernel(args.q.shape[2]) == nullptr) return false;
  const int64_t tiles = ceil_div(tokens, kFlashQueries / members) * args.num_kv_heads;
  return tiles >= device_->multiprocessors();
}

void CudaStream::attend_flash(const GqaAttentionArgs& args, int64_t sequence) {
  const auto s = static_cast<size_t>(sequence);
  const BatchView& batch = *args.batch;
  const int64_t first = batch.query_start.host[s], tokens = batch.query_start.host[s + 1] - first;
  const int64_t context = batch.context_lengths.host[s], size = args.q.shape[2];
  FlashParams params{.q = data_of(args.q) + first * args.q.stride[0],
                     .q_stride = {args.q.stride[0], args.q.stride[1]},
                     .keys = pages_param(args.k_pages, size),
                     .values = pages_param(args.v_pages, size),
                     .key_size = size,
                     .own_size = size,
                     .shared_column = 0,
                     .value_size = size,
                     .value_column = 0,
                     .value_stride = size,
                     .heads = args.q.shape[1],
                     .heads_per_kv = args.q.shape[1] / args.num_kv_heads,
                     .batch = batch_param(batch),
                     .sequence = sequence,
                     .tokens = tokens,
                     .tile_tokens = 1,
                     .first_keys = context - tokens + 1,
                     .first_key = 0,
                     .end_key = context,
                     .out = data_of(args.out) + first * args.out.stride[0],
                     .out_stride = {args.out.stride[0], args.out.stride[1]},
                     .state = nullptr,
                     .scale = args.scale,
                     .copied = 0};
  params.copied =
      size % 8 == 0 && copied_as_they_are(params.keys) && copied_as_they_are(params.values);
  launch_flash(params);
}

void CudaStream::mla_prefill_attention(const MlaPrefillAttentionArgs& args) {
  if (!begin("mla_prefill_attention")) return;
  const BatchView& batch = *args.batch;
  for (int64_t s = args.first_sequence; s < args.first_sequence + args.num_sequences; ++s) {
    const auto i = static_cast<size_t>(s);
    const int64_t first = batch.query_start.host[i], end = batch.query_start.host[i + 1];
    // Each token sees one key more than the one before it; those that see too many are left.
    const int64_t first_keys = batch.context_lengths.host[i] - (end - first) + 1;
    const int64_t within = args.max_keys - first_keys;
    const int64_t tokens = within >= end - first ? end - first : std::max<int64_t>(0, within + 1);
    if (tokens == 0) continue;
    if (expands(args, tokens, first_keys + tokens - 1)) {
      attend_expanded(args, s, tokens, first_keys);
    } else {
      attend_absorbed(args, first, tokens, first_keys + tokens - 1);
    }
  }
}

// By what is less to multiply. Weights in f32 are not for tensor cores (ops_linear.cc).
bool CudaStream::expands(const MlaPrefillAttentionArgs& args, int64_t tokens, int64_t keys) const {
  const LatentHeads of(args);
  const bool f32 = f32_products_ || weight_param(args.up_k.weight).kind == kWeightF32 ||
                   weight_param(args.up_v.weight).kind == kWeightF32;
  return !f32 && can_expand(of) && is_less_expanded(of, tokens, keys);
}

void CudaStream::launch_expand(const HeadMatrixView& u, ExpandParams params) {
  params.w = weight_param(u.weight);
  params.first_row = u.first_row;
  params.head_stride = u.head_stride;
  params.rank = u.in_features();
  params.size = u.out_features();
  launch(u.transposed ? Kernel::k_expand_transposed : Kernel::k_expand_latents,
         {ceil_div(params.size, kWideRows), ceil_div(params.keys, kWideTokens), u.num_heads},
         kThreads, params);
}

// The first `tokens` tokens of a sequence, which see first_keys keys and then one more each.
void CudaStream::attend_expanded(const MlaPrefillAttentionArgs& args, int64_t sequence,
                                 int64_t tokens, int64_t first_keys) {
  const BatchView& batch = *args.batch;
  const int64_t heads = args.q.shape[1], keys = first_keys + tokens - 1;
  const int64_t nope = args.up_k.out_features(), rope = args.q.shape[2] - nope;
  const int64_t first = batch.query_start.host[static_cast<size_t>(sequence)];
  const ExpandedRows rows(heads, nope, rope, args.out.shape[2]);
  const int64_t piece = piece_keys(rows, keys);
  const int64_t row_floats = piece_floats(rows, keys);
  float* memory = scratch(row_floats + state_floats(rows, keys, tokens, heads));
  if (memory == nullptr) return;

  ExpandParams expand{.latents = pages_param(args.pages, args.up_k.in_features()),
                      .batch = batch_param(batch),
                      .sequence = sequence,
                      .out = reinterpret_cast<uint32_t*>(memory),
                      .out_stride = rows.width};
  expand.copied = args.up_k.in_features() % 8 == 0 && copied_as_they_are(expand.latents);
  const PagesParam expanded{.data = reinterpret_cast<uint8_t*>(memory),
                            .num_pages = 1,
                            .block_size = piece,
                            .width = rows.width,
                            .page_stride = 0,
                            .row_stride = rows.width,
                            .group = 0,
                            .scales_offset = 0,
                            .groups = 0,
                            .type = kElementBF16};
  for (int64_t first_key = 0; first_key < keys; first_key += piece) {
    expand.first_key = first_key;
    expand.keys = std::min(piece, keys - first_key);
    expand.out_column = 0;
    expand.out_head_stride = nope;
    expand.rope_size = rope;
    expand.rope_column = rows.rope;
    launch_expand(args.up_k, expand);
    expand.out_column = rows.values;
    expand.out_head_stride = rows.value_stride;
    expand.rope_size = 0;
    launch_expand(args.up_v, expand);
    // Tokens that see nothing of this piece are done.
    const int64_t done = std::max<int64_t>(0, first_key - first_keys + 1), from = first + done;
    launch_flash({.q = data_of(args.q) + from * args.q.stride[0],
                  .q_stride = {args.q.stride[0], args.q.stride[1]},
                  .keys = expanded,
                  .values = expanded,
                  .key_size = nope + rope,
                  .own_size = nope,
                  .shared_column = rows.rope,
                  .value_size = args.out.shape[2],
                  .value_column = rows.values,
                  .value_stride = rows.value_stride,
                  .heads = heads,
                  .heads_per_kv = 1,
                  .batch = expand.batch,
                  .sequence = -1,
                  .tokens = tokens - done,
                  .tile_tokens = 1,
                  .first_keys = first_keys + done,
                  .first_key = first_key,
                  .end_key = first_key + expand.keys,
                  .out = data_of(args.out) + from * args.out.stride[0],
                  .out_stride = {args.out.stride[0], args.out.stride[1]},
                  .state = keys > piece ? memory + row_floats + done * heads * 2 : nullptr,
                  .scale = args.scale,
                  .copied = 1});
  }
}

}  // namespace ferry::cuda
