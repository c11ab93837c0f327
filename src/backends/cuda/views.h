// From the views of the seam to the parameters of kernels, for ops_*.cc.
#pragma once

#include "backends/cuda/kernels/params.h"
#include "base/checked_math.h"
#include "base/tensor_view.h"
#include "device/batch.h"
#include "device/int8_rows.h"

namespace ferry::cuda {

inline constexpr int64_t kBf16Bytes = 2;

template <typename T = float>
T* data_of(const TensorView& x) {
  return static_cast<T*>(x.data);
}

inline int32_t element_type(Dtype dtype) {
  switch (dtype) {
    case Dtype::kF32: return kElementF32;
    case Dtype::kF16: return kElementF16;
    case Dtype::kBF16: return kElementBF16;
    case Dtype::kI8: return kElementI8;
    default: CHECK(false); return kElementF32;
  }
}

// `group`: elements of a row that share a scale, where the pages are i8.
inline PagesParam pages_param(const TensorView& pages, int64_t group) {
  CHECK(pages.rank == 3 && pages.stride[2] == 1);
  PagesParam param{.data = data_of<uint8_t>(pages),
                   .num_pages = pages.shape[0],
                   .block_size = pages.shape[1],
                   .width = pages.shape[2],
                   .page_stride = pages.stride[0],
                   .row_stride = pages.stride[1],
                   .group = 0,
                   .scales_offset = 0,
                   .groups = 0,
                   .type = element_type(pages.dtype)};
  if (pages.dtype == Dtype::kI8) {
    CHECK(group > 0);
    param.group = group;
    param.groups = ceil_div(pages.shape[2], group);
    param.scales_offset = int8_scales_offset(pages.shape[1], pages.shape[2]);
  }
  return param;
}

inline BatchParam batch_param(const BatchView& batch) {
  return {.query_start = data_of<int32_t>(batch.query_start.device),
          .context_lengths = data_of<int32_t>(batch.context_lengths.device),
          .block_tables = data_of<int32_t>(batch.block_tables.device),
          .num_sequences = batch.num_sequences,
          .max_blocks = batch.max_blocks,
          .block_size = batch.block_size};
}

// Of IndexScoresArgs or EntryScoresArgs.
template <typename Args>
inline IndexScoresParams scores_param(const Args& args) {
  const int64_t size = args.q.shape[2];
  return {.q = data_of(args.q),
          .q_stride = {args.q.stride[0], args.q.stride[1]},
          .weights = data_of(args.weights),
          .weights_stride = args.weights.stride[0],
          .heads = args.q.shape[1],
          .size = size,
          .keys = pages_param(args.pages, size),
          .batch = batch_param(*args.batch),
          .first_token = args.first_token,
          .out = data_of(args.out),
          .out_stride = args.out.stride[0],
          .columns = args.out.shape[1]};
}

}  // namespace ferry::cuda
