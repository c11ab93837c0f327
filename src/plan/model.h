// PlanModel: what the planner must know of a model — parameters by kind, what its attention reads
// and computes, what its cache holds. Read from an architecture's own spec, tensor list and KV
// layout (the same that the engine allocates from), or from data/plan/models.json for models whose
// forward ferry does not have yet.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "nn/model.h"
#include "quant/storage_format.h"

namespace ferry::plan {

// Layers that attend alike. A context of n tokens has n / tokens_per_entry entries.
struct AttentionGroup {
  double layers = 0;
  double entry_elements = 0;  // of the cache, per entry and layer
  double index_elements = 0;  // of an indexer's key, per entry and layer
  double tokens_per_entry = 1;
  double topk = 0;                    // entries that one query reads at most; 0: all
  double window = 0;                  // recent tokens that are read besides
  double window_elements = 0;         // of each of those; 0: entry_elements
  double prefill_flops_per_pair = 0;  // per query and entry, all heads
  double decode_flops_per_pair = 0;
  double index_flops_per_pair = 0;
  double index_bits = 8;  // of a published indexer's keys and arithmetic: 8, or 4
};

// Bytes of a model's weights as a file stores them and an engine holds them.
struct StoredWeights {
  double experts = 0;
  double other = 0;  // tables that the engine makes (rope) and prediction modules included
  double head = 0;
  double embedding = 0;
  double unread = 0;  // part of `other` that no step reads: tables, prediction modules
  // Of most of each, by bytes.
  const quant::StorageFormat* expert_format = nullptr;
  const quant::StorageFormat* other_format = nullptr;
  const quant::StorageFormat* head_format = nullptr;
};

struct PlanModel {
  std::string name;
  std::string source;
  int64_t hidden_size = 0;
  int64_t num_layers = 0;
  int64_t vocab_size = 0;
  int64_t max_context = 0;
  int64_t num_experts = 0;  // 0: dense
  int64_t experts_per_token = 0;
  int64_t moe_layers = 0;
  int64_t kv_heads = 0;  // over which tensor parallelism can cut the cache; 1: MLA
  int64_t attention_heads = 0;
  int64_t mtp_modules = 0;
  double expert_parameters = 0;     // of one expert
  double other_parameters = 0;      // attention, dense and shared MLPs, routers, norms
  double embedding_parameters = 0;  // input table; 0 if it is the head's
  double head_parameters = 0;
  double activations = 0;  // elements of a token into and out of dense products, all layers
  std::vector<AttentionGroup> attention;

  // Measured without weights, for memory plans by nn/memory_plan.h.
  std::shared_ptr<const nn::Model> measured;
  // Of models on disk: precision "file".
  std::optional<StoredWeights> stored;

  double total_parameters() const {
    return static_cast<double>(moe_layers * num_experts) * expert_parameters + other_parameters +
           embedding_parameters + head_parameters;
  }
  double active_parameters() const {
    return static_cast<double>(moe_layers * experts_per_token) * expert_parameters +
           other_parameters + head_parameters;
  }
  // Elements in the cache per token of context.
  double kv_elements_per_token() const;
  // Bytes of cache that one query of a sequence of `context` tokens reads, all layers, at
  // `kv_bytes` per element. Prompts read dense entries once for many queries, chosen ones per
  // query.
  double kv_bytes_read(double context, double kv_bytes, bool decode) const;
  // Operations of attention for one query over `context` tokens, all layers; without the indexer.
  double attention_flops(double context, bool decode) const;
  // Those of the indexer, in `index_bits()`; 0 without one.
  double index_flops(double context) const;
  double index_bits() const;
};

// A public shape (data/shapes/), or an alias such as "deepseek-r1". Error: kNotFound with the
// nearest names.
Result<PlanModel> find_model(std::string_view name);
std::vector<std::string> model_names();

// From a config.json that ferry has an architecture for.
Result<PlanModel> model_from_config(const Json& config, std::string name);

}  // namespace ferry::plan
