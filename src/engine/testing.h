// For tests: small models of every architecture with random weights, written to disk as Hugging
// Face checkpoints (BF16 or FP8) or GGUF files, and the comparison of logits.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <map>
#include <numeric>
#include <ostream>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "base/checked_math.h"
#include "base/half.h"
#include "disk/gguf_names.h"
#include "disk/gguf_writer.h"
#include "disk/hf_config.h"
#include "disk/model_source.h"
#include "disk/safetensors_writer.h"
#include "disk/testing.h"
#include "engine/logits.h"
#include "engine/ranks.h"
#include "models/registry/select.h"
#include "nn/rope.h"
#include "weights/shape_recorder.h"

namespace ferry::engine::testing {

// Values by full tensor name, in the order of the checkpoint.
struct TinyWeights {
  std::vector<weights::TensorRecord> records;
  std::map<std::string, std::vector<float>> values;
};

inline Json parse(std::string_view text) {
  auto json = parse_json(text);
  CHECK(json.ok());
  return *std::move(json);
}

inline const char* kTinyCommon = R"("vocab_size": 96, "hidden_size": 64, "num_hidden_layers": 3,
  "intermediate_size": 96, "max_position_embeddings": 512, "rms_norm_eps": 1e-5,
  "eos_token_id": [1, 2], "tie_word_embeddings": false,)";
inline const char* kTinyGqa = R"("num_attention_heads": 4, "num_key_value_heads": 2,
  "head_dim": 24, "rope_theta": 10000.0)";
// Short windows and blocks; one layer of each kind, the first routed by token ids.
inline const char* kTinyV4 = R"("num_attention_heads": 4, "head_dim": 24, "qk_rope_head_dim": 8,
  "q_lora_rank": 40, "o_groups": 2, "o_lora_rank": 12, "sliding_window": 7,
  "compress_ratios": [0, 4, 16, 0], "num_nextn_predict_layers": 1,
  "compress_rope_theta": 40000.0, "index_n_heads": 3, "index_head_dim": 20, "index_topk": 5,
  "hc_mult": 4, "hc_sinkhorn_iters": 5,
  "n_routed_experts": 8, "num_experts_per_tok": 3, "moe_intermediate_size": 32,
  "n_shared_experts": 1, "num_hash_layers": 1, "swiglu_limit": 2.0, "routed_scaling_factor": 1.5,
  "rope_theta": 10000.0, "rope_scaling": {"type": "yarn", "factor": 8.0, "beta_fast": 32,
  "beta_slow": 1, "original_max_position_embeddings": 64})";
inline const char* kTinyMla = R"("num_attention_heads": 4, "kv_lora_rank": 32,
  "qk_nope_head_dim": 16, "qk_rope_head_dim": 8, "v_head_dim": 24, "n_routed_experts": 8,
  "num_experts_per_tok": 3, "moe_intermediate_size": 40, "first_k_dense_replace": 1,
  "rope_theta": 10000.0, "rope_scaling": {"type": "yarn", "factor": 8.0, "beta_fast": 32,
  "beta_slow": 1, "original_max_position_embeddings": 64, "mscale": 0.7, "mscale_all_dim": 0.7})";

// A file of little-endian f32; nothing where there is no file.
inline std::vector<float> read_floats(const std::string& path) {
  const std::string bytes = disk::testing::read_bytes(path);
  std::vector<float> values(bytes.size() / sizeof(float));
  if (!values.empty()) std::memcpy(values.data(), bytes.data(), values.size() * sizeof(float));
  return values;
}

struct TinyModel {
  const char* name;
  std::string config;
};
// As the parameter of a test.
inline void PrintTo(const TinyModel& model, std::ostream* out) { *out << model.name; }

