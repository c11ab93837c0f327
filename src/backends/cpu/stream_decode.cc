// Attention of generated tokens: the few query heads that share rows of the cache go along it
// together, so that each cached row is read from memory once and used from the nearest cache.
//
// A token's keys are cut into ranges at fixed absolute positions, and a range into tiles of
// kKeyTile keys with a running maximum and sum (Milakov & Gimelshein 2018). The results of the
// ranges are folded together in order of position. That is one fixed chain of operations per
// output, whether one task walks through all ranges or each range is a task of its own, on whatever
// thread.
//
//   range of position s:  256 keys below 1024, 512 below 8192, then 1024
//
// One token of V2-Lite (16 heads, 512 + 64) does 17,408 multiply-adds with each key: 1088
// instructions of 16 lanes in f32, 544 in bf16 (1152 bytes a key), 272 in int8 (584 bytes). The
// multipliers are the limit, not memory. Grouped heads of 128 with 6 queries each do 96, 48 or 24
// instructions for 1024, 512 or 264 bytes: there memory is.
//
// Scratch per thread, in floats (q: size of a query, v: of a value, R: rows of a task)
//   R · (1.5 q + 96 + 2 v + 8) + 64 · (q + v if apart)
// and R · (v + 2) for each task when ranges are tasks.
#include <cmath>

#include "backends/cpu/decode_tiles.h"

namespace ferry::cpu {
namespace {

constexpr int64_t kTaskHeads = 64;  // most rows of a task
constexpr int64_t kHeadsMin = 4;    // fewer are not split off: rows are converted for each group
constexpr int64_t kPartialFloats = 16 << 20;

int64_t range_end(int64_t begin, int64_t num_keys) {
  const int64_t size = begin < 1024 ? 256 : begin < 8192 ? 512 : 1024;
  return std::min(begin + size, num_keys);
}

// Query heads of one token that share their keys and values.
struct Group {
  int64_t sequence, token, kv_head, first_head, num_heads, num_keys;
  const int32_t* positions;  // of the keys; nullptr: all from 0 on
};

struct RangeTask {
  int64_t group, begin, end, partial;
};

// Running results of the rows of a group.
struct Partial {
  float *out, *largest, *sum;  // [rows, value_size], [rows], [rows]

  Partial(ScratchCutter& cut, int64_t rows, int64_t value_size)
      : out(cut.take(rows * value_size)), largest(cut.take(rows)), sum(cut.take(rows)) {}
};

struct DecodeScratch {
  DecodeTileScratch tile;
  Partial whole, range;
  int64_t floats;

  DecodeScratch(float* data, const DecodeForm& form, int64_t rows)
      : DecodeScratch(ScratchCutter(data), form, rows) {}

