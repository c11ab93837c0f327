// Products by an emulated cuBLASLt: when it is used and right, when it isn't, in graphs, and what
// is said where it fails.
#include <gmock/gmock.h>

#include <cmath>
#include <optional>
#include <vector>

#include "base/half.h"
#include "device/conformance/conformance.h"
#include "device/op_paths.h"
#include "vendor/cuda/emulated_driver.h"

namespace ferry::cuda {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

constexpr double kSumsInF32 = 2e-6;  // their error, relative to Σ |x · w|
constexpr int64_t kEveryOutput = 1;

std::vector<float> random_numbers(int64_t count, uint64_t state) {
  std::vector<float> all(static_cast<size_t>(count));
  for (float& value : all) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    value = static_cast<float>(static_cast<int64_t>(state >> 40) - (1 << 23)) * 0x1p-22f;
  }
  return all;
}

// A weight of a format, and what its numbers are once they are operands.
struct Matrix {
  Matrix(const std::string& format, int64_t of_rows, int64_t of_cols, uint64_t seed)
      : name(format), rows(of_rows), cols(of_cols), operands(random_numbers(rows * cols, seed)) {
    for (float& value : operands) {
      if (name == "F32") {
        append(value);
      } else if (name == "F16") {
        const uint16_t bits = f32_to_f16(value);
        append(bits);
        value = bf16_to_f32(f32_to_bf16(f16_to_f32(bits)));
      } else {
        const uint16_t bits = f32_to_bf16(value);
        append(bits);
        value = bf16_to_f32(bits);
      }
    }
  }
  Weight import(Backend& backend) const {
    return backend
        .import_weight({.format = quant::find_format(name),
                        .data = {bytes.data(), bytes.size()},
                        .rows = rows,
                        .cols = cols})
        .value();
  }

  std::string name;
  int64_t rows, cols;
  std::vector<float> operands;
  std::vector<uint8_t> bytes;

 private:
  template <typename T>
  void append(T number) {
    const auto* from = reinterpret_cast<const uint8_t*>(&number);
    bytes.insert(bytes.end(), from, from + sizeof number);
  }
};

Buffer floats_on(Backend& backend, int64_t count) { return backend.allocate(count * 4).value(); }

// x times a matrix, on a stream, with what is to come out.
class Multiplication {
 public:
  Multiplication(Backend& backend, const Matrix& matrix, int64_t tokens, bool has_bias = false)
      : matrix_(matrix),
        tokens_(tokens),
        weight_(matrix.import(backend)),
        x_(floats_on(backend, tokens * matrix.cols)),
        bias_(floats_on(backend, matrix.rows)),
        out_(floats_on(backend, tokens * out_stride())),
        biases_(has_bias ? random_numbers(matrix.rows, 11) : std::vector<float>()) {}

  void send(Stream& stream, uint64_t seed) {
    xs_ = random_numbers(tokens_ * matrix_.cols, seed);
    stream.copy_in(x_.data, xs_.data(), x_.bytes);
    if (!biases_.empty()) stream.copy_in(bias_.data, biases_.data(), bias_.bytes);
    stream.fill_zero(out_.data, out_.bytes);
  }
  // x: that of another with as many tokens and columns.
  MatmulArgs args(const Multiplication* other = nullptr) const {
    const Buffer& x = other == nullptr ? x_ : other->x_;
    TensorView out = TensorView::contiguous(out_.data, Dtype::kF32, {tokens_, out_stride()});
    out.shape[1] = matrix_.rows;
    return {.x = TensorView::contiguous(x.data, Dtype::kF32, {tokens_, matrix_.cols}),
            .w = weight_.view,
            .bias = biases_.empty()
                        ? TensorView()
                        : TensorView::contiguous(bias_.data, Dtype::kF32, {matrix_.rows}),
            .out = out};
  }
  // Every `step`-th output, and the last one.
  void expect_right(Stream& stream, int64_t step = kEveryOutput,
                    const Multiplication* other = nullptr) const {
    const std::vector<float>& xs = other == nullptr ? xs_ : other->xs_;
    std::vector<float> got(static_cast<size_t>(tokens_ * out_stride()));
    stream.copy_out(got.data(), out_.data, out_.bytes);
    const Status done = stream.synchronize();
    ASSERT_TRUE(done.ok()) << done.error().message;
    const int64_t count = tokens_ * matrix_.rows;
    for (int64_t i = 0; i < count + step; i += step) {
      const int64_t at = std::min(i, count - 1), t = at / matrix_.rows, n = at % matrix_.rows;
      double sum = biases_.empty() ? 0 : biases_[static_cast<size_t>(n)];
      double magnitude = std::fabs(sum);
      for (int64_t k = 0; k < matrix_.cols; ++k) {
        const float x = xs[static_cast<size_t>(t * matrix_.cols + k)];
        const float operand = matrix_.name == "F32" ? x : bf16_to_f32(f32_to_bf16(x));
        const double term =
            static_cast<double>(operand) *
            static_cast<double>(matrix_.operands[static_cast<size_t>(n * matrix_.cols + k)]);
        sum += term;
        magnitude += std::fabs(term);
      }
      ASSERT_NEAR(got[static_cast<size_t>(t * out_stride() + n)], sum, kSumsInF32 * magnitude)
          << matrix_.name << " token " << t << " row " << n;
    }
    // Nothing between the rows was touched.
    for (int64_t t = 0; t < tokens_; ++t) {
      for (int64_t n = matrix_.rows; n < out_stride(); ++n) {
        ASSERT_EQ(got[static_cast<size_t>(t * out_stride() + n)], 0);
      }
    }
  }

