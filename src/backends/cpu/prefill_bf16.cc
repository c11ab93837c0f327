// Attention of prompt tokens with products in bf16 (bf16_kernels.h), on vectors or on tiles, by the
// plan of stream_attention.cc: the same tasks, tiles of keys and running softmax.
//
// Keys become right factors by a transpose of pairs (two neighbouring elements of a row are one
// 32-bit number), values by interleaving the rows of neighbouring keys.
//
// Scratch per thread, in floats (d: head size, w = rank + rope, R: rows of a task)
//   GQA   64 · 1.5 d + R · (1.5 d + 98)
//   MLA   rank · (2 · max(nope, value) + nope / 2 + value / 2) + 64 · (w + nope / 2 + value / 2
//         + max(nope, value)) + 48 · 96 + w + chunk · (2 + (nope + rope) / 2)
#include "backends/cpu/prefill.h"

namespace ferry::cpu {
namespace {

uint16_t* take_halves(ScratchCutter& cut, int64_t count) {
  return reinterpret_cast<uint16_t*>(cut.take(ceil_div(count, 2)));
}

// rows [kKeyTile, width] of bf16 → pairs [width / 2, kKeyTile].
void transpose_pairs(const Kernels& kernels, const uint16_t* rows, int64_t count, int64_t width,
                     uint16_t* pairs) {
  kernels.transpose(reinterpret_cast<const float*>(rows), width / 2, count, width / 2,
                    reinterpret_cast<float*>(pairs), kKeyTile);
}

// What weighs the values of a tile: row r sees the first visible(r) >= 1 keys, ascending in r, and
// its p is 0 behind them.
struct ValueProduct {
  const PrefillKernels& kernels;
  const QueryRows& rows;
  const uint16_t* value_pairs;
  const uint16_t* p;

  // out[r + i] += of keys [first_key, first_key + num_keys), i < count. REQUIRES: even first_key
  void add(int64_t r, int64_t count, int64_t first_key, int64_t num_keys) const {
    if (num_keys <= 0) return;
    kernels.product({.m = count,
                     .n = rows.size,
                     .k = num_keys,
                     .a = p + r * kKeyTile + first_key,
                     .a_stride = kKeyTile,
                     .b = value_pairs + first_key * rows.size,
                     .b_stride = 2 * rows.size,
                     .c = rows.out + r * rows.out_stride,
                     .c_stride = rows.out_stride,
                     .accumulate = true});
  }
  // Whether zeros make nothing but zeros of the first num_keys values.
  bool finite(int64_t num_keys) const {
    constexpr uint16_t kExponent = 0x7f80;
    bool all = true;
    const int64_t count = num_keys / 2 * 2 * rows.size;
    for (int64_t i = 0; i < count; ++i) all &= (value_pairs[i] & kExponent) != kExponent;
    if (num_keys % 2 == 0) return all;
    for (int64_t n = 0; n < rows.size; ++n) {
      all &= (value_pairs[count + 2 * n] & kExponent) != kExponent;
    }
    return all;
  }
};

// No row touches a key that it must not see: some rows together take whole pairs that all of them
// see, then each what is left to it.
template <typename Visible>
void weigh_values(const ValueProduct& values, int64_t begin, int64_t end, Visible visible) {
  for (int64_t r = begin; r < end;) {
    const int64_t seen = visible(r);
    int64_t next = r + 1;
    while (next < end && (visible(next) == seen || next - r < kTriangleRows)) ++next;
    const int64_t common = visible(next - 1) == seen ? seen : seen / 2 * 2;
    values.add(r, next - r, 0, common);
    for (; r < next; ++r) values.add(r, 1, common, visible(r) - common);
  }
}

// On tiles products of single rows are as long as those of sixteen, and a sum can't go on in the
// middle of a product's depth. Rows that end in the same depth share a product as long as the last
// of them needs, where the shorter have zeros; unless zeros don't do, as of infinite values. The
// bits are the same.
template <typename Visible>
void weigh_values_on_tiles(const ValueProduct& values, int64_t begin, int64_t end,
                           Visible visible) {
  auto depths = [&](int64_t r) { return ceil_div(visible(r), kTileProductDepth); };
  for (int64_t r = begin; r < end;) {
    int64_t next = r + 1;
    while (next < end && depths(next) == depths(r)) ++next;
    const int64_t most = visible(next - 1);
    if (visible(r) == most || values.finite(most)) {
      values.add(r, next - r, 0, most);
    } else {
      for (int64_t i = r; i < next; ++i) values.add(i, 1, 0, visible(i));
    }
    r = next;
  }
}

// Scores → probabilities → out += P V for rows [begin, end); see attend_tile() of the f32 form.
template <typename Visible>
void attend_tile_bf16(const PrefillKernels& kernels, const QueryRows& rows, int64_t begin,
                      int64_t end, bool first, Visible visible, const uint16_t* value_pairs,
                      uint16_t* p) {
  for (int64_t r = begin; r < end; ++r) {
    kernels.bf16.softmax_row(softmax_row_of(rows, r, visible(r), first), p + r * kKeyTile);
  }
  const ValueProduct values{kernels, rows, value_pairs, p};
  if (kernels.tiles != nullptr) {
    weigh_values_on_tiles(values, begin, end, visible);
  } else {
    weigh_values(values, begin, end, visible);
  }
}

struct PrefillScratch {
  uint16_t *queries, *rows, *key_pairs, *value_pairs, *p;
  float *out, *scores, *largest, *sum, *floats_of_row;
  int64_t floats;

