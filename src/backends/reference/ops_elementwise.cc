// Ops that look at one row or one element at a time: norms, rope, SwiGLU, add, copy.
#include <cmath>

#include "backends/reference/access.h"
#include "backends/reference/ops.h"

namespace ferry::reference {
namespace {

// A row of a [T, D] or [T, H, D] tensor, counting T·H rows.
float* flat_row(const TensorView& x, int64_t i) {
  return x.rank == 2 ? row(x, i) : row(x, i / x.shape[1], i % x.shape[1]);
}

}  // namespace

// Zhang & Sennrich 2019, "Root Mean Square Layer Normalization", eq. 4, with ε inside the root.
void rms_norm(const RmsNormArgs& args) {
  CHECK(same_shape(args.x, args.out));
  const int64_t size = args.x.shape[args.x.rank - 1];
  CHECK(args.weight.rank == 1 && args.weight.shape[0] == size);
  const float* weight = vector(args.weight);
  const int64_t rows = size == 0 ? 0 : args.x.num_elements() / size;
  for (int64_t r = 0; r < rows; ++r) {
    const float* x = flat_row(args.x, r);
    float* out = flat_row(args.out, r);
    const float mean_square = dot(x, x, size) / static_cast<float>(size);
    const float inverse_root = 1.0f / std::sqrt(mean_square + args.epsilon);
    for (int64_t i = 0; i < size; ++i) out[i] = weight[i] * (x[i] * inverse_root);
  }
}

// Ba et al. 2016, "Layer Normalization", eq. 3, with ε inside the root.
void layer_norm(const LayerNormArgs& args) {
  CHECK(same_shape(args.x, args.out));
  const int64_t size = args.x.shape[1];
  CHECK(args.weight.shape[0] == size && args.bias.shape[0] == size);
  const float* weight = vector(args.weight);
  const float* bias = vector(args.bias);
  for (int64_t t = 0; t < args.x.shape[0]; ++t) {
    const float* x = row(args.x, t);
    float* out = row(args.out, t);
    float sum = 0;
    for (int64_t i = 0; i < size; ++i) sum += x[i];
    const float mean = sum / static_cast<float>(size);
    float square_sum = 0;
    for (int64_t i = 0; i < size; ++i) square_sum += (x[i] - mean) * (x[i] - mean);
    const float variance = square_sum / static_cast<float>(size);
    const float inverse_root = 1.0f / std::sqrt(variance + args.epsilon);
    for (int64_t i = 0; i < size; ++i)
      out[i] = weight[i] * ((x[i] - mean) * inverse_root) + bias[i];
  }
}

// Su et al. 2021, "RoFormer", eq. 34: each pair (a, b) turns by the angle of its frequency.
void rope(const RopeArgs& args) {
  const TensorView& x = args.x;
  CHECK(x.rank == 3 && x.shape[2] % 2 == 0 && args.positions.shape[0] == x.shape[0]);
  const int32_t* positions = vector<int32_t>(args.positions);
  const int64_t half = x.shape[2] / 2;
  for (int64_t t = 0; t < x.shape[0]; ++t) {
    const float* cosine = row(args.cos_sin, positions[t]);
    const float* sine = cosine + half;
    for (int64_t h = 0; h < x.shape[1]; ++h) {
      float* head = row(x, t, h);
      for (int64_t i = 0; i < half; ++i) {
        const bool interleaved = args.layout == RopeLayout::kInterleaved;
        float& a = interleaved ? head[2 * i] : head[i];
        float& b = interleaved ? head[2 * i + 1] : head[i + half];
        const float turned = a * cosine[i] - b * sine[i];
        b = a * sine[i] + b * cosine[i];
        a = turned;
      }
    }
  }
}

// Shazeer 2020, "GLU Variants Improve Transformer": silu(z) = z / (1 + e^-z).
void swiglu(const SwigluArgs& args) {
  CHECK(same_shape(args.gate, args.up) && same_shape(args.gate, args.out));
  for (int64_t t = 0; t < args.gate.shape[0]; ++t) {
    const float* gate = row(args.gate, t);
    const float* up = row(args.up, t);
    float* out = row(args.out, t);
    for (int64_t i = 0; i < args.gate.shape[1]; ++i) {
      out[i] = gate[i] / (1.0f + std::exp(-gate[i])) * up[i];
    }
  }
}

void add(const AddArgs& args) {
  CHECK(same_shape(args.a, args.b) && same_shape(args.a, args.out));
  const float* a = static_cast<const float*>(args.a.data);
  const float* b = static_cast<const float*>(args.b.data);
  float* out = static_cast<float*>(args.out.data);
  for (int64_t i = 0; i < args.a.num_elements(); ++i) {
    out[offset_of(args.out, i)] = a[offset_of(args.a, i)] + b[offset_of(args.b, i)];
  }
}

void copy(const CopyArgs& args) {
  CHECK(same_shape(args.x, args.out));
  for (int64_t i = 0; i < args.x.num_elements(); ++i) {
    const float value = load(args.x.data, args.x.dtype, offset_of(args.x, i));
    store(args.out.data, args.out.dtype, offset_of(args.out, i), value);
  }
}

}  // namespace ferry::reference
