// Conformance cases of multi-head latent attention, expanded and absorbed. The prefill op works on
// the prompt sequences of a batch, the decode op on those that decode; rows of the others must stay
// as they are. Cache slots that no sequence owns hold NaN.
#include <algorithm>

#include "device/conformance/cases.h"
#include "device/conformance/cases_batches.h"

namespace ferry {
namespace {

struct MlaShape {
  const BatchShape* batch;
  int64_t heads, nope, rope, value, rank;
  Dtype dtype;
  const quant::StorageFormat* format;  // of kv_b_proj
  bool scaled;
  bool separate;  // U^K stored transposed and apart from U^V, as GGUF has it
  float query_scale;
  int64_t max_keys = kAllKeys;
};

// What both forms share: the batch, the latents, the rows that are the op's own.
class MlaExercise : public Exercise {
 public:
  MlaExercise(const MlaShape& shape, bool decode)
      : shape_(shape),
        random_(4000),
        batch_(random_, shape.batch->sequences, shape.batch->block_size),
        decode_(decode) {
    cache_ = batch_.cache(random_, shape.dtype, width(), shape.rank);
  }

  std::vector<double> magnitudes() const override {
    std::vector<double> result;
    const int64_t row = shape_.heads * out_size();
    result.reserve(static_cast<size_t>(batch_.num_tokens() * row));
    for (int64_t t = 0; t < batch_.num_tokens(); ++t) {
      const bool left = batch_.place(t).position + 1 > shape_.max_keys;
      if (left || batch_.is_decode(t) != decode_) {  // not ours: any change is an infinite error
        result.insert(result.end(), static_cast<size_t>(row), 0.0);
        continue;
      }
      for (int64_t h = 0; h < shape_.heads; ++h) add_magnitudes(t, h, &result);
    }
    return result;
  }

 protected:
  virtual int64_t out_size() const = 0;
  virtual void add_magnitudes(int64_t token, int64_t head, std::vector<double>* result) const = 0;

  int64_t width() const { return shape_.rank + shape_.rope; }
  float scale() const { return 1.0f / std::sqrt(static_cast<float>(shape_.nope + shape_.rope)); }
  const float* cached(int64_t sequence, int64_t s) const {
    return cache_.data() + batch_.slot(sequence, s) * width();
  }
  TensorView pages(Rig& rig) const {
    return rig.upload_pages(cache_, shape_.dtype,
                            {batch_.num_pages(), batch_.block_size(), width()}, shape_.rank);
  }
  int64_t first_sequence(const BatchView& view) const {
    return decode_ ? 0 : view.num_decode_sequences;
  }
  int64_t num_sequences(const BatchView& view) const {
    return decode_ ? view.num_decode_sequences : view.num_sequences - view.num_decode_sequences;
  }

  MlaShape shape_;
  Random random_;
  BatchFixture batch_;
  bool decode_;
  std::vector<float> cache_;
};

class MlaPrefillExercise : public MlaExercise {
 public:
  explicit MlaPrefillExercise(const MlaShape& shape) : MlaExercise(shape, /*decode=*/false) {
    q_ = random_.normals(batch_.num_tokens() * shape.heads * q_size(), shape.query_scale);
    if (shape.separate) {
      up_k_ =
          make_weight(random_, *shape.format, shape.heads * shape.rank, shape.nope, shape.scaled);
      up_v_ =
          make_weight(random_, *shape.format, shape.heads * shape.value, shape.rank, shape.scaled);
    } else {
      up_k_ = up_v_ = make_weight(random_, *shape.format, shape.heads * (shape.nope + shape.value),
                                  shape.rank, shape.scaled);
    }
  }

