// Inputs of conformance cases: see data.h.
#include "device/conformance/data.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <string_view>
#include <utility>

#include "base/checked_math.h"
#include "base/half.h"
#include "device/conformance/rig.h"
#include "device/int8_rows.h"

namespace ferry {

uint64_t Random::bits() {
  state_ += 0x9e3779b97f4a7c15u;
  uint64_t z = state_;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

float Random::uniform(float low, float high) {
  return low + (high - low) * (static_cast<float>(bits() >> 40) * 0x1p-24f);
}

int64_t Random::below(int64_t bound) {
  return static_cast<int64_t>(bits() % static_cast<uint64_t>(bound));
}

float Random::normal() {
  float sum = 0;
  for (int i = 0; i < 4; ++i) sum += uniform(-1.0f, 1.0f);
  return sum * 0.8660254f;  // four uniforms have variance 4/3
}

std::vector<float> Random::normals(int64_t count, float deviation) {
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = normal() * deviation;
  return values;
}

std::vector<int32_t> Random::shuffled(int64_t count) {
  std::vector<int32_t> order(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    const int64_t j = below(i + 1);
    order[i] = order[j];
    order[j] = static_cast<int32_t>(i);
  }
  return order;
}

std::vector<const quant::StorageFormat*> weight_formats() {
  std::vector<const quant::StorageFormat*> formats;
  for (const quant::StorageFormat* format : quant::all_formats()) {
    if (format->decode == nullptr || format->encode == nullptr) continue;
    std::vector<float> values(static_cast<size_t>(format->block_elements), -1.0f);
    std::vector<uint8_t> block(static_cast<size_t>(format->block_bytes));
    format->encode(values.data(), block.data(), 1);
    format->decode(block.data(), values.data(), 1);
    if (values[0] < 0) formats.push_back(format);  // E8M0 holds scales, it has no sign
  }
  return formats;
}

namespace {

constexpr int64_t kLargeBlock = 256;
constexpr int64_t kPoolBlocks = 61;

// Encoded normal numbers. Encoding large blocks takes longer than what is to be tested, so that it
// is done once for all matrices of a format and width.
const std::vector<uint8_t>& block_pool(const quant::StorageFormat& format, float deviation) {
  thread_local std::map<std::pair<std::string_view, float>, std::vector<uint8_t>> pools;
  std::vector<uint8_t>& pool = pools[{format.name, deviation}];
  if (pool.empty()) {
    Random random(1);
    const auto values = random.normals(kPoolBlocks * format.block_elements, deviation);
    pool.resize(static_cast<size_t>(kPoolBlocks * format.block_bytes));
    format.encode(values.data(), pool.data(), kPoolBlocks);
  }
  return pool;
}

void fill_blocks(Random& random, const quant::StorageFormat& format, float deviation,
                 WeightData& weight) {
  const int64_t num_blocks = weight.rows * weight.cols / format.block_elements;
  if (format.block_elements < kLargeBlock) {
    weight.values = random.normals(weight.rows * weight.cols, deviation);
    format.encode(weight.values.data(), weight.bytes.data(), num_blocks);
    return;
  }
  weight.values.resize(static_cast<size_t>(weight.rows * weight.cols));
  const std::vector<uint8_t>& pool = block_pool(format, deviation);
  for (int64_t b = 0; b < num_blocks; ++b) {
    std::memcpy(weight.bytes.data() + b * format.block_bytes,
                pool.data() + random.below(kPoolBlocks) * format.block_bytes,
                static_cast<size_t>(format.block_bytes));
  }
}

}  // namespace

std::shared_ptr<const WeightData> make_weight(Random& random, const quant::StorageFormat& format,
                                              int64_t rows, int64_t cols, bool scaled) {
  CHECK(cols % format.block_elements == 0);
  auto weight = std::make_shared<WeightData>();
  weight->format = &format;
  weight->rows = rows;
  weight->cols = cols;
  const float deviation = scaled ? 60.0f : 1.0f / std::sqrt(static_cast<float>(cols));
  weight->bytes.resize(static_cast<size_t>(format.bytes_for(rows * cols)));
  fill_blocks(random, format, deviation, *weight);
  const int64_t num_blocks = rows * cols / format.block_elements;
  format.decode(weight->bytes.data(), weight->values.data(), num_blocks);
  if (!scaled) return weight;
  weight->scale_rows = weight->scale_cols = 128;
  const int64_t grid_cols = ceil_div(cols, 128);
  weight->scale.resize(static_cast<size_t>(ceil_div(rows, 128) * grid_cols));
  for (float& scale : weight->scale) {
    scale = random.uniform(0.5f, 2.0f) / (60.0f * std::sqrt(static_cast<float>(cols)));
  }
  for (int64_t n = 0; n < rows; ++n) {
    for (int64_t k = 0; k < cols; ++k) {
      weight->values[n * cols + k] *= weight->scale[n / 128 * grid_cols + k / 128];
    }
  }
  return weight;
}

BatchFixture::BatchFixture(Random& random, std::vector<SequenceShape> shapes, int64_t block_size)
    : shapes_(std::move(shapes)), block_size_(block_size) {
  int64_t used = 0;
  for (const SequenceShape& shape : shapes_) {
    num_tokens_ += shape.query;
    used += ceil_div(shape.context, block_size);
    max_blocks_ = std::max(max_blocks_, ceil_div(shape.context, block_size));
  }
  max_blocks_ += 1;  // a table is rarely full
  num_pages_ = used + 3;
  const std::vector<int32_t> order = random.shuffled(num_pages_);
  tables_.assign(shapes_.size() * static_cast<size_t>(max_blocks_), 0);
  recent_tables_ = tables_;
  int64_t next = 0;
  for (size_t i = 0; i < shapes_.size(); ++i) {
    for (int64_t b = 0; b < ceil_div(shapes_[i].context, block_size); ++b) {
      const int64_t at = static_cast<int64_t>(i) * max_blocks_ + b;
      tables_[at] = order[next++];
      recent_tables_[at] = static_cast<int32_t>((tables_[at] + 1) % num_pages_);
    }
  }
}

int64_t BatchFixture::slot(int64_t sequence, int64_t s, PageKind kind) const {
  const std::vector<int32_t>& tables = kind == PageKind::kAll ? tables_ : recent_tables_;
  const int64_t page = tables[sequence * max_blocks_ + s / block_size_];
  return page * block_size_ + s % block_size_;
}

BatchFixture::Place BatchFixture::place(int64_t token) const {
  int64_t sequence = 0;
  while (token >= shapes_[sequence].query) token -= shapes_[sequence++].query;
  return {sequence, shapes_[sequence].context - shapes_[sequence].query + token};
}

namespace {

// To what int8_write_row() would store of a row.
void round_to_int8(float* row, int64_t width, int64_t group) {
  std::vector<int8_t> q(static_cast<size_t>(group));
  for (int64_t i = 0; i < width; i += group) {
    const int64_t count = std::min(group, width - i);
    float scale = 0;
    int8_quantize(row + i, count, q.data(), &scale);
    for (int64_t k = 0; k < count; ++k) row[i + k] = scale * static_cast<float>(q[k]);
  }
}

}  // namespace

std::vector<float> BatchFixture::cache(Random& random, Dtype dtype, int64_t width, int64_t group,
                                       PageKind kind) const {
  std::vector<float> rows(static_cast<size_t>(num_pages_ * block_size_ * width),
                          std::numeric_limits<float>::quiet_NaN());
  for (int64_t i = 0; i < static_cast<int64_t>(shapes_.size()); ++i) {
    for (int64_t s = 0; s < shapes_[i].context; ++s) {
      for (int64_t e = 0; e < width; ++e) {
        float value = random.normal();
        if (dtype == Dtype::kF16) value = f16_to_f32(f32_to_f16(value));
        if (dtype == Dtype::kBF16) value = bf16_to_f32(f32_to_bf16(value));
        rows[slot(i, s, kind) * width + e] = value;
      }
      if (dtype == Dtype::kI8) round_to_int8(&rows[slot(i, s, kind) * width], width, group);
    }
  }
  return rows;
}

std::unique_ptr<BatchFixture::Part> BatchFixture::part(Rig& rig, int64_t first,
                                                       int64_t count) const {
  auto part = std::make_unique<Part>();
  BatchView& view = part->view;
  view.num_tokens = count;
  view.block_size = block_size_;
  view.max_blocks = max_blocks_;
  part->query_start.push_back(0);
  for (int64_t t = first; t < first + count;) {
    const Place start = place(t);
    const SequenceShape& shape = shapes_[start.sequence];
    const int64_t tokens = std::min(first + count - t, shape.context - start.position);
    for (int64_t p = start.position; p < start.position + tokens; ++p) {
      part->ids.push_back(static_cast<int32_t>(p % 7));
      part->positions.push_back(static_cast<int32_t>(p));
      part->slots.push_back(static_cast<int32_t>(slot(start.sequence, p)));
      part->recent_slots.push_back(
          static_cast<int32_t>(slot(start.sequence, p, PageKind::kRecent)));
    }
    const auto table = tables_.begin() + start.sequence * max_blocks_;
    part->block_tables.insert(part->block_tables.end(), table, table + max_blocks_);
    const auto recent = recent_tables_.begin() + start.sequence * max_blocks_;
    part->recent_tables.insert(part->recent_tables.end(), recent, recent + max_blocks_);
    part->context_lengths.push_back(static_cast<int32_t>(start.position + tokens));
    part->query_start.push_back(static_cast<int32_t>(t - first + tokens));
    part->logit_rows.push_back(static_cast<int32_t>(t - first + tokens - 1));
    view.num_sequences += 1;
    if (shape.decode) view.num_decode_sequences += 1, view.num_decode_tokens += tokens;
    view.max_query_length = std::max(view.max_query_length, tokens);
    view.max_context_length = std::max(view.max_context_length, start.position + tokens);
    t += tokens;
  }
  view.token_ids = rig.index(part->ids);
  view.positions = rig.index(part->positions);
  view.slots = rig.index(part->slots);
  view.query_start = rig.index(part->query_start);
  view.context_lengths = rig.index(part->context_lengths);
  view.logit_rows = rig.index(part->logit_rows);
  view.block_tables = {.host = part->block_tables,
                       .device = rig.upload(part->block_tables, {view.num_sequences, max_blocks_})};
  view.recent_slots = rig.index(part->recent_slots);
  view.recent_tables = {
      .host = part->recent_tables,
      .device = rig.upload(part->recent_tables, {view.num_sequences, max_blocks_})};
  return part;
}

}  // namespace ferry
