// Conformance cases of the ops that move rows: embed, gather_rows, kv_write; and argmax.
#include <algorithm>
#include <limits>

#include "device/conformance/cases.h"

namespace ferry {
namespace {

class EmbedExercise : public Exercise {
 public:
  EmbedExercise(const quant::StorageFormat& format, bool scaled, int64_t tokens, int64_t vocab,
                int64_t size) {
    Random random(1000);
    table_ = make_weight(random, format, vocab, size, scaled);
    for (int64_t t = 0; t < tokens; ++t) {
      ids_.push_back(static_cast<int32_t>(random.below(vocab)));
    }
    ids_.front() = static_cast<int32_t>(vocab - 1);
    ids_.back() = 0;
  }
  CaseOutput run(Rig& rig, int64_t first, int64_t count) const override {
    const WeightView table = rig.import(table_);
    const TensorView ids =
        rig.upload(std::span<const int32_t>(ids_).subspan(first, count), {count});
    const TensorView out = rig.output(Dtype::kF32, {count, table_->cols}, {0, 16});
    if (!rig.ready()) return {};
    rig.stream().embed({.table = table, .ids = ids, .out = out});
    return {.values = rig.read(out)};
  }
  // Formats with an offset subtract two numbers of the size of the row.
  std::vector<double> magnitudes() const override {
    std::vector<double> result;
    for (int32_t id : ids_) {
      double largest = 0;
      for (int64_t i = 0; i < table_->cols; ++i) {
        largest = std::max(largest, std::fabs(static_cast<double>(table_->row(id)[i])));
      }
      result.insert(result.end(), static_cast<size_t>(table_->cols), largest);
    }
    return result;
  }

 private:
  std::shared_ptr<const WeightData> table_;
  std::vector<int32_t> ids_;
};

class GatherExercise : public Exercise {
 public:
  GatherExercise(int64_t rows, int64_t size) : size_(size) {
    Random random(1100);
    x_ = random.normals(kSources * size);
    for (int64_t r = 0; r < rows; ++r) {
      rows_.push_back(static_cast<int32_t>(random.below(kSources)));
    }
    rows_.front() = kSources - 1;
  }
  CaseOutput run(Rig& rig, int64_t first, int64_t count) const override {
    const TensorView x = rig.upload(x_, {kSources, size_}, {2, 6});
    const TensorView rows =
        rig.upload(std::span<const int32_t>(rows_).subspan(first, count), {count});
    const TensorView out = rig.output(Dtype::kF32, {count, size_}, {0, 3});
    if (!rig.ready()) return {};
    rig.stream().gather_rows({.x = x, .rows = rows, .out = out});
    return {.values = rig.read(out)};
  }

 private:
  static constexpr int64_t kSources = 41;
  int64_t size_;
  std::vector<float> x_;
  std::vector<int32_t> rows_;
};

class KvWriteExercise : public Exercise {
 public:
  KvWriteExercise(Dtype dtype, int64_t tokens, int64_t width, int64_t block_size)
      : dtype_(dtype), width_(width), block_size_(block_size) {
    Random random(1200);
    rows_ = random.normals(tokens * width);
    rows_[0] = 1e6f;  // infinite as f16
    num_pages_ = tokens / block_size + 4;
    pages_ = random.normals(num_pages_ * block_size * width);
    slots_ = random.shuffled(num_pages_ * block_size);
    slots_.resize(static_cast<size_t>(tokens));
  }
  CaseOutput run(Rig& rig, int64_t first, int64_t count) const override {
    const TensorView rows =
        rig.upload(rows_of(rows_, width_, first, count), {count, width_}, {64, 7});
    const TensorView slots =
        rig.upload(std::span<const int32_t>(slots_).subspan(first, count), {count});
    const TensorView pages =
        rig.upload_pages(pages_, dtype_, {num_pages_, block_size_, width_}, group());
    if (!rig.ready()) return {};
    rig.stream().kv_write({.rows = rows, .slots = slots, .pages = pages, .group = group()});
    return {.values =
                rig.read_pages(pages, group())};  // what was written and what must have stayed
  }

 private:
  int64_t group() const { return width_ == 576 ? 512 : 20; }

