// `ferry bench [MODEL]`: how fast a model runs here, and how that compares with what the machine
// can do. Measures below the engine (bench_forward.h), or with --speculate whole answers
// (bench_speculate.h); `ferry bench serve` measures a server.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <set>

#include "backends/cpu/level.h"
#include "base/checked_math.h"
#include "base/cpu_info.h"
#include "cmd/bench_forward.h"
#include "cmd/bench_report.h"
#include "cmd/bench_serve.h"
#include "cmd/bench_speculate.h"
#include "cmd/command.h"
#include "cmd/engine_flags.h"
#include "cmd/model_argument.h"
#include "cmd/progress.h"
#include "device/host_memory.h"
#include "engine/expert_memory.h"
#include "engine/weight_packing.h"

namespace ferry::cmd {
namespace {

constexpr const char* kBenchFooter =
    R"(Prefill: one sequence, --prompt tokens behind a context. Decode: a batch of sequences, each
behind a context, --generate tokens each; tokens/s are those of the whole batch. Tokens are random.
A context is not computed: its pages of the cache are filled with random values, which attention
reads like any others. One round is run before and not counted. GB/s counts weights (of experts,
those chosen) and cached keys and values; ceilings are measured before and after, the better counts.
"memory GB/s" is what memory gave in short reads between the steps, and "of memory" decode's share
of that: where other programs or machines use the memory too, it tells what decode could have had.
Run it on an idle machine.

With --speculate, answers to real prompts are measured instead, --generate tokens each at most, with
guesses and without: guesses made and right, tokens a step, decode tokens/s of one sequence.

Examples:
  ferry bench model.gguf                               the defaults: takes minutes on a large model
  ferry bench model.gguf --batch 1 --context 0 --json
  ferry bench model.gguf --prompt 2048 --generate 0 --profile
  ferry bench model.gguf --speculate mtp --batch 1,4    what the model's prediction module brings
  ferry bench serve http://127.0.0.1:8000              a running server, see ferry bench serve --help)";

constexpr int64_t kCeilingBytes = int64_t{1} << 30;  // beyond any cache
constexpr int64_t kProfiledSteps = 16;               // of decode
constexpr int64_t kAccountedSteps = 4;

struct BenchFlags {
  std::string model;
  std::string backend = "cpu";
  std::string kv_dtype = "bf16";
  std::string activations = "int8";
  std::string expert_memory = "auto";
  std::string pack_weights = "auto";
  std::string speculate = "off";
  std::string prompts;
  int64_t draft_tokens = EngineOptions().draft_tokens;
  int device = 0;
  int threads = 0;
  int64_t prompt = 512;
  int64_t generate = 64;
  int64_t chunk = 4096;
  int64_t repeat = 5;
  std::vector<int64_t> batches = {1, 8, 16};
  std::vector<int64_t> contexts = {0, 4096, 16384};
  bool contexts_given = false;
  bool no_ceilings = false;
  bool profile = false;
  bool json = false;
};

int64_t tokens_behind(const BenchFlags& flags) { return std::max(flags.prompt, flags.generate); }

// The limits that cover the points that will be measured.
BenchLimits limits_for(const BenchFlags& flags, const std::vector<BenchPoint>& points) {
  BenchLimits limits{.chunk = std::max<int64_t>(std::min(flags.chunk, flags.prompt), 1),
                     .max_batch = 1,
                     .kv_dtype = kv_dtype_named(flags.kv_dtype)};
  for (const BenchPoint& point : points) {
    if (!point.skipped.empty()) continue;
    limits.max_batch = std::max(limits.max_batch, point.batch);
    limits.max_context = std::max(limits.max_context, point.context + tokens_behind(flags));
    const int64_t decode = ceil_div(point.context + flags.generate, kBenchBlockSize) * point.batch;
    const int64_t prefill = ceil_div(point.context + flags.prompt, kBenchBlockSize);
    limits.num_pages = std::max({limits.num_pages, decode, prefill});
  }
  return limits;
}

// All there is to measure. Contexts beyond the model are an error where they were asked for.
Result<std::vector<BenchPoint>> choose_points(const BenchFlags& flags, int64_t longest) {
  std::vector<BenchPoint> points;
  for (const int64_t batch : flags.batches) {
    for (const int64_t context : flags.contexts) {
      BenchPoint point{.batch = batch, .context = context};
      if (context + tokens_behind(flags) > longest) {
        point.skipped = fmt::format("{} + {} tokens are more than the model's {}", context,
                                    tokens_behind(flags), longest);
        if (flags.contexts_given) return invalid_input("--context: {}", point.skipped);
      }
      points.push_back(std::move(point));
    }
  }
  if (std::all_of(points.begin(), points.end(), [](auto& p) { return !p.skipped.empty(); })) {
    return invalid_input("--prompt, --generate: {}", points.front().skipped);
  }
  return points;
}

// Marks the points whose cache does not fit beside `weights` bytes of the model, largest first.
Status drop_what_does_not_fit(const BenchFlags& flags, const engine::LoadedModel& measured,
                              int64_t weights, const MemoryInfo& memory,
                              std::vector<BenchPoint>& points) {
  if (memory.total_bytes == 0) return {};
  while (true) {
    const nn::MemoryPlan plan =
        nn::plan_memory(*measured.model, weights,
                        plan_limits(measured.model->kv_layout(), limits_for(flags, points)),
                        measured.backend.get());
    if (plan.total_bytes() <= memory.free_bytes) return {};
    BenchPoint* largest = nullptr;
    size_t left = 0;
    for (BenchPoint& point : points) {
      if (!point.skipped.empty()) continue;
      ++left;
      const auto size = [](const BenchPoint& p) { return p.batch * (p.context + 1); };
      if (largest == nullptr || size(point) > size(*largest)) largest = &point;
    }
    const std::string why =
        fmt::format("takes {} with the model, {} is free", format_bytes(plan.total_bytes()),
                    format_bytes(memory.free_bytes));
    if (left <= 1) return out_of_memory("{}", why);
    largest->skipped = why;
  }
}

void take_account(Measured& measured, const OpCost& cost, int64_t tokens) {
  const auto count = static_cast<double>(tokens);
  measured.weight_bytes = static_cast<double>(cost.weight_bytes) / count;
  measured.cache_bytes = static_cast<double>(cost.cache_bytes) / count;
  measured.operations = cost.flops / count;
}

void take_profile(Measured& measured, const ProfileStream& stream, double seconds) {
  measured.profile_s = seconds;
  for (int i = 0; i < kNumOps; ++i) {
    const OpProfile& profile = stream.profile(static_cast<Op>(i));
    if (profile.cost.calls > 0) measured.ops.push_back({static_cast<Op>(i), profile});
  }
  std::sort(measured.ops.begin(), measured.ops.end(),
            [](const OpTime& a, const OpTime& b) { return a.profile.seconds > b.profile.seconds; });
}

// What was read while the repeats of a phase ran.
class ExpertAccount {
 public:
  explicit ExpertAccount(const BenchForward& bench) : bench_(bench), start_(bench.expert_stats()) {}
  OnDemandStats taken() const { return bench_.expert_stats().since(start_); }

