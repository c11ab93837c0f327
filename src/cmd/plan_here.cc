// `ferry plan --calibrate-here` measures the kernels of this machine and writes it down as a chip;
// `ferry plan bench MODEL` says what `ferry bench MODEL` will measure on such a chip.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <fstream>

#include "base/cpu_info.h"
#include "cmd/engine_flags.h"
#include "cmd/measure_kernels.h"
#include "cmd/plan_parts.h"
#include "cmd/progress.h"

namespace ferry::cmd {
namespace {

struct PredictFlags {
  PlanFlags plan;
  std::vector<int64_t> batches = {1, 8, 16};
  int64_t prompt = 512, generate = 64;
};

double last_rate(const std::vector<plan::KernelTimes>& all, const std::string& format) {
  for (const plan::KernelTimes& times : all) {
    if (times.format == format) return 2 * times.tokens.back() * 1e6 / times.ns.back() / 1e3;
  }
  return 0;
}

// Peaks stand for what the kernels reach: for people, and for what was not measured.
Result<Json> measured_chip_json(const HereFlags& flags, Backend& backend,
                                const plan::MeasuredKernels& measured) {
  FERRY_TRY(const MemoryInfo memory, backend.memory_info());
  const DeviceSpec& spec = backend.spec();
  const bool host = spec.backend == "cpu" || spec.backend == "reference";
  double bytes_s = 0;
  for (const plan::KernelTimes& times : measured.matmul) {
    const quant::StorageFormat& format = *quant::find_format(times.format);
    const double bytes =
        1e6 * static_cast<double>(format.block_bytes) / static_cast<double>(format.block_elements);
    bytes_s = std::max(bytes_s, bytes / times.ns.front());
  }
  Json chip = {{"name", flags.name},
               {"vendor", host ? read_cpu_info().model_name : spec.backend},
               {"kind", host                     ? "cpu"
                        : spec.backend == "cuda" ? "gpu"
                                                 : "npu"},
               {"node_chips", 1},
               {"source", "measured: " + spec.backend + ", " + spec.detail},
               {"confidence", "high (measured)"},
               {"memory_gbs", bytes_s},
               {"measured", plan::measured_to_json(measured)}};
  if (memory.total_bytes > 0) chip["memory_gb"] = static_cast<double>(memory.total_bytes) / 1e9;
  double best = 0;
  for (const plan::KernelTimes& times : measured.matmul) {
    best = std::max(best, last_rate(measured.matmul, times.format));
  }
  const double bf16 = last_rate(measured.matmul, "BF16");
  chip["bf16_tflops"] = bf16 > 0 ? bf16 : best;
  return chip;
}

Result<int> run_here(const HereFlags& flags) {
  FERRY_TRY(const std::shared_ptr<Backend> backend,
            open_backend(flags.backend, {.device = flags.device,
                                         .threads = flags.threads,
                                         .f32_activations = flags.activations == "f32"}));
  KernelMeasurement options{
      .formats = flags.formats, .bytes = flags.megabytes << 20, .repeat = flags.repeat};
  Progress progress("measuring kernels", " measurements");
  options.progress = [&](int64_t done, int64_t total) { progress.update(done, total); };
  FERRY_TRY(const plan::MeasuredKernels measured, measure_kernels(backend, options));
  FERRY_TRY(const Json chip, measured_chip_json(flags, *backend, measured));
  const Json out = {{"chips", Json::array({chip})}};
  const auto readable = plan::read_catalogue(out.dump());
  if (!readable.ok()) return readable.error().in("what was measured");
  if (flags.out.empty()) {
    print_json(out);
    return 0;
  }
  std::ofstream file(flags.out, std::ios::binary);
  file << out.dump(1) << "\n";
  file.close();
  if (!file) return io_error("{}: can't be written", flags.out);
  std::printf("%s: chip \"%s\"; see ferry plan bench MODEL --chips %s\n", flags.out.c_str(),
              flags.name.c_str(), flags.out.c_str());
  return 0;
}

// Chips of the files, and of these the measured ones.
Result<const plan::Chip*> measured_chip(const plan::Catalogue& catalogue,
                                        const std::string& names) {
  FERRY_TRY(const auto chips, choose_chips(catalogue, names));
  const plan::Chip* found = nullptr;
  for (const plan::Chip* chip : chips) {
    if (chip->measured == nullptr) continue;
    if (found != nullptr)
      return invalid_input("--chips: {} and {}: one at a time", found->name, chip->name);
    found = chip;
  }
  if (found == nullptr) {
    return invalid_input(
        "--chips: none was measured; ferry plan --calibrate-here --out here.json does");
  }
  return found;
}

Result<int> run_predict(const PredictFlags& flags) {
  FERRY_TRY(const plan::Catalogue catalogue, open_catalogue(flags.plan));
  FERRY_TRY(const plan::Chip* chip, measured_chip(catalogue, flags.plan.chips));
  FERRY_TRY(const plan::PlanModel model, open_plan_model(flags.plan.model));
  plan::Deployment d{.chip = chip, .model = &model, .stack = "general"};
  const std::string usual = model.stored ? plan::kFilePrecision : "bf16";
  const std::string& asked = flags.plan.precision;
  FERRY_TRY(d.precision, plan::precision_for(model, asked.empty() ? usual : asked, flags.plan.kv));
  FERRY_TRY(const plan::EfficiencyTable table, plan::builtin_efficiency());
  const plan::Efficiency& efficiency = table.of(*chip, d.stack);
  const auto prompt = static_cast<double>(flags.prompt);
  const auto context = static_cast<double>(flags.plan.context);
  const double behind = context / (context + prompt);
  Json out = Json::array();
  std::vector<std::vector<std::string>> rows;
  const auto say = [&](const char* phase, int64_t batch, double tokens,
                       const plan::StepTime& time) {
    out.push_back({{"phase", phase},
                   {"batch", batch},
                   {"context", flags.plan.context},
                   {"tokens_s", tokens / time.total()},
                   {"seconds", time.total()}});
    rows.push_back({phase, std::to_string(batch), std::to_string(flags.plan.context),
                    short_number(tokens / time.total()), duration_text(time.total()),
                    std::string(time.binds())});
  };
  FERRY_TRY(const plan::StepTime whole,
            plan::prefill_step(d, efficiency, prompt, context + prompt, behind));
  say("prefill", 1, prompt, whole);
  for (const int64_t batch : flags.batches) {
    const auto sequences = static_cast<double>(batch);
    FERRY_TRY(const plan::StepTime step,
              plan::decode_step(d, efficiency, sequences,
                                context + static_cast<double>(flags.generate) / 2));
    say("decode", batch, sequences, step);
  }
  if (flags.plan.json) {
    print_json({{"model", model.name}, {"chip", chip->name}, {"predicted", out}});
    return 0;
  }
  print_table({"phase", "batch", "context", "tokens/s", "a step takes", "binds"}, rows,
              flags.plan.csv);
  return 0;
}

}  // namespace

void add_calibrate_here(CLI::App& command, HereFlags& flags) {
  command.add_flag("--calibrate-here", flags.wanted,
                   "Measure the kernels of this machine (a minute or two) as a chip for --chips");
  command.add_option("--out", flags.out, "Of --calibrate-here: write there instead of printing")
      ->type_name("FILE");
  command.add_option("--name", flags.name, "Of --calibrate-here: what the chip is called")
      ->type_name("NAME");
  command.add_option("--formats", flags.formats, "Of --calibrate-here: weight formats to measure")
      ->type_name("LIST")
      ->delimiter(',');
  command.add_option("--backend", flags.backend, "Of --calibrate-here: chip to compute on")
      ->type_name("NAME");
  command.add_option("--device", flags.device, "Of --calibrate-here: which of several")
      ->type_name("N");
  command.add_option("-t,--threads", flags.threads, "Of --calibrate-here: compute threads")
      ->type_name("N")
      ->check(CLI::Range(0, 1024));
  command
      .add_option("--megabytes", flags.megabytes,
                  "Of --calibrate-here: of weights per format, several times what caches hold")
      ->type_name("N")
      ->check(CLI::Range(int64_t{1}, int64_t{10000}));
  command.add_option("--repeat", flags.repeat, "Of --calibrate-here: the median of N counts")
      ->type_name("N")
      ->check(CLI::Range(int64_t{1}, int64_t{1000}));
  add_activations_flag(command, flags.activations);
}

int calibrate_here(const HereFlags& flags) {
  const Result<int> code = run_here(flags);
  return code.ok() ? *code : fail(code.error());
}

void add_plan_bench(CLI::App& plan, Action& action) {
  CLI::App* command = plan.add_subcommand(
      "bench", "What ferry bench MODEL will measure on a machine that was calibrated");
  auto flags = std::make_shared<PredictFlags>();
  command->add_option("model", flags->plan.model, "A public model by name or one on disk")
      ->type_name("MODEL")
      ->required();
  command->add_option("--chips", flags->plan.chips, "The file of --calibrate-here, or a chip in it")
      ->type_name("FILE")
      ->required();
  command->add_option("--precision", flags->plan.precision, "Of a model by name")
      ->type_name("NAME");
  command->add_option("--kv-dtype", flags->plan.kv, "Of the cache")->type_name("TYPE");
  command->add_option("--batch", flags->batches, "Sequences that decode together")
      ->type_name("N,N,…")
      ->delimiter(',')
      ->check(CLI::Range(int64_t{1}, int64_t{1024}));
  constexpr int64_t kMost = int64_t{1} << 24;
  command->add_option("--prompt", flags->prompt, "Tokens to prefill")
      ->check(CLI::Range(int64_t{1}, kMost));
  command->add_option("--generate", flags->generate, "Tokens to decode")
      ->check(CLI::Range(int64_t{1}, kMost));
  command->add_option("--context", flags->plan.context, "Tokens in the cache before")
      ->check(CLI::Range(int64_t{0}, kMost));
  add_output_flags(*command, flags->plan);
  command->callback([&action, flags] {
    action = [flags] {
      const Result<int> code = run_predict(*flags);
      return code.ok() ? *code : fail(code.error());
    };
  });
}

}  // namespace ferry::cmd
