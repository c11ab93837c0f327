// See random_weights.h.
#include "cmd/random_weights.h"

#include <algorithm>

#include "base/check.h"
#include "base/checked_math.h"

namespace ferry::cmd {
namespace {

constexpr std::string_view kRandomMark = " (random weights)";

constexpr float kBiasDeviation = 0.01f;
constexpr float kNormDeviation = 0.05f;
// FP8 has its numbers between 2^-9 and 448: codes of this size, times a scale.
constexpr float kFp8Deviation = 64.0f;
constexpr int64_t kFp8Block = 128;
constexpr float kInt4Deviation = 3.0f;  // of codes from −8 to 7
constexpr float kFp4Deviation = 2.93f;  // of all sixteen codes of E2M1
constexpr int64_t kPieceBytes = 4 << 20;

// FNV-1a over the name: every tensor has a sequence of its own.
uint64_t seed_of(std::string_view name, uint64_t seed) {
  uint64_t hash = 0xcbf29ce484222325u ^ seed;
  for (char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return hash;
}

uint64_t next_state(uint64_t state) { return state * 6364136223846793005u + 1442695040888963407u; }

// "a.b.scale" of "a.b.weight".
std::string e8m0_name(const std::string& name) {
  constexpr std::string_view kSuffix = ".weight";
  CHECK(name.ends_with(kSuffix));
  return name.substr(0, name.size() - kSuffix.size()) + ".scale";
}

int64_t num_elements(const disk::TensorDecl& tensor) {
  int64_t product = 1;
  for (int64_t dim : tensor.shape) product *= dim;
  return product;
}

const quant::StorageFormat& format_named(std::string_view name) {
  const quant::StorageFormat* format = quant::find_format(name);
  CHECK(format != nullptr);
  return *format;
}

}  // namespace

std::string random_model_name(const std::string& shape) { return shape + std::string(kRandomMark); }

bool has_random_weights(const disk::ModelSource& source) {
  if (source.gguf) {
    const auto name = source.gguf->get_string_or("general.name", "");
    return name.ok() && name->ends_with(kRandomMark);
  }
  const auto name = json_string_or(source.config, "_name_or_path", "");
  return name.ok() && name->ends_with(kRandomMark);
}

Status RandomWeights::fill(const disk::TensorDecl& tensor, float stddev, const Emit& emit) {
  const quant::StorageFormat& format = *tensor.format;
  auto& pool = pools_[{std::string(format.name), stddev}];
  if (!pool) pool = std::make_unique<quant::RandomBlocks>(format, stddev, seed_);
  pool->reseed(seed_of(tensor.name, seed_));
  const int64_t blocks = num_elements(tensor) / format.block_elements;
  const int64_t piece = std::max<int64_t>(kPieceBytes / format.block_bytes, 1);
  std::vector<uint8_t> bytes(static_cast<size_t>(std::min(piece, blocks) * format.block_bytes));
  for (int64_t done = 0; done < blocks; done += piece) {
    const int64_t count = std::min(piece, blocks - done);
    pool->fill(bytes.data(), count);
    FERRY_TRY_VOID(emit(std::span(bytes).first(static_cast<size_t>(count * format.block_bytes))));
  }
  return {};
}

// mean + deviation · u with u even in [-1, 1): small tensors, number by number.
Status RandomWeights::fill_around(const disk::TensorDecl& tensor, float mean, float deviation,
                                  const Emit& emit) {
  const quant::StorageFormat& format = *tensor.format;
  std::vector<float> numbers(static_cast<size_t>(num_elements(tensor)));
  uint64_t state = seed_of(tensor.name, seed_);
  for (float& number : numbers) {
    state = next_state(state);
    const auto even = static_cast<float>(static_cast<int32_t>(state >> 32)) * 0x1p-31f;
    number = mean + deviation * even;
  }
  const auto blocks = static_cast<int64_t>(numbers.size()) / format.block_elements;
  std::vector<uint8_t> bytes(static_cast<size_t>(blocks * format.block_bytes));
  format.encode(numbers.data(), bytes.data(), blocks);
  return emit(bytes);
}

TensorJob RandomWeights::job(const std::string& name, const std::vector<int64_t>& shape,
                             const quant::StorageFormat& format, weights::TensorRole role) {
  TensorJob job{.tensor = {.name = name, .format = &format, .shape = shape}};
  const disk::TensorDecl tensor = job.tensor;
  if (role == weights::TensorRole::kNorm) {
    job.produce = [this, tensor](const Emit& emit) {
      return fill_around(tensor, 1.0f, kNormDeviation, emit);
    };
  } else {
    const float deviation = role == weights::TensorRole::kBias ? kBiasDeviation : stddev_;
    job.produce = [this, tensor, deviation](const Emit& emit) {
      return fill(tensor, deviation, emit);
    };
  }
  return job;
}

std::vector<TensorJob> RandomWeights::fp8_jobs(const std::string& name, int64_t rows, int64_t cols,
                                               bool e8m0) {
  TensorJob codes{
      .tensor = {.name = name, .format = &format_named("F8_E4M3"), .shape = {rows, cols}}};
  TensorJob scales{.tensor = {.name = e8m0 ? e8m0_name(name) : name + "_scale_inv",
                              .format = &format_named(e8m0 ? "F8_E8M0" : "F32"),
                              .shape = {ceil_div(rows, kFp8Block), ceil_div(cols, kFp8Block)}}};
  codes.produce = [this, tensor = codes.tensor](const Emit& emit) {
    return fill(tensor, kFp8Deviation, emit);
  };
  scales.produce = [this, tensor = scales.tensor](const Emit& emit) {
    const float scale = stddev_ / kFp8Deviation;
    return fill_around(tensor, scale, scale / 4, emit);
  };
  return {std::move(codes), std::move(scales)};
}

std::vector<TensorJob> RandomWeights::fp4_jobs(const std::string& name, int64_t rows,
                                               int64_t cols) {
  TensorJob pairs{
      .tensor = {.name = name, .format = &format_named("I8"), .shape = {rows, cols / 2}}};
  pairs.produce = [this, tensor = pairs.tensor](const Emit& emit) -> Status {
    uint64_t state = seed_of(tensor.name, seed_);
    std::vector<uint8_t> bytes;
    for (int64_t left = num_elements(tensor); left > 0; left -= std::ssize(bytes)) {
      bytes.resize(static_cast<size_t>(std::min(left, kPieceBytes)));
      for (size_t i = 0; i < bytes.size(); ++i) {
        if (i % 4 == 0) state = next_state(state);
        bytes[i] = static_cast<uint8_t>(state >> (32 + i % 4 * 8));
      }
      FERRY_TRY_VOID(emit(bytes));
    }
    return {};
  };
  TensorJob scales{.tensor = {.name = e8m0_name(name),
                              .format = &format_named("F8_E8M0"),
                              .shape = {rows, cols / kFp4Group}}};
  scales.produce = [this, tensor = scales.tensor](const Emit& emit) {
    const float scale = stddev_ / kFp4Deviation;
    return fill_around(tensor, scale, scale / 2, emit);
  };
  return {std::move(pairs), std::move(scales)};
}

TensorJob RandomWeights::index_job(const std::string& name, int64_t rows, int64_t cols,
                                   int64_t limit, bool wide) {
  TensorJob job{.tensor = {.name = name,
                           .format = &format_named(wide ? "I64" : "I32"),
                           .shape = {rows, cols}}};
  job.produce = [this, tensor = job.tensor, limit, wide](const Emit& emit) {
    const int64_t width = tensor.shape[1];
    std::vector<int64_t> numbers(static_cast<size_t>(num_elements(tensor)));
    uint64_t state = seed_of(tensor.name, seed_);
    for (size_t i = 0; i < numbers.size(); ++i) {
      // Neighbours from a place of its own on.
      state = i % static_cast<size_t>(width) == 0 ? next_state(state) : state;
      const auto first = static_cast<int64_t>((state >> 33) % static_cast<uint64_t>(limit));
      numbers[i] = (first + static_cast<int64_t>(i) % width) % limit;
    }
    if (wide) {
      return emit(
          {reinterpret_cast<const uint8_t*>(numbers.data()), numbers.size() * sizeof(int64_t)});
    }
    const std::vector<int32_t> narrow(numbers.begin(), numbers.end());
    return emit({reinterpret_cast<const uint8_t*>(narrow.data()), narrow.size() * sizeof(int32_t)});
  };
  return job;
}

std::vector<TensorJob> RandomWeights::int4_jobs(const std::string& name, int64_t rows,
                                                int64_t cols) {
  const disk::TensorDecl codes{
      .name = name, .format = &format_named("INT4"), .shape = {rows, cols}};
  TensorJob packed{.tensor = {.name = name + "_packed",
                              .format = &format_named("I32"),
                              .shape = {rows, cols / 8}}};
  packed.produce = [this, codes](const Emit& emit) { return fill(codes, kInt4Deviation, emit); };
  TensorJob scales{.tensor = {.name = name + "_scale",
                              .format = &format_named("BF16"),
                              .shape = {rows, cols / kInt4Group}}};
  scales.produce = [this, tensor = scales.tensor](const Emit& emit) {
    const float scale = stddev_ / kInt4Deviation;
    return fill_around(tensor, scale, scale / 4, emit);
  };
  TensorJob shape{
      .tensor = {.name = name + "_shape", .format = &format_named("I32"), .shape = {2}}};
  shape.produce = [rows, cols](const Emit& emit) {
    const int32_t numbers[] = {static_cast<int32_t>(rows), static_cast<int32_t>(cols)};
    return emit({reinterpret_cast<const uint8_t*>(numbers), sizeof numbers});
  };
  return {std::move(packed), std::move(scales), std::move(shape)};
}

}  // namespace ferry::cmd
