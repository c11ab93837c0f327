// Conformance cases of DeepSeek-V4's ops: hyper-connections, the compressor, scores of entries,
// attention over a window and entries, hash routing, the clamped SwiGLU. Rows of planes that no
// token of the batch may read hold NaN.
#include <algorithm>
#include <limits>

#include "base/checked_math.h"
#include "device/conformance/cases.h"
#include "device/conformance/cases_batches.h"

namespace ferry {
namespace {

constexpr float kV4StandIn = -1e30f;  // for −∞, which has no difference

int64_t count_v4_tokens(const BatchShape& batch) {
  int64_t tokens = 0;
  for (const SequenceShape& sequence : batch.sequences) tokens += sequence.query;
  return tokens;
}

int64_t longest_v4_context(const BatchShape& batch) {
  int64_t longest = 0;
  for (const SequenceShape& sequence : batch.sequences) {
    longest = std::max(longest, sequence.context);
  }
  return longest;
}

// Entries of the sequences of a batch: one row for every `ratio` tokens.
class EntryPlane {
 public:
  EntryPlane(const BatchFixture& batch, int64_t ratio, int64_t width)
      : batch_(batch), ratio_(ratio), width_(width), rows_(ceil_div(batch.block_size(), ratio)) {}

  int64_t rows() const { return rows_; }
  int64_t seen(int64_t token) const { return (batch_.place(token).position + 1) / ratio_; }
  // Where entry e of a sequence begins.
  int64_t offset(int64_t sequence, int64_t e) const {
    const int64_t slot = batch_.slot(sequence, e * ratio_ + ratio_ - 1);
    const int64_t page = slot / batch_.block_size();
    return (page * rows_ + slot % batch_.block_size() / ratio_) * width_;
  }
  int64_t size() const { return batch_.num_pages() * rows_ * width_; }

  std::vector<float> fill(Random& random) const {
    std::vector<float> values(static_cast<size_t>(size()), std::numeric_limits<float>::quiet_NaN());
    for (size_t s = 0; s < batch_.shapes().size(); ++s) {
      for (int64_t e = 0; e < batch_.shapes()[s].context / ratio_; ++e) {
        const int64_t begin = offset(static_cast<int64_t>(s), e);
        for (int64_t i = 0; i < width_; ++i) values[begin + i] = random.normal();
      }
    }
    return values;
  }

 private:
  const BatchFixture& batch_;
  int64_t ratio_, width_, rows_;
};

// Angles of any size do: what counts is which row is taken, and how pairs are turned.
std::vector<float> turn_table(int64_t positions, int64_t dim) {
  std::vector<float> table;
  for (int64_t p = 0; p < positions; ++p) {
    for (int64_t i = 0; i < dim; ++i) {
      const double angle = static_cast<double>(p) / static_cast<double>(1 + i % (dim / 2));
      table.push_back(static_cast<float>(i < dim / 2 ? std::cos(angle) : std::sin(angle)));
    }
  }
  return table;
}

// Both halves of a hyper-connection: out and gates, then the streams after the block.
class HyperExercise : public Exercise {
 public:
  HyperExercise(int64_t tokens, int64_t streams, int64_t size, bool gates)
      : streams_(streams), size_(size), has_gates_(gates) {
    Random random(6000);
    x_ = random.normals(tokens * streams * size, 2.0f);
    mix_ = random.normals(tokens * mixes());
    base_ = random.normals(mixes());
    scale_ = random.normals(gates ? 3 : 1);
  }
  CaseOutput run(Rig& rig, int64_t first, int64_t count) const override {
    const int64_t width = streams_ * size_;
    const TensorView x = rig.upload(rows_of(x_, width, first, count), {count, width}, {4, 8})
                             .split_last(streams_, size_);
    const TensorView mix = rig.upload(rows_of(mix_, mixes(), first, count), {count, mixes()});
    const TensorView base = rig.upload(base_, {mixes()});
    const TensorView scale = rig.upload(scale_, {static_cast<int64_t>(scale_.size())});
    const int64_t num_gates = has_gates_ ? streams_ * (streams_ + 1) : 0;
    const TensorView whole = rig.output(Dtype::kF32, {count, size_ + num_gates}, {0, 4});
    if (!rig.ready()) return {};
    rig.stream().hyper_collapse(
        {.streams = x,
         .mix = mix,
         .base = base,
         .scale = scale,
         .norm_epsilon = 1e-6f,
         .epsilon = 1e-6f,
         .iterations = 20,
         .out = whole.slice(1, 0, size_),
         .gates = has_gates_ ? whole.slice(1, size_, num_gates) : TensorView()});
    return {.values = rig.read(whole), .integers = {}};
  }
  std::vector<double> magnitudes() const override {
    const int64_t num_gates = has_gates_ ? streams_ * (streams_ + 1) : 0;
    std::vector<double> result;
    for (int64_t t = 0; t * mixes() < static_cast<int64_t>(mix_.size()); ++t) {
      for (int64_t i = 0; i < size_; ++i) {
        double sum = 0;
        for (int64_t j = 0; j < streams_; ++j) {
          sum += std::fabs(static_cast<double>(x_[(t * streams_ + j) * size_ + i]));
        }
        result.push_back(2 * sum);
      }
      result.insert(result.end(), static_cast<size_t>(num_gates), 4.0);
    }
    return result;
  }

