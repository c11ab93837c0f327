// ShapeRecorder: a WeightLoader with no checkpoint behind it. It writes down the name, shape and
// role of every tensor that a model asks for and hands back weights that have a shape and a format
// but no data. Memory plans, dry runs on a PlanStream and `ferry synth` are made from it.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "weights/weight_loader.h"

namespace ferry::weights {

enum class TensorRole : uint8_t {
  kEmbedding,  // embed_tokens, lm_head
  kLinear,     // attention and dense feed-forward projections
  kRouter,     // the gate of a mixture of experts
  kExpert,     // a projection of all routed experts, stacked
  kNorm,       // weight of an RMS norm
  kBias,       // of a projection, or the router's correction bias
  kTable,      // plain numbers that stay in f32: hyper-connections, positions in a block
  kIndices,    // whole numbers: the experts of each token id
};

struct TensorRecord {
  std::string name;            // full; of experts PREFIX.PROJECTION.weight
  std::vector<int64_t> shape;  // outermost first; of experts [experts, rows, cols]
  TensorRole role = TensorRole::kLinear;
  int64_t limit = 0;  // of kIndices: all are below

  int64_t num_elements() const;
  // Of experts: the name of one of them in checkpoints that store each by itself,
  // PREFIX.{e}.PROJECTION.weight.
  std::string expert_name(int64_t expert) const;
};

struct ShapeRecorderOptions {
  // The format each matrix is taken to be stored in; empty: BF16. Vectors are not asked about.
  std::function<const quant::StorageFormat*(const TensorRecord&)> format;
  // The two halves of kv_b_proj as GGUF has them (k_b_proj, v_b_proj) instead of one tensor.
  bool split_kv_b = false;
};

class ShapeRecorder : public WeightLoader {
 public:
  explicit ShapeRecorder(ShapeRecorderOptions options = {});

  // In the order they were asked for, each once.
  const std::vector<TensorRecord>& records() const { return records_; }
  // Bytes of all matrices in their formats and of all vectors and constants in f32.
  int64_t bytes() const { return bytes_; }

  // Records the whole model: nothing is cut.
  Weight matrix(std::string_view name, int64_t rows, int64_t cols, Cut cut = {}) override;
  Weight head_matrices(std::string_view name, int64_t rows, int64_t cols) override {
    return matrix(name, rows, cols);
  }
  Weight lookup_table(std::string_view name, int64_t rows, int64_t cols) override {
    return matrix(name, rows, cols);
  }
  Vector vector(std::string_view full_name, int64_t size, Cut cut = {}) override;
  ExpertBank experts(std::string_view prefix, std::string_view projection, int64_t num_experts,
                     int64_t rows, int64_t cols, Cut cut = {}) override;
  Weight bare_matrix(std::string_view full_name, int64_t rows, int64_t cols) override;
  Vector table(std::string_view full_name, int64_t rows, int64_t cols) override;
  Vector indices(std::string_view full_name, int64_t rows, int64_t cols, int64_t limit) override;
  HeadMatrix mla_up_k(std::string_view prefix, int64_t heads, int64_t nope, int64_t value,
                      int64_t rank) override;
  HeadMatrix mla_up_v(std::string_view prefix, int64_t heads, int64_t nope, int64_t value,
                      int64_t rank) override;
  Vector constant(int64_t rows, int64_t cols,
                  const std::function<std::vector<float>()>& make) override;
  bool has(std::string_view full_name, bool without_file) const override;
  void skip_copy(std::string_view name, int64_t rows, int64_t cols) override;
  void ignore(std::string_view full_name) override;
  void ignore_all(std::string_view prefix) override;
  Status finish() override { return {}; }

 private:
  WeightView record_matrix(TensorRecord record, int64_t rows, int64_t cols);
  WeightView kv_b(std::string_view prefix, int64_t heads, int64_t nope, int64_t value,
                  int64_t rank);

  ShapeRecorderOptions options_;
  std::vector<TensorRecord> records_;
  WeightView kv_b_;  // the one recorded last
  int64_t bytes_ = 0;
};

}  // namespace ferry::weights
