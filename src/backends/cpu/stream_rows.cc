// Ops that treat rows or elements one by one.
#include <cmath>

#include "backends/cpu/cpu_stream.h"
#include "base/half.h"
#include "device/host_ops.h"
#include "device/int8_rows.h"

namespace ferry::cpu {
namespace {

bool is_float(Dtype dtype) {
  return dtype == Dtype::kF32 || dtype == Dtype::kF16 || dtype == Dtype::kBF16;
}

float load_element(const void* data, Dtype dtype, int64_t i) {
  if (dtype == Dtype::kF16) return f16_to_f32(static_cast<const uint16_t*>(data)[i]);
  if (dtype == Dtype::kBF16) return bf16_to_f32(static_cast<const uint16_t*>(data)[i]);
  return static_cast<const float*>(data)[i];
}

void store_element(void* data, Dtype dtype, int64_t i, float value) {
  if (dtype == Dtype::kF16) {
    static_cast<uint16_t*>(data)[i] = f32_to_f16(value);
  } else if (dtype == Dtype::kBF16) {
    static_cast<uint16_t*>(data)[i] = f32_to_bf16(value);
  } else {
    static_cast<float*>(data)[i] = value;
  }
}

// n neighbouring elements of any two float types.
void convert_row(const Kernels& kernels, const void* src, Dtype src_dtype, void* dst,
                 Dtype dst_dtype, int64_t n) {
  if (src_dtype == dst_dtype) {
    std::memmove(dst, src, static_cast<size_t>(n * dtype_bytes(src_dtype)));
  } else if (src_dtype == Dtype::kF32) {
    kernels.from_f32(static_cast<const float*>(src), dst_dtype, static_cast<uint16_t*>(dst), n);
  } else if (dst_dtype == Dtype::kF32) {
    kernels.to_f32(static_cast<const uint16_t*>(src), src_dtype, static_cast<float*>(dst), n);
  } else {
    float between[256];
    for (int64_t i = 0; i < n; i += 256) {
      const int64_t count = std::min<int64_t>(256, n - i);
      kernels.to_f32(static_cast<const uint16_t*>(src) + i, src_dtype, between, count);
      kernels.from_f32(between, dst_dtype, static_cast<uint16_t*>(dst) + i, count);
    }
  }
}

// Offset in elements of row number `row` of all rows of a view.
int64_t row_offset(const TensorView& x, int64_t row) {
  int64_t offset = 0;
  for (int dim = x.rank - 2; dim >= 0; --dim) {
    offset += row % x.shape[dim] * x.stride[dim];
    row /= x.shape[dim];
  }
  return offset;
}

void* element_at(const TensorView& x, int64_t offset) {
  return static_cast<char*>(x.data) + offset * dtype_bytes(x.dtype);
}

}  // namespace

void CpuStream::rms_norm(const RmsNormArgs& args) {
  const RowView x(args.x), out(args.out);
  check_view(args.weight, Dtype::kF32, 1);
  CHECK(same_shape(args.x, args.out) && args.weight.shape[0] == x.size);
  const float* weight = row_of(args.weight, 0);
  parallel(x.count, 2 * x.size, [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r) {
      kernels_.rms_norm(x[r], weight, args.epsilon, out[r], x.size);
    }
  });
}

void CpuStream::layer_norm(const LayerNormArgs& args) {
  const RowView x(args.x), out(args.out);
  check_view(args.weight, Dtype::kF32, 1);
  check_view(args.bias, Dtype::kF32, 1);
  CHECK(same_shape(args.x, args.out) && args.weight.shape[0] == x.size);
  CHECK(args.bias.shape[0] == x.size);
  const float* weight = row_of(args.weight, 0);
  const float* bias = row_of(args.bias, 0);
  parallel(x.count, 8 * x.size, [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r) {
      const float* row = x[r];
      const double size = static_cast<double>(x.size);
      double sum = 0, squares = 0;
      for (int64_t i = 0; i < x.size; ++i) sum += static_cast<double>(row[i]);
      const double mean = sum / size;
      for (int64_t i = 0; i < x.size; ++i) {
        const double difference = static_cast<double>(row[i]) - mean;
        squares += difference * difference;
      }
      const double factor = 1.0 / std::sqrt(squares / size + static_cast<double>(args.epsilon));
      float* to = out[r];
      for (int64_t i = 0; i < x.size; ++i) {
        to[i] =
            weight[i] * static_cast<float>((static_cast<double>(row[i]) - mean) * factor) + bias[i];
      }
    }
  });
}

void CpuStream::add_rms_norm(const AddRmsNormArgs& args) {
  const RowView residual(args.residual), delta(args.delta), out(args.out);
  check_view(args.weight, Dtype::kF32, 1);
  CHECK(same_shape(args.residual, args.delta) && same_shape(args.residual, args.out));
  CHECK(args.weight.shape[0] == residual.size);
  const float* weight = row_of(args.weight, 0);
  parallel(residual.count, 3 * residual.size, [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r) {
      kernels_.add(residual[r], delta[r], residual[r], residual.size);
      kernels_.rms_norm(residual[r], weight, args.epsilon, out[r], residual.size);
    }
  });
}

