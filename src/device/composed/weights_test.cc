// Weights as chips behind a vendor's libraries keep them: FP8 becomes int8 with a scale per row.
#include "device/composed/weights.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <new>
#include <vector>

#include "base/half.h"

namespace ferry::composed {
namespace {

class HostPieces : public RawMemory {
 public:
  Result<void*> take(int64_t bytes) override { return ::operator new(static_cast<size_t>(bytes)); }
  void give_back(void* data) override { ::operator delete(data); }
  void wait_idle() override {}
  Result<MemoryInfo> info() override {
    return MemoryInfo{.total_bytes = int64_t{1} << 30, .free_bytes = int64_t{1} << 30};
  }
};

Status to_host(void* dst, const void* src, int64_t bytes) {
  std::memcpy(dst, src, static_cast<size_t>(bytes));
  return {};
}

// 3 rows of E4M3 under two scales: ordinary numbers, nothing but zeros, one large among small.
struct Fp8 {
  static constexpr int64_t kRows = 3, kCols = 200;
  std::vector<uint8_t> bytes;
  std::vector<float> scale = {0.01f, 0.5f};

  Fp8() {
    std::vector<float> values(kRows * kCols, 0.0f);
    for (int k = 0; k < kCols; ++k) {
      values[k] = std::sin(static_cast<float>(k)) * 300;
      values[2 * kCols + k] = 0.125f;
    }
    values[2 * kCols + 7] = -448;
    const quant::StorageFormat& format = *quant::find_format("F8_E4M3");
    bytes.resize(values.size());
    format.encode(values.data(), bytes.data(), kRows * kCols);
  }
  HostWeight weight(bool by_head = false) const {
    return {.format = quant::find_format("F8_E4M3"),
            .data = bytes,
            .rows = kRows,
            .cols = kCols,
            .scale = scale,
            .scale_rows = 128,
            .scale_cols = 128,
            .by_head = by_head,
            .keep_alive = nullptr};
  }
};

Weight packed(const HostWeight& weight, const Packing& packing) {
  const auto pool = std::make_shared<MemoryPool>("test", std::make_unique<HostPieces>());
  return import_weight(*pool, to_host, weight, packing, pool).value();
}

TEST(Int8Weights, AreWithinHalfAStepOfTheFile) {
  const Fp8 fp8;
  for (const Dtype narrow : {Dtype::kBF16, Dtype::kF16}) {
    const Weight weight = packed(fp8.weight(), {.narrow = narrow, .int8 = true});
    const DeviceWeight& w = device_weight(weight.view);
    ASSERT_EQ(w.matrix.dtype, Dtype::kI8);
    ASSERT_EQ(w.scales.dtype, narrow);
    EXPECT_TRUE(w.rounded);
    for (int64_t n = 0; n < Fp8::kRows; ++n) {
      std::vector<float> row(Fp8::kCols);
      decode_host_row(w.host, n, row.data());
      const uint16_t bits = static_cast<const uint16_t*>(w.scales.data)[n];
      const float scale = narrow == Dtype::kBF16 ? bf16_to_f32(bits) : f16_to_f32(bits);
      float largest = 0;
      for (float value : row) largest = std::fmax(largest, std::fabs(value));
      EXPECT_GE(scale * 127, largest);
      EXPECT_LE(scale * 127, largest * 1.01f) << "not the next number above";
      for (int64_t k = 0; k < Fp8::kCols; ++k) {
        const int q = static_cast<const int8_t*>(w.matrix.data)[n * Fp8::kCols + k];
        EXPECT_LE(std::fabs(scale * static_cast<float>(q) - row[k]), scale * 0.5001f);
      }
    }
  }
}

TEST(Int8Weights, NumbersTooLargeForAScaleMakeTheirRowNotANumber) {
  Fp8 fp8;
  fp8.scale = {3e38f, 3e38f};
  const Weight weight = packed(fp8.weight(), {.int8 = true});
  const DeviceWeight& w = device_weight(weight.view);
  const float scale = bf16_to_f32(static_cast<const uint16_t*>(w.scales.data)[0]);
  EXPECT_TRUE(std::isnan(scale * 0.0f));
}

TEST(Int8Weights, TakeHalfOfWhat16BitsTake) {
  const HostWeight weight{.format = quant::find_format("F8_E4M3"),
                          .data = {},
                          .rows = 2048,
                          .cols = 7168,
                          .scale = {},
                          .keep_alive = nullptr};
  const int64_t wide = import_bytes(weight, {}), packed = import_bytes(weight, {.int8 = true});
  EXPECT_EQ(wide, int64_t{2} * 2048 * 7168);
  EXPECT_GE(packed, int64_t{2048} * 7168 + 2048 * 2);
  EXPECT_LE(packed, wide * 501 / 1000);
}

TEST(Int8Weights, MatricesOfHeadsAndOtherFormatsAreNarrow) {
  const Packing packing{.int8 = true};
  const Fp8 fp8;
  const Weight heads = packed(fp8.weight(true), packing);
  EXPECT_EQ(device_weight(heads.view).matrix.dtype, Dtype::kBF16);
  EXPECT_EQ(head_matrix({.weight = heads.view}).dtype, Dtype::kBF16);
  EXPECT_EQ(device_dtype(*quant::find_format("BF16"), packing), Dtype::kBF16);
  EXPECT_EQ(device_dtype(*quant::find_format("Q8_0"), packing), Dtype::kBF16);
  EXPECT_EQ(device_dtype(*quant::find_format("F32"), packing), Dtype::kF32);
  EXPECT_EQ(device_dtype(*quant::find_format("F8_E5M2"), packing), Dtype::kI8);
}

}  // namespace
}  // namespace ferry::composed