// Between them: both attention kinds, biases, head norms, tied embeddings, every rope rule, groups
// by either score, q with and without a low rank, shared experts, a prediction module.
inline std::vector<TinyModel> tiny_models() {
  const auto config = [](const char* type, const char* part, const std::string& rest) {
    return fmt::format("{{\"model_type\": \"{}\", {} {}{}}}", type, kTinyCommon, part, rest);
  };
  return {
      {"llama", config("llama", kTinyGqa, R"(, "rope_scaling": {"rope_type": "llama3",
        "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 32})")},
      {"llama_linear", config("llama", kTinyGqa, R"(, "rope_scaling": {"type": "linear",
        "factor": 2.0})")},
      {"qwen2", config("qwen2", kTinyGqa, "")},
      {"qwen3", config("qwen3", kTinyGqa, R"(, "rope_scaling": {"rope_type": "yarn",
        "factor": 4.0, "original_max_position_embeddings": 128})")},
      {"qwen3_moe", config("qwen3_moe", kTinyGqa, R"(, "num_experts": 8, "num_experts_per_tok": 2,
        "moe_intermediate_size": 32, "norm_topk_prob": true)")},
      {"deepseek_v2_lite", config("deepseek_v2", kTinyMla, R"(, "q_lora_rank": null,
        "n_shared_experts": 2, "topk_method": "greedy")")},
      {"deepseek_v2", config("deepseek_v2", kTinyMla, R"(, "q_lora_rank": 40,
        "n_shared_experts": 1, "topk_method": "group_limited_greedy", "n_group": 4,
        "topk_group": 2, "routed_scaling_factor": 4.0)")},
      {"deepseek_v3", config("deepseek_v3", kTinyMla, R"(, "q_lora_rank": 40,
        "n_shared_experts": 1, "topk_method": "noaux_tc", "scoring_func": "sigmoid", "n_group": 4,
        "topk_group": 2, "norm_topk_prob": true, "routed_scaling_factor": 2.5,
        "num_nextn_predict_layers": 1)")},
      {"deepseek_v32", config("deepseek_v32", kTinyMla, R"(, "q_lora_rank": 40,
        "n_shared_experts": 1, "n_group": 4, "topk_group": 2, "routed_scaling_factor": 2.5,
        "num_nextn_predict_layers": 1, "index_n_heads": 3, "index_head_dim": 20,
        "index_topk": 12)")},
      {"kimi_k2", config("kimi_k2", kTinyMla, R"(, "q_lora_rank": 40, "n_shared_experts": 1,
        "topk_method": "noaux_tc", "scoring_func": "sigmoid", "norm_topk_prob": true)")},
      {"deepseek_v4", config("deepseek_v4", kTinyV4, "")},
  };
}

// Whole numbers below the limit, those of a row distinct.
inline std::vector<float> random_indices(const weights::TensorRecord& record,
                                         std::mt19937_64& random) {
  std::vector<float> values;
  std::vector<int> all(static_cast<size_t>(record.limit));
  std::iota(all.begin(), all.end(), 0);
  for (int64_t r = 0; r < record.shape[0]; ++r) {
    std::shuffle(all.begin(), all.end(), random);
    for (int64_t c = 0; c < record.shape[1]; ++c) {
      values.push_back(static_cast<float>(all[static_cast<size_t>(c)]));
    }
  }
  return values;
}

// One value list per tensor that the architecture asks for; rounded to bf16.
inline TinyWeights random_weights(const Json& config, uint64_t seed) {
  const auto architecture = models::select_architecture(config);
  CHECK(architecture.ok());
  const auto spec = (*architecture)->read_spec(config);
  CHECK(spec.ok());
  weights::ShapeRecorder recorder;
  (*architecture)->build(*spec, recorder, {.max_context = 1});
  std::mt19937_64 random(seed);
  TinyWeights tiny;
  for (const weights::TensorRecord& record : recorder.records()) {
    const bool norm = record.role == weights::TensorRole::kNorm;
    const bool vector = record.shape.size() == 1;
    const double scale = vector ? 0.1 : 1.5 / std::sqrt(static_cast<double>(record.shape.back()));
    std::normal_distribution<double> normal(norm ? 1.0 : 0.0, scale);
    std::vector<float> values(static_cast<size_t>(record.num_elements()));
    if (record.role == weights::TensorRole::kIndices) values = random_indices(record, random);
    for (float& value : values) {
      if (record.role == weights::TensorRole::kIndices) break;
      value = bf16_to_f32(f32_to_bf16(static_cast<float>(normal(random))));
    }
    tiny.values[record.name] = std::move(values);
    tiny.records.push_back(record);
  }
  return tiny;
}

inline std::vector<uint8_t> encode(const quant::StorageFormat& format,
                                   std::span<const float> values) {
  std::vector<uint8_t> bytes(
      static_cast<size_t>(format.bytes_for(static_cast<int64_t>(values.size()))));
  format.encode(values.data(), bytes.data(),
                static_cast<int64_t>(values.size()) / format.block_elements);
  return bytes;
}

// Few tokens, so that guesses are right now and then.
inline constexpr int32_t kFirstChoice = 20, kLastChoice = 22;

// Ids outside of [kFirstChoice, kLastChoice] get the same logit. REQUIRES: vocab_size 1024
inline void keep_choices(TinyWeights& weights) {
  const bool own_name = weights.values.contains("head.weight");  // DeepSeek-V4
  std::vector<float>& head = weights.values.at(own_name ? "head.weight" : "lm_head.weight");
  const auto row = static_cast<int64_t>(head.size() / 1024);
  std::fill(head.begin(), head.begin() + kFirstChoice * row, 0.0f);
  std::fill(head.begin() + (kLastChoice + 1) * row, head.end(), 0.0f);
}

struct StoredTensor {
  disk::TensorDecl decl;
  std::vector<uint8_t> bytes;
};

inline StoredTensor store(std::string name, std::string_view format, std::vector<int64_t> shape,
                          std::span<const float> values) {
  const quant::StorageFormat* f = quant::find_format(format);
  CHECK(f != nullptr);
  return {{std::move(name), f, std::move(shape)}, encode(*f, values)};
}

inline StoredTensor store_indices(std::string name, std::vector<int64_t> shape,
                                  std::span<const float> values) {
  std::vector<uint8_t> bytes(values.size() * sizeof(int64_t));
  for (size_t i = 0; i < values.size(); ++i) {
    const auto value = static_cast<int64_t>(values[i]);
    std::memcpy(bytes.data() + i * sizeof value, &value, sizeof value);
  }
  return {{std::move(name), quant::find_format("I64"), std::move(shape)}, std::move(bytes)};
}

// E4M3 with one scale per block of 128 × 128, and the values that it decodes to put back.
inline void store_fp8(std::vector<StoredTensor>& out, const std::string& name, int64_t rows,
                      int64_t cols, std::span<float> values) {
  const quant::StorageFormat* fp8 = quant::find_format("F8_E4M3");
  const int64_t grid_rows = ceil_div(rows, 128);
  const int64_t grid_cols = ceil_div(cols, 128);
  std::vector<float> scales(static_cast<size_t>(grid_rows * grid_cols), 1e-6f);
  const auto scale_of = [&](int64_t i) -> float& {
    return scales[static_cast<size_t>(i / cols / 128 * grid_cols + i % cols / 128)];
  };
  for (int64_t i = 0; i < rows * cols; ++i) {
    scale_of(i) = std::max(scale_of(i), std::abs(values[static_cast<size_t>(i)]) / 448.0f);
  }
  std::vector<float> scaled(values.begin(), values.end());
  for (int64_t i = 0; i < rows * cols; ++i) scaled[static_cast<size_t>(i)] /= scale_of(i);
  StoredTensor tensor = store(name, "F8_E4M3", {rows, cols}, scaled);
  fp8->decode(tensor.bytes.data(), values.data(), rows * cols);
  for (int64_t i = 0; i < rows * cols; ++i) values[static_cast<size_t>(i)] *= scale_of(i);
  out.push_back(std::move(tensor));
  out.push_back(store(name + "_scale_inv", "F32", {grid_rows, grid_cols}, scales));
}

// As published: experts one by one; norms and matrices in `format`, biases in f32. With FP8, the
// linear layers are, and `tiny` gets the values that they decode to.
inline std::vector<StoredTensor> hf_tensors(TinyWeights& tiny, std::string_view format = "BF16",
                                            bool fp8 = false) {
  std::vector<StoredTensor> out;
  const auto add = [&](const std::string& name, weights::TensorRole role,
                       const std::vector<int64_t>& shape, std::span<float> values) {
    const bool linear =
        role == weights::TensorRole::kLinear || role == weights::TensorRole::kExpert;
    if (fp8 && linear && name.find("eh_proj") == std::string::npos) {
      return store_fp8(out, name, shape[0], shape[1], values);
    }
    const bool f32 = role == weights::TensorRole::kBias || role == weights::TensorRole::kTable;
    out.push_back(store(name, f32 ? "F32" : format, shape, values));
  };
  for (const weights::TensorRecord& record : tiny.records) {
    std::vector<float>& values = tiny.values[record.name];
    if (record.role == weights::TensorRole::kIndices) {
      out.push_back(store_indices(record.name, record.shape, values));
      continue;
    }
    if (record.role != weights::TensorRole::kExpert) {
      add(record.name, record.role, record.shape, values);
      continue;
    }
    const int64_t size = record.shape[1] * record.shape[2];
    for (int64_t e = 0; e < record.shape[0]; ++e) {
      add(record.expert_name(e), record.role, {record.shape[1], record.shape[2]},
          std::span(values).subspan(static_cast<size_t>(e * size), static_cast<size_t>(size)));
    }
  }
  return out;
}

inline std::vector<disk::TensorDecl> declarations(const std::vector<StoredTensor>& tensors) {
  std::vector<disk::TensorDecl> decls;
  for (const StoredTensor& tensor : tensors) decls.push_back(tensor.decl);
  return decls;
}

// A folder with config.json and model.safetensors. Returns its path.
inline std::string write_hf(const disk::testing::TempDir& dir, const Json& config,
                            const std::vector<StoredTensor>& tensors) {
  auto writer =
      disk::SafetensorsWriter::create(dir.file("model.safetensors"), declarations(tensors));
  CHECK(writer.ok());
  for (const StoredTensor& tensor : tensors) CHECK(writer->write(tensor.bytes).ok());
  CHECK(writer->finish().ok());
  disk::testing::write_bytes(dir.file("config.json"), config.dump());
  return dir.path();
}

inline std::string gguf_name(std::string_view model_type, const std::string& name) {
  const auto architecture = disk::gguf_architecture_of(model_type);
  const auto found = disk::tensor_name_to_gguf(architecture.value_or(""), name);
  CHECK(found.has_value());
  return *found;
}

// A GGUF file of tensors under their names there. Returns its path.
inline std::string write_gguf(const disk::testing::TempDir& dir, const char* name,
                              const Json& config, const std::vector<StoredTensor>& tensors) {
  const auto keys = disk::config_to_gguf(config);
  CHECK(keys.ok());
  auto writer = disk::GgufWriter::create(dir.file(name), *keys, declarations(tensors));
  CHECK(writer.ok());
  for (const StoredTensor& tensor : tensors) CHECK(writer->write(tensor.bytes).ok());
  CHECK(writer->finish().ok());
  return dir.file(name);
}

// As write_hf(), with the built-in model's tokenizer, for a whole engine. REQUIRES: vocab_size 1024
inline std::string write_with_tokenizer(const disk::testing::TempDir& dir, const Json& config,
                                        TinyWeights& weights) {
  const std::string path = write_hf(dir, config, hf_tensors(weights));
  for (const char* name : {"tokenizer.json", "tokenizer_config.json"}) {
    std::filesystem::copy_file(std::filesystem::path(FERRY_SOURCE_DIR "/demo") / name,
                               std::filesystem::path(path) / name);
  }
  return path;
}

inline disk::ModelSource open_source(const std::string& path) {
  auto source = disk::open_model(path);
  if (!source.ok()) fmt::print(stderr, "{}\n", source.error().message);
  CHECK(source.ok());
  return *std::move(source);
}

inline std::shared_ptr<Backend> backend_named(std::string_view name, int threads = 1,
                                              bool f32_activations = false) {
  auto backend = open_backend(name, {.threads = threads, .f32_activations = f32_activations});
  CHECK(backend.ok());
  return *std::move(backend);
}

inline LoadedModel load(const std::string& path, std::shared_ptr<Backend> backend) {
  auto model = load_model(open_source(path), std::move(backend), {});
  if (!model.ok()) fmt::print(stderr, "{}\n", model.error().message);
  CHECK(model.ok());
  return *std::move(model);
}

// Its shards on as many devices of a backend.
inline std::vector<LoadedModel> load_on_ranks(const std::string& path, std::string_view backend,
                                              int64_t size, int threads = 1) {
  const auto devices = open_ranks(
      backend, {.threads = threads * static_cast<int>(size), .f32_activations = true}, size);
  if (!devices.ok()) fmt::print(stderr, "{}\n", devices.error().message);
  CHECK(devices.ok());
  auto shards = load_shards(open_source(path), *devices, {});
  if (!shards.ok()) fmt::print(stderr, "{}\n", shards.error().message);
  CHECK(shards.ok());
  return *std::move(shards);
}

inline std::vector<float> logits_of(std::span<const LoadedModel> shards,
                                    std::span<const int32_t> tokens,
                                    const LogitsOptions& options = {}) {
  auto logits = compute_logits(shards, tokens, options);
  if (!logits.ok()) fmt::print(stderr, "{}\n", logits.error().message);
  CHECK(logits.ok());
  return *std::move(logits);
}

inline std::vector<float> logits_of(const LoadedModel& model, std::span<const int32_t> tokens,
                                    const LogitsOptions& options = {}) {
  auto logits = compute_logits(model, tokens, options);
  if (!logits.ok()) fmt::print(stderr, "{}\n", logits.error().message);
  CHECK(logits.ok());
  return *std::move(logits);
}

inline std::vector<int32_t> random_tokens(int64_t count, int64_t vocab_size, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<int32_t> tokens(static_cast<size_t>(count));
  for (int32_t& token : tokens) {
    token = static_cast<int32_t>(random() % static_cast<uint64_t>(vocab_size));
  }
  return tokens;
}

// NaN anywhere, or different sizes, is infinity.
inline float max_difference(std::span<const float> a, std::span<const float> b) {
  if (a.size() != b.size()) return INFINITY;
  float largest = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const float difference = std::abs(a[i] - b[i]);
    if (!(difference <= largest)) largest = std::isnan(difference) ? INFINITY : difference;
  }
  return largest;
}

}  // namespace ferry::engine::testing
