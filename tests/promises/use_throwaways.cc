// Linked by promises.py from a tree with a throw-away architecture, chip and storage format: finds
// each in its table, then multiplies by a matrix of the new format on the new chip and on the cpu
// backend, and builds a model of the new architecture.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "device/backend.h"
#include "models/registry/select.h"
#include "quant/storage_format.h"
#include "weights/shape_recorder.h"

namespace {

using namespace ferry;

void require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "use_throwaways: %s\n", what);
  std::exit(1);
}

constexpr int64_t kRows = 5, kCols = 64;

// Largest difference between x Wᵀ on `backend` and the same by hand.
float matmul_error(Backend& backend, const quant::StorageFormat& format) {
  std::vector<float> w(kRows * kCols), x(kCols), exact(kRows, 0.0f);
  for (size_t i = 0; i < w.size(); ++i) w[i] = std::sin(static_cast<float>(i));
  for (size_t i = 0; i < x.size(); ++i) x[i] = std::cos(static_cast<float>(i));
  std::vector<uint8_t> stored(format.bytes_for(kRows * kCols));
  format.encode(w.data(), stored.data(), kRows * kCols / format.block_elements);
  format.decode(stored.data(), w.data(), kRows * kCols / format.block_elements);
  for (int64_t n = 0; n < kRows; ++n) {
    for (int64_t k = 0; k < kCols; ++k) exact[n] += w[n * kCols + k] * x[k];
  }
  auto weight =
      backend.import_weight({.format = &format, .data = stored, .rows = kRows, .cols = kCols});
  auto memory = backend.allocate((kCols + kRows) * static_cast<int64_t>(sizeof(float)));
  auto stream = backend.create_stream();
  require(weight.ok() && memory.ok() && stream.ok(), "the chip has no memory");
  float* device_x = static_cast<float*>(memory->data);
  float* device_y = device_x + kCols;
  (*stream)->copy_in(device_x, x.data(), kCols * sizeof(float));
  (*stream)->matmul({.x = TensorView::contiguous(device_x, Dtype::kF32, {1, kCols}),
                     .w = weight->view,
                     .out = TensorView::contiguous(device_y, Dtype::kF32, {1, kRows})});
  std::vector<float> y(kRows);
  (*stream)->copy_out(y.data(), device_y, kRows * sizeof(float));
  require((*stream)->synchronize().ok(), "the stream failed");
  float worst = 0;
  for (int64_t n = 0; n < kRows; ++n) worst = std::fmax(worst, std::fabs(y[n] - exact[n]));
  return worst;
}

}  // namespace

int main() {
  const quant::StorageFormat* format = quant::find_format("throwaway");
  require(format != nullptr && quant::find_gguf_type(9999) == format, "format not found");
  for (const char* name : {"throwaway", "cpu"}) {
    auto backend = open_backend(name, {});
    require(backend.ok(), "chip not found");
    const float error = matmul_error(**backend, *format);
    std::printf("matmul of the new format on %s: largest error %g\n", name, error);
    require(error < 1e-4f, "wrong product");
  }

  const Json config = {{"model_type", "throwaway"}, {"vocab_size", 64},
                       {"hidden_size", 32},         {"intermediate_size", 48},
                       {"num_hidden_layers", 2},    {"num_attention_heads", 4},
                       {"num_key_value_heads", 2},  {"max_position_embeddings", 128},
                       {"rms_norm_eps", 1e-6}};
  auto architecture = models::select_architecture(config);
  require(architecture.ok(), "architecture not found");
  auto spec = (*architecture)->read_spec(config);
  require(spec.ok(), "config not read");
  weights::ShapeRecorder recorder;
  auto model = (*architecture)->build(*spec, recorder, {.max_context = 128});
  require(model != nullptr && recorder.records().size() > 20, "model not built");
  std::printf("a model of the new architecture has %zu tensors\n", recorder.records().size());
  return 0;
}