 private:
  int64_t mixes() const { return has_gates_ ? streams_ * (streams_ + 2) : streams_; }
  int64_t streams_, size_;
  bool has_gates_;
  std::vector<float> x_, mix_, base_, scale_;
};

class ExpandExercise : public Exercise {
 public:
  ExpandExercise(int64_t tokens, int64_t streams, int64_t size) : streams_(streams), size_(size) {
    Random random(6100);
    streams_before_ = random.normals(tokens * streams * size);
    x_ = random.normals(tokens * size);
    gates_ = random.normals(tokens * streams * (streams + 1));
  }
  CaseOutput run(Rig& rig, int64_t first, int64_t count) const override {
    const int64_t width = streams_ * size_;
    const int64_t num_gates = streams_ * (streams_ + 1);
    const TensorView streams =
        rig.upload(rows_of(streams_before_, width, first, count), {count, width}, {0, 8});
    const TensorView x = rig.upload(rows_of(x_, size_, first, count), {count, size_}, {0, 3});
    const TensorView gates =
        rig.upload(rows_of(gates_, num_gates, first, count), {count, num_gates});
    if (!rig.ready()) return {};
    rig.stream().hyper_expand(
        {.streams = streams.split_last(streams_, size_), .x = x, .gates = gates});
    return {.values = rig.read(streams), .integers = {}};
  }
  std::vector<double> magnitudes() const override {
    std::vector<double> result;
    const int64_t num_gates = streams_ * (streams_ + 1);
    for (int64_t t = 0; t * size_ < static_cast<int64_t>(x_.size()); ++t) {
      const float* gates = gates_.data() + t * num_gates;
      for (int64_t k = 0; k < streams_; ++k) {
        for (int64_t i = 0; i < size_; ++i) {
          double sum = std::fabs(static_cast<double>(gates[k]) * x_[t * size_ + i]);
          for (int64_t j = 0; j < streams_; ++j) {
            sum += std::fabs(static_cast<double>(gates[streams_ + j * streams_ + k]) *
                             streams_before_[(t * streams_ + j) * size_ + i]);
          }
          result.push_back(sum);
        }
      }
    }
    return result;
  }

 private:
  int64_t streams_, size_;
  std::vector<float> streams_before_, x_, gates_;
};

struct EntryShape {
  const BatchShape* batch;
  int64_t heads, size, rope, ratio;
  Dtype dtype;
  int64_t window = 0, top_k = 0;  // of attention; no top_k: all entries
};

// For each token the entry that it ends, or zeros.
class CompressExercise : public Exercise {
 public:
  explicit CompressExercise(const EntryShape& shape)
      : shape_(shape),
        random_(6200),
        batch_(random_, shape.batch->sequences, shape.batch->block_size),
        plane_(batch_, shape.ratio, shape.size),
        rows_(batch_.cache(random_, Dtype::kF32, 2 * width(), 1, PageKind::kRecent)),
        ape_(random_.normals(shape.ratio * width())),
        weight_(random_.normals(shape.size)),
        table_(turn_table(longest_v4_context(*shape.batch), shape.rope)) {}

