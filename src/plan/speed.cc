// See speed.h.
#include "plan/speed.h"

#include <algorithm>
#include <cmath>

#include "base/quote_name.h"
#include "plan/data.h"

namespace ferry::plan {
namespace {

constexpr double kTera = 1e12;
constexpr double kGiga = 1e9;
constexpr double kMega = 1e6;
constexpr double kMicro = 1e-6;
constexpr double kNano = 1e-9;
constexpr double kPrefillChunk = 16384;  // tokens per copy: steps that long hide their overheads
// The hottest chip's share of tokens over the mean, with experts placed by load: what balanced
// routing gained in CM-P1 over CM-P0 and in SGH-P3, whose experts take about 60 % of a step.
constexpr double kExpertSkew = 1.3;
constexpr double kDefaultScaleoutGbs = 12.5;  // a 100 Gb/s port, where nothing is known
constexpr double kDefaultLinkGbs = 32;        // PCIe 4.0 x16
// Until the first byte of a collective arrives: over a link, and over a network between nodes.
constexpr double kLinkLatencyUs = 8, kScaleoutLatencyUs = 30;
constexpr double kLogitBytes = 8;  // read and written on their way to the sampler
constexpr double kCoresOfOverhead = 64;
constexpr double kUnpackedBytes = 4;  // of a weight: written in BF16, and read again

struct Work {
  double tokens = 0;       // computed over the deployment
  double sequences = 0;    // whose last token needs the head
  double pairs_flops = 0;  // attention operations over the deployment
  double index_flops = 0;  // of indexers
  double kv_bytes = 0;     // read over the deployment
  bool decode = false;
  double uneven = 1;  // the busiest copy's part of all this over the mean
  double layers = 1;  // share of the layers that is run
};

struct Rates {
  double other = 0, expert = 0, attention = 0, head = 0,
         index = 0;  // operations/s, with efficiency
  double bandwidth = 0;
};

// Engines that are not a vendor's own leave the matrix units of a CPU aside.
Result<double> peak_of(const Deployment& d, Compute compute) {
  if (d.chip->kind == "cpu" && d.stack != "tuned" && d.chip->vector_int8_tops) {
    return d.chip->vector_int8_tops->value / (compute == Compute::kBf16 ? 2 : 1);
  }
  return peak_ops(*d.chip, compute);
}

// In the type of the cache where the chip multiplies it; in f32, at half the rate of BF16, in
// general engines on CPUs.
Result<double> attention_peak(const Deployment& d) {
  FERRY_TRY(const double bf16, peak_of(d, Compute::kBf16));
  if (d.chip->kind == "cpu") return d.stack == "tuned" ? bf16 : bf16 / 2;
  return d.precision.kv_dtype || !d.chip->fp8_tflops ? bf16 : d.chip->fp8_tflops->value;
}

Result<Rates> rates_of(const Deployment& d, const Efficiency& e, bool decode) {
  if (!d.chip->memory_gbs) {
    return unsupported("chip {}: its memory bandwidth is not known", d.chip->name);
  }
  Rates rates;
  const double share = (decode ? e.decode : e.prefill) * kTera;
  FERRY_TRY(rates.other, peak_of(d, d.precision.other_compute));
  FERRY_TRY(rates.expert, peak_of(d, d.precision.expert_compute));
  FERRY_TRY(rates.attention, attention_peak(d));
  FERRY_TRY(rates.head, peak_of(d, Compute::kBf16));
  const Compute narrow = d.chip->fp8_tflops ? Compute::kMxFp8 : Compute::kInt8;
  const bool fp4 = d.model->index_bits() < 8 && d.chip->fp4_tflops;
  FERRY_TRY(rates.index, peak_of(d, fp4 ? Compute::kFp4 : narrow));
  for (double* rate : {&rates.other, &rates.expert, &rates.attention, &rates.head, &rates.index}) {
    *rate *= share;
  }
  rates.bandwidth = d.chip->memory_gbs->value * kGiga * e.memory;
  return rates;
}

// Bytes that move for one weight.
double moved_bytes(const Chip& chip, double stored, Compute compute) {
  const bool packed = compute == Compute::kBf16 && stored < 2;
  return packed && chip.unpacks_in_memory ? stored + kUnpackedBytes : stored;
}

// Loading and arithmetic overlap only in part: their times add up.
void add_op(StepTime& time, double flops, double rate, double bytes, double bandwidth) {
  time.compute += flops / rate;
  time.memory += bytes / bandwidth;
}

double link_bytes_s(const Deployment& d, int64_t group) {
  const double link = d.chip->link_gbs ? d.chip->link_gbs->value : kDefaultLinkGbs;
  if (group <= d.chip->node_chips) return link * kGiga;
  const double out = d.chip->scaleout_gbs ? d.chip->scaleout_gbs->value : kDefaultScaleoutGbs;
  return std::min(link, out) * kGiga;
}

// Two all-reduces a layer, in BF16.
double reduce_seconds(const Deployment& d, double tokens) {
  if (d.tp == 1) return 0;
  const auto tp = static_cast<double>(d.tp);
  const double mine = tokens / static_cast<double>(d.dp);
  const double bytes = 2 * 2 * (tp - 1) / tp * mine * static_cast<double>(d.model->hidden_size) * 2;
  return static_cast<double>(d.model->num_layers) * bytes / link_bytes_s(d, d.tp);
}

// Tokens to their experts in one byte an element and back in two: to each node once, where the
// group is larger than one node, and spread there.
double exchange_seconds(const Deployment& d, double tokens) {
  if (d.ep == 1 || d.dp == 1) return 0;
  const auto chips = static_cast<double>(d.ep);
  const auto nodes = std::ceil(chips / static_cast<double>(d.chip->node_chips));
  const auto k = static_cast<double>(d.model->experts_per_token);
  const double copies = nodes > 1 ? std::min(k, nodes) * (nodes - 1) / nodes : k;
  const double mine = tokens / static_cast<double>(d.dp * d.tp);
  const double bytes =
      mine * copies * (chips - 1) / chips * static_cast<double>(d.model->hidden_size) * 3;
  return static_cast<double>(d.model->moe_layers) * bytes / link_bytes_s(d, d.ep);
}

// Two a layer that a group of several chips waits for, whatever their size.
double collectives_us(const Deployment& d) {
  double us = 0;
  for (int64_t group : {d.tp, d.ep}) {
    if (group > 1) us += 2 * (group > d.chip->node_chips ? kScaleoutLatencyUs : kLinkLatencyUs);
  }
  return us;
}

// Of the busiest of the chips that share the experts.
struct ExpertLoad {
  double read = 0;   // experts, whole ones
  double pairs = 0;  // of token and expert
};

// The largest of n counts that are near Poisson lies about √(2 · mean · ln n) above their mean.
double largest(double mean, double n) { return mean + std::sqrt(2 * mean * std::log(n)); }

ExpertLoad expert_load(const Deployment& d, double tokens) {
  const auto all = static_cast<double>(d.model->num_experts);
  const auto k = static_cast<double>(d.model->experts_per_token);
  const auto devices = static_cast<double>(d.chip->devices);
  const double groups = d.ep > 1 ? static_cast<double>(d.ep) * devices : 1;
  const double mine = std::max(all / groups, 1.0);               // experts of a group
  const double cut = static_cast<double>(d.tp * d.dp) / groups;  // chips that share each expert
  const double pairs = tokens * k / groups;
  const double chosen = std::min(k / all, 1 - 1e-12);
  const double random = all * -std::expm1(tokens * std::log1p(-chosen)) / groups;
  if (d.balanced) return {std::min(all, std::max(tokens * k, groups)) / groups / cut, pairs / cut};
  if (d.ep == 1) return {random / cut, pairs / cut};
  return {std::min(largest(random, groups), mine) / cut,
          std::min(largest(pairs * kExpertSkew, groups), tokens * std::min(k, mine)) / cut};
}

// Of the layers, all of them.
StepTime layers_time(const Deployment& d, const Efficiency& e, const Rates& rates,
                     const Work& work) {
  const PlanModel& model = *d.model;
  const Precision& p = d.precision;
  const auto tp = static_cast<double>(d.tp);
  const double copy = work.uneven / static_cast<double>(d.dp);  // the busiest one's part
  StepTime time;
  add_op(time, 2 * model.other_parameters * work.tokens * copy / tp, rates.other,
         model.other_parameters * moved_bytes(*d.chip, p.other_bytes, p.other_compute) / tp *
             d.weight_copies(),
         rates.bandwidth);
  if (model.moe_layers > 0) {
    const ExpertLoad load = expert_load(d, work.tokens);
    const double weights = static_cast<double>(model.moe_layers) * model.expert_parameters;
    add_op(time, 2 * weights * load.pairs, rates.expert,
           weights * load.read * moved_bytes(*d.chip, p.expert_bytes, p.expert_compute),
           rates.bandwidth);
  }
  add_op(time, work.pairs_flops * copy / tp, rates.attention, work.kv_bytes * copy * d.kv_share(),
         rates.bandwidth);
  time.compute += work.index_flops * copy / tp / rates.index;
  const bool waits = d.chip->kind == "cpu" && d.chip->cores > 0;
  const double crowd = waits ? static_cast<double>(d.chip->cores) / kCoresOfOverhead : 1;
  time.overhead =
      static_cast<double>(model.num_layers) * (e.layer_us * crowd + collectives_us(d)) * kMicro;
  // The exchange of one half of a batch runs beside the arithmetic of the other half.
  const double hidden = time.compute + time.memory;
  time.network = reduce_seconds(d, work.tokens) / e.network +
                 std::max(exchange_seconds(d, work.tokens) / e.network - hidden, 0.0);
  return time;
}

void scale(StepTime& time, double factor) {
  time.compute *= factor;
  time.memory *= factor;
  time.network *= factor;
  time.overhead *= factor;
}

// The same from the times of the chip's own kernels: what loading alone would take counts as
// memory, the rest as arithmetic.
Result<StepTime> measured_time(const Deployment& d, const MeasuredKernels& kernels,
                               const Work& work) {
  const PlanModel& model = *d.model;
  const Precision& p = d.precision;
  const auto tp = static_cast<double>(d.tp);
  const double copy = work.uneven / static_cast<double>(d.dp);
  const auto hidden = static_cast<double>(model.hidden_size);
  const double bandwidth = (d.chip->memory_gbs ? d.chip->memory_gbs->value : 1e6) * kGiga;
  StepTime time;
  const auto add = [&time, bandwidth](double weights, double bytes, double ns) {
    const double seconds = weights / kMega * ns * kNano;
    const double loading = std::min(weights * bytes / bandwidth, seconds);
    time.memory += loading;
    time.compute += seconds - loading;
  };
  FERRY_TRY(const KernelTimes* dense,
            MeasuredKernels::find(kernels.matmul, p.other_format, hidden));
  add(model.other_parameters / tp, p.other_bytes, dense->at(work.tokens * copy));
  if (model.moe_layers > 0) {
    FERRY_TRY(const KernelTimes* experts,
              MeasuredKernels::find(kernels.experts, p.expert_format, hidden));
    const ExpertLoad load = expert_load(d, work.tokens);
    add(static_cast<double>(model.moe_layers) * model.expert_parameters * load.read, p.expert_bytes,
        experts->at(load.pairs / load.read));
  }
  const bool latent = model.kv_heads == 1;
  const double prefill = latent ? kernels.mla_prefill_gops : kernels.gqa_prefill_gops;
  const double decode = latent ? kernels.mla_decode_gops : kernels.gqa_decode_gops;
  time.compute += (work.pairs_flops + work.index_flops) * copy / tp /
                  ((work.decode ? decode : prefill) * kGiga);
  time.compute += work.tokens * copy / tp * model.activations * kernels.element_ns * kNano;
  time.network = reduce_seconds(d, work.tokens) + exchange_seconds(d, work.tokens);
  time.overhead =
      static_cast<double>(model.num_layers) * (kernels.layer_us + collectives_us(d)) * kMicro;
  scale(time, work.layers);
  FERRY_TRY(const KernelTimes* head, MeasuredKernels::find(kernels.matmul, p.head_format, hidden));
  add(model.head_parameters / tp, p.head_bytes, head->at(work.sequences * copy));
  time.memory +=
      work.sequences * copy * static_cast<double>(model.vocab_size) * kLogitBytes / bandwidth;
  time.overhead += kernels.pass_us * kMicro;
  return time;
}

Result<StepTime> pass_time(const Deployment& d, const Efficiency& e, const Work& work) {
  if (d.chip->measured != nullptr) {
    auto time = measured_time(d, *d.chip->measured, work);
    if (!time.ok()) return time.error().in("chip " + d.chip->name);
    return time;
  }
  FERRY_TRY(const Rates rates, rates_of(d, e, work.decode));
  StepTime time = layers_time(d, e, rates, work);
  scale(time, work.layers);
  const auto tp = static_cast<double>(d.tp);
  const double copy = work.uneven / static_cast<double>(d.dp);
  add_op(time, 2 * d.model->head_parameters * work.sequences * copy / tp, rates.head,
         d.model->head_parameters * d.precision.head_bytes / tp * d.weight_copies(),
         rates.bandwidth);
  time.overhead += e.pass_us * kMicro;
  return time;
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
      if (!chip.mx_scales_only) return peak_ops(chip, Compute::kMxFp8);
      return peak_ops(chip, Compute::kBf16);  // scaled outside the matrix unit
    case Compute::kMxFp8:
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
                  .index_flops = batch * checked * model.index_flops(context),
                  .kv_bytes = batch * model.kv_bytes_read(context, d.precision.kv_bytes, true),
                  .decode = true};
  FERRY_TRY(StepTime time, pass_time(d, e, work));
  if (d.mtp > 0) {
    // Each draft is a pass of one layer and the head, for one token a sequence.
    Work draft = work;
    draft.tokens = draft.sequences = batch;
    draft.pairs_flops = batch * model.attention_flops(context, true);
    draft.index_flops = batch * model.index_flops(context);
    draft.layers = 1.0 / static_cast<double>(model.num_layers);
    FERRY_TRY(StepTime one, pass_time(d, e, draft));
    scale(one, static_cast<double>(d.mtp));
    time.compute += one.compute;
    time.memory += one.memory;
    time.network += one.network;
    time.overhead += one.overhead;
  }
  return time;
}

double busiest_copy(double prompts, double copies) {
  const double mean = prompts / copies;
  return std::min(std::max(largest(mean, copies), 1.0) / mean, copies);
}

Result<StepTime> prefill_step(const Deployment& d, const Efficiency& e, double tokens,
                              double prompt, double cached, double uneven) {
  const PlanModel& model = *d.model;
  // A token sees the cached part and on average half of the rest.
  const double seen = prompt * (1 + cached) / 2;
  const Work work{.tokens = tokens,
                  .sequences = tokens / std::max(prompt * (1 - cached), 1.0),
                  .pairs_flops = tokens * model.attention_flops(seen, false),
                  .index_flops = tokens * model.index_flops(seen),
                  .kv_bytes = tokens * model.kv_bytes_read(seen, d.precision.kv_bytes, false),
                  .decode = false,
                  .uneven = uneven};
  return pass_time(d, e, work);
}

namespace {

// The parts that do not depend on who computes the prompts: a step, a prompt among others, alone.
Result<Steady> parts_of(const Deployment& d, const Efficiency& e, double batch, double input,
                        double output, double cached, bool apart) {
  Steady steady;
  FERRY_TRY(steady.decode, decode_step(d, e, batch, input + output / 2));
  const double computed = std::max(input * (1 - cached), 1.0);
  // Up to a chunk per copy. As many join a step as there are answers that end in one, and the other
  // copies wait for the one with the most of them; chips for prompts alone fill their chunks.
  const auto copies = static_cast<double>(d.dp);
  const double ending = batch * (1 + d.accepted) / std::max(output, 1.0);
  const double most = std::clamp(kPrefillChunk * copies / computed, 1.0, std::max(batch, 1.0));
  const double joining = apart ? most : std::clamp(ending, 1.0, most);
  const double uneven = apart || batch <= 1 ? 1 : busiest_copy(ending, copies);
  FERRY_TRY(steady.prefill, prefill_step(d, e, computed * joining, input, cached, uneven));
  scale(steady.prefill, 1 / joining);
  steady.tpot_s = steady.decode.total() / (1 + d.accepted);
  // A prompt is computed by one copy, while the others compute theirs.
  FERRY_TRY(const StepTime alone,
            prefill_step(d, e, computed * static_cast<double>(d.dp), input, cached));
  steady.ttft_s = alone.total();
  return steady;
}

void set_rates(Steady& steady, double requests_s, double input, double output) {
  steady.requests_s = requests_s;
  steady.output_tokens_s = requests_s * output;
  steady.input_tokens_s = requests_s * input;
}

}  // namespace

Result<Steady> steady_state(const Deployment& d, const Efficiency& e, double batch, double input,
                            double output, double cached) {
  FERRY_TRY(Steady steady, parts_of(d, e, batch, input, output, cached, false));
  // While a sequence makes `output` tokens, `batch` prompts (its own among them) are computed.
  steady.tpot_s += std::max(batch - 1, 0.0) * steady.prefill.total() / std::max(output, 1.0);
  set_rates(steady, batch / (steady.ttft_s + steady.tpot_s * output), input, output);
  return steady;
}

Result<Steady> separate_state(const Deployment& d, const Efficiency& e, double batch, double input,
                              double output, double cached) {
  FERRY_TRY(Steady steady, parts_of(d, e, batch, input, output, cached, true));
  // The cache of a prompt leaves through the links of one copy.
  const double bytes = input * d.model->kv_elements_per_token() * d.precision.kv_bytes;
  steady.ttft_s +=
      bytes / (link_bytes_s(d, d.chip->node_chips + 1) * e.network * static_cast<double>(d.tp));
  set_rates(steady, batch / (steady.tpot_s * std::max(output, 1.0)), input, output);
  return steady;
}

std::string class_of(const Chip& chip, std::string_view stack) {
  std::string family = chip.kind == "cpu" ? "cpu" : chip.vendor;
  for (char& c : family) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return family.substr(0, family.find(' ')) + "/" + std::string(stack);
}

const Efficiency& EfficiencyTable::of(const Chip& chip, std::string_view stack) const {
  const std::string own = chip.name + "/" + std::string(stack);
  for (const std::string& wanted :
       {own, class_of(chip, stack), chip.kind + "/" + std::string(stack),
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
        {"layer_us", &Efficiency::layer_us}, {"pass_us", &Efficiency::pass_us},
        {"error", &Efficiency::error}};
    for (const auto& [key, field] : fields) {
      FERRY_TRY(e.*field, json_number(entry, key));
      if (!(e.*field >= 0) || (e.*field == 0 && field != &Efficiency::error)) {
        return invalid_input("{}: {}: expected a positive number", one_line(e.name), key);
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
                    {"pass_us", rounded(e.pass_us)},
                    {"error", rounded(e.error)}});
  }
  return {{"classes", list}};
}

}  // namespace ferry::plan