  CaseOutput run(Rig& rig, int64_t first, int64_t count) const override {
    const auto part = batch_.part(rig, first, count);
    const TensorView q = rig.upload(rows_of(q_, shape_.heads * q_size(), first, count),
                                    {count, shape_.heads, q_size()});
    const WeightView up_k = rig.import(up_k_, true);
    const WeightView up_v = up_k_ == up_v_ ? up_k : rig.import(up_v_, true);
    const TensorView cache = pages(rig);
    const TensorView out = rig.output(Dtype::kF32, {count, shape_.heads, shape_.value}, {0, 8});
    if (!rig.ready()) return {};
    rig.stream().mla_prefill_attention({.q = q,
                                        .pages = cache,
                                        .up_k = key_matrices(up_k),
                                        .up_v = value_matrices(up_v),
                                        .scale = scale(),
                                        .batch = &part->view,
                                        .first_sequence = first_sequence(part->view),
                                        .num_sequences = num_sequences(part->view),
                                        .max_keys = shape_.max_keys,
                                        .out = out});
    return {.values = rig.read(out)};
  }

 private:
  int64_t q_size() const { return shape_.nope + shape_.rope; }
  int64_t out_size() const override { return shape_.value; }

  HeadMatrixView key_matrices(const WeightView& w) const {
    const int64_t rows = shape_.separate ? shape_.rank : shape_.nope;
    return {.weight = w,
            .num_heads = shape_.heads,
            .rows = rows,
            .cols = w.cols,
            .first_row = 0,
            .head_stride = shape_.separate ? rows : shape_.nope + shape_.value,
            .transposed = shape_.separate};
  }
  HeadMatrixView value_matrices(const WeightView& w) const {
    return {.weight = w,
            .num_heads = shape_.heads,
            .rows = shape_.value,
            .cols = w.cols,
            .first_row = shape_.separate ? 0 : shape_.nope,
            .head_stride = shape_.separate ? shape_.value : shape_.nope + shape_.value};
  }

  void add_magnitudes(int64_t t, int64_t h, std::vector<double>* result) const override {
    const auto [sequence, position] = batch_.place(t);
    const float* q = q_.data() + (t * shape_.heads + h) * q_size();
    const int64_t stride = shape_.nope + shape_.value;
    // score = Σ_r (Σ_j |q_j U_jr|) |c_r|: the sum over j does not depend on the key.
    std::vector<double> by_rank(static_cast<size_t>(shape_.rank), 0.0);
    for (int64_t r = 0; r < shape_.rank; ++r) {
      for (int64_t j = 0; j < shape_.nope; ++j) {
        const double u =
            shape_.separate ? up_k_->row(h * shape_.rank + r)[j] : up_k_->row(h * stride + j)[r];
        by_rank[r] += std::fabs(u * q[j]);
      }
    }
    double score = 0;
    std::vector<double> largest(static_cast<size_t>(shape_.rank), 0.0);
    for (int64_t s = 0; s <= position; ++s) {
      const float* c = cached(sequence, s);
      double sum = absolute_dot(q + shape_.nope, c + shape_.rank, shape_.rope);
      for (int64_t r = 0; r < shape_.rank; ++r) {
        sum += by_rank[r] * std::fabs(static_cast<double>(c[r]));
        largest[r] = std::max(largest[r], std::fabs(static_cast<double>(c[r])));
      }
      score = std::max(score, scale() * sum);
    }
    for (int64_t i = 0; i < shape_.value; ++i) {
      const int64_t row = shape_.separate ? h * shape_.value + i : h * stride + shape_.nope + i;
      double value = 0;
      for (int64_t r = 0; r < shape_.rank; ++r) {
        value += std::fabs(up_v_->row(row)[r] * largest[r]);
      }
      result->push_back(value * (1 + score));
    }
  }

  std::shared_ptr<const WeightData> up_k_, up_v_;
  std::vector<float> q_;
};

class MlaDecodeExercise : public MlaExercise {
 public:
  explicit MlaDecodeExercise(const MlaShape& shape) : MlaExercise(shape, /*decode=*/true) {
    const int64_t rows = batch_.num_tokens() * shape.heads;
    q_latent_ = random_.normals(rows * shape.rank, shape.query_scale);
    q_rope_ = random_.normals(rows * shape.rope, shape.query_scale);
  }