 private:
  int64_t out_stride() const { return (matrix_.rows + 7) / 4 * 4; }

  const Matrix& matrix_;
  int64_t tokens_;
  Weight weight_;
  Buffer x_, bias_, out_;
  std::vector<float> xs_, biases_;
};

std::shared_ptr<Backend> open_with(const std::string& release, const BackendOptions& options = {}) {
  use_driver("current");
  use_cublaslt(release);
  return open_on_driver(options);
}

std::string how_matmul(const Backend& backend) {
  for (const OpPath& path : dynamic_cast<const OpPaths&>(backend).op_paths()) {
    if (path.op == Op::kMatmul) return path.how;
  }
  return "";
}

// The products that the library was asked for by one multiplication, which is right.
int64_t products_of(Backend& backend, const Matrix& matrix, int64_t tokens, bool bias = false,
                    int64_t step = kEveryOutput) {
  const auto stream = backend.create_stream().value();
  Multiplication multiplication(backend, matrix, tokens, bias);
  multiplication.send(*stream, 3);
  const int64_t before = cublaslt_count("products");
  stream->matmul(multiplication.args());
  multiplication.expect_right(*stream, step);
  return cublaslt_count("products") - before;
}

TEST(CublasLt, MakesProductsOfManyTokens) {
  const auto backend = open_with("current");
  ASSERT_NE(backend, nullptr);
  const Matrix bf16("BF16", 40, 72, 1), f16("F16", 41, 72, 2), f32("F32", 42, 72, 3);
  EXPECT_EQ(products_of(*backend, bf16, 128), 0);
  EXPECT_EQ(products_of(*backend, bf16, 129), 1);
  EXPECT_EQ(products_of(*backend, bf16, 300, true), 1);
  EXPECT_EQ(products_of(*backend, f16, 128), 0);
  EXPECT_EQ(products_of(*backend, f16, 130, true), 1);
  EXPECT_EQ(products_of(*backend, f32, 32), 0);
  EXPECT_EQ(products_of(*backend, f32, 33, true), 1);
  EXPECT_THAT(
      how_matmul(*backend),
      HasSubstr("; cublasLtMatmul of libcublasLt.so.13 (13.1.0) for more than 128 tokens by "
                "bf16, f16 or f32 (more than 32)"));
}

// Rows of bf16 that are no whole pieces of 16 bytes are copied; rows of f32 stay with our kernels.
TEST(CublasLt, GetsOnlyWhatIsAligned) {
  const auto backend = open_with("current");
  ASSERT_NE(backend, nullptr);
  const Matrix bf16("BF16", 40, 67, 1), f16("F16", 31, 33, 2), f32("F32", 42, 67, 3);
  EXPECT_EQ(products_of(*backend, bf16, 140, true), 1);
  EXPECT_EQ(products_of(*backend, f16, 140), 1);
  EXPECT_EQ(products_of(*backend, f32, 140), 0);
}

TEST(CublasLt, KeepsF32InF32) {
  const auto backend = open_with("current", {.f32_activations = true});
  ASSERT_NE(backend, nullptr);
  EXPECT_EQ(products_of(*backend, Matrix("F32", 40, 72, 1), 140), 1);
  EXPECT_THAT(how_matmul(*backend), HasSubstr(" for more than 128 tokens by f32 (more than 32)"));
}

