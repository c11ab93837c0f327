// FileLoader for what DeepSeek-V4 stores differently: FP4 experts, tables beside the matrices, and
// the experts of each token id.
//
// FP4 as published: NAME.weight I8 [rows, cols / 2], the low half of a byte first, and NAME.scale
// E8M0 [rows, cols / 32]. The same 17 bytes per 32 numbers are an MXFP4 block, whose exponent means
// the same; only the order of the halves differs. So they are reordered once, at load or whenever
// they are read on demand, and every kernel for MXFP4 serves both.
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cstring>

#include "weights/file_loader.h"

namespace ferry::weights {
namespace {

constexpr int64_t kGroup = 32;      // numbers under one scale
constexpr int64_t kBlock = 17;      // bytes of an MXFP4 block
constexpr uint8_t kMaxScale = 252;  // above, codes leave the range of f32; 255 is NaN

std::string named(std::string_view name, std::string_view suffix) {
  return std::string(name) + std::string(suffix);
}

// One group: 16 bytes of neighbouring pairs to elements 0–15 in the low halves, 16–31 in the high.
void reorder(const uint8_t* pairs, uint8_t scale, uint8_t* block) {
  uint8_t codes[kGroup];
  for (int i = 0; i < kGroup / 2; ++i) {
    codes[2 * i] = pairs[i] & 15;
    codes[2 * i + 1] = pairs[i] >> 4;
  }
  block[0] = scale;
  for (int i = 0; i < kGroup / 2; ++i) {
    block[1 + i] = static_cast<uint8_t>(codes[i] | codes[i + kGroup / 2] << 4);
  }
}

Error bad_scale(const std::string& where, int64_t group, int64_t groups, uint8_t scale) {
  return invalid_input("{}: scale [{}, {}] is {:#04x}, expected at most {:#04x}", where,
                       group / groups, group % groups, scale, kMaxScale);
}

// Codes and scales of one matrix, which are read and reordered again and again.
class Fp4Source : public WeightSource {
 public:
  struct Place {
    std::shared_ptr<const disk::MappedFile> file;
    int64_t offset = 0;
    std::string where;  // begins messages
  };
  Fp4Source(Place codes, Place scales, int64_t rows, int64_t groups)
      : codes_(std::move(codes)), scales_(std::move(scales)), rows_(rows), groups_(groups) {}

  int64_t buffer_bytes() const override {
    return (rows_ * groups_ * kBlock + kAlignment - 1) / kAlignment * kAlignment;
  }

  Result<const uint8_t*> read(std::span<uint8_t> buffer) const override {
    const int64_t count = rows_ * groups_;
    thread_local std::vector<uint8_t> pairs, exponents;
    FERRY_TRY(const uint8_t* codes, read_part(codes_, count * kGroup / 2, pairs));
    FERRY_TRY(const uint8_t* scales, read_part(scales_, count, exponents));
    for (int64_t g = 0; g < count; ++g) {
      if (scales[g] > kMaxScale) return bad_scale(scales_.where, g, groups_, scales[g]);
      reorder(codes + g * kGroup / 2, scales[g], buffer.data() + g * kBlock);
    }
    return buffer.data();
  }

 private:
  static Result<const uint8_t*> read_part(const Place& place, int64_t bytes,
                                          std::vector<uint8_t>& scratch) {
    const int64_t size = disk::MappedFile::read_buffer_bytes(bytes);
    scratch.resize(static_cast<size_t>(size + kAlignment));
    const auto address = reinterpret_cast<uintptr_t>(scratch.data());
    const auto lead = static_cast<size_t>(-address % static_cast<uintptr_t>(kAlignment));
    auto data = place.file->read(place.offset, bytes,
                                 std::span(scratch).subspan(lead, static_cast<size_t>(size)));
    if (!data.ok()) return data.error().in(place.where);
    return data;
  }