  CaseOutput run(Rig& rig, int64_t first, int64_t count) const override {
    const auto part = batch_.part(rig, first, count);
    const TensorView rows = rig.upload_pages(
        rows_, Dtype::kF32, {batch_.num_pages(), batch_.block_size(), 2 * width()}, 0);
    const TensorView ape = rig.upload(ape_, {shape_.ratio, width()});
    const TensorView weight = rig.upload(weight_, {shape_.size});
    const TensorView table = rig.upload(table_, {longest_v4_context(*shape_.batch), shape_.rope});
    const std::vector<float> zeros(static_cast<size_t>(plane_.size()), 0.0f);
    const TensorView pages = rig.upload_pages(
        zeros, shape_.dtype, {batch_.num_pages(), plane_.rows(), shape_.size}, group());
    if (!rig.ready()) return {};
    rig.stream().compress({.rows = rows,
                           .ratio = shape_.ratio,
                           .overlap = overlap(),
                           .ape = ape,
                           .weight = weight,
                           .epsilon = 1e-6f,
                           .cos_sin = table,
                           .batch = &part->view,
                           .pages = pages,
                           .group = group()});
    const std::vector<float> written = rig.read_pages(pages, group());
    CaseOutput result;
    for (int64_t t = first; t < first + count; ++t) {
      const auto [sequence, position] = batch_.place(t);
      const bool ends = (position + 1) % shape_.ratio == 0;
      const int64_t begin = ends ? plane_.offset(sequence, (position + 1) / shape_.ratio - 1) : 0;
      for (int64_t i = 0; i < shape_.size; ++i) {
        result.values.push_back(ends ? written[begin + i] : 0.0f);
      }
    }
    return result;
  }
  std::vector<double> magnitudes() const override {
    return std::vector<double>(static_cast<size_t>(batch_.num_tokens() * shape_.size), 4.0);
  }

 private:
  bool overlap() const { return shape_.ratio == 4; }
  int64_t width() const { return overlap() ? 2 * shape_.size : shape_.size; }
  int64_t group() const { return shape_.size - shape_.rope; }

  EntryShape shape_;
  Random random_;
  BatchFixture batch_;
  EntryPlane plane_;
  std::vector<float> rows_, ape_, weight_, table_;
};

class EntryScoresExercise : public Exercise {
 public:
  explicit EntryScoresExercise(const EntryShape& shape)
      : shape_(shape),
        random_(6300),
        batch_(random_, shape.batch->sequences, shape.batch->block_size),
        plane_(batch_, shape.ratio, shape.size),
        columns_(longest_v4_context(*shape.batch) / shape.ratio + 2),
        q_(random_.normals(batch_.num_tokens() * shape.heads * shape.size)),
        weights_(random_.normals(batch_.num_tokens() * shape.heads)),
        entries_(plane_.fill(random_)) {}

  CaseOutput run(Rig& rig, int64_t first, int64_t count) const override {
    const auto part = batch_.part(rig, first, count);
    const int64_t width = shape_.heads * shape_.size;
    const TensorView q = rig.upload(rows_of(q_, width, first, count), {count, width}, {0, 8})
                             .split_last(shape_.heads, shape_.size);
    const TensorView weights =
        rig.upload(rows_of(weights_, shape_.heads, first, count), {count, shape_.heads}, {0, 3});
    const TensorView pages = rig.upload_pages(
        entries_, shape_.dtype, {batch_.num_pages(), plane_.rows(), shape_.size}, shape_.size);
    const TensorView out = rig.output(Dtype::kF32, {count, columns_}, {0, 4});
    if (!rig.ready()) return {};
    rig.stream().entry_scores({.q = q,
                               .weights = weights,
                               .pages = pages,
                               .ratio = shape_.ratio,
                               .batch = &part->view,
                               .first_token = 0,
                               .out = out});
    CaseOutput result{.values = rig.read(out), .integers = {}};
    std::replace(result.values.begin(), result.values.end(),
                 -std::numeric_limits<float>::infinity(), kV4StandIn);
    return result;
  }
  std::vector<double> magnitudes() const override {
    std::vector<double> result;
    for (int64_t t = 0; t < batch_.num_tokens(); ++t) {
      for (int64_t e = 0; e < columns_; ++e) {
        double sum = 0;
        for (int64_t h = 0; e < plane_.seen(t) && h < shape_.heads; ++h) {
          const int64_t row = t * shape_.heads + h;
          sum += std::fabs(static_cast<double>(weights_[row])) *
                 absolute_dot(q_.data() + row * shape_.size,
                              entries_.data() + plane_.offset(batch_.place(t).sequence, e),
                              shape_.size);
        }
        result.push_back(sum);
      }
    }
    return result;
  }

