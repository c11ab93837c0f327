// See plan_json.h.
#include "cmd/plan_json.h"

#include <algorithm>
#include <string>
#include <vector>

namespace ferry::cmd {
namespace {

Json known_json(const plan::MaybeKnown& known) {
  if (!known) return nullptr;
  return {{"value", known->value},
          {"low", known->low},
          {"high", known->high},
          {"source", known->source},
          {"confidence", known->confidence}};
}

Json range_json(const std::optional<plan::Range>& range) {
  if (!range) return nullptr;
  return {{"value", range->value}, {"low", range->low}, {"high", range->high}};
}

// Bytes of a chip's cache that the batch of this option fills.
double cache_in_use(const plan::Option& o) {
  const plan::MemoryUse& m = o.memory;
  const double context =
      o.steady.requests_s > 0
          ? (o.steady.input_tokens_s + o.steady.output_tokens_s) / o.steady.requests_s
          : 0;
  const auto per_copy = static_cast<double>(o.batch) / static_cast<double>(o.deployment.dp);
  return std::clamp((m.kv_per_token * context + m.kv_per_sequence) * per_copy, 0.0,
                    std::max(m.free_for_kv(), 0.0));
}

// The option at batches of 1, 2, 4, … up to what the memory holds, and at its own, without the
// service levels that chose it.
Json frontier_json(const plan::Option& option, plan::SearchOptions search) {
  search.slo = {};
  search.workload.rate = 0;
  search.max_chips = INT64_MAX;
  std::vector<int64_t> batches = {option.batch, option.max_sequences};
  for (int64_t batch = 1; batch < option.max_sequences; batch *= 2) batches.push_back(batch);
  std::sort(batches.begin(), batches.end());
  batches.erase(std::unique(batches.begin(), batches.end()), batches.end());
  Json points = Json::array();
  for (const int64_t batch : batches) {
    search.batch = batch;
    const auto at = plan::best_batch(option.deployment, option.efficiency, search);
    if (!at.ok() || !at->has_value()) continue;  // beyond the largest batch that is looked at
    points.push_back({{"batch", batch},
                      {"tokens_s_per_user", 1 / (*at)->steady.tpot_s},
                      {"tokens_s_per_chip", (*at)->tokens_s_per_chip}});
  }
  return points;
}

// Of the options, each once, in their order.
std::vector<const plan::Chip*> chips_of(const std::vector<plan::Option>& options) {
  std::vector<const plan::Chip*> chips;
  for (const plan::Option& option : options) {
    const plan::Chip* chip = option.deployment.chip;
    if (std::find(chips.begin(), chips.end(), chip) == chips.end()) chips.push_back(chip);
  }
  return chips;
}

Json rules_json(const std::vector<const plan::Chip*>& chips, std::string_view as_of) {
  Json rules = {{"as_of", as_of}, {"events", Json::array()}, {"positions", Json::array()}};
  for (const plan::RuleEvent& event : plan::rule_events()) {
    if (event.date > as_of) break;
    rules["events"].push_back({{"date", event.date}, {"text", event.text}});
  }
  for (const plan::Chip* chip : chips) {
    rules["positions"].push_back(position_json(*chip, plan::position_of(*chip, as_of)));
  }
  return rules;
}

// A model larger than a machine's memory: bounds, and null where what they need is not known.
Json larger_json(const plan::HotSet& set, double disk_gbs) {
  const double disk = disk_gbs * 1e9;
  const auto known = [](const std::optional<double>& value) {
    return value ? Json(*value) : Json(nullptr);
  };
  return {{"chip", set.deployment.chip->name},
          {"precision", set.deployment.precision.name},
          {"memory_bytes", set.memory_bytes},
          {"weight_bytes", set.weight_bytes},
          {"stay_bytes", set.stay_bytes},
          {"expert_bytes", set.expert_bytes},
          {"expert_memory_bytes", set.kept_bytes},
          {"expert_share", set.share()},
          {"expert_bytes_per_token", set.wanted_bytes},
          {"read_bytes_per_token", set.read_bytes()},
          {"tokens_s_computed", known(set.computed_tokens_s)},
          {"tokens_s_per_disk_gb_s", set.disk_tokens_s(1e9)},
          {"disk_gb_s", disk > 0 ? Json(disk_gbs) : Json(nullptr)},
          {"tokens_s_at_most", known(set.tokens_s(disk))},
          {"assumes", plan::kHotSetAssumption}};
}

}  // namespace

Json chip_json(const plan::Chip& chip) {
  Json out = {{"name", chip.name},  {"aliases", chip.aliases}, {"vendor", chip.vendor},
              {"kind", chip.kind},  {"source", chip.source},   {"confidence", chip.confidence},
              {"notes", chip.notes}};
  for (const plan::ChipField& field : plan::chip_fields()) {
    out[field.key] = known_json(chip.*field.field);
  }
  return out;
}

Json position_json(const plan::Chip& chip, const plan::Position& p) {
  return {{"chip", chip.name},
          {"as_of", p.as_of},
          {"rule", p.rule},
          {"tpp", p.tpp ? Json(*p.tpp) : Json(nullptr)},
          {"tpp_format", p.tpp_format},
          {"performance_density", p.pd ? Json(*p.pd) : Json(nullptr)},
          {"die_source", chip.die_mm2 ? Json(chip.die_mm2->source) : Json(nullptr)},
          {"datacentre", chip.datacentre},
          {"paragraphs", p.paragraphs},
          {"named_in_gp10", p.named_in_gp10},
          {"gp10_may_apply", p.gp10_may_apply},
          {"case_by_case_figures",
           p.case_by_case_figures ? Json(*p.case_by_case_figures) : Json(nullptr)},
          {"notes", p.notes},
          {"disclaimer", plan::kNoLegalAdvice}};
}

Json option_json(const plan::Option& o) {
  const plan::Deployment& d = o.deployment;
  const plan::StepTime& step = o.steady.decode;
  return {{"chip", d.chip->name},
          {"chips", o.chips()},
          {"replicas", o.replicas},
          {"prefill_replicas", o.prefill_replicas},
          {"tp", d.tp},
          {"dp", d.dp},
          {"ep", d.ep},
          {"pp", d.pp},
          {"precision", d.precision.name},
          {"batch", o.batch},
          {"max_sequences", o.max_sequences},
          {"tokens_s_per_chip", o.tokens_s_per_chip},
          {"output_tokens_s", o.steady.output_tokens_s},
          {"requests_s", o.steady.requests_s},
          {"tpot_s", o.steady.tpot_s},
          {"ttft_s", o.ttft_s},
          {"error", o.error},
          {"confidence", d.chip->confidence},
          {"usd_per_million_output", range_json(o.usd_per_million_output)},
          {"usd_per_million_input", range_json(o.usd_per_million_input)},
          {"cost_basis", o.cost_basis},
          {"tokens_per_joule", o.tokens_per_joule ? Json(*o.tokens_per_joule) : Json(nullptr)},
          {"step_s",
           {{"compute", step.compute},
            {"memory", step.memory},
            {"network", step.network},
            {"overhead", step.overhead}}},
          {"memory_bytes",
           {{"total", o.memory.total},
            {"expert_weights", o.memory.expert_weights},
            {"other_weights", o.memory.other_weights},
            {"embeddings", o.memory.embeddings},
            {"workspace", o.memory.workspace},
            {"reserve", o.memory.reserve},
            {"free_for_kv", o.memory.free_for_kv()},
            {"kv_in_use", cache_in_use(o)},
            {"kv_per_token", o.memory.kv_per_token}}},
          {"binds", o.binds},
          {"helps", o.helps}};
}

Json plan_json(const plan::PlanModel& model, const plan::SearchOptions& options,
               const plan::SearchResult& found, std::string_view as_of) {
  const plan::Workload& w = options.workload;
  const std::vector<const plan::Chip*> chips = chips_of(found.options);
  const auto level = [](double seconds) { return seconds > 0 ? Json(seconds) : Json(nullptr); };
  Json out = {
      {"model", model.name},
      {"workload",
       {{"input", w.input},
        {"output", w.output},
        {"cached", w.cached},
        {"rate", w.rate},
        {"longest", w.longest > 0 ? w.longest : w.input + w.output}}},
      {"slo", {{"tpot_s", level(options.slo.tpot_s)}, {"ttft_s", level(options.slo.ttft_s)}}},
      {"options", Json::array()},
      {"rejected", found.rejected},
      {"larger_than_memory", Json::array()},
      {"chips", Json::array()},
      {"rules", rules_json(chips, as_of)},
      {"note", plan::kNoLegalAdvice}};
  for (const plan::Chip* chip : chips) out["chips"].push_back(chip_json(*chip));
  for (const plan::HotSet& set : found.larger_than_memory) {
    out["larger_than_memory"].push_back(larger_json(set, options.disk_gbs));
  }
  for (const plan::Option& option : found.options) {
    Json entry = option_json(option);
    entry["frontier"] = frontier_json(option, options);
    out["options"].push_back(std::move(entry));
  }
  return out;
}

}  // namespace ferry::cmd