  CaseOutput run(Rig& rig, int64_t first, int64_t count) const override {
    const auto part = batch_.part(rig, first, count);
    const int64_t heads = shape_.heads;
    const TensorView q_latent = rig.upload(rows_of(q_latent_, heads * shape_.rank, first, count),
                                           {count, heads, shape_.rank});
    // The rotary part of a query is a slice of a wider head.
    const TensorView q_rope = rig.upload(rows_of(q_rope_, heads * shape_.rope, first, count),
                                         {count, heads, shape_.rope}, {shape_.nope, shape_.nope});
    const TensorView cache = pages(rig);
    const TensorView out = rig.output(Dtype::kF32, {count, heads, shape_.rank});
    if (!rig.ready()) return {};
    rig.stream().mla_decode_attention({.q_latent = q_latent,
                                       .q_rope = q_rope,
                                       .pages = cache,
                                       .scale = scale(),
                                       .batch = &part->view,
                                       .first_sequence = first_sequence(part->view),
                                       .num_sequences = num_sequences(part->view),
                                       .max_keys = shape_.max_keys,
                                       .out = out});
    return {.values = rig.read(out)};
  }

 private:
  int64_t out_size() const override { return shape_.rank; }

  void add_magnitudes(int64_t t, int64_t h, std::vector<double>* result) const override {
    const auto [sequence, position] = batch_.place(t);
    const int64_t row = t * shape_.heads + h;
    double score = 0;
    std::vector<double> value(static_cast<size_t>(shape_.rank), 0.0);
    for (int64_t s = 0; s <= position; ++s) {
      const float* c = cached(sequence, s);
      const double sum =
          absolute_dot(q_latent_.data() + row * shape_.rank, c, shape_.rank) +
          absolute_dot(q_rope_.data() + row * shape_.rope, c + shape_.rank, shape_.rope);
      score = std::max(score, scale() * sum);
      for (int64_t r = 0; r < shape_.rank; ++r) {
        value[r] = std::max(value[r], std::fabs(static_cast<double>(c[r])));
      }
    }
    for (double v : value) result->push_back(v * (1 + score));
  }

