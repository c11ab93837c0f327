// DecodeTiles: the queries of one group against the keys of one tile, multiplied in one of three
// ways: f32 (the cache is turned into f32 first), bf16 or int8 (where it lies). Which one it is
// depends on the dtype of the cache and the processor alone.
#pragma once

#include "backends/cpu/paged_rows.h"

namespace ferry::cpu {

struct DecodeKernels {
  const Kernels& f32;
  const Bf16Kernels* bf16;  // at most one of the two, and only if that is how it is to be done
  const Int8Kernels* int8;
};

// Arrays of one thread.
struct DecodeTileScratch {
  float *queries, *scores, *keys,
      *values;                           // [rows, key], [rows, kKeyTile], [kKeyTile, key / value]
  float *rounded, *weights;              // queries and probabilities in bf16 or int8
  float *scales, *sums, *weight_scales;  // [rows, groups], [rows, groups], [rows]

  DecodeTileScratch(ScratchCutter& cut, const DecodeForm& form, int64_t rows)
      : queries(cut.take(rows * form.key_size)),
        scores(cut.take(rows * kKeyTile)),
        keys(cut.take(kKeyTile * form.key_size)),
        values(form.v_pages == nullptr ? keys : cut.take(kKeyTile * form.value_size)),
        rounded(cut.take(rows * ceil_div(form.key_size, 2))),
        weights(cut.take(rows * kKeyTile / 2)),
        scales(cut.take(rows * ceil_div(form.key_size, form.value_size))),
        sums(cut.take(rows * ceil_div(form.key_size, form.value_size))),
        weight_scales(cut.take(rows)) {}
};

class DecodeTiles {
 public:
  // `positions` of the keys, or nullptr: all from 0 on. The queries lie in scratch.queries.
  DecodeTiles(const DecodeKernels& kernels, const DecodeForm& form, int64_t sequence,
              int64_t kv_head, int64_t rows, const int32_t* positions,
              const DecodeTileScratch& scratch)
      : kernels_(kernels),
        form_(form),
        rows_(rows),
        positions_(positions),
        s_(scratch),
        keys_(kernels.f32, *form.k_pages, *form.batch, sequence, kv_head * form.key_size,
              form.key_size, form.value_size),
        values_(kernels.f32, apart() ? *form.v_pages : *form.k_pages, *form.batch, sequence,
                kv_head * form.value_size, form.value_size, form.value_size) {
    if (kernels.bf16 != nullptr) {
      kernels.f32.from_f32(s_.queries, Dtype::kBF16, halves(s_.rounded), rows * form.key_size);
    } else if (kernels.int8 != nullptr) {
      kernels.int8->quantize(s_.queries, int8_queries());
    }
  }

  // Of keys [first, first + count) to scratch.scores; asks for those behind, up to `end`.
  void score(int64_t first, int64_t count, int64_t end) {
    const NextRows next = next_rows(keys_, first + kKeyTile, end);
    if (kernels_.bf16 != nullptr) {
      load_bf16(keys_, first, count, s_.keys);
      kernels_.bf16->key_scores({.rows = rows_,
                                 .num_keys = count,
                                 .size = form_.key_size,
                                 .q = halves(s_.rounded),
                                 .q_stride = form_.key_size,
                                 .keys = half_rows_.data(),
                                 .scores = s_.scores,
                                 .next = next});
    } else if (kernels_.int8 != nullptr) {
      load_int8(keys_, first, count);
      kernels_.int8->key_scores({.q = int8_queries(),
                                 .num_keys = count,
                                 .keys = int8_rows_.data(),
                                 .scales = scales_.data(),
                                 .scores = s_.scores,
                                 .next = next});
    } else {
      load_f32(keys_, first, count, s_.keys);
      kernels_.f32.key_scores({.rows = rows_,
                               .num_keys = count,
                               .size = form_.key_size,
                               .q = s_.queries,
                               .q_stride = form_.key_size,
                               .keys = f32_rows_.data(),
                               .scores = s_.scores,
                               .next = next});
    }
  }

  // Scores of `count` keys → exponentials; largest, sum [rows] and out [rows, value_size] as in
  // SoftmaxRow.
  void soften(int64_t count, bool first, float* largest, float* sum, float* out) {
    for (int64_t r = 0; r < rows_; ++r) {
      const SoftmaxRow row{.scores = s_.scores + r * kKeyTile,
                           .num_keys = count,
                           .scale = form_.scale,
                           .first = first,
                           .largest = largest + r,
                           .sum = sum + r,
                           .out = out + r * form_.value_size,
                           .size = form_.value_size};
      if (kernels_.bf16 != nullptr) {
        kernels_.bf16->softmax_row(row, halves(s_.weights) + r * kKeyTile);
      } else {
        kernels_.f32.softmax_row(row);
      }
    }
  }

