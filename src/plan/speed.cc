// See speed.h.
#include "plan/speed.h"

#include <algorithm>
#include <cmath>

#include "plan/data.h"

namespace ferry::plan {
namespace {

constexpr double kTera = 1e12;
constexpr double kGiga = 1e9;
constexpr double kMicro = 1e-6;
constexpr double kPrefillChunk = 16384;  // tokens per copy: steps that long hide their overheads
constexpr double kDefaultScaleoutGbs = 12.5;  // a 100 Gb/s port, where nothing is known
constexpr double kDefaultLinkGbs = 32;        // PCIe 4.0 x16

struct Work {
  double tokens = 0;       // computed over the deployment
  double sequences = 0;    // whose last token needs the head
  double pairs_flops = 0;  // attention operations over the deployment
  double kv_elements = 0;  // read over the deployment
  bool decode = false;
};

struct Rates {
  double other = 0, expert = 0, bf16 = 0;  // operations/s, efficiency included
  double bandwidth = 0;
};

Result<Rates> rates_of(const Deployment& d, const Efficiency& e, bool decode) {
  if (!d.chip->memory_gbs) {
    return unsupported("chip {}: its memory bandwidth is not known", d.chip->name);
  }
  Rates rates;
  const double share = decode ? e.decode : e.prefill;
  FERRY_TRY(const double other, peak_ops(*d.chip, d.precision.other_compute));
  FERRY_TRY(const double expert, peak_ops(*d.chip, d.precision.expert_compute));
  FERRY_TRY(const double bf16, peak_ops(*d.chip, Compute::kBf16));
  rates.other = other * kTera * share;
  rates.expert = expert * kTera * share;
  rates.bf16 = bf16 * kTera * share;
  rates.bandwidth = d.chip->memory_gbs->value * kGiga * e.memory;
  return rates;
}

void add_op(StepTime& time, double flops, double rate, double bytes, double bandwidth) {
  const double compute = flops / rate;
  const double memory = bytes / bandwidth;
  (compute > memory ? time.compute : time.memory) += std::max(compute, memory);
}

double link_bytes_s(const Deployment& d, int64_t group) {
  const double link = d.chip->link_gbs ? d.chip->link_gbs->value : kDefaultLinkGbs;
  if (group <= d.chip->node_chips) return link * kGiga;
  const double out = d.chip->scaleout_gbs ? d.chip->scaleout_gbs->value : kDefaultScaleoutGbs;
  return std::min(link, out) * kGiga;
}

// Most of what goes to other chips stays inside a node where the group is larger than one: a token
// is sent to each node once and spread there.
double network_seconds(const Deployment& d, double tokens, double network) {
  const PlanModel& model = *d.model;
  const auto hidden = static_cast<double>(model.hidden_size);
  const double mine = tokens / static_cast<double>(d.dp);
  double seconds = 0;
  if (d.tp > 1) {  // two all-reduces a layer, in BF16
    const auto tp = static_cast<double>(d.tp);
    const double bytes = 2 * 2 * (tp - 1) / tp * mine * hidden * 2;
    seconds += static_cast<double>(model.num_layers) * bytes / link_bytes_s(d, d.tp);
  }
  if (d.ep > 1 && d.dp > 1) {  // out in one byte, back in two
    const auto chips = static_cast<double>(d.ep);
    const auto nodes = std::ceil(chips / static_cast<double>(d.chip->node_chips));
    const auto k = static_cast<double>(model.experts_per_token);
    const double copies = nodes > 1 ? std::min(k, nodes) * (nodes - 1) / nodes : k;
    const double bytes =
        mine / static_cast<double>(d.tp) * copies * (chips - 1) / chips * hidden * 3;
    seconds += static_cast<double>(model.moe_layers) * bytes / link_bytes_s(d, d.ep);
  }
  return seconds / network;
}

double experts_read(const PlanModel& model, double tokens) {
  if (model.num_experts == 0) return 0;
  const auto all = static_cast<double>(model.num_experts);
  const double chosen = static_cast<double>(model.experts_per_token) / all;
  return all * -std::expm1(tokens * std::log1p(-std::min(chosen, 1 - 1e-12)));
}

Result<StepTime> step_time(const Deployment& d, const Efficiency& e, const Work& work) {
  FERRY_TRY(const Rates rates, rates_of(d, e, work.decode));
  const PlanModel& model = *d.model;
  const auto tp = static_cast<double>(d.tp);
  const auto dp = static_cast<double>(d.dp);
  const double mine = work.tokens / dp;
  StepTime time;
  add_op(time, 2 * model.other_parameters * mine / tp, rates.other,
         model.other_parameters * d.precision.other_bytes / tp, rates.bandwidth);
  if (model.moe_layers > 0) {
    const double group = tp * dp;
    const auto layers = static_cast<double>(model.moe_layers);
    const double flops = 2 * model.expert_parameters * layers * work.tokens *
                         static_cast<double>(model.experts_per_token) / group;
    const double bytes = layers * experts_read(model, work.tokens) * model.expert_parameters *
                         d.precision.expert_bytes / group;
    add_op(time, flops, rates.expert, bytes, rates.bandwidth);
  }
  const auto cut = static_cast<double>(std::min(d.tp, std::max<int64_t>(model.kv_heads, 1)));
  add_op(time, work.pairs_flops / dp / tp, rates.bf16,
         work.kv_elements * d.precision.kv_bytes / dp / cut, rates.bandwidth);
  add_op(time, 2 * model.head_parameters * work.sequences / dp / tp, rates.bf16,
         model.head_parameters * 2 / tp, rates.bandwidth);
  time.network = network_seconds(d, work.tokens, e.network);
  time.overhead = static_cast<double>(model.num_layers) * e.layer_us * kMicro;
  return time;
}

void scale(StepTime& time, double factor) {
  time.compute *= factor;
  time.memory *= factor;
  time.network *= factor;
  time.overhead *= factor;
}

}  // namespace

std::string_view StepTime::binds() const {
  const double most = std::max({compute, memory, network, overhead});
  if (most == memory) return "memory";
  if (most == compute) return "compute";
  return most == network ? "network" : "overhead";
}

Result<double> peak_ops(const Chip& chip, Compute compute) {
  const auto first = [](std::initializer_list<const MaybeKnown*> peaks) -> double {
    for (const MaybeKnown* peak : peaks) {
      if (*peak) return (*peak)->value;
    }
    return 0;
  };
  double peak = 0;
  switch (compute) {
    case Compute::kFp4:
      peak = first({&chip.fp4_tflops, &chip.fp8_tflops, &chip.bf16_tflops, &chip.fp16_tflops});
      break;
    case Compute::kFp8:
      peak = first({&chip.fp8_tflops, &chip.bf16_tflops, &chip.fp16_tflops});
      break;
    case Compute::kInt8:
      peak = first({&chip.int8_tops, &chip.fp8_tflops, &chip.bf16_tflops, &chip.fp16_tflops});
      break;
    case Compute::kBf16: peak = first({&chip.bf16_tflops, &chip.fp16_tflops}); break;
  }
  // Only a narrower peak is known: half its rate.
  if (peak == 0) peak = first({&chip.fp8_tflops, &chip.int8_tops}) / 2;
  if (peak == 0) return unsupported("chip {}: no compute peak is known", chip.name);
  return peak;
}

Result<StepTime> decode_step(const Deployment& d, const Efficiency& e, double batch,
                             double context) {
  const PlanModel& model = *d.model;
  const double checked = static_cast<double>(1 + d.mtp);
  const Work work{.tokens = batch * checked,
                  .sequences = batch * checked,
                  .pairs_flops = batch * checked * model.attention_flops(context, true),
                  .kv_elements = batch * model.kv_elements_read(context),
                  .decode = true};
  FERRY_TRY(StepTime time, step_time(d, e, work));
  if (d.mtp > 0) {
    // Each draft is one more layer and the head again, for one token a sequence.
    const double layer = 1.0 / static_cast<double>(model.num_layers);
    Work draft = work;
    draft.tokens = draft.sequences = batch;
    draft.pairs_flops = batch * model.attention_flops(context, true);
    FERRY_TRY(StepTime one, step_time(d, e, draft));
    scale(one, layer * static_cast<double>(d.mtp));
    time.compute += one.compute;
    time.memory += one.memory;
    time.network += one.network;
    time.overhead += one.overhead;
  }
  return time;
}

Result<StepTime> prefill_step(const Deployment& d, const Efficiency& e, double tokens,
                              double prompt, double cached) {
  const PlanModel& model = *d.model;
  // A token sees the cached part and on average half of the rest.
  const double seen = prompt * (1 + cached) / 2;
  const Work work{.tokens = tokens,
                  .sequences = tokens / std::max(prompt * (1 - cached), 1.0),
                  .pairs_flops = tokens * model.attention_flops(seen, false),
                  .kv_elements = tokens / 512 * model.kv_elements_read(seen),
                  .decode = false};
  return step_time(d, e, work);
}

Result<Steady> steady_state(const Deployment& d, const Efficiency& e, double batch, double input,
                            double output, double cached) {
  Steady steady;
  FERRY_TRY(steady.decode, decode_step(d, e, batch, input + output / 2));
  const double computed = std::max(input * (1 - cached), 1.0);
  // Prompts are computed together, up to a chunk per copy.
  const double together =
      std::clamp(kPrefillChunk * static_cast<double>(d.dp) / computed, 1.0, std::max(batch, 1.0));
  FERRY_TRY(steady.prefill, prefill_step(d, e, computed * together, input, cached));
  const double per_token = 1 + d.accepted;
  const double own = steady.decode.total() / per_token;
  const double prompt_seconds = steady.prefill.total() / together;
  // While a sequence makes `output` tokens, `batch` prompts (its own among them) are computed.
  steady.tpot_s = own + std::max(batch - 1, 0.0) * prompt_seconds / std::max(output, 1.0);
  FERRY_TRY(const StepTime alone, prefill_step(d, e, computed, input, cached));
  steady.ttft_s = alone.total();
  const double request_seconds = steady.ttft_s + steady.tpot_s * output;
  steady.requests_s = batch / request_seconds;
  steady.output_tokens_s = steady.requests_s * output;
  steady.input_tokens_s = steady.requests_s * input;
  scale(steady.prefill, 1 / together);
  return steady;
}

std::string class_of(const Chip& chip, std::string_view stack) {
  std::string family = chip.kind == "cpu" ? "cpu" : chip.vendor;
  for (char& c : family) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return family.substr(0, family.find(' ')) + "/" + std::string(stack);
}

const Efficiency& EfficiencyTable::of(const Chip& chip, std::string_view stack) const {
  for (const std::string& wanted : {class_of(chip, stack), chip.kind + "/" + std::string(stack),
                                    "all/" + std::string(stack), std::string("all/tuned")}) {
    for (const Efficiency& entry : classes) {
      if (entry.name == wanted) return entry;
    }
  }
  return classes.front();
}

Result<EfficiencyTable> read_efficiency(std::string_view text) {
  FERRY_TRY(const Json json, parse_json(text, {.max_bytes = 1 << 20, .max_depth = 8}));
  const Json* list = json.is_object() ? json_find(json, "classes") : nullptr;
  if (list == nullptr || !list->is_array() || list->empty()) {
    return invalid_input("efficiency: expected an object with an array \"classes\"");
  }
  EfficiencyTable table;
  for (const Json& entry : *list) {
    if (!entry.is_object()) return invalid_input("classes: expected objects");
    Efficiency& e = table.classes.emplace_back();
    FERRY_TRY(e.name, json_string(entry, "name"));
    const std::pair<const char*, double Efficiency::*> fields[] = {
        {"prefill", &Efficiency::prefill},   {"decode", &Efficiency::decode},
        {"memory", &Efficiency::memory},     {"network", &Efficiency::network},
        {"layer_us", &Efficiency::layer_us}, {"error", &Efficiency::error}};
    for (const auto& [key, field] : fields) {
      FERRY_TRY(e.*field, json_number(entry, key));
      if (!(e.*field >= 0) || (e.*field == 0 && field != &Efficiency::error)) {
        return invalid_input("{}: {}: expected a positive number", e.name, key);
      }
    }
  }
  return table;
}

Result<EfficiencyTable> builtin_efficiency() { return read_efficiency(efficiency_json()); }

Json efficiency_to_json(const EfficiencyTable& table) {
  Json list = Json::array();
  const auto rounded = [](double value) { return std::round(value * 1e4) / 1e4; };
  for (const Efficiency& e : table.classes) {
    list.push_back({{"name", e.name},
                    {"prefill", rounded(e.prefill)},
                    {"decode", rounded(e.decode)},
                    {"memory", rounded(e.memory)},
                    {"network", rounded(e.network)},
                    {"layer_us", rounded(e.layer_us)},
                    {"error", rounded(e.error)}});
  }
  return {{"classes", list}};
}

}  // namespace ferry::plan
