// Inputs of conformance cases: portable random numbers, weights in any storage format, and batches
// of sequences over shuffled cache pages.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "device/batch.h"
#include "device/weight.h"

namespace ferry {

class Rig;

// splitmix64 (Steele et al. 2014): the same numbers on every machine.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}

  uint64_t bits();
  float uniform(float low, float high);
  int64_t below(int64_t bound);  // REQUIRES: bound >= 1
  float normal();                // roughly: a sum of uniforms, variance 1, within ±3.5
  std::vector<float> normals(int64_t count, float deviation = 1.0f);
  std::vector<int32_t> shuffled(int64_t count);  // 0 … count − 1

 private:
  uint64_t state_;
};

// A weight as a file would hold it, and the numbers that it stands for.
struct WeightData {
  const quant::StorageFormat* format = nullptr;
  int64_t rows = 0;
  int64_t cols = 0;
  std::vector<uint8_t> bytes;
  std::vector<float> scale;  // empty, or the grid
  int64_t scale_rows = 0;
  int64_t scale_cols = 0;
  std::vector<float> values;  // [rows, cols], scales applied

  const float* row(int64_t n) const { return values.data() + n * cols; }
};

// Formats that a weight matrix may have: they decode, encode and have a sign.
std::vector<const quant::StorageFormat*> weight_formats();

// Random numbers of deviation cols^-1/2. REQUIRES: cols is a multiple of the format's block
std::shared_ptr<const WeightData> make_weight(Random& random, const quant::StorageFormat& format,
                                              int64_t rows, int64_t cols, bool scaled = false);

// A sequence in a batch: its last `query` tokens of `context` are computed in this step.
struct SequenceShape {
  int64_t query = 1;
  int64_t context = 1;
  bool decode = false;  // decoding sequences come first
};

class BatchFixture {
 public:
  BatchFixture(Random& random, std::vector<SequenceShape> shapes, int64_t block_size);

  int64_t num_tokens() const { return num_tokens_; }
  int64_t num_pages() const { return num_pages_; }
  int64_t block_size() const { return block_size_; }
  const std::vector<SequenceShape>& shapes() const { return shapes_; }
  // The slot of position `s` of a sequence. Pages of recent tokens are others: who takes one for
  // the other finds nothing there.
  int64_t slot(int64_t sequence, int64_t s, PageKind kind = PageKind::kAll) const;
  // Sequence and position of a token of the batch.
  struct Place {
    int64_t sequence, position;
  };
  Place place(int64_t token) const;
  bool is_decode(int64_t token) const { return shapes_[place(token).sequence].decode; }

  // Cache rows, rounded to `dtype` (`group`: see KvWriteArgs): random where a sequence has a token,
  // NaN everywhere else, so that whoever reads past a context or in the wrong page gives himself
  // away.
  std::vector<float> cache(Random& random, Dtype dtype, int64_t width, int64_t group = 1,
                           PageKind kind = PageKind::kAll) const;

  // Host arrays of a batch that computes tokens [first, first + count) only: what a scheduler would
  // have sent if it had cut the work there.
  struct Part {
    std::vector<int32_t> ids, positions, slots, query_start, context_lengths, block_tables;
    std::vector<int32_t> recent_slots, recent_tables, logit_rows;
    BatchView view;
  };
  std::unique_ptr<Part> part(Rig& rig, int64_t first, int64_t count) const;

 private:
  std::vector<SequenceShape> shapes_;
  int64_t block_size_;
  int64_t num_tokens_ = 0;
  int64_t num_pages_ = 0;
  int64_t max_blocks_ = 0;
  std::vector<int32_t> tables_, recent_tables_;  // [S, max_blocks]
};

}  // namespace ferry