// 16 MiB of weights in f16 and 64 MiB of activations are what is converted at a time.
TEST(CublasLt, MakesWhatIsLargeInParts) {
  const auto backend = open_with("current");
  ASSERT_NE(backend, nullptr);
  EXPECT_EQ(products_of(*backend, Matrix("F16", 2055, 4096, 1), 129, true, 997), 2);
  EXPECT_EQ(products_of(*backend, Matrix("BF16", 4, 4096, 2), 8200, false, 97), 2);
}

// x that several products read is rounded once; what lies behind it is as large as the largest
// wants.
TEST(CublasLt, ProductsThatShareX) {
  const auto backend = open_with("current");
  ASSERT_NE(backend, nullptr);
  const auto stream = backend->create_stream().value();
  const Matrix a("BF16", 40, 72, 1), b("F16", 200, 72, 2), c("F32", 33, 72, 3),
      d("BF16", 24, 72, 4);
  std::vector<Multiplication> all;
  for (const Matrix* matrix : {&a, &b, &c, &d}) all.emplace_back(*backend, *matrix, 150);
  for (size_t i = 0; i < all.size(); ++i) all[i].send(*stream, 20 + i);
  const int64_t before = cublaslt_count("products");
  stream->matmuls(std::vector<MatmulArgs>{all[0].args(), all[1].args(&all[0]), all[2].args(&all[0]),
                                          all[3].args()});
  all[0].expect_right(*stream);
  all[1].expect_right(*stream, kEveryOutput, &all[0]);
  all[2].expect_right(*stream, kEveryOutput, &all[0]);
  all[3].expect_right(*stream);
  EXPECT_EQ(cublaslt_count("products") - before, 4);
  // What is x then has other numbers.
  all[0].send(*stream, 77);
  stream->matmul(all[0].args());
  all[0].expect_right(*stream);
}

TEST(CublasLt, AWrongOneIsFound) {
  const auto backend = open_with("current");
  ASSERT_NE(backend, nullptr);
  const auto reference = open_backend("reference", {}).value();
  const ConformanceOptions options = {.filter = "matmul BF16 T=150"};
  const auto fails = [&] {
    int count = 0;
    const auto results = run_conformance(*backend, *reference, options);
    EXPECT_FALSE(results.empty());
    for (const ConformanceResult& result : results) count += !result.passed;
    return count;
  };
  EXPECT_EQ(fails(), 0);
  setenv("FERRY_EMULATED_WRONG", "cublasLtMatmul", 1);
  EXPECT_GT(fails(), 0);
  unsetenv("FERRY_EMULATED_WRONG");
}

// A step of two products. (One in which scratch memory grows is none, hence the one before.)
TEST(CublasLt, IsPartOfGraphs) {
  const auto backend = open_with("current");
  ASSERT_NE(backend, nullptr);
  const auto stream = backend->create_stream().value();
  const Matrix a("BF16", 40, 72, 1), b("F16", 32, 72, 2);
  Multiplication first(*backend, a, 150, true), second(*backend, b, 150);
  stream->matmuls(std::vector<MatmulArgs>{first.args(), second.args()});
  ASSERT_EQ(cublaslt_count("products"), 2);
  for (int i = 0; i < 5; ++i) {
    first.send(*stream, 100 + static_cast<uint64_t>(i));
    second.send(*stream, 200 + static_cast<uint64_t>(i));
    stream->begin_step();
    stream->matmul(first.args());
    stream->matmul(second.args());
    stream->end_step();
    first.expect_right(*stream);
    second.expect_right(*stream);
    EXPECT_EQ(graph_launches(), i);
    // As it came, then captured; the graph asks for none.
    EXPECT_EQ(cublaslt_count("products"), i == 0 ? 4 : 6);
  }
  EXPECT_EQ(cublaslt_count("questions"), 2);
}

