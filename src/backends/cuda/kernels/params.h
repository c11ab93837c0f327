// What the host hands to each kernel, one struct by value: read by the host's compiler and by nvcc.
// Strides are in elements unless they say bytes; pointers are device addresses. There is nothing
// between the members, so that equal parameters are equal bytes (step_graphs.h).
#pragma once

#include <cstdint>

namespace ferry::cuda {

// How the numbers of a weight lie on the device: as in the file (quant/formats), where a kernel
// reads that format.
enum WeightKind : int32_t {
  kWeightF32,
  kWeightF16,
  kWeightBF16,
  kWeightE4M3,
  kWeightInt4,
  kWeightQ4_0,
  kWeightQ4_1,
  kWeightQ5_0,
  kWeightQ5_1,
  kWeightQ8_0,
  kWeightQ2K,
  kWeightQ3K,
  kWeightQ4K,
  kWeightQ5K,
  kWeightQ6K,
  kWeightIQ4NL,
  kWeightIQ4XS,
  kWeightMXFP4,
  kWeightIQ1S,  // from here on with words of a codebook
  kWeightIQ1M,
  kWeightIQ2XXS,
  kWeightIQ2XS,
  kWeightIQ2S,
  kWeightIQ3XXS,
  kWeightIQ3S,
  kNumWeightKinds,
};

enum ElementType : int32_t { kElementF32, kElementF16, kElementBF16, kElementI8 };

inline constexpr int kGroup = 32;        // numbers that are decoded at once
inline constexpr int kThreads = 256;     // of a block, unless a kernel says otherwise
inline constexpr int kMatvecTokens = 8;  // most tokens that share a decoded weight in matvec
inline constexpr int kMatvecRows = 8;    // rows of a block of matvec: one for each warp
inline constexpr int kTileRows = 128;    // tile_matmul: rows of W,
inline constexpr int kTileTokens = 32;   // tokens,
inline constexpr int kTileDepth = 64;    // and columns of W at a time
inline constexpr int kWideRows = 128;    // mma_matmul_wide: rows of W,
inline constexpr int kWideTokens = 128;  // and tokens of a block
inline constexpr int kNarrowRows = 32;   // mma_matmul_narrow
inline constexpr int kNarrowTokens = 32;
inline constexpr int kAttentionThreads = 128;
inline constexpr int kQueryRows = 16;         // mma_attention: queries,
inline constexpr int kStageKeys = 16;         // keys at a time,
inline constexpr int kStageColumns = 576;     // most numbers of a key and its value,
inline constexpr int kMaxMmaValueSize = 512;  // and of a value
inline constexpr int kFlashThreads = 128;     // flash_attention: a warp for 16 of its
inline constexpr int kFlashQueries = 64;      // queries
inline constexpr int kMaxKeySize = 1024;      // of a query of attention: latent and rotary part
inline constexpr int kMaxValueSize = 1024;
inline constexpr int kWarp = 32;
inline constexpr int kMaxExperts = 2048;
inline constexpr int kMaxExpertGroups = 256;
inline constexpr int kMaxStreams = 8;     // of hyper-connections
inline constexpr int kTopColumns = 8192;  // top_logits: columns of a block

#if defined(__GNUC__) && !defined(__CUDACC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic error "-Wpadded"
#endif

struct WeightParam {
  const uint8_t* data;
  const float* scale;   // row-major grid, or nullptr
  const int8_t* words;  // of the format's codebook, or nullptr
  int64_t rows, cols, row_bytes;
  int64_t scale_rows, scale_cols, scale_grid_cols;
  int32_t kind;
  int32_t unused = 0;
};

// out[t, n] = x[t] · W[n] + bias[n]; blockIdx.z is the head where a weight holds several matrices.
// Grouped: token t belongs to the expert e with offsets[e] <= t < offsets[e + 1].
struct MatmulParams {
  WeightParam w;
  const WeightParam* experts;  // nullptr: not grouped
  const int32_t* offsets;
  int64_t num_experts;
  const float* x;
  int64_t x_stride, x_head_stride;
  float* out;
  int64_t out_stride, out_head_stride;
  const float* bias;  // or nullptr
  int64_t tokens, rows, cols;
  int64_t first_row, head_stride;
  int32_t x_aligned;  // rows of x may be read 16 bytes at a time
  int32_t unused = 0;
};

// Rows [first_row, first_row + rows) in bf16, rounded; out_stride is a multiple of 8, and zeros are
// written up to it.
struct ToBf16Params {
  WeightParam from;  // also rows of f32 that are no weight
  int64_t first_row, rows;
  uint16_t* out;  // aligned to 16 bytes
  int64_t out_stride;
};

struct EmbedParams {
  WeightParam table;
  const int32_t* ids;
  float* out;
  int64_t out_stride;
};

struct NormParams {
  const float* x;
  int64_t x_stride[2];  // row = outer · inner_rows + inner
  float* out;
  int64_t out_stride[2];
  int64_t inner_rows, size;
  const float* weight;
  const float* bias;  // layer_norm: then means are subtracted
  float* residual;    // add_rms_norm: += x, and the norm is of that
  int64_t residual_stride;
  float epsilon;
  int32_t unused = 0;
};

enum ElementOp : int32_t { kOpAdd, kOpSwiglu, kOpClampedSwiglu, kOpCopy };

struct ElementParams {
  const void* a;
  const void* b;
  void* out;
  int64_t shape[4], a_stride[4], b_stride[4], out_stride[4];
  int64_t count;
  int32_t op, a_type, out_type;
  float limit;  // kOpClampedSwiglu
};

struct RopeParams {
  float* x;
  int64_t x_stride[2];
  int64_t heads, size;
  const int32_t* positions;
  const float* cos_sin;
  int64_t cos_sin_stride, max_positions;
  int32_t interleaved;
  int32_t unused = 0;
};

// A plane of the paged cache (device/int8_rows.h for i8).
struct PagesParam {
  uint8_t* data;
  int64_t num_pages, block_size, width;
  int64_t page_stride, row_stride;
  int64_t group, scales_offset, groups;  // i8
  int32_t type;
  int32_t unused = 0;
};

struct KvWriteParams {
  const float* rows;
  int64_t row_stride;
  const int32_t* slots;
  PagesParam pages;
};

struct BatchParam {
  const int32_t* query_start;
  const int32_t* context_lengths;
  const int32_t* block_tables;
  int64_t num_sequences, max_blocks, block_size;
};

// score = scale · (q · k[0 … key_size) + q_rope · k[key_size …)); block = (token, head), or a tile
// of queries that share a head of keys (mma_attention.cuh).
struct AttentionParams {
  const float* q;
  int64_t q_stride[2];
  const float* q_rope;  // or nullptr
  int64_t q_rope_stride[2];
  int64_t key_size, rope_size, value_size;
  PagesParam keys, values;
  int64_t heads_per_kv;  // neighbouring heads that share a head of keys; 0: all share the one key
  BatchParam batch;
  int64_t first_token;       // of the batch: blockIdx.x 0
  int64_t max_keys;          // tokens that see more are left as they are
  const int32_t* positions;  // sparse: [n, top_k]; tokens that see at most top_k are left
  int64_t positions_stride, top_k;
  float* out;
  int64_t out_stride[2];
  int64_t tokens, heads;
  int64_t num_parts;  // blocks that share the keys of a head: part_keys each, or all if it is 1
  int64_t part_keys;
  int64_t tile_tokens, row_tiles;  // mma_attention: tokens of a tile; tiles of a token, per kv head
  float* parts;  // [tokens, heads, num_parts, value_size + 2], where there are several
  float scale;
  int32_t unused = 0;
};

// Attention of the tokens of one sequence to its keys [first_key, end_key). Block = (tile of
// tokens, head of keys, part of the columns of the values).
struct FlashParams {
  const float* q;
  int64_t q_stride[2];
  PagesParam keys, values;
  int64_t key_size;  // of these numbers the first own_size are of a head of keys alone, and the
  int64_t own_size;  // others, from shared_column on, of all; a multiple of 8 if there are others
  int64_t shared_column;
  int64_t value_size;  // those of head h begin at value_column + h · value_stride
  int64_t value_column, value_stride;
  int64_t heads, heads_per_kv;
  BatchParam batch;
  int64_t sequence;  // -1: the rows of `keys` and `values` are these keys, in order
  int64_t tokens, tile_tokens;
  int64_t first_keys;  // that the first token sees; each one sees one more than the one before
  int64_t first_key, end_key;
  float* out;
  int64_t out_stride[2];
  float* state;  // [tokens, heads, 2], from one piece of the keys to the next, or nullptr; with one
                 // part of the columns only
  float scale;
  int32_t copied;  // pieces of 16 bytes can be copied as they are
};

// out[s, h] = U_h c_s in bf16 for cached latents c of the keys [first_key, first_key + keys) of a
// sequence, and the rope_size numbers behind each latent once. Rows of `out` are 16-aligned.
struct ExpandParams {
  WeightParam w;  // matrices of the heads as in MatmulParams
  int64_t first_row, head_stride;
  PagesParam latents;
  BatchParam batch;
  int64_t sequence, first_key, keys;
  int64_t rank, size;
  uint32_t* out;  // strides and columns count numbers and are even
  int64_t out_stride, out_column, out_head_stride;
  int64_t rope_size, rope_column;
  int32_t copied;  // as in FlashParams, of latents
  int32_t unused = 0;
};

struct IndexScoresParams {
  const float* q;
  int64_t q_stride[2];
  const float* weights;
  int64_t weights_stride;
  int64_t heads, size;
  PagesParam keys;
  BatchParam batch;
  int64_t first_token;
  float* out;
  int64_t out_stride, columns;
};

struct TopKParams {
  const float* scores;
  int64_t scores_stride, columns;
  int32_t* out;
  int64_t out_stride, top_k;
};

struct GateParams {
  const float* logits;
  int64_t logits_stride;
  const float* bias;  // or nullptr
  int64_t num_experts, top_k, num_groups, top_k_groups;
  int32_t score;        // GateScore
  int32_t sum_top_two;  // groups are chosen by the sum of their two largest
  int32_t renormalize;
  float scale;
  int32_t* ids;
  int64_t ids_stride;
  float* weights;
  int64_t weights_stride;
};

struct PermuteParams {
  const int32_t* ids;
  int64_t ids_stride;
  int64_t tokens, top_k, num_experts;
  int32_t* token_of_row;
  int32_t* row_of_choice;
  int64_t row_of_choice_stride;
  int32_t* offsets;
};

struct CombineParams {
  const float* rows;
  int64_t rows_stride;
  const int32_t* row_of_choice;
  int64_t row_of_choice_stride;
  const float* weights;
  int64_t weights_stride;
  int64_t top_k, num_rows, size;
  float* out;
  int64_t out_stride;
};

struct GatherParams {
  const float* x;
  int64_t x_stride, num_rows, size;
  const int32_t* rows;
  float* out;
  int64_t out_stride;
};

// Block = (piece of a row, row): the largest of kTopColumns columns, to the piece's place in values
// and ids.
struct TopLogitsParams {
  const float* x;
  int64_t x_stride, size;
  const int32_t* columns;  // that x stands for, of an earlier launch; nullptr: its own
  int64_t columns_stride;
  int64_t top;
  float* values;
  int64_t values_stride;
  int32_t* ids;
  int64_t ids_stride;
};

struct HyperCollapseParams {
  const float* streams;
  int64_t stream_stride[2];
  int64_t num_streams, size;
  const float* mix;
  int64_t mix_stride;
  const float* base;
  const float* scale;
  float norm_epsilon, epsilon;
  int64_t iterations;
  float* out;
  int64_t out_stride;
  float* gates;  // or nullptr
  int64_t gates_stride;
};

struct HyperExpandParams {
  float* streams;
  int64_t stream_stride[2];
  int64_t num_streams, size;
  const float* x;
  int64_t x_stride;
  const float* gates;
  int64_t gates_stride;
};

struct HashGateParams {
  const float* logits;
  int64_t logits_stride, num_experts;
  const int32_t* token_ids;
  const int32_t* table;
  int64_t table_stride, vocabulary, top_k;
  int32_t* ids;
  int64_t ids_stride;
  float* weights;
  int64_t weights_stride;
  float scale;
  int32_t renormalize;
  int32_t square_roots;  // of softplus; otherwise sigmoids
  int32_t unused = 0;
};

struct CompressParams {
  PagesParam rows;
  const int32_t* recent_tables;  // of `rows`; `pages` go by those of the batch
  int64_t ratio;
  const float* ape;
  int64_t ape_stride;
  const float* weight;
  const float* cos_sin;
  int64_t cos_sin_stride, rope, max_positions;
  BatchParam batch;
  PagesParam pages;
  float epsilon;
  int32_t overlap;
};

struct EntryScoresParams {
  IndexScoresParams scores;
  int64_t ratio;
};

struct WindowAttentionParams {
  const float* q;
  int64_t q_stride[2];
  int64_t size;
  PagesParam pages, entry_pages;  // the second without data: there are no entries
  const int32_t* recent_tables;   // of `pages`; entries go by those of the batch
  int64_t window, ratio;
  const int32_t* entries;  // [n, top_k], or nullptr: all
  int64_t entries_stride, top_k;
  const float* sinks;
  const float* cos_sin;
  int64_t cos_sin_stride, rope, max_positions;
  BatchParam batch;
  int64_t first_token;
  float* out;
  int64_t out_stride[2];
  float scale;
  int32_t unused = 0;
};

#if defined(__GNUC__) && !defined(__CUDACC__)
#pragma GCC diagnostic pop
#endif

// Every kernel: ferry_NAME in the image.
#define FERRY_CUDA_KERNELS(KERNEL) \
  KERNEL(matvec)                   \
  KERNEL(tile_matmul)              \
  KERNEL(mma_matmul_wide)          \
  KERNEL(mma_matmul_narrow)        \
  KERNEL(transposed_matvec)        \
  KERNEL(to_bf16)                  \
  KERNEL(embed)                    \
  KERNEL(norm)                     \
  KERNEL(elementwise)              \
  KERNEL(rope)                     \
  KERNEL(kv_write)                 \
  KERNEL(attention)                \
  KERNEL(mma_attention)            \
  KERNEL(merge_attention)          \
  KERNEL(flash_attention_64)       \
  KERNEL(flash_attention_128)      \
  KERNEL(flash_attention_192)      \
  KERNEL(expand_latents)           \
  KERNEL(expand_transposed)        \
  KERNEL(index_scores)             \
  KERNEL(index_top_k)              \
  KERNEL(moe_gate)                 \
  KERNEL(moe_permute)              \
  KERNEL(moe_combine)              \
  KERNEL(gather_rows)              \
  KERNEL(hyper_collapse)           \
  KERNEL(hyper_expand)             \
  KERNEL(moe_hash_gate)            \
  KERNEL(compress)                 \
  KERNEL(entry_scores)             \
  KERNEL(window_attention)         \
  KERNEL(top_logits)

}  // namespace ferry::cuda
