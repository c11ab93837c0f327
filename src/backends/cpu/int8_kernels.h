// Int8Kernels: attention of generated tokens over an int8 cache (device/int8_rows.h) in whole
// numbers: queries are rounded to int8 by the same groups as the keys, probabilities to uint8 by
// tile. Sums inside a group, and inside a tile, are exact.
#pragma once

#include <cstdint>

#include "backends/cpu/kernels.h"

namespace ferry::cpu {

// Longer groups are for the other kernels.
inline constexpr int64_t kInt8GroupMost = 1024;

// Queries as int8: `groups` = ceil(size / group) scales and sums for each.
struct Int8Queries {
  int64_t rows = 0;
  int64_t size = 0;
  int64_t group = 0;
  int64_t groups = 0;
  int8_t* q = nullptr;  // [rows, stride]
  int64_t stride = 0;
  float* scales = nullptr;  // [rows, groups]
  int32_t* sums = nullptr;  // [rows, groups] Σ q
};

// scores[r][j] = Σ_g q.scales[r][g] · scales[j][g] · Σ_k q[r][k] keys[j][k], groups ascending
struct Int8Scores {
  Int8Queries q;
  int64_t num_keys = 0;
  const int8_t* const* keys = nullptr;   // [num_keys] rows of `size`
  const float* const* scales = nullptr;  // [num_keys] rows of `groups`
  float* scores = nullptr;               // [rows, kKeyTile]; all of a row is written
  NextRows next;
};

// out[r] += Σ_j p[r][j] scales[j][0] values[j]
struct Int8Values {
  int64_t rows = 0;
  int64_t num_keys = 0;
  int64_t size = 0;
  const float* p = nullptr;               // [rows, kKeyTile], 0 from num_keys on
  const int8_t* const* values = nullptr;  // [num_keys] rows of `size`
  const float* const* scales = nullptr;   // [num_keys], the first counts
  uint8_t* weights = nullptr;             // scratch [rows, kKeyTile]
  float* weight_scales = nullptr;         // scratch [rows]
  float* out = nullptr;                   // [rows, size], out_stride apart
  int64_t out_stride = 0;
  NextRows next;
};

struct Int8Kernels {
  // From f32 rows [rows, size], contiguous.
  void (*quantize)(const float* queries, const Int8Queries& q);
  void (*key_scores)(const Int8Scores& a);
  void (*add_values)(const Int8Values& a);
};

}  // namespace ferry::cpu