  // out [rows, value_size] += what soften() left in scratch.scores times the values of the same
  // keys.
  void add_values(int64_t first, int64_t count, int64_t end, float* out) {
    const NextRows next = apart() ? next_rows(values_, first + kKeyTile, end) : NextRows{};
    if (kernels_.bf16 != nullptr) {
      if (apart()) load_bf16(values_, first, count, s_.values);
      kernels_.bf16->add_values({.rows = rows_,
                                 .num_keys = count,
                                 .size = form_.value_size,
                                 .p = halves(s_.weights),
                                 .values = half_rows_.data(),
                                 .out = out,
                                 .out_stride = form_.value_size,
                                 .next = next});
    } else if (kernels_.int8 != nullptr) {
      if (apart()) load_int8(values_, first, count);
      kernels_.int8->add_values({.rows = rows_,
                                 .num_keys = count,
                                 .size = form_.value_size,
                                 .p = s_.scores,
                                 .values = int8_rows_.data(),
                                 .scales = scales_.data(),
                                 .weights = reinterpret_cast<uint8_t*>(s_.weights),
                                 .weight_scales = s_.weight_scales,
                                 .out = out,
                                 .out_stride = form_.value_size,
                                 .next = next});
    } else {
      if (apart()) load_f32(values_, first, count, s_.values);
      kernels_.f32.add_values({.rows = rows_,
                               .num_keys = count,
                               .size = form_.value_size,
                               .p = s_.scores,
                               .values = f32_rows_.data(),
                               .out = out,
                               .out_stride = form_.value_size,
                               .next = next});
    }
  }

 private:
  bool apart() const { return form_.v_pages != nullptr; }
  static uint16_t* halves(float* scratch) { return reinterpret_cast<uint16_t*>(scratch); }

  Int8Queries int8_queries() const {
    return {.rows = rows_,
            .size = form_.key_size,
            .group = form_.value_size,
            .groups = ceil_div(form_.key_size, form_.value_size),
            .q = reinterpret_cast<int8_t*>(s_.rounded),
            .stride = form_.key_size,
            .scales = s_.scales,
            .sums = reinterpret_cast<int32_t*>(s_.sums)};
  }

  // fn(first place of a tile), or fn(its positions).
  template <typename Fn>
  void with_place(int64_t first, Fn&& fn) const {
    if (positions_ != nullptr) {
      fn(positions_ + first);
    } else {
      fn(first);
    }
  }
  void load_f32(const PagedRows& rows, int64_t first, int64_t count, float* scratch) {
    with_place(first, [&](auto place) { rows.load(place, count, scratch, f32_rows_); });
  }
  void load_bf16(const PagedRows& rows, int64_t first, int64_t count, float* scratch) {
    with_place(first, [&](auto place) {
      rows.load_bf16(place, count, halves(scratch), nullptr, half_rows_);
    });
  }
  void load_int8(const PagedRows& rows, int64_t first, int64_t count) {
    with_place(first, [&](auto place) {
      TileBytes stored;
      rows.locate(place, count, stored);
      for (size_t i = 0; i < static_cast<size_t>(count); ++i) {
        int8_rows_[i] = reinterpret_cast<const int8_t*>(stored[i]);
      }
      rows.locate_scales(place, count, scales_);
    });
  }

  // Where the tile behind this one lies, for the prefetch.
  NextRows next_rows(const PagedRows& rows, int64_t first, int64_t end) {
    const int64_t count = std::clamp<int64_t>(end - first, 0, kKeyTile);
    if (count > 0) with_place(first, [&](auto place) { rows.locate(place, count, next_); });
    return {next_.data(), count, rows.bytes()};
  }

  const DecodeKernels& kernels_;
  const DecodeForm& form_;
  int64_t rows_;
  const int32_t* positions_;
  const DecodeTileScratch& s_;
  PagedRows keys_, values_;
  TileRows f32_rows_;
  TileHalves half_rows_;
  std::array<const int8_t*, kKeyTile> int8_rows_;
  TileScales scales_;
  TileBytes next_;
};

}  // namespace ferry::cpu
