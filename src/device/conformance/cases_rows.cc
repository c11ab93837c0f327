// Conformance cases of the ops that move rows: embed, gather_rows, kv_write; and top_logits.
#include <algorithm>
#include <functional>
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

class TopLogitsExercise : public Exercise {
 public:
  TopLogitsExercise(int64_t rows, int64_t size, int64_t top) : size_(size), top_(top) {
    Random random(1300 + static_cast<uint64_t>(size));
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
    x_ = random.normals(rows * size);
    for (int64_t r = 0; r < rows; ++r) {
      float* row = x_.data() + r * size;
      float* end = row + size;
      switch (r % 9) {
        case 1: row[size - 1] = row[size / 2] = 50; break;
        case 2: std::fill(row, end, -kInfinity); break;
        case 3:  // fewer than K numbers
          std::fill(row, end, -kInfinity);
          row[size / 3] = -9;
          row[size - 1] = -8;
          break;
        case 4:  // no logits
          row[size - 1] = kInfinity;
          row[size / 2] = -kNan;
          row[size / 3] = kNan;
          break;
        case 5:  // equals without end, with zeros of both signs
          for (int64_t i = 0; i < size; ++i) row[i] = i % 3 == 1 ? 0.0f : -0.0f;
          break;
        case 6: std::sort(row, end); break;
        case 7: std::sort(row, end, std::greater<>()); break;
        case 8:  // few values, some of them subnormal: ties around the last that is taken
          for (int64_t i = 0; i < size; ++i) {
            row[i] = static_cast<float>(random.below(40) - 30) * 1e-41f;
          }
          break;
        default: break;
      }
    }
  }
  // Of each row the bits of its values, then its ids.
  CaseOutput run(Rig& rig, int64_t first, int64_t count) const override {
    const TensorView x = rig.upload(rows_of(x_, size_, first, count), {count, size_}, {3, 9});
    const TensorView bits = rig.output(Dtype::kI32, {count, top_}, {1, 5});
    const TensorView ids = rig.output(Dtype::kI32, {count, top_}, {2, 3});
    if (!rig.ready()) return {};
    TensorView values = bits;
    values.dtype = Dtype::kF32;
    rig.stream().top_logits({.x = x, .values = values, .ids = ids});
    const std::vector<int32_t> all_bits = rig.read_integers(bits), all_ids = rig.read_integers(ids);
    CaseOutput output;
    for (int64_t at = 0; at < count * top_; at += top_) {
      for (const std::vector<int32_t>* part : {&all_bits, &all_ids}) {
        output.integers.insert(output.integers.end(), part->begin() + at,
                               part->begin() + at + top_);
      }
    }
    return output;
  }

 private:
  int64_t size_, top_;
  std::vector<float> x_;
};

void add_top_logits_cases(std::vector<ConformanceCase>& cases) {
  struct Size {
    int64_t rows, vocab, top;
  };
  // The last one is more than a chip may go through in two rounds of its pieces.
  for (const Size size :
       {Size{1, 1, 1}, Size{9, 1, 3}, Size{9, 13, 1}, Size{64, 13, 128}, Size{17, 1000, 20},
        Size{100, 1000, 1}, Size{9, 8192, 128}, Size{9, 8200, 128}, Size{3, 32003, 128},
        Size{17, 32003, 2}, Size{9, 129280, 64}, Size{1, 600000, 128}}) {
    cases.push_back(
        {.name = fmt::format("top_logits R={} V={} K={}", size.rows, size.vocab, size.top),
         .op = Op::kTopLogits,
         .queries = {{.op = Op::kTopLogits, .rows = size.top, .cols = size.vocab}},
         .num_tokens = size.rows,
         .prepare = [size] {
           return std::make_unique<TopLogitsExercise>(size.rows, size.vocab, size.top);
         }});
  }
}

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
  add_top_logits_cases(cases);
}

}  // namespace ferry