  std::vector<float> q_latent_, q_rope_;
};

void add_mla_case(std::vector<ConformanceCase>& cases, const MlaShape& s, bool decode) {
  int64_t tokens = 0;
  for (const SequenceShape& sequence : s.batch->sequences) tokens += sequence.query;
  const Op op = decode ? Op::kMlaDecodeAttention : Op::kMlaPrefillAttention;
  const OpQuery query{.op = op,
                      .format = decode ? nullptr : s.format,
                      .dtype = s.dtype,
                      .block_scaled = !decode && s.scaled,
                      .rows = s.heads,
                      .cols = decode ? s.rank : s.nope + s.rope};
  const std::string weights = fmt::format(
      " {}{}{}", s.format->name, s.scaled ? " block-scaled" : "", s.separate ? " separate" : "");
  const std::string most = s.max_keys == kAllKeys ? "" : fmt::format(" up to {} keys", s.max_keys);
  cases.push_back({.name = fmt::format("{} {}{} H={} nope={} rope={} value={} rank={} {}{}{}",
                                       op_name(op), dtype_name(s.dtype), decode ? "" : weights,
                                       s.heads, s.nope, s.rope, s.value, s.rank, s.batch->name,
                                       s.query_scale > 1 ? " large scores" : "", most),
                   .op = op,
                   .queries = {query},
                   .tolerance = 3e-6,
                   .rounds = true,
                   .num_tokens = tokens,
                   .prepare = [s, decode]() -> std::unique_ptr<Exercise> {
                     if (decode) return std::make_unique<MlaDecodeExercise>(s);
                     return std::make_unique<MlaPrefillExercise>(s);
                   }});
}

bool has_phase(const BatchShape& batch, bool decode) {
  return std::any_of(batch.sequences.begin(), batch.sequences.end(),
                     [decode](const SequenceShape& s) { return s.decode == decode; });
}

}  // namespace

void add_mla_cases(std::vector<ConformanceCase>& cases) {
  const quant::StorageFormat* f32 = quant::find_format("F32");
  const quant::StorageFormat* bf16 = quant::find_format("BF16");
  const quant::StorageFormat* fp8 = quant::find_format("F8_E4M3");
  for (const BatchShape& batch : batch_shapes()) {
    for (bool decode : {true, false}) {
      if (!has_phase(batch, decode)) continue;
      add_mla_case(cases, {&batch, 1, 16, 16, 16, 64, Dtype::kF32, f32, false, false, 1}, decode);
      add_mla_case(cases, {&batch, 3, 24, 16, 40, 160, Dtype::kBF16, fp8, true, false, 1}, decode);
      add_mla_case(cases, {&batch, 16, 32, 64, 32, 128, Dtype::kF16, bf16, false, false, 1},
                   decode);
      add_mla_case(cases, {&batch, 2, 128, 64, 128, 512, Dtype::kBF16, bf16, false, false, 1},
                   decode);
      add_mla_case(cases, {&batch, 2, 32, 16, 32, 64, Dtype::kF32, f32, false, true, 50}, decode);
      add_mla_case(cases, {&batch, 9, 24, 16, 40, 160, Dtype::kI8, bf16, false, false, 1}, decode);
      add_mla_case(cases, {&batch, 2, 128, 64, 128, 512, Dtype::kI8, bf16, false, false, 1},
                   decode);
    }
  }
  // Long prompts: the heads of DeepSeek-V3, latents and heads that are no multiple of 8 numbers,
  // and both ways that a file has U^K in.
  const quant::StorageFormat* q8 = quant::find_format("Q8_0");
  const BatchShape& tiles = long_prompt_shapes()[0];
  for (const Dtype dtype : {Dtype::kBF16, Dtype::kI8}) {
    add_mla_case(cases, {&tiles, 2, 128, 64, 128, 512, dtype, bf16, false, false, 1}, false);
  }
  add_mla_case(cases, {&tiles, 2, 128, 64, 128, 512, Dtype::kF16, q8, false, true, 1}, false);
  add_mla_case(cases, {&tiles, 3, 24, 12, 36, 160, Dtype::kBF16, fp8, true, false, 1}, false);
  add_mla_case(cases, {&tiles, 3, 24, 12, 36, 156, Dtype::kF32, bf16, false, true, 50}, false);
  for (const bool decode : {true, false}) {
    add_mla_case(
        cases, {&tiles, 2, 24, 16, 40, 160, Dtype::kBF16, bf16, false, false, 1, decode ? 50 : 100},
        decode);
  }
  const BatchShape& pieces = long_prompt_shapes()[1];
  add_mla_case(cases, {&pieces, 2, 24, 16, 40, 160, Dtype::kBF16, bf16, false, false, 1}, false);
  add_mla_case(cases, {&pieces, 1, 32, 16, 20, 160, Dtype::kI8, q8, false, true, 1}, false);
  for (const char* name : {"F16", "Q4_K", "IQ2_S"}) {
    const quant::StorageFormat* f = quant::find_format(name);
    add_mla_case(cases, {&tiles, 2, 64, 16, 24, 256, Dtype::kBF16, f, false, false, 1}, false);
  }
  // The up-projections in every storage format, joined and apart.
  for (const quant::StorageFormat* f : weight_formats()) {
    const BatchShape& mixed = batch_shapes()[9];
    const int64_t block = f->block_elements <= 32 ? 64 : 256;
    for (bool separate : {false, true}) {
      add_mla_case(cases, {&mixed, 2, block, 16, 24, block, Dtype::kF32, f, false, separate, 1},
                   false);
    }
  }
}

}  // namespace ferry
