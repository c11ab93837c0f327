// The four ways a stored matrix holds U^K or U^V of latent attention (MODELS §3.3), as views.
//
//   kv_b_proj [H · (nope + value), rank]: per head `nope` rows of U^K, then `value` rows of U^V
//   k_b_proj  [H · rank, nope]:           U^K, each head transposed (GGUF)
//   v_b_proj  [H · value, rank]:          U^V
#pragma once

#include "device/weight.h"

namespace ferry::weights {

inline HeadMatrixView up_k_view(const WeightView& kv_b, int64_t heads, int64_t nope,
                                int64_t value) {
  return {.weight = kv_b,
          .num_heads = heads,
          .rows = nope,
          .cols = kv_b.cols,
          .first_row = 0,
          .head_stride = nope + value};
}

inline HeadMatrixView up_v_view(const WeightView& kv_b, int64_t heads, int64_t nope,
                                int64_t value) {
  return {.weight = kv_b,
          .num_heads = heads,
          .rows = value,
          .cols = kv_b.cols,
          .first_row = nope,
          .head_stride = nope + value};
}

inline HeadMatrixView k_b_view(const WeightView& k_b, int64_t heads, int64_t rank) {
  return {.weight = k_b,
          .num_heads = heads,
          .rows = rank,
          .cols = k_b.cols,
          .first_row = 0,
          .head_stride = rank,
          .transposed = true};
}

inline HeadMatrixView v_b_view(const WeightView& v_b, int64_t heads, int64_t value) {
  return {.weight = v_b,
          .num_heads = heads,
          .rows = value,
          .cols = v_b.cols,
          .first_row = 0,
          .head_stride = value};
}

}  // namespace ferry::weights