  PrefillScratch(float* data, int64_t num_rows, int64_t size) {
    ScratchCutter cut(data);
    queries = take_halves(cut, num_rows * size);
    rows = take_halves(cut, kKeyTile * size);
    key_pairs = take_halves(cut, kKeyTile * size);
    value_pairs = take_halves(cut, kKeyTile * size);
    p = take_halves(cut, num_rows * kKeyTile);
    out = cut.take(num_rows * size);
    scores = cut.take(num_rows * kKeyTile);
    largest = cut.take(num_rows);
    sum = cut.take(num_rows);
    floats_of_row = cut.take(size);
    floats = cut.used();
  }
};

struct MlaScratch {
  uint16_t *up_k, *up_v;                  // [nope, rank], pairs [rank / 2, value]
  float *stage, *decoded;                 // one head matrix each
  uint16_t* queries;                      // [chunk, nope + rope]
  uint16_t *latents, *latent_pairs;       // [kKeyTile, width], [width / 2, kKeyTile]
  uint16_t *key_pairs, *value_pairs, *p;  // [nope / 2, kKeyTile], [kKeyTile / 2, value]
  float *expanded, *scores, *largest, *sum, *floats_of_row;
  int64_t floats;

  MlaScratch(float* data, const MlaShape& shape, int64_t chunk) {
    ScratchCutter cut(data);
    const int64_t most = std::max(shape.nope, shape.value);
    up_k = take_halves(cut, shape.nope * shape.rank);
    up_v = take_halves(cut, shape.rank * shape.value);
    stage = cut.take(shape.rank * most);
    decoded = cut.take(shape.rank * most);
    queries = take_halves(cut, chunk * (shape.nope + shape.rope));
    latents = take_halves(cut, kKeyTile * shape.width);
    latent_pairs = take_halves(cut, kKeyTile * shape.width);
    key_pairs = take_halves(cut, shape.nope * kKeyTile);
    value_pairs = take_halves(cut, kKeyTile * shape.value);
    p = take_halves(cut, kQueryRows * kKeyTile);
    expanded = cut.take(kKeyTile * most);
    scores = cut.take(kQueryRows * kKeyTile);
    largest = cut.take(chunk);
    sum = cut.take(chunk);
    floats_of_row = cut.take(shape.width);
    floats = cut.used();
  }
};

// Keys and values of one head from `count` latents.
void expand_tile(const PrefillKernels& kernels, const MlaShape& shape, int64_t count,
                 const MlaScratch& s) {
  transpose_pairs(kernels.f32, s.latents, count, shape.width, s.latent_pairs);
  kernels.product({.m = shape.nope,
                   .n = count,
                   .k = shape.rank,
                   .a = s.up_k,
                   .a_stride = shape.rank,
                   .b = s.latent_pairs,
                   .b_stride = 2 * kKeyTile,
                   .c = s.expanded,
                   .c_stride = kKeyTile});
  kernels.bf16.pair_f32(s.expanded, kKeyTile, shape.nope, count, s.key_pairs, 2 * kKeyTile);
  kernels.product({.m = count,
                   .n = shape.value,
                   .k = shape.rank,
                   .a = s.latents,
                   .a_stride = shape.width,
                   .b = s.up_v,
                   .b_stride = 2 * shape.value,
                   .c = s.expanded,
                   .c_stride = shape.value});
  kernels.bf16.pair_f32(s.expanded, shape.value, count, shape.value, s.value_pairs,
                        2 * shape.value);
}

// Scores of `group` queries [nope + rope] against the keys of the tile.
void score_tile(const PrefillKernels& kernels, const MlaShape& shape, const uint16_t* queries,
                int64_t group, int64_t count, const MlaScratch& s) {
  Bf16Product product{.m = group,
                      .n = count,
                      .k = shape.nope,
                      .a = queries,
                      .a_stride = shape.nope + shape.rope,
                      .b = s.key_pairs,
                      .b_stride = 2 * kKeyTile,
                      .c = s.scores,
                      .c_stride = kKeyTile};
  kernels.product(product);
  if (shape.rope == 0) return;
  product.k = shape.rope;
  product.a = queries + shape.nope;
  product.b = s.latent_pairs + shape.rank * kKeyTile;
  product.accumulate = true;
  kernels.product(product);
}

}  // namespace

bool pairs_fit(const GqaAttentionArgs& args) { return args.q.shape[2] % 2 == 0; }

int64_t gqa_bf16_floats(int64_t num_rows, int64_t size) {
  return PrefillScratch(nullptr, num_rows, size).floats;
}

void run_gqa_task_bf16(const PrefillKernels& kernels, const GqaAttentionArgs& args,
                       const GqaTask& task, int64_t num_rows, float* scratch) {
  const Tokens tokens(*args.batch, task.sequence);
  const GqaRows own(args, task);
  const int64_t size = own.size;
  const PrefillScratch s(scratch, num_rows, size);
  const PagedRows keys(kernels.f32, args.k_pages, *args.batch, task.sequence, task.kv_head * size,
                       size, size);
  const PagedRows values(kernels.f32, args.v_pages, *args.batch, task.sequence, task.kv_head * size,
                         size, size);
  for (int64_t r = 0; r < own.count; ++r) {
    kernels.f32.from_f32(own.row(args.q, task, r), Dtype::kBF16, s.queries + r * size, size);
  }
  const QueryRows rows{.scores = s.scores,
                       .largest = s.largest,
                       .sum = s.sum,
                       .out = s.out,
                       .out_stride = size,
                       .size = size,
                       .scale = args.scale};
  const int64_t last_key = tokens.num_keys(task.first_token + task.num_tokens - 1);
  for (int64_t key = 0; key < last_key; key += kKeyTile) {
    const int64_t count = std::min(kKeyTile, last_key - key);
    // The first tokens of the task may not reach this tile.
    const int64_t begin =
        own.group * std::max<int64_t>(0, key + 1 - tokens.num_keys(task.first_token));
    keys.copy_bf16(key, count, s.rows, s.floats_of_row);
    transpose_pairs(kernels.f32, s.rows, count, size, s.key_pairs);
    kernels.product({.m = own.count - begin,
                     .n = count,
                     .k = size,
                     .a = s.queries + begin * size,
                     .a_stride = size,
                     .b = s.key_pairs,
                     .b_stride = 2 * kKeyTile,
                     .c = s.scores + begin * kKeyTile,
                     .c_stride = kKeyTile});
    values.copy_bf16(key, count, s.rows, s.floats_of_row);
    kernels.bf16.pair_bf16(s.rows, size, count, size, s.value_pairs, 2 * size);
    auto visible = [&](int64_t r) {
      return std::min(count, tokens.num_keys(task.first_token + r / own.group) - key);
    };
    attend_tile_bf16(kernels, rows, begin, own.count, key == 0, visible, s.value_pairs, s.p);
  }
  for (int64_t r = 0; r < own.count; ++r) {
    kernels.f32.multiply(s.out + r * size, 1.0f / s.sum[r], own.row(args.out, task, r), size);
  }
}

bool pairs_fit(const MlaShape& shape) {
  return shape.rank % 2 == 0 && shape.rope % 2 == 0 && shape.nope % 2 == 0;
}

int64_t mla_bf16_floats(const MlaShape& shape, int64_t chunk) {
  return MlaScratch(nullptr, shape, chunk).floats;
}

void run_mla_task_bf16(const PrefillKernels& kernels, const MlaPrefillAttentionArgs& args,
                       const MlaWeights& weights, const MlaShape& shape, const MlaTask& task,
                       int64_t chunk, float* scratch) {
  const Tokens tokens(*args.batch, task.sequence);
  const int64_t num_rows = mla_rows(tokens, args.max_keys);
  if (num_rows == 0) return;
  const MlaScratch s(scratch, shape, chunk);
  const Kernels& f32 = kernels.f32;
  const int64_t q_size = shape.nope + shape.rope;
  decode_head(f32, weights.up_k, args.up_k, task.head, args.up_k.transposed, s.stage, s.decoded);
  f32.from_f32(s.decoded, Dtype::kBF16, s.up_k, shape.nope * shape.rank);
  decode_head(f32, weights.up_v, args.up_v, task.head, !args.up_v.transposed, s.stage, s.decoded);
  kernels.bf16.pair_f32(s.decoded, shape.value, shape.rank, shape.value, s.up_v, 2 * shape.value);
  for (int64_t r = 0; r < num_rows; ++r) {
    f32.from_f32(row_of(args.q, tokens.first + r, task.head), Dtype::kBF16, s.queries + r * q_size,
                 q_size);
  }
  const PagedRows cache(f32, args.pages, *args.batch, task.sequence, 0, shape.width, shape.rank);
  const int64_t context_length = tokens.num_keys(tokens.first + num_rows - 1);
  for (int64_t key = 0; key < context_length; key += kKeyTile) {
    const int64_t count = std::min(kKeyTile, context_length - key);
    cache.copy_bf16(key, count, s.latents, s.floats_of_row);
    expand_tile(kernels, shape, count, s);
    const int64_t reach = std::max<int64_t>(0, key + 1 - tokens.num_keys(tokens.first));
    for (int64_t begin = reach; begin < num_rows; begin += kQueryRows) {
      const int64_t group = std::min(kQueryRows, num_rows - begin);
      score_tile(kernels, shape, s.queries + begin * q_size, group, count, s);
      const QueryRows rows{.scores = s.scores,
                           .largest = s.largest + begin,
                           .sum = s.sum + begin,
                           .out = row_of(args.out, tokens.first + begin, task.head),
                           .out_stride = args.out.stride[0],
                           .size = shape.value,
                           .scale = args.scale};
      auto visible = [&](int64_t r) {
        return std::min(count, tokens.num_keys(tokens.first + begin + r) - key);
      };
      attend_tile_bf16(kernels, rows, 0, group, key == 0, visible, s.value_pairs, s.p);
    }
  }
  for (int64_t r = 0; r < num_rows; ++r) {
    float* out = row_of(args.out, tokens.first + r, task.head);
    f32.multiply(out, 1.0f / s.sum[r], out, shape.value);
  }
}

}  // namespace ferry::cpu
