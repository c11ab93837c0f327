// NVFP4 in GGUF files, whose matrices have a factor beside them: the same logits as from the values
// that they stand for, and what is refused.
#include <gtest/gtest.h>

#include <cmath>

#include "engine/testing.h"

namespace ferry::engine {
namespace {

using namespace engine::testing;

constexpr std::string_view kModelType = "qwen3_moe";

Json moe_config() {
  for (const TinyModel& model : tiny_models()) {
    if (model.name == kModelType) return parse(model.config);
  }
  CHECK(false);
  return {};
}

// Factors are powers of two, so that nothing rounds twice: of a matrix one, of experts in turn
// three.
std::vector<float> factors_of(const weights::TensorRecord& record) {
  if (record.role != weights::TensorRole::kExpert) return {0x1p-10f};
  std::vector<float> factors;
  for (int64_t e = 0; e < record.shape[0]; ++e) factors.push_back(std::ldexp(1.0f, -9 - e % 3));
  return factors;
}

struct TwoFiles {
  std::vector<StoredTensor> packed;
  std::vector<StoredTensor> plain;  // what the packed ones decode to
};

TwoFiles two_files(TinyWeights& tiny) {
  TwoFiles files;
  const quant::StorageFormat& nvfp4 = *quant::find_format("NVFP4");
  for (const weights::TensorRecord& record : tiny.records) {
    std::vector<float>& values = tiny.values[record.name];
    const std::string name = gguf_name(kModelType, record.name);
    const bool linear =
        record.role == weights::TensorRole::kLinear || record.role == weights::TensorRole::kExpert;
    if (!linear || record.shape.back() % nvfp4.block_elements != 0) {
      files.packed.push_back(store(name, "F32", record.shape, values));
      files.plain.push_back(files.packed.back());
      continue;
    }
    const std::vector<float> factors = factors_of(record);
    const size_t part = values.size() / factors.size();
    for (size_t i = 0; i < values.size(); ++i) values[i] /= factors[i / part];
    StoredTensor packed = store(name, "NVFP4", record.shape, values);
    nvfp4.decode(packed.bytes.data(), values.data(),
                 static_cast<int64_t>(values.size()) / nvfp4.block_elements);
    for (size_t i = 0; i < values.size(); ++i) values[i] *= factors[i / part];
    files.packed.push_back(std::move(packed));
    const std::string stem = name.substr(0, name.size() - std::string_view("weight").size());
    files.packed.push_back(
        store(stem + "scale", "F32", {static_cast<int64_t>(factors.size())}, factors));
    files.packed.push_back(
        store(stem + "input_scale", "F32", {static_cast<int64_t>(factors.size())}, factors));
    files.plain.push_back(store(name, "F32", record.shape, values));
  }
  return files;
}

class Nvfp4Factors : public ::testing::Test {
 protected:
  Nvfp4Factors() : tiny_(random_weights(config_, 11)), files_(two_files(tiny_)) {}

  StoredTensor& find(std::string_view ending) {
    for (StoredTensor& tensor : files_.packed) {
      if (tensor.decl.name.ends_with(ending)) return tensor;
    }
    CHECK(false);
    return files_.packed[0];
  }
  std::string refusal() {
    const std::string path = write_gguf(dir_, "bad.gguf", config_, files_.packed);
    const auto model = load_model(open_source(path), backend_named("cpu"), {});
    return model.ok() ? "" : model.error().message;
  }

  const Json config_ = moe_config();
  disk::testing::TempDir dir_;
  TinyWeights tiny_;
  TwoFiles files_;
};

TEST_F(Nvfp4Factors, ScaleTheMatricesTheyStandBeside) {
  const std::string packed = write_gguf(dir_, "packed.gguf", config_, files_.packed);
  const std::string plain = write_gguf(dir_, "plain.gguf", config_, files_.plain);
  for (const char* name : {"reference", "cpu"}) {
    const LoadedModel a = load(packed, backend_named(name));
    const LoadedModel b = load(plain, backend_named(name));
    const std::vector<int32_t> tokens = random_tokens(20, a.spec().vocab_size, 5);
    EXPECT_LE(max_difference(logits_of(a, tokens), logits_of(b, tokens)), 1e-5f) << name;
  }
}

TEST_F(Nvfp4Factors, OfAnotherShapeAreRefused) {
  StoredTensor& factors = find("ffn_up_exps.scale");
  factors = store(factors.decl.name, "F32", {7}, std::vector<float>(7, 1.0f));
  EXPECT_NE(refusal().find("found [7], expected [8]"), std::string::npos) << refusal();
}

TEST_F(Nvfp4Factors, ThatAreNotFiniteAreRefused) {
  StoredTensor& factor = find("attn_q.scale");
  factor.bytes = {0, 0, 0xc0, 0x7f};  // NaN
  EXPECT_NE(refusal().find("attn_q.scale"), std::string::npos) << refusal();
}

TEST_F(Nvfp4Factors, BesideAnotherFormatAreRefused) {
  StoredTensor& weight = find("attn_q.weight");
  const std::vector<float>& values = tiny_.values["model.layers.0.self_attn.q_proj.weight"];
  weight = store(weight.decl.name, "F32", weight.decl.shape, values);
  EXPECT_NE(refusal().find("attn_q"), std::string::npos) << refusal();
}

}  // namespace
}  // namespace ferry::engine
