// See hot_set.h.
#include "plan/hot_set.h"

#include <algorithm>

#include "engine/expert_memory.h"

namespace ferry::plan {
namespace {

constexpr double kExpertMatrices = 3;

}  // namespace

std::optional<double> HotSet::tokens_s(double disk_bytes_per_s) const {
  if (disk_bytes_per_s <= 0 || !computed_tokens_s) return std::nullopt;
  return std::min(disk_tokens_s(disk_bytes_per_s), *computed_tokens_s);
}

Result<std::optional<HotSet>> hot_set(const Deployment& deployment, const Efficiency& efficiency,
                                      double context) {
  const PlanModel& model = *deployment.model;
  std::optional<HotSet> none;
  if (deployment.chip->kind != "cpu" || model.num_experts == 0) return none;
  FERRY_TRY(const MemoryUse use, memory_of(deployment));
  HotSet set{.deployment = deployment,
             .memory_bytes = use.total,
             .weight_bytes = use.weights(),
             .stay_bytes = use.other_weights + use.embeddings,
             .expert_bytes = use.expert_weights};
  const auto experts = static_cast<double>(model.moe_layers * model.num_experts);
  const double expert = use.expert_weights / experts;
  set.wanted_bytes = expert * static_cast<double>(model.moe_layers * model.experts_per_token);
  const engine::ExpertMemory share = engine::divide_memory(
      {.file_bytes = static_cast<int64_t>(set.weight_bytes),
       .expert_bytes = static_cast<int64_t>(set.expert_bytes),
       .largest_expert_bytes = static_cast<int64_t>(expert / kExpertMatrices)},
      {.total_bytes = static_cast<int64_t>(use.total),
       .free_bytes = static_cast<int64_t>(use.total)});
  const double others = use.workspace + use.kv_per_token * context + use.kv_per_sequence;
  if (!share.on_demand || static_cast<double>(share.left) < others) return none;
  const auto kept = static_cast<double>(share.bytes(static_cast<int64_t>(others)));
  set.kept_bytes = std::min(kept, set.expert_bytes);
  if (const auto step = decode_step(deployment, efficiency, 1, context); step.ok()) {
    set.computed_tokens_s = 1 / step->total();
  }
  return std::optional<HotSet>(set);
}

}  // namespace ferry::plan