void CpuStream::rope(const RopeArgs& args) {
  const TensorView& x = args.x;
  check_view(x, Dtype::kF32, 3);
  check_view(args.positions, Dtype::kI32, 1);
  check_view(args.cos_sin, Dtype::kF32, 2);
  CHECK(args.positions.shape[0] == x.shape[0] && args.cos_sin.shape[1] == x.shape[2]);
  CHECK(x.shape[2] % 2 == 0);
  const int64_t half = x.shape[2] / 2;
  const int32_t* positions = row_of<int32_t>(args.positions, 0);
  const auto rotate =
      args.layout == RopeLayout::kHalf ? kernels_.rope_half : kernels_.rope_interleaved;
  parallel(x.shape[0], 2 * x.shape[1] * x.shape[2], [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t) {
      CHECK(positions[t] >= 0 && positions[t] < args.cos_sin.shape[0]);
      const float* cosine = row_of(args.cos_sin, positions[t]);
      for (int64_t h = 0; h < x.shape[1]; ++h) rotate(row_of(x, t, h), cosine, cosine + half, half);
    }
  });
}

void CpuStream::kv_write(const KvWriteArgs& args) {
  const TensorView& pages = args.pages;
  check_view(args.rows, Dtype::kF32, 2);
  check_view(args.slots, Dtype::kI32, 1);
  check_view(pages, pages.dtype, 3);
  const bool int8 = pages.dtype == Dtype::kI8;
  CHECK((is_float(pages.dtype) || int8) && args.rows.shape[1] == pages.shape[2]);
  CHECK(!int8 || args.group > 0);
  CHECK(args.rows.shape[0] == args.slots.shape[0]);
  const int32_t* slots = row_of<int32_t>(args.slots, 0);
  const int64_t block_size = pages.shape[1];
  parallel(
      args.rows.shape[0], (int8 ? 4 : 1) * pages.shape[2], [&](int64_t begin, int64_t end, int) {
        for (int64_t t = begin; t < end; ++t) {
          const int64_t page = slots[t] / block_size;
          CHECK(slots[t] >= 0 && page < pages.shape[0]);
          if (int8) {
            int8_write_row(pages, slots[t], args.group, row_of(args.rows, t));
            continue;
          }
          const int64_t offset = page * pages.stride[0] + slots[t] % block_size * pages.stride[1];
          convert_row(kernels_, row_of(args.rows, t), Dtype::kF32, element_at(pages, offset),
                      pages.dtype, pages.shape[2]);
        }
      });
}

void CpuStream::swiglu(const SwigluArgs& args) {
  const RowView gate(args.gate), up(args.up), out(args.out);
  CHECK(same_shape(args.gate, args.up) && same_shape(args.gate, args.out));
  parallel(gate.count, 4 * gate.size, [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r) kernels_.swiglu(gate[r], up[r], out[r], gate.size);
  });
}

void CpuStream::gather_rows(const GatherRowsArgs& args) {
  check_view(args.x, Dtype::kF32, 2);
  check_view(args.out, Dtype::kF32, 2);
  check_view(args.rows, Dtype::kI32, 1);
  CHECK(args.out.shape[0] == args.rows.shape[0] && args.out.shape[1] == args.x.shape[1]);
  const int32_t* rows = row_of<int32_t>(args.rows, 0);
  const int64_t size = args.x.shape[1];
  parallel(args.out.shape[0], size, [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r) {
      CHECK(rows[r] >= 0 && rows[r] < args.x.shape[0]);
      copy_bytes(row_of(args.out, r), row_of(args.x, rows[r]), size * 4);
    }
  });
}

void CpuStream::add(const AddArgs& args) {
  const RowView a(args.a), b(args.b), out(args.out);
  CHECK(same_shape(args.a, args.b) && same_shape(args.a, args.out));
  parallel(a.count, a.size, [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r) kernels_.add(a[r], b[r], out[r], a.size);
  });
}

void CpuStream::copy(const CopyArgs& args) {
  const TensorView& x = args.x;
  const TensorView& out = args.out;
  CHECK(is_float(x.dtype) && is_float(out.dtype) && same_shape(x, out));
  const int last = x.rank - 1;
  const int64_t size = x.shape[last];
  if (size == 0) return;
  const bool contiguous = size == 1 || (x.stride[last] == 1 && out.stride[last] == 1);
  parallel(x.num_elements() / size, contiguous ? size : 8 * size,
           [&](int64_t begin, int64_t end, int) {
             for (int64_t r = begin; r < end; ++r) {
               const void* src = element_at(x, row_offset(x, r));
               void* dst = element_at(out, row_offset(out, r));
               if (contiguous) {
                 convert_row(kernels_, src, x.dtype, dst, out.dtype, size);
                 continue;
               }
               for (int64_t i = 0; i < size; ++i) {
                 store_element(dst, out.dtype, i * out.stride[last],
                               load_element(src, x.dtype, i * x.stride[last]));
               }
             }
           });
}

void CpuStream::top_logits(const TopLogitsArgs& args) {
  check_view(args.x, Dtype::kF32, 2);
  check_view(args.values, Dtype::kF32, 2);
  check_view(args.ids, Dtype::kI32, 2);
  CHECK(args.values.shape[0] == args.x.shape[0] && args.ids.shape[0] == args.x.shape[0]);
  parallel(args.x.shape[0], args.x.shape[1],
           [&](int64_t begin, int64_t end, int) { host_ops::top_logits(args, begin, end); });
}

}  // namespace ferry::cpu