 private:
  EntryShape shape_;
  Random random_;
  BatchFixture batch_;
  EntryPlane plane_;
  int64_t columns_;
  std::vector<float> q_, weights_, entries_;
};

class WindowAttentionExercise : public Exercise {
 public:
  explicit WindowAttentionExercise(const EntryShape& shape)
      : shape_(shape),
        random_(6400),
        batch_(random_, shape.batch->sequences, shape.batch->block_size),
        plane_(batch_, std::max<int64_t>(shape.ratio, 1), shape.size),
        q_(random_.normals(batch_.num_tokens() * shape.heads * shape.size)),
        sinks_(random_.normals(shape.heads, 2.0f)),
        keys_(batch_.cache(random_, Dtype::kF32, shape.size, 1, PageKind::kRecent)),
        entries_(plane_.fill(random_)),
        table_(turn_table(longest_v4_context(*shape.batch), shape.rope)) {
    for (int64_t t = 0; t < batch_.num_tokens() && shape.top_k > 0; ++t) {
      std::vector<int32_t> chosen(static_cast<size_t>(shape.top_k), -1);
      if (plane_.seen(t) > shape.top_k) {
        const std::vector<int32_t> order = random_.shuffled(plane_.seen(t));
        std::copy_n(order.begin(), chosen.size(), chosen.begin());
        std::sort(chosen.begin(), chosen.end());
      }
      chosen_.insert(chosen_.end(), chosen.begin(), chosen.end());
    }
  }

  CaseOutput run(Rig& rig, int64_t first, int64_t count) const override {
    const auto part = batch_.part(rig, first, count);
    const int64_t heads = shape_.heads;
    const int64_t size = shape_.size;
    const TensorView q = rig.upload(rows_of(q_, heads * size, first, count), {count, heads, size});
    const TensorView sinks = rig.upload(sinks_, {heads});
    const TensorView table = rig.upload(table_, {longest_v4_context(*shape_.batch), shape_.rope});
    const TensorView pages = rig.upload_pages(
        keys_, shape_.dtype, {batch_.num_pages(), batch_.block_size(), size}, group());
    const TensorView out = rig.output(Dtype::kF32, {count, heads, size});
    TensorView entry_pages, chosen;
    if (shape_.ratio > 0) {
      entry_pages = rig.upload_pages(entries_, shape_.dtype,
                                     {batch_.num_pages(), plane_.rows(), size}, group());
    }
    if (shape_.top_k > 0) {
      chosen = rig.upload(
          std::span<const int32_t>(chosen_).subspan(static_cast<size_t>(first * shape_.top_k),
                                                    static_cast<size_t>(count * shape_.top_k)),
          {count, shape_.top_k});
    }
    if (!rig.ready()) return {};
    for (const auto& [begin, tokens] :
         {std::pair(int64_t{0}, count / 2), std::pair(count / 2, count - count / 2)}) {
      if (tokens == 0) continue;
      rig.stream().window_attention(
          {.q = q.slice(0, begin, tokens),
           .pages = pages,
           .window = shape_.window,
           .entry_pages = entry_pages,
           .ratio = shape_.ratio,
           .entries = chosen.empty() ? chosen : chosen.slice(0, begin, tokens),
           .sinks = sinks,
           .scale = 1.0f / std::sqrt(static_cast<float>(size)),
           .cos_sin = table,
           .batch = &part->view,
           .first_token = begin,
           .group = group(),
           .out = out.slice(0, begin, tokens)});
    }
    return {.values = rig.read(out), .integers = {}};
  }
  // Values are normal numbers, within 3.5, and turned; scores sums of `size` such products.
  std::vector<double> magnitudes() const override {
    const double score = std::sqrt(static_cast<double>(shape_.size)) * 2;
    return std::vector<double>(q_.size(), 5.0 * (1 + score));
  }

