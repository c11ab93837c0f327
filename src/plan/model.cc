// See model.h.
#include "plan/model.h"

#include <algorithm>
#include <map>
#include <utility>

#include "base/quote_name.h"
#include "models/registry/select.h"
#include "models/registry/shapes.h"
#include "plan/catalogue.h"

namespace ferry::plan {
namespace {

constexpr std::pair<std::string_view, std::string_view> kAliases[] = {
    {"deepseek-r1", "deepseek-v3"},        {"deepseek-r1-0528", "deepseek-v3"},
    {"deepseek-v3.1", "deepseek-v3"},      {"deepseek-v3-0324", "deepseek-v3"},
    {"deepseek-v2.5", "deepseek-v2"},      {"kimi-k2-thinking", "kimi-k2"},
    {"kimi-k2-instruct", "kimi-k2"},       {"deepseek-v3.2-exp", "deepseek-v3.2"},
    {"qwen-1.5b", "r1-distill-qwen-1.5b"},
};

constexpr double kQueriesPerRead = 512;         // of a prompt, that read dense entries together
constexpr double kIndexScaleBytes = 4.0 / 128;  // of a key of 128 elements

constexpr double kEntryIndexBits = 4;  // DeepSeek-V4 publishes its indexer's keys in FP4

// Layers of one kind together.
std::vector<AttentionGroup> window_groups(const nn::ModelSpec& spec) {
  std::map<int64_t, double> layers;
  for (const int64_t ratio : spec.window.ratios) ++layers[ratio];
  const auto size = static_cast<double>(spec.head_dim);
  std::vector<AttentionGroup> groups;
  for (const auto& [ratio, count] : layers) {
    AttentionGroup group{.layers = count};
    group.window = static_cast<double>(spec.window.window);
    group.window_elements = size;
    group.prefill_flops_per_pair = group.decode_flops_per_pair =
        4 * static_cast<double>(spec.num_attention_heads) * size;
    group.topk = ratio == 0 ? 1 : 0;  // of no entries
    if (ratio > 0) {
      group.entry_elements = size;
      group.tokens_per_entry = static_cast<double>(ratio);
    }
    if (ratio == nn::kOverlappingRatio) {
      const auto dim = static_cast<double>(spec.indexer.head_dim);
      group.topk = static_cast<double>(spec.indexer.top_k);
      group.index_elements = dim;
      group.index_flops_per_pair = 2 * static_cast<double>(spec.indexer.num_heads) * dim;
      group.index_bits = kEntryIndexBits;
    }
    groups.push_back(group);
  }
  return groups;
}

std::vector<AttentionGroup> groups_of(const nn::ModelSpec& spec) {
  if (spec.attention == nn::AttentionKind::kWindow) return window_groups(spec);
  AttentionGroup group{.layers = static_cast<double>(spec.num_hidden_layers)};
  const auto heads = static_cast<double>(spec.num_attention_heads);
  if (spec.attention == nn::AttentionKind::kMla) {
    const auto rank = static_cast<double>(spec.mla.kv_lora_rank);
    const auto rope = static_cast<double>(spec.mla.qk_rope_head_dim);
    const auto nope = static_cast<double>(spec.mla.qk_nope_head_dim);
    const auto value = static_cast<double>(spec.mla.v_head_dim);
    group.entry_elements = rank + rope;
    group.prefill_flops_per_pair = 2 * heads * (nope + rope + value);
    group.decode_flops_per_pair = 2 * heads * (2 * rank + rope);
    if (spec.indexer.top_k > 0) {
      const auto dim = static_cast<double>(spec.indexer.head_dim);
      group.topk = static_cast<double>(spec.indexer.top_k);
      group.index_elements = dim;
      group.index_flops_per_pair = 2 * static_cast<double>(spec.indexer.num_heads) * dim;
    }
  } else {
    const auto dim = static_cast<double>(spec.head_dim);
    group.entry_elements = 2 * static_cast<double>(spec.num_key_value_heads) * dim;
    group.prefill_flops_per_pair = group.decode_flops_per_pair = 4 * heads * dim;
  }
  return {group};
}

void count_tensors(const std::vector<weights::TensorRecord>& records, PlanModel& model) {
  for (const weights::TensorRecord& record : records) {
    const auto elements = static_cast<double>(record.num_elements());
    if (record.role == weights::TensorRole::kExpert) {
      model.expert_parameters += elements;
    } else if (record.role != weights::TensorRole::kEmbedding) {
      model.other_parameters += elements;
      if (record.role == weights::TensorRole::kLinear) {
        for (int64_t size : record.shape) model.activations += static_cast<double>(size);
      }
    } else if (record.name.find("embed") != std::string::npos) {
      model.embedding_parameters += elements;
    } else {
      model.head_parameters += elements;
    }
  }
  if (model.head_parameters == 0) std::swap(model.head_parameters, model.embedding_parameters);
  if (model.moe_layers > 0) {
    model.expert_parameters /= static_cast<double>(model.moe_layers * model.num_experts);
  }
}

}  // namespace

double PlanModel::kv_elements_per_token() const {
  double sum = 0;
  for (const AttentionGroup& group : attention) {
    sum += group.layers * (group.entry_elements + group.index_elements) / group.tokens_per_entry;
  }
  return sum;
}

double PlanModel::kv_bytes_read(double context, double kv_bytes, bool decode) const {
  const double shared = decode ? 1 : kQueriesPerRead;
  double sum = 0;
  for (const AttentionGroup& group : attention) {
    const double entries = context / group.tokens_per_entry;
    const double read = group.topk > 0 ? std::min(entries, group.topk) : entries / shared;
    const double recent = group.window_elements > 0 ? group.window_elements : group.entry_elements;
    const double index_bytes = std::min(kv_bytes, group.index_bits / 8 + kIndexScaleBytes);
    sum += group.layers *
           ((read * group.entry_elements + std::min(context, group.window) * recent / shared) *
                kv_bytes +
            entries * group.index_elements * index_bytes / shared);
  }
  return sum;
}

double PlanModel::attention_flops(double context, bool decode) const {
  double sum = 0;
  for (const AttentionGroup& group : attention) {
    const double entries = context / group.tokens_per_entry;
    const double read = (group.topk > 0 ? std::min(entries, group.topk) : entries) +
                        std::min(context, group.window);
    // What was chosen per query is attended to absorbed, in prompts too.
    const bool absorbed = decode || group.topk > 0;
    sum += group.layers * read *
           (absorbed ? group.decode_flops_per_pair : group.prefill_flops_per_pair);
  }
  return sum;
}

double PlanModel::index_flops(double context) const {
  double sum = 0;
  for (const AttentionGroup& group : attention) {
    sum += group.layers * context / group.tokens_per_entry * group.index_flops_per_pair;
  }
  return sum;
}

double PlanModel::index_bits() const {
  double bits = 8;
  for (const AttentionGroup& group : attention) bits = std::min(bits, group.index_bits);
  return bits;
}

Result<PlanModel> model_from_config(const Json& config, std::string name) {
  FERRY_TRY(const nn::Architecture* architecture, models::select_architecture(config));
  FERRY_TRY(nn::ModelSpec spec, architecture->read_spec(config));
  PlanModel model;
  model.name = std::move(name);
  model.source = "config.json, by architecture " + spec.architecture;
  model.hidden_size = spec.hidden_size;
  model.num_layers = spec.num_hidden_layers;
  model.vocab_size = spec.vocab_size;
  model.max_context = spec.max_position_embeddings;
  model.num_experts = spec.moe.num_experts;
  model.experts_per_token = spec.moe.num_experts_per_tok;
  model.moe_layers = std::count(spec.layer_is_moe.begin(), spec.layer_is_moe.end(), true);
  model.attention_heads = spec.num_attention_heads;
  model.kv_heads = spec.attention == nn::AttentionKind::kMla ? 1 : spec.num_key_value_heads;
  model.mtp_modules = spec.num_nextn_predict_layers;
  model.attention = groups_of(spec);
  spec.num_nextn_predict_layers = 0;
  weights::ShapeRecorder recorder;
  model.measured = architecture->build(spec, recorder, {.max_context = 1});
  count_tensors(recorder.records(), model);
  return model;
}

std::vector<std::string> model_names() {
  std::vector<std::string> names;
  for (const models::PublicShape& shape : models::public_shapes()) names.emplace_back(shape.name);
  std::sort(names.begin(), names.end());
  return names;
}

Result<PlanModel> find_model(std::string_view name) {
  std::string wanted(name.substr(0, 200));
  for (const auto& [alias, target] : kAliases) {
    if (same_name(alias, wanted)) wanted = target;
  }
  if (models::find_public_shape(wanted) == nullptr) {
    std::vector<std::string> names = model_names();
    for (const auto& [alias, target] : kAliases) names.emplace_back(alias);
    return not_found("model {}: not known to the planner{}", quote_name(wanted),
                     nearest_names(wanted, names));
  }
  FERRY_TRY(const Json config, models::public_shape_config(wanted));
  return model_from_config(config, wanted);
}

}  // namespace ferry::plan