 private:
  DecodeScratch(ScratchCutter cut, const DecodeForm& form, int64_t rows)
      : tile(cut, form, rows),
        whole(cut, rows, form.value_size),
        range(cut, rows, form.value_size),
        floats(cut.used()) {}
};

// Queries are copied together: a product over one contiguous row is one chain.
void gather_queries(const DecodeForm& form, const Group& group, float* queries) {
  const int64_t head_size = form.q.shape[2];
  for (int64_t h = 0; h < group.num_heads; ++h, queries += form.key_size) {
    std::memcpy(queries, row_of(form.q, group.token, group.first_head + h),
                static_cast<size_t>(head_size) * sizeof(float));
    if (form.q_tail.empty()) continue;
    std::memcpy(queries + head_size, row_of(form.q_tail, group.token, group.first_head + h),
                static_cast<size_t>(form.key_size - head_size) * sizeof(float));
  }
}

// Keys [begin, end) into `into`, which it starts.
void attend_range(const DecodeKernels& kernels, const DecodeForm& form, const Group& group,
                  int64_t begin, int64_t end, const DecodeScratch& s, const Partial& into) {
  DecodeTiles tiles(kernels, form, group.sequence, group.kv_head, group.num_heads, group.positions,
                    s.tile);
  for (int64_t key = begin; key < end; key += kKeyTile) {
    const int64_t count = std::min(kKeyTile, end - key);
    tiles.score(key, count, end);
    tiles.soften(count, key == begin, into.largest, into.sum, into.out);
    tiles.add_values(key, count, end, into.out);
  }
}

// Row r of whole: and the keys of the range behind it.
void fold(const Kernels& kernels, int64_t r, int64_t value_size, const Partial& whole,
          const Partial& range) {
  const float largest = std::max(whole.largest[r], range.largest[r]);
  const float a = std::exp(whole.largest[r] - largest);
  const float b = std::exp(range.largest[r] - largest);
  whole.largest[r] = largest;
  whole.sum[r] = a * whole.sum[r] + b * range.sum[r];
  kernels.blend(a, whole.out + r * value_size, b, range.out + r * value_size, value_size);
}

void write_row(const Kernels& kernels, const DecodeForm& form, const Group& group, int64_t r,
               const Partial& whole) {
  kernels.multiply(whole.out + r * form.value_size, 1.0f / whole.sum[r],
                   row_of(form.out, group.token, group.first_head + r), form.value_size);
}

void run_group(const DecodeKernels& kernels, const DecodeForm& form, const Group& group,
               const DecodeScratch& s) {
  gather_queries(form, group, s.tile.queries);
  for (int64_t begin = 0, end = 0; begin < group.num_keys; begin = end) {
    end = range_end(begin, group.num_keys);
    attend_range(kernels, form, group, begin, end, s, begin == 0 ? s.whole : s.range);
    for (int64_t r = 0; begin > 0 && r < group.num_heads; ++r) {
      fold(kernels.f32, r, form.value_size, s.whole, s.range);
    }
  }
  for (int64_t r = 0; r < group.num_heads; ++r) write_row(kernels.f32, form, group, r, s.whole);
}

// Groups of at most `most` query heads.
std::vector<Group> make_groups(const DecodeForm& form, int64_t most) {
  const int64_t heads = form.out.shape[1] / form.num_kv_heads;
  std::vector<Group> groups;
  for (int64_t s = form.first_sequence; s < form.first_sequence + form.num_sequences; ++s) {
    const Tokens tokens(*form.batch, s);
    const int64_t first = std::max(tokens.first, form.first_token);
    const int64_t last = std::min(tokens.last, form.first_token + form.out.shape[0]);
    for (int64_t t = first; t < last; ++t) {
      const int64_t row = t - form.first_token;
      int64_t num_keys = tokens.num_keys(t);
      const int32_t* positions = nullptr;
      if (num_keys > form.max_keys) break;
      if (form.positions != nullptr) {
        if (num_keys <= form.positions->shape[1]) continue;
        positions = row_of<int32_t>(*form.positions, row);
        CHECK(positions[0] >= 0 && positions[form.positions->shape[1] - 1] < num_keys);
        num_keys = form.positions->shape[1];
      }
      for (int64_t kv = 0; kv < form.num_kv_heads; ++kv) {
        for (int64_t h = 0; h < heads; h += most) {
          groups.push_back(
              {s, row, kv, kv * heads + h, std::min(most, heads - h), num_keys, positions});
        }
      }
    }
  }
  return groups;
}

std::vector<RangeTask> make_ranges(const std::vector<Group>& groups) {
  std::vector<RangeTask> tasks;
  for (size_t g = 0; g < groups.size(); ++g) {
    for (int64_t begin = 0, end = 0; begin < groups[g].num_keys; begin = end) {
      end = range_end(begin, groups[g].num_keys);
      const int64_t index = static_cast<int64_t>(tasks.size());
      tasks.push_back({static_cast<int64_t>(g), begin, end, index});
    }
  }
  return tasks;
}

}  // namespace

void CpuStream::attend_decode(const DecodeForm& form) {
  const int64_t heads = form.out.shape[1] / form.num_kv_heads;
  const int64_t wanted = team_.size() == 1 ? 1 : int64_t{2} * team_.size();
  int64_t most = std::min(heads, kTaskHeads);
  std::vector<Group> groups = make_groups(form, most);
  if (groups.empty()) return;
  std::vector<RangeTask> ranges = make_ranges(groups);
  // One token with few keys: its heads are all there is to share out.
  const int64_t num_ranges = static_cast<int64_t>(ranges.size());
  if (num_ranges < wanted && most > kHeadsMin) {
    most = std::max(kHeadsMin, round_up(ceil_div(most * num_ranges, wanted), kHeadsMin));
    groups = make_groups(form, most);
    ranges = make_ranges(groups);
  }
  const int64_t num_groups = static_cast<int64_t>(groups.size());
  const int64_t partial_floats = most * (form.value_size + 32);
  const int64_t cost_of_key = most * (form.key_size + form.value_size) / 8;
  scratch_.reserve(DecodeScratch(nullptr, form, most).floats);
  const Dtype dtype = form.k_pages->dtype;
  const bool alike = form.v_pages == nullptr || form.v_pages->dtype == dtype;
  const DecodeKernels kernels{
      kernels_, alike && dtype == Dtype::kBF16 ? context_->bf16_kernels() : nullptr,
      alike && dtype == Dtype::kI8 && form.value_size <= kInt8GroupMost ? context_->int8_kernels()
                                                                        : nullptr};

  if (num_groups >= 2 * wanted || static_cast<int64_t>(ranges.size()) == num_groups ||
      static_cast<int64_t>(ranges.size()) * partial_floats > kPartialFloats) {
    parallel(num_groups, groups[0].num_keys * cost_of_key,
             [&](int64_t begin, int64_t end, int thread) {
               const DecodeScratch scratch(scratch_.of(thread), form, most);
               for (int64_t i = begin; i < end; ++i) run_group(kernels, form, groups[i], scratch);
             });
    return;
  }

  partials_.reserve(static_cast<int64_t>(ranges.size()) * partial_floats);
  auto partial_of = [&](int64_t index) {
    ScratchCutter cut(partials_.of(0) + index * partial_floats);
    return Partial(cut, most, form.value_size);
  };
  std::vector<int64_t> first_range(static_cast<size_t>(num_groups) + 1,
                                   static_cast<int64_t>(ranges.size()));
  for (size_t i = ranges.size(); i-- > 0;) first_range[ranges[i].group] = ranges[i].partial;
  // The longest first: the short ones fill the gaps at the end.
  std::stable_sort(ranges.begin(), ranges.end(), [](const RangeTask& a, const RangeTask& b) {
    return a.end - a.begin > b.end - b.begin;
  });
  team_.parallel_for(static_cast<int64_t>(ranges.size()), 1,
                     [&](int64_t begin, int64_t end, int thread) {
                       const DecodeScratch scratch(scratch_.of(thread), form, most);
                       for (int64_t i = begin; i < end; ++i) {
                         const Group& group = groups[ranges[i].group];
                         gather_queries(form, group, scratch.tile.queries);
                         attend_range(kernels, form, group, ranges[i].begin, ranges[i].end, scratch,
                                      partial_of(ranges[i].partial));
                       }
                     });
  parallel(num_groups * most, 4 * form.value_size, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      const Group& group = groups[i / most];
      const int64_t r = i % most;
      if (r >= group.num_heads) continue;
      const Partial whole = partial_of(first_range[i / most]);
      for (int64_t k = first_range[i / most] + 1; k < first_range[i / most + 1]; ++k) {
        fold(kernels_, r, form.value_size, whole, partial_of(k));
      }
      write_row(kernels_, form, group, r, whole);
    }
  });
}

