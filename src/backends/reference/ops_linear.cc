// Ops around weight matrices, and the ops that pick rows: embed, matmul, grouped and per-head
// matmul, gather. Weights are decoded row by row into f32 before they are used.
#include <algorithm>

#include "backends/reference/access.h"
#include "backends/reference/ops.h"

namespace ferry::reference {
namespace {

// out[t, n] = x[t] · W[n] for t in [first, last)
void multiply_rows(const TensorView& x, const WeightView& w, int64_t first, int64_t last,
                   const TensorView& out) {
  CHECK(x.shape[1] == w.cols && out.shape[1] == w.rows);
  std::vector<float> weight(static_cast<size_t>(w.cols));
  for (int64_t n = 0; n < w.rows && first < last; ++n) {
    decode_row(w, n, weight.data());
    for (int64_t t = first; t < last; ++t) {
      row(out, t)[n] = dot(row(x, t), weight.data(), w.cols);
    }
  }
}

}  // namespace

void embed(const EmbedArgs& args) {
  CHECK(args.out.shape[0] == args.ids.shape[0] && args.out.shape[1] == args.table.cols);
  const int32_t* ids = vector<int32_t>(args.ids);
  for (int64_t t = 0; t < args.ids.shape[0]; ++t) decode_row(args.table, ids[t], row(args.out, t));
}

void matmul(const MatmulArgs& args) {
  CHECK(args.x.shape[0] == args.out.shape[0]);
  multiply_rows(args.x, args.w, 0, args.x.shape[0], args.out);
  if (args.bias.empty()) return;
  CHECK(args.bias.shape[0] == args.w.rows);
  const float* bias = vector(args.bias);
  for (int64_t t = 0; t < args.out.shape[0]; ++t) {
    for (int64_t n = 0; n < args.w.rows; ++n) row(args.out, t)[n] += bias[n];
  }
}

void grouped_matmul(const GroupedMatmulArgs& args) {
  const int64_t num_experts = static_cast<int64_t>(args.experts.size());
  CHECK(args.expert_offsets.shape[0] == num_experts + 1);
  const int32_t* offsets = vector<int32_t>(args.expert_offsets);
  for (int64_t e = 0; e < num_experts; ++e) {
    multiply_rows(args.x, args.experts[e], offsets[e], offsets[e + 1], args.out);
  }
}

// The stored matrix M of a head is U or Uᵀ; what is applied is U or Uᵀ; they agree or they don't.
void per_head_matmul(const PerHeadMatmulArgs& args) {
  const HeadMatrixView& u = args.u;
  const bool by_rows = u.transposed == args.apply_transposed;  // out = M x, otherwise out = Mᵀ x
  CHECK(args.x.shape[1] == u.num_heads && args.out.shape[1] == u.num_heads);
  CHECK(args.x.shape[2] == (by_rows ? u.cols : u.rows));
  CHECK(args.out.shape[2] == (by_rows ? u.rows : u.cols));
  for (int64_t h = 0; h < u.num_heads; ++h) {
    const std::vector<float> m = decode_rows(u.weight, u.first_row + h * u.head_stride, u.rows);
    for (int64_t t = 0; t < args.x.shape[0]; ++t) {
      const float* x = row(args.x, t, h);
      float* out = row(args.out, t, h);
      if (by_rows) {
        for (int64_t r = 0; r < u.rows; ++r) out[r] = dot(m.data() + r * u.cols, x, u.cols);
      } else {
        std::fill(out, out + u.cols, 0.0f);
        for (int64_t r = 0; r < u.rows; ++r) {
          for (int64_t c = 0; c < u.cols; ++c) out[c] += m[r * u.cols + c] * x[r];
        }
      }
    }
  }
}

void gather_rows(const GatherRowsArgs& args) {
  CHECK(args.out.shape[0] == args.rows.shape[0] && args.out.shape[1] == args.x.shape[1]);
  const int32_t* rows = vector<int32_t>(args.rows);
  for (int64_t r = 0; r < args.rows.shape[0]; ++r) {
    std::copy_n(row(args.x, rows[r]), args.x.shape[1], row(args.out, r));
  }
}

}  // namespace ferry::reference