  const Place codes_, scales_;
  const int64_t rows_, groups_;
};

}  // namespace

bool FileLoader::is_packed_fp4(std::string_view name) const {
  const disk::FileTensor* codes = checkpoint_.find(named(name, ".weight"));
  return codes != nullptr && codes->format->name == "I8" &&
         checkpoint_.find(named(name, ".scale")) != nullptr;
}

Weight FileLoader::packed_fp4(std::string_view name, int64_t rows, int64_t cols, MatrixUse use) {
  if (cols % kGroup != 0) {
    fail(invalid_input("{}: FP4 with {} columns, expected a multiple of {}", checkpoint_.path(),
                       cols, kGroup));
    return {};
  }
  const int64_t groups = cols / kGroup;
  const int64_t codes_shape[] = {rows, cols / 2};
  const int64_t scale_shape[] = {rows, groups};
  const disk::FileTensor* codes = take(named(name, ".weight"), codes_shape);
  const disk::FileTensor* scales = take(named(name, ".scale"), scale_shape);
  if (codes == nullptr || scales == nullptr) return {};
  if (scales->format->name != "F8_E8M0") {
    fail(invalid_input("{}: scales of FP4 stored as {}, expected F8_E8M0",
                       checkpoint_.where(*scales), scales->format->name));
    return {};
  }
  const quant::StorageFormat* format = quant::find_format("MXFP4");
  HostWeight host{.format = format, .rows = rows, .cols = cols};
  const int64_t bytes = rows * groups * kBlock;
  host.data = {codes->data.data(),
               static_cast<size_t>(bytes)};  // of which only the size counts yet
  const bool expert = use == MatrixUse::kExpert;
  if (expert) {
    expert_bytes_ += bytes;
    largest_expert_bytes_ = std::max(largest_expert_bytes_, bytes);
  }
  const bool on_demand = expert && options_.experts_on_demand;
  const int64_t own_bytes = backend_->import_bytes(host);
  if (!on_demand) {
    device_bytes_ += own_bytes > 0 ? own_bytes : bytes;  // the reordered copy
    replaced_bytes_ += bytes;
  }
  if (options_.measure_only) {
    return {.view = {.format = format, .rows = rows, .cols = cols, .row_bytes = groups * kBlock}};
  }
  const auto file = checkpoint_.files()[static_cast<size_t>(codes->file_index)];
  if (on_demand) {
    const auto place = [&](const disk::FileTensor& tensor) {
      const auto own = checkpoint_.files()[static_cast<size_t>(tensor.file_index)];
      own->read_past_cache();
      return Fp4Source::Place{own, tensor.offset, checkpoint_.where(tensor)};
    };
    host.source = std::make_shared<Fp4Source>(place(*codes), place(*scales), rows, groups);
  } else {
    const auto blocks = reordered(*codes, *scales, rows, groups);
    if (!status_.ok()) return {};
    host.data = *blocks;
    host.keep_alive = blocks;
  }
  Result<Weight> weight = backend_->import_weight(host);
  if (!weight.ok()) {
    fail(weight.error().in(checkpoint_.where(*codes)));
    return {};
  }
  if (!on_demand) file->done_with(codes->data);
  bytes_done_ += static_cast<int64_t>(codes->data.size() + scales->data.size());
  if (options_.progress) options_.progress(bytes_done_, checkpoint_.data_bytes());
  return *std::move(weight);
}

std::shared_ptr<std::vector<uint8_t>> FileLoader::reordered(const disk::FileTensor& codes,
                                                            const disk::FileTensor& scales,
                                                            int64_t rows, int64_t groups) {
  auto blocks = std::make_shared<std::vector<uint8_t>>(static_cast<size_t>(rows * groups * kBlock));
  std::atomic<int64_t> bad{rows * groups};  // the first group whose scale is none
  auto convert = [&](int64_t begin, int64_t end, int) {
    for (int64_t g = begin * groups; g < end * groups; ++g) {
      const uint8_t scale = scales.data[static_cast<size_t>(g)];
      int64_t seen = bad.load();
      while (scale > kMaxScale && g < seen && !bad.compare_exchange_weak(seen, g)) {
      }
      reorder(codes.data.data() + g * kGroup / 2, scale, blocks->data() + g * kBlock);
    }
  };
  if (options_.team != nullptr) {
    options_.team->parallel_for(rows, 16, convert);
  } else {
    convert(0, rows, 0);
  }
  if (const int64_t g = bad.load(); g < rows * groups) {
    fail(bad_scale(checkpoint_.where(scales), g, groups, scales.data[static_cast<size_t>(g)]));
  }
  return blocks;
}

Weight FileLoader::bare_matrix(std::string_view full_name, int64_t rows, int64_t cols) {
  const int64_t shape[] = {rows, cols};
  const disk::FileTensor* tensor = take(full_name, shape);
  if (tensor == nullptr) return {};
  return import({.tensor = tensor, .rows = rows, .cols = cols});
}

Vector FileLoader::table(std::string_view full_name, int64_t rows, int64_t cols) {
  const int64_t shape[] = {rows, cols};
  const disk::FileTensor* tensor = take(full_name, shape);
  if (tensor == nullptr) return {};
  bytes_done_ += static_cast<int64_t>(tensor->data.size());
  return constant(rows, cols, [&] { return read_plain(*tensor); });
}

std::vector<int32_t> FileLoader::read_indices(const disk::FileTensor& tensor, int64_t limit) {
  const bool wide = tensor.format->name == "I64";
  if (!wide && tensor.format->name != "I32") {
    fail(invalid_input("{}: stored as {}, expected I64 or I32", checkpoint_.where(tensor),
                       tensor.format->name));
    return {};
  }
  const int64_t cols = tensor.shape.back();
  std::vector<int32_t> values(static_cast<size_t>(tensor.num_elements()));
  for (size_t i = 0; i < values.size(); ++i) {
    int64_t value = 0;
    int32_t narrow = 0;
    if (wide) {
      std::memcpy(&value, tensor.data.data() + i * sizeof value, sizeof value);
    } else {
      std::memcpy(&narrow, tensor.data.data() + i * sizeof narrow, sizeof narrow);
      value = narrow;
    }
    const auto row = values.begin() + static_cast<int64_t>(i) / cols * cols;
    const auto here = values.begin() + static_cast<int64_t>(i);
    if (value < 0 || value >= limit) {
      fail(invalid_input("{}: row {}: found {}, expected 0 to {}", checkpoint_.where(tensor),
                         static_cast<int64_t>(i) / cols, value, limit - 1));
      return {};
    }
    if (std::find(row, here, static_cast<int32_t>(value)) != here) {
      fail(invalid_input("{}: row {}: {} is there twice", checkpoint_.where(tensor),
                         static_cast<int64_t>(i) / cols, value));
      return {};
    }
    *here = static_cast<int32_t>(value);
  }
  return values;
}

Vector FileLoader::indices(std::string_view full_name, int64_t rows, int64_t cols, int64_t limit) {
  const int64_t shape[] = {rows, cols};
  const disk::FileTensor* tensor = take(full_name, shape);
  if (tensor == nullptr) return {};
  bytes_done_ += static_cast<int64_t>(tensor->data.size());
  if (options_.measure_only) return to_device(nullptr, Dtype::kI32, rows, cols);
  const std::vector<int32_t> values = read_indices(*tensor, limit);
  if (!status_.ok()) return {};
  return to_device(values.data(), Dtype::kI32, rows, cols);
}

}  // namespace ferry::weights