void CpuStream::mla_decode_attention(const MlaDecodeAttentionArgs& args) {
  const BatchView& batch = *args.batch;
  check_view(args.q_latent, Dtype::kF32, 3);
  check_view(args.q_rope, Dtype::kF32, 3);
  check_view(args.out, Dtype::kF32, 3);
  check_view(args.pages, args.pages.dtype, 3);
  CHECK(is_cache_dtype(args.pages.dtype) && same_shape(args.q_latent, args.out));
  CHECK(args.q_rope.shape[1] == args.q_latent.shape[1]);
  CHECK(args.pages.shape[2] == args.q_latent.shape[2] + args.q_rope.shape[2]);
  CHECK(args.first_sequence >= 0 && args.num_sequences >= 0);
  CHECK(args.first_sequence + args.num_sequences <= batch.num_sequences);
  attend_decode({.batch = &batch,
                 .first_sequence = args.first_sequence,
                 .num_sequences = args.num_sequences,
                 .q = args.q_latent,
                 .q_tail = args.q_rope,
                 .k_pages = &args.pages,
                 .num_kv_heads = 1,
                 .key_size = args.pages.shape[2],
                 .value_size = args.q_latent.shape[2],
                 .scale = args.scale,
                 .max_keys = args.max_keys,
                 .out = args.out});
}

// The chosen keys take the places 0 … K − 1: the same chain as over a context of K tokens.
void CpuStream::mla_sparse_attention(const MlaSparseAttentionArgs& args) {
  check_view(args.q_latent, Dtype::kF32, 3);
  check_view(args.q_rope, Dtype::kF32, 3);
  check_view(args.out, Dtype::kF32, 3);
  check_view(args.pages, args.pages.dtype, 3);
  check_view(args.positions, Dtype::kI32, 2);
  CHECK(is_cache_dtype(args.pages.dtype) && same_shape(args.q_latent, args.out));
  CHECK(args.q_rope.shape[1] == args.q_latent.shape[1] && args.positions.shape[1] > 0);
  CHECK(args.positions.shape[0] == args.q_latent.shape[0]);
  CHECK(args.pages.shape[2] == args.q_latent.shape[2] + args.q_rope.shape[2]);
  CHECK(args.first_token >= 0 &&
        args.first_token + args.q_latent.shape[0] <= args.batch->num_tokens);
  attend_decode({.batch = args.batch,
                 .first_sequence = 0,
                 .num_sequences = args.batch->num_sequences,
                 .q = args.q_latent,
                 .q_tail = args.q_rope,
                 .k_pages = &args.pages,
                 .num_kv_heads = 1,
                 .key_size = args.pages.shape[2],
                 .value_size = args.q_latent.shape[2],
                 .scale = args.scale,
                 .positions = &args.positions,
                 .first_token = args.first_token,
                 .out = args.out});
}

}  // namespace ferry::cpu