// The same products into other memory, or with another x, are another step.
TEST(CublasLt, AGraphIsOfItsAddresses) {
  const auto backend = open_with("current");
  ASSERT_NE(backend, nullptr);
  const auto stream = backend->create_stream().value();
  ASSERT_TRUE(
      stream->reserve_scratch(int64_t{32} << 20).ok());  // a step that finds none is no graph
  const Matrix matrix("F32", 40, 72, 1);
  Multiplication here(*backend, matrix, 150), there(*backend, matrix, 150);
  for (int round = 0; round < 3; ++round) {
    for (Multiplication* one : {&here, &there}) {
      one->send(*stream, 5 + static_cast<uint64_t>(round));
      stream->begin_step();
      stream->matmul(one->args());
      stream->end_step();
      one->expect_right(*stream);
    }
    EXPECT_EQ(graph_launches(), 2 * round);
  }
  EXPECT_EQ(cublaslt_count("questions"), 1);
}

TEST(CublasLt, StreamsSideBySideHaveAWorkspaceEach) {
  const auto backend = open_with("current");
  ASSERT_NE(backend, nullptr);
  const Matrix matrix("BF16", 64, 256, 1);
  const auto one = backend->create_stream().value(), other = backend->create_stream().value();
  Multiplication first(*backend, matrix, 200), second(*backend, matrix, 200);
  first.send(*one, 1);
  second.send(*other, 2);
  for (int i = 0; i < 5; ++i) {
    one->matmul(first.args());
    other->matmul(second.args());
  }
  first.expect_right(*one);
  second.expect_right(*other);
}

// Opening the device takes none for it: it is scratch, which the plan counts and a stream reserves.
TEST(CublasLt, ItsWorkspaceIsScratchOfTheStream) {
  const auto backend = open_with("current");
  ASSERT_NE(backend, nullptr);
  constexpr int64_t kMiB = 1 << 20;
  EXPECT_LT(device_memory(), kMiB);
  const Matrix matrix("BF16", 40, 72, 1);
  const auto stream = backend->create_stream().value();
  ASSERT_TRUE(stream->reserve_scratch(34 * kMiB).ok());
  Multiplication multiplication(*backend, matrix, 150);
  const int64_t reserved = device_memory();
  EXPECT_GE(reserved, 34 * kMiB);
  multiplication.send(*stream, 1);
  stream->matmul(multiplication.args());
  multiplication.expect_right(*stream);
  EXPECT_EQ(device_memory(), reserved);
}

TEST(CublasLt, LeavesNothingBehind) {
  auto backend = open_with("current");
  ASSERT_NE(backend, nullptr);
  EXPECT_EQ(products_of(*backend, Matrix("BF16", 40, 72, 1), 140, true), 1);
  EXPECT_GT(cublaslt_count("living"), 1);
  backend.reset();
  EXPECT_EQ(cublaslt_count("living"), 0);
}

// Ferry's own kernels do it, and the reason is told.
TEST(CublasLt, IsDoneWithoutWhereItIsMissing) {
  use_driver("current");
  const auto backend = open_on_driver();
  ASSERT_NE(backend, nullptr);
  EXPECT_EQ(products_of(*backend, Matrix("BF16", 40, 72, 1), 140), 0);
  EXPECT_THAT(how_matmul(*backend),
              HasSubstr("; never cuBLASLt, as libcublasLt.so.11 can't be opened (/nonexistent/"));
}

TEST(CublasLt, IsDoneWithoutWhereASymbolIsMissing) {
  const auto backend = open_with("broken");
  ASSERT_NE(backend, nullptr);
  EXPECT_EQ(products_of(*backend, Matrix("BF16", 40, 72, 1), 140), 0);
  EXPECT_THAT(how_matmul(*backend), HasSubstr("; never cuBLASLt, as libcublasLt.so.13 has no "
                                              "cublasLtMatmulAlgoGetHeuristic"));
}

TEST(CublasLt, IsDoneWithoutWhereItDoesNotStart) {
  setenv("FERRY_EMULATED_CUBLASLT", "handle", 1);
  const auto backend = open_with("current");
  ASSERT_NE(backend, nullptr);
  EXPECT_EQ(products_of(*backend, Matrix("BF16", 40, 72, 1), 140), 0);
  EXPECT_THAT(how_matmul(*backend),
              HasSubstr("; never cuBLASLt, as cublasLtCreate of libcublasLt.so.13 (13.1.0): "
                        "CUBLAS_STATUS_NOT_INITIALIZED"));
}

TEST(CublasLt, AnOlderOneWillDo) {
  const auto backend = open_with("older");
  ASSERT_NE(backend, nullptr);
  EXPECT_THAT(how_matmul(*backend), HasSubstr("cublasLtMatmul of libcublasLt.so.12 (12.1.0)"));
}