 private:
  int64_t group() const { return shape_.size - shape_.rope; }

  EntryShape shape_;
  Random random_;
  BatchFixture batch_;
  EntryPlane plane_;
  std::vector<float> q_, sinks_, keys_, entries_, table_;
  std::vector<int32_t> chosen_;
};

class HashGateExercise : public Exercise {
 public:
  HashGateExercise(int64_t tokens, int64_t experts, int64_t top_k, GateScore score)
      : spec_{.score = score,
              .num_experts = experts,
              .top_k = top_k,
              .renormalize = true,
              .scale = 1.5f} {
    Random random(6500);
    logits_ = random.normals(tokens * experts, 4.0f);
    for (int64_t v = 0; v < kVocabulary; ++v) {
      const std::vector<int32_t> order = random.shuffled(experts);
      table_.insert(table_.end(), order.begin(), order.begin() + top_k);
    }
    for (int64_t t = 0; t < tokens; ++t) {
      ids_.push_back(static_cast<int32_t>(random.below(kVocabulary)));
    }
  }
  CaseOutput run(Rig& rig, int64_t first, int64_t count) const override {
    const auto own = std::span<const int32_t>(ids_).subspan(static_cast<size_t>(first),
                                                            static_cast<size_t>(count));
    const TensorView logits = rig.upload(rows_of(logits_, spec_.num_experts, first, count),
                                         {count, spec_.num_experts}, {0, 5});
    const TensorView table =
        rig.upload(std::span<const int32_t>(table_), {kVocabulary, spec_.top_k});
    const TensorView ids = rig.output(Dtype::kI32, {count, spec_.top_k});
    const TensorView weights = rig.output(Dtype::kF32, {count, spec_.top_k});
    const IndexView token_ids = rig.index(own);
    if (!rig.ready()) return {};
    rig.stream().moe_hash_gate({.logits = logits,
                                .token_ids = token_ids,
                                .table = table,
                                .spec = &spec_,
                                .ids = ids,
                                .weights = weights});
    return {.values = rig.read(weights), .integers = rig.read_integers(ids)};
  }
  std::vector<double> magnitudes() const override {
    return std::vector<double>(ids_.size() * static_cast<size_t>(spec_.top_k), 1.5);
  }

 private:
  static constexpr int64_t kVocabulary = 11;
  GateSpec spec_;
  std::vector<float> logits_;
  std::vector<int32_t> table_, ids_;
};

class ClampedSwigluExercise : public Exercise {
 public:
  ClampedSwigluExercise(int64_t tokens, int64_t size, bool in_place)
      : size_(size), in_place_(in_place) {
    Random random(6600);
    gate_ = random.normals(tokens * size, 3.0f);
    up_ = random.normals(tokens * size, 3.0f);
    gate_[0] = -300;
  }
  CaseOutput run(Rig& rig, int64_t first, int64_t count) const override {
    const TensorView gate = rig.upload(rows_of(gate_, size_, first, count), {count, size_}, {0, 5});
    const TensorView up = rig.upload(rows_of(up_, size_, first, count), {count, size_}, {0, 3});
    const TensorView out = in_place_ ? gate : rig.output(Dtype::kF32, {count, size_});
    if (!rig.ready()) return {};
    rig.stream().clamped_swiglu({.gate = gate, .up = up, .limit = 2.5f, .out = out});
    return {.values = rig.read(out), .integers = {}};
  }
  std::vector<double> magnitudes() const override {
    std::vector<double> result;
    for (size_t i = 0; i < gate_.size(); ++i) {
      const double g = std::min(gate_[i], 2.5f);
      result.push_back(std::fabs(g / (1 + std::exp(-g)) * std::clamp(up_[i], -2.5f, 2.5f)) + 1e-30);
    }
    return result;
  }