 private:
  const BenchForward& bench_;
  const OnDemandStats start_;
};

Result<Measured> measure_prefill(BenchForward& bench, const BenchFlags& flags, int64_t context) {
  Measured measured{.tokens = flags.prompt};
  if (flags.prompt == 0) return measured;
  bench.set_profiling(true);  // the round that is not counted takes the account
  bench.profile().reset();
  FERRY_TRY_VOID(bench.prefill(context, flags.prompt));
  take_account(measured, bench.profile().total().cost, flags.prompt);
  bench.set_profiling(false);
  const ExpertAccount experts(bench);
  for (int64_t i = 0; i < flags.repeat; ++i) {
    FERRY_TRY(const double seconds, bench.prefill(context, flags.prompt));
    measured.seconds.push_back(seconds);
  }
  measured.experts = experts.taken();
  if (flags.profile) {
    bench.set_profiling(true);
    bench.profile().reset();
    FERRY_TRY(const double seconds, bench.prefill(context, flags.prompt));
    take_profile(measured, bench.profile(), seconds);
    bench.set_profiling(false);
  }
  return measured;
}

// `probe` may be null.
Result<Measured> measure_decode(BenchForward& bench, const BenchFlags& flags, int64_t batch,
                                int64_t context, cpu::ReadProbe* probe) {
  Measured measured{.tokens = flags.generate * batch};
  if (flags.generate == 0) return measured;
  // The account is taken in the middle, where the context is as long as it is on average.
  const int64_t accounted = std::min(flags.generate, kAccountedSteps);
  bench.set_profiling(true);
  bench.profile().reset();
  FERRY_TRY_VOID(bench.decode(batch, context + (flags.generate - accounted) / 2, accounted));
  take_account(measured, bench.profile().total().cost, accounted * batch);
  bench.set_profiling(false);
  FERRY_TRY_VOID(bench.decode(batch, context, std::min<int64_t>(flags.generate, 2)));
  const double step_bytes =
      (measured.weight_bytes + measured.cache_bytes) * static_cast<double>(batch);
  if (step_bytes < cpu::ReadProbe::kSampleBytes) probe = nullptr;
  std::function<void()> between;
  if (probe != nullptr) between = [probe] { probe->sample(); };
  const ExpertAccount experts(bench);
  for (int64_t i = 0; i < flags.repeat; ++i) {
    FERRY_TRY(const double seconds, bench.decode(batch, context, flags.generate, between));
    measured.seconds.push_back(seconds);
    if (probe != nullptr) measured.memory_bytes_per_s.push_back(probe->take_bytes_per_s());
  }
  measured.experts = experts.taken();
  if (flags.profile) {
    const int64_t steps = std::min(flags.generate, kProfiledSteps);
    bench.set_profiling(true);
    bench.profile().reset();
    FERRY_TRY(const double seconds,
              bench.decode(batch, context + (flags.generate - steps) / 2, steps));
    take_profile(measured, bench.profile(), seconds);
    bench.set_profiling(false);
  }
  return measured;
}

void say(const std::string& what, const Measured& measured) {
  if (measured.seconds.empty()) return;
  std::fprintf(stderr, "ferry: %s: %.1f tokens/s\n", what.c_str(),
               static_cast<double>(measured.tokens) / median(measured.seconds));
}

Status measure_points(BenchForward& bench, const BenchFlags& flags, cpu::ReadProbe* probe,
                      BenchResult& result) {
  std::vector<std::pair<int64_t, size_t>> prefills;  // context, index
  for (BenchPoint& point : result.points) {
    if (!point.skipped.empty()) continue;
    const auto known = std::find_if(prefills.begin(), prefills.end(), [&](const auto& entry) {
      return entry.first == point.context;
    });
    if (known != prefills.end()) {
      point.prefill = known->second;
    } else {
      point.prefill = result.prefill.size();
      prefills.emplace_back(point.context, point.prefill);
      FERRY_TRY(Measured measured, measure_prefill(bench, flags, point.context));
      say(fmt::format("prefill of {} behind {}", flags.prompt, point.context), measured);
      result.prefill.push_back(std::move(measured));
    }
    FERRY_TRY(point.decode, measure_decode(bench, flags, point.batch, point.context, probe));
    say(fmt::format("decode, batch {}, context {}", point.batch, point.context), point.decode);
  }
  return {};
}

// Of two measurements the better of each figure.
void measure_ceilings_again(int threads, std::optional<cpu::Ceilings>& ceilings) {
  if (host_memory_info().free_bytes < 2 * kCeilingBytes) return;
  ThreadTeam team(threads);
  cpu::Ceilings now = cpu::measure_ceilings(team, kCeilingBytes);
  if (ceilings) {
    now.read_bytes_per_s = std::max(now.read_bytes_per_s, ceilings->read_bytes_per_s);
    for (size_t i = 0; i < now.matmul.size(); ++i) {
      double& rate = now.matmul[i].operations_per_s;
      rate = std::max(rate, ceilings->matmul[i].operations_per_s);
    }
  }
  ceilings = std::move(now);
}

void choose_matmul_ceiling(const DeviceSpec& spec, BenchResult& result) {
  if (!result.ceilings || spec.backend != "cpu") return;
  const Result<cpu::Level> level = cpu::choose_level(std::getenv("FERRY_CPU"), read_cpu_features());
  if (!level.ok()) return;
  const cpu::MatmulCeiling* ceiling =
      matmul_ceiling(*result.ceilings, spec.matmul_rounding, cpu::level_name(*level));
  if (ceiling == nullptr) return;
  result.matmul_instruction = ceiling->instruction;
  result.matmul_operations_per_s = ceiling->operations_per_s;
}

Status check_flags(const BenchFlags& flags) {
  if (flags.prompt == 0 && flags.generate == 0) {
    return invalid_input("--prompt and --generate are both 0: there is nothing to measure");
  }
  return {};
}

// How much memory experts get that are read on demand, 0: none are, and whether weights are packed,
// once the points that do not fit beside the weights are marked. `measured` becomes the model as it
// will be loaded.
struct Fitting {
  int64_t expert_memory = 0;
  bool pack = false;
  std::shared_ptr<const weights::PackedCopy> copy;  // with `pack`: that was found
};
Result<Fitting> fit_into_memory(const BenchFlags& flags, const disk::ModelSource& source,
                                engine::LoadOptions load, engine::LoadedModel& measured,
                                std::vector<BenchPoint>& points) {
  FERRY_TRY(const MemoryInfo memory, measured.backend->memory_info());
  const int64_t file_bytes = source.checkpoint.data_bytes();
  FERRY_TRY(
      const engine::ExpertMemory share,
      engine::share_memory(measured, file_bytes, expert_memory_bytes(flags.expert_memory), memory));
  if (!share.on_demand) {
    // Weights used where the file is mapped need the file to stay in memory.
    const int64_t weights = std::max(measured.weights_bytes, file_bytes);
    FERRY_TRY_VOID(drop_what_does_not_fit(flags, measured, weights, memory, points));
  }
  Fitting fitting;
  const WeightPacking packing = weight_packing_named(flags.pack_weights);
  if (packing != WeightPacking::kNever) {
    fitting.copy = engine::find_packed_copy(
        cache_folder(kPackedFolder), source, *measured.backend,
        [](const std::string& line) { std::fprintf(stderr, "ferry: %s\n", line.c_str()); });
  }
  load.pack = true;
  load.packed_copy = fitting.copy.get();
  if (share.on_demand) load.expert_memory = share.least;
  FERRY_TRY(engine::LoadedModel packed, engine::load_model(source, measured.backend, load));
  const nn::PlanLimits limits = plan_limits(measured.model->kv_layout(), limits_for(flags, points));
  const int64_t others =
      nn::plan_memory(*packed.model, 0, limits, measured.backend.get()).total_bytes();
  fitting.pack =
      engine::choose_packing(packing, packed, file_bytes, others, share.on_demand, memory);
  if (!share.on_demand) {
    if (!fitting.pack) return fitting;
    measured = std::move(packed);
    const int64_t weights = measured.weights_bytes + measured.copied_bytes;
    FERRY_TRY_VOID(drop_what_does_not_fit(flags, measured, weights, memory, points));
    return fitting;
  }
  load.pack = fitting.pack;
  FERRY_TRY(measured, engine::load_model(source, measured.backend, load));
  FERRY_TRY_VOID(
      drop_what_does_not_fit(flags, measured, measured.weights_bytes, share.others, points));
  const nn::MemoryPlan plan = nn::plan_memory(
      *measured.model, measured.weights_bytes,
      plan_limits(measured.model->kv_layout(), limits_for(flags, points)), measured.backend.get());
  fitting.expert_memory = share.bytes(plan.total_bytes());
  return fitting;
}

Result<BenchResult> measure(const BenchFlags& flags) {
  FERRY_TRY_VOID(check_flags(flags));
  FERRY_TRY(const disk::ModelSource source, open_model_argument(flags.model));
  FERRY_TRY(const std::shared_ptr<Backend> backend,
            open_backend(flags.backend, {.device = flags.device,
                                         .threads = flags.threads,
                                         .f32_activations = flags.activations == "f32"}));
  engine::LoadOptions load{
      .kv_dtype = kv_dtype_named(flags.kv_dtype), .threads = flags.threads, .measure_only = true};
  FERRY_TRY(engine::LoadedModel measured, engine::load_model(source, backend, load));

  BenchResult result;
  FERRY_TRY(result.points, choose_points(flags, measured.spec().max_position_embeddings));
  result.file_bytes = source.checkpoint.data_bytes();
  FERRY_TRY(const Fitting fitting, fit_into_memory(flags, source, load, measured, result.points));
  result.expert_memory = fitting.expert_memory;
  result.packed = fitting.pack;
  if (fitting.pack) result.packed_copy_bytes = measured.copied_bytes;
  const DeviceSpec& spec = backend->spec();
  const bool on_host = spec.backend == "cpu" || spec.backend == "reference";
  const int threads = flags.threads > 0 ? flags.threads : read_cpu_info().usable_cores;
  const bool with_ceilings = on_host && !flags.no_ceilings;
  if (with_ceilings) {
    std::fprintf(stderr, "ferry: measuring the ceilings of this machine\n");
    measure_ceilings_again(threads, result.ceilings);
  }

  const BenchLimits limits = limits_for(flags, result.points);
  Progress progress("loading " + source.name);
  load.max_context = limits.max_context;
  load.measure_only = false;
  load.expert_memory = fitting.expert_memory;
  load.pack = fitting.pack;
  load.packed_copy = fitting.copy.get();
  load.progress = [&](int64_t done, int64_t total) { progress.update(done, total); };
  FERRY_TRY(const engine::LoadedModel model, engine::load_model(source, backend, load));
  FERRY_TRY(const auto bench, BenchForward::create(model, limits));
  result.model = source.name;
  result.architecture = model.spec().architecture;
  result.backend = spec.backend;
  result.detail = spec.detail;
  result.kv_dtype = flags.kv_dtype;
  result.threads = threads;
  result.prompt = flags.prompt;
  result.generate = flags.generate;
  result.chunk = limits.chunk;
  result.repeat = flags.repeat;
  ThreadTeam team(threads);
  const std::unique_ptr<cpu::ReadProbe> probe =
      with_ceilings && host_memory_info().free_bytes > kCeilingBytes ? cpu::ReadProbe::create(team)
                                                                     : nullptr;
  FERRY_TRY_VOID(measure_points(*bench, flags, probe.get(), result));
  if (with_ceilings) {
    measure_ceilings_again(threads, result.ceilings);
    choose_matmul_ceiling(spec, result);
  }
  return result;
}

int bench_answers(const BenchFlags& flags) {
  SpeculationBench bench{.engine = engine_options({.model = flags.model,
                                                   .backend = flags.backend,
                                                   .device = flags.device,
                                                   .threads = flags.threads,
                                                   .kv_dtype = flags.kv_dtype,
                                                   .activations = flags.activations,
                                                   .pack_weights = flags.pack_weights,
                                                   .speculate = flags.speculate,
                                                   .expert_memory = flags.expert_memory,
                                                   .draft_tokens = flags.draft_tokens}),
                         .how = flags.speculate,
                         .prompts_file = flags.prompts,
                         .batches = flags.batches,
                         .generate = flags.generate,
                         .repeat = flags.repeat};
  if (bench.generate == 0) return fail(invalid_input("--generate: 0 tokens; nothing to guess"));
  const Result<SpeculationResult> result = measure_speculation(bench);
  if (!result.ok()) return fail(result.error());
  if (flags.json) {
    print_json(speculation_json(*result));
  } else {
    print_speculation(*result);
  }
  return 0;
}

int bench(const BenchFlags& flags) {
  if (flags.speculate != "off") return bench_answers(flags);
  const Result<BenchResult> result = measure(flags);
  if (!result.ok()) return fail(result.error());
  if (flags.json) {
    print_json(bench_json(*result));
  } else {
    print_bench(*result);
  }
  return 0;
}

void add_bench_flags(CLI::App& command, BenchFlags& flags) {
  const auto number = [&](const char* name, int64_t& value, int64_t least, int64_t most,
                          const char* help) {
    command.add_option(name, value, help)->type_name("N")->check(CLI::Range(least, most));
  };
  constexpr int64_t kMost = int64_t{1} << 24;
  command.add_option("model", flags.model, kModelHelp)->type_name("MODEL");
  number("--prompt", flags.prompt, 0, kMost, "Tokens to prefill; 0: no prefill");
  number("--generate", flags.generate, 0, kMost,
         "Tokens to decode for each sequence; 0: no decode");
  command.add_option("--batch", flags.batches, "Sequences that decode together")
      ->type_name("N,N,…")
      ->delimiter(',')
      ->check(CLI::Range(int64_t{1}, int64_t{1024}));
  command
      .add_option("--context", flags.contexts,
                  "Tokens in the cache before; unless given, those the model can hold")
      ->type_name("N,N,…")
      ->delimiter(',')
      ->check(CLI::Range(int64_t{0}, kMost));
  number("--chunk", flags.chunk, 1, kMost, "Prompt tokens in one forward");
  number("--repeat", flags.repeat, 1, 1000, "Measure so often; the median counts");
  command.add_option("-t,--threads", flags.threads, "Compute threads; 0: one per physical core")
      ->type_name("N")
      ->check(CLI::Range(0, 1024));
  add_activations_flag(command, flags.activations);
  add_pack_weights_flag(command, flags.pack_weights);
  add_expert_memory_flag(command, flags.expert_memory);
  add_kv_dtype_flag(command, flags.kv_dtype);
  add_speculate_flags(command, flags.speculate, flags.draft_tokens);
  command.add_option("--prompts", flags.prompts, "With --speculate: a file with one prompt a line")
      ->type_name("FILE");
  command.add_option("--backend", flags.backend, "Chip to compute on (ferry doctor lists them)")
      ->type_name("NAME");
  command.add_option("--device", flags.device, "Which of several chips of the backend")
      ->type_name("N");
  command.add_flag("--profile", flags.profile, "Then run once more, op by op: what took the time");
  command.add_flag("--no-ceilings", flags.no_ceilings, "Leave out the ceilings and the shares");
  command.add_flag("--json", flags.json, "Print JSON");
}

}  // namespace

void add_bench(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("bench", "Measure the speed of a model, or of a server");
  command->footer(kBenchFooter);
  auto flags = std::make_shared<BenchFlags>();
  add_bench_flags(*command, *flags);
  add_bench_serve(*command, action);
  command->callback([command, &action, flags] {
    if (!command->get_subcommands().empty()) return;
    flags->contexts_given = command->get_option("--context")->count() > 0;
    for (const char* name : {"--prompt", "--context", "--chunk", "--profile", "--no-ceilings"}) {
      if (flags->speculate == "off" || command->get_option(name)->count() == 0) continue;
      action = [name] {
        return fail(
            invalid_input("{}: has no meaning with --speculate, which measures answers", name));
      };
      return;
    }
    action = [flags] { return bench(*flags); };
  });
}

}  // namespace ferry::cmd
