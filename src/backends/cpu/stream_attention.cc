// Attention of prompt tokens over the paged cache, in one pass over tiles of keys with a running
// maximum and sum (Milakov & Gimelshein 2018; Dao et al. 2022). Generated tokens: stream_decode.cc.
//
// Tiles start at multiples of kKeyTile absolute positions, and a query visits them in order up to
// its own position; the chain of operations of a query therefore depends on its position alone,
// however the prompt was cut and whatever shares its tile. Tasks are (sequence, KV head, query
// tile) or (sequence, head).
//
// Scratch per thread, in floats (d: head size, w = rank + rope, R: rows of a task):
//   GQA          64 · 2d + R · (2d + 66)
//   MLA prefill  64 · (2w + nope + value + 48) + rank · (nope + 2 · value + nope) + 2 · chunk
#include "backends/cpu/prefill.h"

namespace ferry::cpu {
namespace {

// Scores → probabilities → out += P V for rows [begin, end), of which row r sees the first
// visible(r) >= 1 keys of the tile, ascending in r.
template <typename Visible>
void attend_tile(const Kernels& kernels, const QueryRows& rows, int64_t begin, int64_t end,
                 bool first, Visible visible, const float* values, int64_t value_stride) {
  for (int64_t r = begin; r < end; ++r) {
    kernels.softmax_row(softmax_row_of(rows, r, visible(r), first));
  }
  // No row touches a key that it must not see: some rows together take the keys that all of them
  // see, then each the few that are left to it. The chain of an output is the same.
  for (int64_t r = begin; r < end;) {
    const int64_t common = visible(r);
    int64_t next = r + 1;
    while (next < end && (visible(next) == common || next - r < kTriangleRows)) ++next;
    kernels.gemm(next - r, rows.size, common, rows.scores + r * kKeyTile, kKeyTile, values,
                 value_stride, rows.out + r * rows.out_stride, rows.out_stride, true);
    for (; r < next; ++r) {
      if (visible(r) == common) continue;
      kernels.gemm(1, rows.size, visible(r) - common, rows.scores + r * kKeyTile + common, kKeyTile,
                   values + common * value_stride, value_stride, rows.out + r * rows.out_stride,
                   rows.out_stride, true);
    }
  }
}

// --- grouped-query attention ---

struct GqaScratch {
  float *queries, *out, *scores, *largest, *sum, *keys_transposed, *rows;
  int64_t floats;

  GqaScratch(float* data, int64_t num_rows, int64_t head_size) {
    ScratchCutter cut(data);
    queries = cut.take(num_rows * head_size);
    out = cut.take(num_rows * head_size);
    scores = cut.take(num_rows * kKeyTile);
    largest = cut.take(num_rows);
    sum = cut.take(num_rows);
    keys_transposed = cut.take(head_size * kKeyTile);
    rows = cut.take(kKeyTile * head_size);
    floats = cut.used();
  }
};

void run_gqa_task(const Kernels& kernels, const GqaAttentionArgs& args, const GqaTask& task,
                  const GqaScratch& scratch) {
  const BatchView& batch = *args.batch;
  const Tokens tokens(batch, task.sequence);
  const GqaRows own(args, task);
  const int64_t size = own.size;
  const int64_t group = own.group;
  const int64_t num_rows = own.count;
  const PagedRows keys(kernels, args.k_pages, batch, task.sequence, task.kv_head * size, size,
                       size);
  const PagedRows values(kernels, args.v_pages, batch, task.sequence, task.kv_head * size, size,
                         size);
  for (int64_t r = 0; r < num_rows; ++r) {
    std::memcpy(scratch.queries + r * size, own.row(args.q, task, r),
                static_cast<size_t>(size) * sizeof(float));
  }
  const QueryRows rows{.scores = scratch.scores,
                       .largest = scratch.largest,
                       .sum = scratch.sum,
                       .out = scratch.out,
                       .out_stride = size,
                       .size = size,
                       .scale = args.scale};
  const int64_t last_key = tokens.num_keys(task.first_token + task.num_tokens - 1);
  for (int64_t key = 0; key < last_key; key += kKeyTile) {
    const int64_t count = std::min(kKeyTile, last_key - key);
    // The first tokens of the task may not reach this tile.
    const int64_t reach = std::max<int64_t>(0, key + 1 - tokens.num_keys(task.first_token));
    const int64_t begin = reach * group;
    keys.copy(key, count, scratch.rows);
    kernels.transpose(scratch.rows, size, count, size, scratch.keys_transposed, kKeyTile);
    kernels.gemm(num_rows - begin, count, size, scratch.queries + begin * size, size,
                 scratch.keys_transposed, kKeyTile, scratch.scores + begin * kKeyTile, kKeyTile,
                 false);
    values.copy(key, count, scratch.rows);
    auto visible = [&](int64_t r) {
      return std::min(count, tokens.num_keys(task.first_token + r / group) - key);
    };
    attend_tile(kernels, rows, begin, num_rows, key == 0, visible, scratch.rows, size);
  }
  for (int64_t r = 0; r < num_rows; ++r) {
    kernels.multiply(scratch.out + r * size, 1.0f / scratch.sum[r], own.row(args.out, task, r),
                     size);
  }
}

// --- multi-head latent attention, expanded ---

struct MlaPrefillScratch {
  float *up_k, *up_v, *stage;           // [nope, rank], [rank, value], one stored head matrix
  float *latents, *latents_transposed;  // [kKeyTile, width], [width, kKeyTile]
  float *keys_transposed, *values;      // [nope, kKeyTile], [kKeyTile, value]
  float *scores, *largest, *sum;        // [kQueryRows, kKeyTile], [chunk], [chunk]
  int64_t floats;