  Dtype dtype_;
  int64_t width_, block_size_, num_pages_;
  std::vector<float> rows_, pages_;
  std::vector<int32_t> slots_;
};

class ArgmaxExercise : public Exercise {
 public:
  ArgmaxExercise(int64_t rows, int64_t size) : size_(size) {
    Random random(1300 + static_cast<uint64_t>(size));
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
    x_ = random.normals(rows * size);
    for (int64_t r = 0; r < rows; ++r) {
      float* row = x_.data() + r * size;
      if (r % 6 == 1) row[size - 1] = row[size / 2] = 50;                    // a tie
      if (r % 6 == 2) std::fill(row, row + size, -kInfinity);                // nothing to choose
      if (r % 6 == 3) std::fill(row, row + size, kNan), row[size / 3] = -9;  // NaN never wins
      if (r % 6 == 4) row[size - 1] = kInfinity, row[0] = kNan;
      if (r % 6 == 5) std::fill(row, row + size, r % 12 == 5 ? kNan : 0.0f);
    }
  }
  CaseOutput run(Rig& rig, int64_t first, int64_t count) const override {
    const TensorView x = rig.upload(rows_of(x_, size_, first, count), {count, size_}, {0, 9});
    const TensorView out = rig.output(Dtype::kI32, {count});
    if (!rig.ready()) return {};
    rig.stream().argmax({.x = x, .out = out});
    return {.integers = rig.read_integers(out)};
  }

 private:
  int64_t size_;
  std::vector<float> x_;
};

}  // namespace

void add_row_cases(std::vector<ConformanceCase>& cases) {
  for (const quant::StorageFormat* format : weight_formats()) {
    for (bool scaled : {false, true}) {
      if (scaled && format->safetensors != "F8_E4M3") continue;
      const int64_t size = format->block_elements == 1 ? 200 : 3 * format->block_elements;
      for (int64_t tokens : {1, 17}) {
        const OpQuery query = weight_query(Op::kEmbed, *format, scaled, 151, size);
        cases.push_back({.name = fmt::format("embed {}{} T={} [151 x {}]", format->name,
                                             scaled ? " block-scaled" : "", tokens, size),
                         .op = Op::kEmbed,
                         .queries = {query},
                         .tolerance = 3e-7,
                         .num_tokens = tokens,
                         .prepare = [=] {
                           return std::make_unique<EmbedExercise>(*format, scaled, tokens, 151,
                                                                  size);
                         }});
      }
    }
  }
  for (int64_t tokens : kTokenCounts) {
    const int64_t size = tokens == 17 ? 2048 : 5 + tokens;
    cases.push_back({.name = fmt::format("gather_rows R={} D={}", tokens, size),
                     .op = Op::kGatherRows,
                     .queries = {{.op = Op::kGatherRows, .cols = size}},
                     .num_tokens = tokens,
                     .prepare = [=] { return std::make_unique<GatherExercise>(tokens, size); }});
    for (int64_t vocab : {1, 13, 1000, 32003}) {
      if (tokens > 17 && vocab > 1000) continue;
      cases.push_back({.name = fmt::format("argmax R={} V={}", tokens, vocab),
                       .op = Op::kArgmax,
                       .queries = {{.op = Op::kArgmax, .cols = vocab}},
                       .num_tokens = tokens,
                       .prepare = [=] { return std::make_unique<ArgmaxExercise>(tokens, vocab); }});
    }
    for (Dtype dtype : {Dtype::kF32, Dtype::kF16, Dtype::kBF16, Dtype::kI8}) {
      const int64_t width = tokens == 3 ? 576 : 48 + tokens % 5;
      const int64_t block_size = tokens % 2 == 0 ? 16 : 5;
      cases.push_back({.name = fmt::format("kv_write {} T={} width={} block={}", dtype_name(dtype),
                                           tokens, width, block_size),
                       .op = Op::kKvWrite,
                       .queries = {{.op = Op::kKvWrite, .dtype = dtype, .cols = width}},
                       .num_tokens = tokens,
                       .splits = false,
                       .prepare = [=] {
                         return std::make_unique<KvWriteExercise>(dtype, tokens, width, block_size);
                       }});
    }
  }
}

}  // namespace ferry