TEST(CublasLt, NoneNewerThanTheDriverIsOpened) {
  setenv("FERRY_EMULATED_CUDA_VERSION", "12040", 1);
  const auto backend = open_with("current");
  ASSERT_NE(backend, nullptr);
  EXPECT_THAT(how_matmul(*backend),
              HasSubstr("; never cuBLASLt, as libcublasLt.so.11 can't be opened ("));
}

// The library knows no way, or one that asks for too much.
TEST(CublasLt, IsDoneWithoutWhereItFindsNothing) {
  for (const char* fault : {"nothing", "unsupported", "greedy"}) {
    setenv("FERRY_EMULATED_CUBLASLT", fault, 1);
    const auto backend = open_with("current");
    ASSERT_NE(backend, nullptr);
    const Matrix matrix("F16", 40, 72, 1);
    const int64_t before = cublaslt_count("questions");
    EXPECT_EQ(products_of(*backend, matrix, 140), 0) << fault;
    EXPECT_EQ(products_of(*backend, matrix, 140), 0) << fault;
    EXPECT_EQ(cublaslt_count("questions") - before, 1) << fault;
  }
}

// What comes out of four products, in steps or not.
Status status_with(const char* fault, bool steps) {
  setenv("FERRY_EMULATED_CUBLASLT", fault, 1);
  const auto backend = open_with("current");
  const auto stream = backend->create_stream().value();
  const Matrix matrix("BF16", 40, 72, 1);
  Multiplication multiplication(*backend, matrix, 150, true);
  multiplication.send(*stream, 1);
  for (int i = 0; i < 4; ++i) {
    if (steps) stream->begin_step();
    stream->matmul(multiplication.args());
    if (steps) stream->end_step();
  }
  return stream->synchronize();
}

void expect_error(const char* fault, const std::string& message) {
  for (const bool steps : {false, true}) {
    const Status status = status_with(fault, steps);
    ASSERT_FALSE(status.ok()) << fault;
    EXPECT_EQ(status.error().kind, ErrorKind::kDevice) << fault;
    EXPECT_THAT(status.error().message, HasSubstr(message)) << fault;
  }
}

TEST(CublasLtFailures, OfAQuestion) {
  expect_error("asked",
               "matmul: cuda: cublasLtMatmulAlgoGetHeuristic of bf16 [40 x 72] by 150 "
               "tokens, bias: CUBLAS_STATUS_INTERNAL_ERROR");
}
TEST(CublasLtFailures, OfADescriptor) {
  expect_error("attribute",
               "matmul: cuda: cublasLtMatmulDescSetAttribute of bf16 [40 x 72] by 150 "
               "tokens, bias: CUBLAS_STATUS_INVALID_VALUE");
}
TEST(CublasLtFailures, OfAProductInTheMiddle) {
  const Status status = status_with("refused", false);
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().message,
            "matmul: cuda: cublasLtMatmul of bf16 [40 x 72] by 150 tokens, "
            "bias: CUBLAS_STATUS_EXECUTION_FAILED");
}
TEST(CublasLtFailures, OfWhatItLaunched) {
  const Status status = status_with("crash", false);
  ASSERT_FALSE(status.ok());
  EXPECT_THAT(status.error().message, HasSubstr("error 719 (CUDA_ERROR_LAUNCH_FAILED)"));
}

// A graph that could not be captured is an error too, and ends the stream.
TEST(CublasLtFailures, InACapture) {
  setenv("FERRY_EMULATED_CUBLASLT", "refused", 1);
  const auto backend = open_with("current");
  ASSERT_NE(backend, nullptr);
  const auto stream = backend->create_stream().value();
  const Matrix matrix("F32", 40, 72, 1);
  Multiplication multiplication(*backend, matrix, 150);
  Status status;
  for (int i = 0; i < 2; ++i) {
    multiplication.send(*stream, 1);
    stream->begin_step();
    stream->matmul(multiplication.args());
    stream->matmul(multiplication.args());
    stream->end_step();
    status = stream->synchronize();
    EXPECT_EQ(status.ok(), i == 0);
  }
  EXPECT_THAT(status.error().message, HasSubstr("cublasLtMatmul of f32 [40 x 72] by 150 tokens"));
  EXPECT_EQ(graph_launches(), 0);
}

}  // namespace
}  // namespace ferry::cuda