  MlaPrefillScratch(float* data, const MlaShape& shape, int64_t chunk) {
    ScratchCutter cut(data);
    up_k = cut.take(shape.nope * shape.rank);
    up_v = cut.take(shape.rank * shape.value);
    stage = cut.take(shape.rank * std::max(shape.nope, shape.value));
    latents = cut.take(kKeyTile * shape.width);
    latents_transposed = cut.take(shape.width * kKeyTile);
    keys_transposed = cut.take(shape.nope * kKeyTile);
    values = cut.take(kKeyTile * shape.value);
    scores = cut.take(kQueryRows * kKeyTile);
    largest = cut.take(chunk);
    sum = cut.take(chunk);
    floats = cut.used();
  }
};

void run_mla_prefill_task(const Kernels& kernels, const MlaPrefillAttentionArgs& args,
                          const MlaWeights& weights, const MlaShape& shape, const MlaTask& task,
                          const MlaPrefillScratch& s) {
  const int64_t head = task.head;
  const Tokens tokens(*args.batch, task.sequence);
  const int64_t num_rows = mla_rows(tokens, args.max_keys);
  if (num_rows == 0) return;
  const int64_t context_length = tokens.num_keys(tokens.first + num_rows - 1);
  const PagedRows cache(kernels, args.pages, *args.batch, task.sequence, 0, shape.width,
                        shape.rank);
  decode_head(kernels, weights.up_k, args.up_k, head, args.up_k.transposed, s.stage, s.up_k);
  decode_head(kernels, weights.up_v, args.up_v, head, !args.up_v.transposed, s.stage, s.up_v);
  for (int64_t key = 0; key < context_length; key += kKeyTile) {
    const int64_t count = std::min(kKeyTile, context_length - key);
    cache.copy(key, count, s.latents);
    kernels.transpose(s.latents, shape.width, count, shape.width, s.latents_transposed, kKeyTile);
    kernels.gemm(shape.nope, count, shape.rank, s.up_k, shape.rank, s.latents_transposed, kKeyTile,
                 s.keys_transposed, kKeyTile, false);
    kernels.gemm(count, shape.value, shape.rank, s.latents, shape.width, s.up_v, shape.value,
                 s.values, shape.value, false);
    auto num_visible = [&](int64_t row) {
      return std::min(count, tokens.num_keys(tokens.first + row) - key);
    };
    const int64_t reach = std::max<int64_t>(0, key + 1 - tokens.num_keys(tokens.first));
    for (int64_t begin = reach; begin < num_rows; begin += kQueryRows) {
      const int64_t group = std::min(kQueryRows, num_rows - begin);
      const float* q = row_of(args.q, tokens.first + begin, head);
      kernels.gemm(group, count, shape.nope, q, args.q.stride[0], s.keys_transposed, kKeyTile,
                   s.scores, kKeyTile, false);
      kernels.gemm(group, count, shape.rope, q + shape.nope, args.q.stride[0],
                   s.latents_transposed + shape.rank * kKeyTile, kKeyTile, s.scores, kKeyTile,
                   true);
      const QueryRows rows{.scores = s.scores,
                           .largest = s.largest + begin,
                           .sum = s.sum + begin,
                           .out = row_of(args.out, tokens.first + begin, head),
                           .out_stride = args.out.stride[0],
                           .size = shape.value,
                           .scale = args.scale};
      attend_tile(
          kernels, rows, 0, group, key == 0, [&](int64_t r) { return num_visible(begin + r); },
          s.values, shape.value);
    }
  }
  for (int64_t r = 0; r < num_rows; ++r) {
    float* out = row_of(args.out, tokens.first + r, head);
    kernels.multiply(out, 1.0f / s.sum[r], out, shape.value);
  }
}

}  // namespace

namespace {

// Tokens of a task: many, because every task turns all keys and values round for itself, but so
// that each thread has a few. No bit depends on it.
int64_t gqa_tile_tokens(const BatchView& batch, int64_t kv_heads, int64_t group, int threads) {
  const int64_t tokens = batch.query_start.host[batch.num_sequences] -
                         batch.query_start.host[batch.num_decode_sequences];
  const int64_t share = tokens * kv_heads / (int64_t{4} * threads);
  const int64_t least = std::max<int64_t>(1, kQueryRows / group);
  return std::clamp(share, least, std::max(least, kGqaRowsMost / group));
}

}  // namespace

const Bf16Kernels* CpuStream::bf16_for(Dtype dtype) const {
  return dtype == Dtype::kBF16 || dtype == Dtype::kI8 ? context_->bf16_kernels() : nullptr;
}

void CpuStream::gqa_attention(const GqaAttentionArgs& args) {
  const BatchView& batch = *args.batch;
  check_view(args.q, Dtype::kF32, 3);
  check_view(args.out, Dtype::kF32, 3);
  check_view(args.k_pages, args.k_pages.dtype, 3);
  check_view(args.v_pages, args.v_pages.dtype, 3);
  CHECK(is_cache_dtype(args.k_pages.dtype) && is_cache_dtype(args.v_pages.dtype));
  CHECK(args.num_kv_heads > 0 && args.q.shape[1] % args.num_kv_heads == 0);
  CHECK(same_shape(args.q, args.out));
  const int64_t size = args.q.shape[2];
  CHECK(args.k_pages.shape[2] == args.num_kv_heads * size);
  CHECK(args.v_pages.shape[2] == args.num_kv_heads * size);
  attend_decode({.batch = &batch,
                 .num_sequences = batch.num_decode_sequences,
                 .q = args.q,
                 .k_pages = &args.k_pages,
                 .v_pages = &args.v_pages,
                 .num_kv_heads = args.num_kv_heads,
                 .key_size = size,
                 .value_size = size,
                 .scale = args.scale,
                 .out = args.out});
  const int64_t group = args.q.shape[1] / args.num_kv_heads;
  const int64_t tile_tokens = gqa_tile_tokens(batch, args.num_kv_heads, group, team_.size());
  std::vector<GqaTask> tasks;
  int64_t cost = 0;
  for (int64_t s = batch.num_decode_sequences; s < batch.num_sequences; ++s) {
    const Tokens tokens(batch, s);
    for (int64_t h = 0; h < args.num_kv_heads; ++h) {
      for (int64_t t = tokens.first; t < tokens.last; t += tile_tokens) {
        tasks.push_back({s, h, t, std::min(tile_tokens, tokens.last - t)});
      }
    }
    cost = std::max(cost, tokens.context_length * size * 4);
  }
  const int64_t num_rows = tile_tokens * group;
  const Bf16Kernels* bf16 = args.k_pages.dtype == args.v_pages.dtype && pairs_fit(args)
                                ? bf16_for(args.k_pages.dtype)
                                : nullptr;
  const Bf16Tiles* const tiles = context_->bf16_tiles();
  scratch_.reserve(bf16 != nullptr ? gqa_bf16_floats(num_rows, size)
                                   : GqaScratch(nullptr, num_rows, size).floats);
  parallel(static_cast<int64_t>(tasks.size()), cost, [&](int64_t begin, int64_t end, int thread) {
    for (int64_t i = begin; i < end; ++i) {
      if (bf16 != nullptr) {
        run_gqa_task_bf16({kernels_, *bf16, tiles}, args, tasks[i], num_rows, scratch_.of(thread));
      } else {
        run_gqa_task(kernels_, args, tasks[i], GqaScratch(scratch_.of(thread), num_rows, size));
      }
    }
  });
}

void CpuStream::mla_prefill_attention(const MlaPrefillAttentionArgs& args) {
  const BatchView& batch = *args.batch;
  check_view(args.q, Dtype::kF32, 3);
  check_view(args.out, Dtype::kF32, 3);
  check_view(args.pages, args.pages.dtype, 3);
  CHECK(is_cache_dtype(args.pages.dtype));
  CHECK(args.first_sequence >= 0 && args.num_sequences >= 0);
  CHECK(args.first_sequence + args.num_sequences <= batch.num_sequences);
  const MlaShape shape(args);
  const MlaWeights weights{context_->weight_rows(args.up_k.weight),
                           context_->weight_rows(args.up_v.weight)};
  const int64_t num_heads = args.q.shape[1];
  int64_t chunk = 0;
  for (int64_t i = 0; i < args.num_sequences; ++i) {
    const Tokens tokens(batch, args.first_sequence + i);
    chunk = std::max(chunk, tokens.last - tokens.first);
  }
  if (chunk == 0) return;
  const Bf16Kernels* bf16 = pairs_fit(shape) ? bf16_for(args.pages.dtype) : nullptr;
  const Bf16Tiles* const tiles = context_->bf16_tiles();
  scratch_.reserve(bf16 != nullptr ? mla_bf16_floats(shape, chunk)
                                   : MlaPrefillScratch(nullptr, shape, chunk).floats);
  // Expanding even one tile is more work than waking a thread.
  team_.parallel_for(
      args.num_sequences * num_heads, 1, [&](int64_t begin, int64_t end, int thread) {
        for (int64_t i = begin; i < end; ++i) {
          const MlaTask task{args.first_sequence + i / num_heads, i % num_heads};
          if (bf16 != nullptr) {
            run_mla_task_bf16({kernels_, *bf16, tiles}, args, weights, shape, task, chunk,
                              scratch_.of(thread));
          } else {
            run_mla_prefill_task(kernels_, args, weights, shape, task,
                                 MlaPrefillScratch(scratch_.of(thread), shape, chunk));
          }
        }
      });
}

}  // namespace ferry::cpu