 private:
  int64_t size_;
  bool in_place_;
  std::vector<float> gate_, up_;
};

// What rounding to the dtype of the pages may do to a number of magnitude 4.
double page_rounding(Dtype dtype) {
  if (dtype == Dtype::kF32) return 1e-5;
  return dtype == Dtype::kI8 ? 2e-2 : 5e-3;
}

template <typename Case>
void add_entry_case(std::vector<ConformanceCase>& cases, Op op, const EntryShape& s,
                    double tolerance, bool rounds) {
  cases.push_back(
      {.name = fmt::format("{} {} H={} d={} R={} W={} K={} {}", op_name(op), dtype_name(s.dtype),
                           s.heads, s.size, s.ratio, s.window, s.top_k, s.batch->name),
       .op = op,
       .queries = {{.op = op, .dtype = s.dtype, .rows = s.heads, .cols = s.size}},
       .tolerance = tolerance,
       .rounds = rounds,
       .num_tokens = count_v4_tokens(*s.batch),
       .prepare = [s] { return std::make_unique<Case>(s); }});
}

void add_batch_cases(std::vector<ConformanceCase>& cases, const BatchShape& batch) {
  for (const EntryShape& s :
       {EntryShape{&batch, 1, 24, 8, 4, Dtype::kF32}, EntryShape{&batch, 1, 72, 8, 4, Dtype::kBF16},
        EntryShape{&batch, 1, 40, 16, 16, Dtype::kI8},
        EntryShape{&batch, 1, 64, 32, 128, Dtype::kF16}}) {
    add_entry_case<CompressExercise>(cases, Op::kCompress, s, page_rounding(s.dtype), false);
  }
  for (const EntryShape& s : {EntryShape{&batch, 3, 20, 0, 4, Dtype::kF32},
                              EntryShape{&batch, 16, 64, 0, 4, Dtype::kBF16},
                              EntryShape{&batch, 4, 32, 0, 4, Dtype::kI8}}) {
    add_entry_case<EntryScoresExercise>(cases, Op::kEntryScores, s, 3e-6, true);
  }
  for (const EntryShape& s : {EntryShape{&batch, 3, 24, 8, 0, Dtype::kF32, 7},
                              EntryShape{&batch, 4, 96, 32, 4, Dtype::kF32, 16, 5},
                              EntryShape{&batch, 18, 64, 16, 16, Dtype::kBF16, 70},
                              EntryShape{&batch, 2, 48, 16, 4, Dtype::kI8, 9, 3}}) {
    add_entry_case<WindowAttentionExercise>(cases, Op::kWindowAttention, s, 3e-6, true);
  }
}

}  // namespace

void add_v4_cases(std::vector<ConformanceCase>& cases) {
  for (const int64_t tokens : {1, 3, 17}) {
    const auto add = [&](Op op, std::string_view what, int64_t rows, int64_t cols, double tolerance,
                         std::function<std::unique_ptr<Exercise>()> prepare) {
      cases.push_back(
          {.name = fmt::format("{}{} T={} [{} x {}]", op_name(op), what, tokens, rows, cols),
           .op = op,
           .queries = {{.op = op, .rows = rows, .cols = cols}},
           .tolerance = tolerance,
           .num_tokens = tokens,
           .prepare = std::move(prepare)});
    };
    for (const int64_t streams : {2, 4}) {
      for (const bool gates : {true, false}) {
        add(Op::kHyperCollapse, gates ? "" : " head", streams, 40, 1e-5,
            [=] { return std::make_unique<HyperExercise>(tokens, streams, 40, gates); });
      }
      add(Op::kHyperExpand, "", streams, 40, 2e-6,
          [=] { return std::make_unique<ExpandExercise>(tokens, streams, 40); });
    }
    for (const GateScore score : {GateScore::kSigmoid, GateScore::kSqrtSoftplus}) {
      add(Op::kMoeHashGate, score == GateScore::kSigmoid ? " sigmoid" : " sqrtsoftplus", 24, 6,
          3e-6, [=] { return std::make_unique<HashGateExercise>(tokens, 24, 6, score); });
    }
    for (const bool in_place : {false, true}) {
      add(Op::kClampedSwiglu, in_place ? " in place" : "", 1, 96, 3e-6,
          [=] { return std::make_unique<ClampedSwigluExercise>(tokens, 96, in_place); });
    }
  }
  for (const BatchShape& batch : batch_shapes()) add_batch_cases(cases, batch);
}

}  // namespace ferry
