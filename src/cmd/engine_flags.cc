// See engine_flags.h.
#include "cmd/engine_flags.h"

#include <CLI/CLI.hpp>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <map>

#include "base/quote_name.h"
#include "cmd/builtin_model.h"
#include "cmd/command.h"
#include "cmd/progress.h"
#include "cmd/read_input.h"

namespace ferry::cmd {
namespace {

const std::map<std::string, KvDtype> kKvDtypes = {{"f32", KvDtype::kF32},
                                                  {"f16", KvDtype::kF16},
                                                  {"bf16", KvDtype::kBF16},
                                                  {"int8", KvDtype::kInt8}};

const std::map<std::string, WeightPacking> kWeightPackings = {{"auto", WeightPacking::kAuto},
                                                              {"copy", WeightPacking::kCopy},
                                                              {"never", WeightPacking::kNever},
                                                              {"always", WeightPacking::kAlways}};

const std::map<std::string, Speculation> kSpeculations = {
    {"off", Speculation::kOff}, {"lookup", Speculation::kPromptLookup}, {"mtp", Speculation::kMtp}};

template <typename T>
bool parse_number(std::string_view text, T& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

void print_builtin_notice() {
  std::fputs(
      "ferry: this is the small built-in model (sums, counting, sorting, weekdays, tool calls); "
      "for a large one: ferry pull ORG/NAME, then ferry run ORG/NAME\n",
      stderr);
}

double per_second(int64_t count, double seconds) {
  return seconds > 0 ? static_cast<double>(count) / seconds : 0;
}

}  // namespace

// By the XDG base directory specification.
std::string cache_folder(std::string_view what) {
  const char* cache = std::getenv("XDG_CACHE_HOME");
  if (cache != nullptr && cache[0] == '/') return fmt::format("{}/ferry/{}", cache, what);
  const char* home = std::getenv("HOME");
  return home == nullptr || home[0] != '/' ? std::string()
                                           : fmt::format("{}/.cache/ferry/{}", home, what);
}

void add_activations_flag(CLI::App& command, std::string& value) {
  command
      .add_option("--activations", value,
                  "What quantised weights are multiplied by: int8, as they are stored themselves, "
                  "or f32, exact and slower")
      ->type_name("TYPE")
      ->check(CLI::IsMember({"int8", "f32"}));
}

void add_pack_weights_flag(CLI::App& command, std::string& value) {
  command
      .add_option(
          "--pack-weights", value,
          "Keep quantised weights in the order that the cpu reads fastest: auto, where memory has "
          "room for it, packed between steps while the first answers are given, or where `ferry "
          "pack` has left them on disk; copy, only where it has (the default of complete); never, "
          "they are used where the file is mapped; always, before the first answer. The answers "
          "are the same")
      ->type_name("WHEN")
      ->check(CLI::IsMember(kWeightPackings));
}

WeightPacking weight_packing_named(const std::string& name) { return kWeightPackings.at(name); }

void add_kv_dtype_flag(CLI::App& command, std::string& value) {
  command
      .add_option("--kv-dtype", value,
                  "How the cache is stored: f32, f16, bf16, or int8 with a scale for each head")
      ->type_name("TYPE")
      ->check(CLI::IsMember({"f32", "f16", "bf16", "int8"}));
}

void add_expert_memory_flag(CLI::App& command, std::string& value) {
  command
      .add_option("--expert-memory", value,
                  "Leave experts in the file, read them when they are needed, and keep those used "
                  "last in so much memory (such as 48G); auto: if the model is larger than memory, "
                  "in what is left of it")
      ->type_name("SIZE")
      ->check([](const std::string& text) {
        const bool fits = text == "auto" || expert_memory_bytes(text) > 0;
        return fits ? std::string() : "expected auto or a size such as 512M or 48G";
      });
}

void add_speculate_flags(CLI::App& command, std::string& how, int64_t& draft_tokens) {
  command
      .add_option("--speculate", how,
                  "Guess tokens and check several in one step, with the same answers: off, lookup "
                  "(by what prompt and answer said before) or mtp (by the model's own module)")
      ->type_name("HOW")
      ->check(CLI::IsMember({"off", "lookup", "mtp"}));
  command
      .add_option("--draft-tokens", draft_tokens,
                  "With --speculate lookup: tokens guessed per step at most")
      ->type_name("N")
      ->check(CLI::Range(1, 15));
}

int64_t expert_memory_bytes(const std::string& value) {
  constexpr std::string_view kUnits = "KMGT";
  std::string_view digits = value;
  int shift = 0;
  if (!digits.empty() && kUnits.find(digits.back()) != std::string_view::npos) {
    shift = 10 * static_cast<int>(kUnits.find(digits.back()) + 1);
    digits.remove_suffix(1);
  }
  int64_t number = 0;
  if (!parse_number(digits, number) || number <= 0) return 0;
  constexpr int64_t kMost = int64_t{1} << 50;
  return number > kMost >> shift ? 0 : number << shift;
}

Dtype kv_dtype_named(const std::string& name) {
  if (name == "int8") return Dtype::kI8;
  return name == "bf16" ? Dtype::kBF16 : name == "f16" ? Dtype::kF16 : Dtype::kF32;
}

void add_tensor_parallel_flag(CLI::App& command, int& value) {
  command
      .add_option(
          "--tensor-parallel-size", value,
          "Chips that compute together, from --device on; each keeps its share of the model")
      ->type_name("N")
      ->check(CLI::Range(1, 64));
}

void add_engine_flags(CLI::App& command, EngineFlags& flags) {
  command.add_option("--backend", flags.backend, "Chip to compute on (ferry doctor lists them)")
      ->type_name("NAME");
  command.add_option("--device", flags.device, "Which of several chips of the backend")
      ->type_name("N");
  command.add_option("-t,--threads", flags.threads, "Compute threads; 0: one per physical core")
      ->type_name("N")
      ->check(CLI::Range(0, 1024));
  add_tensor_parallel_flag(command, flags.tensor_parallel_size);
  command
      .add_option("-c,--context,--max-model-len", flags.context,
                  "Longest prompt and answer together, in tokens; 0: the model's, at most 8192")
      ->type_name("N")
      ->check(CLI::NonNegativeNumber);
  add_kv_dtype_flag(command, flags.kv_dtype);
  add_activations_flag(command, flags.activations);
  add_pack_weights_flag(command, flags.pack_weights);
  add_expert_memory_flag(command, flags.expert_memory);
  add_speculate_flags(command, flags.speculate, flags.draft_tokens);
  command
      .add_option("--check-weights", flags.check_weights,
                  "Look through the weights for values that are not finite: once for each file, "
                  "noted in $XDG_CACHE_HOME/ferry (~/.cache/ferry), or at every start")
      ->type_name("WHEN")
      ->check(CLI::IsMember({"once", "always"}));
  command.add_flag("-v,--verbose", flags.verbose,
                   "Say on stderr what is loaded and how fast it is");
}

EngineOptions engine_options(const EngineFlags& flags) {
  EngineOptions options;
  if (is_builtin_model(flags.model)) {
    options.model = std::string(kBuiltinModelName);
    options.model_files = builtin_model_files();
  } else {
    options.model = flags.model;
  }
  options.backend = flags.backend;
  options.device = flags.device;
  options.threads = flags.threads;
  options.tensor_parallel_size = flags.tensor_parallel_size;
  options.f32_activations = flags.activations == "f32";
  options.weight_packing = weight_packing_named(flags.pack_weights);
  options.max_context = flags.context;
  options.kv_dtype = kKvDtypes.at(flags.kv_dtype);
  options.expert_memory = expert_memory_bytes(flags.expert_memory);
  options.speculation = kSpeculations.at(flags.speculate);
  options.draft_tokens = flags.draft_tokens;
  if (flags.check_weights == "once") options.notes_folder = cache_folder("looked-through");
  options.packed_folder = cache_folder(kPackedFolder);
  return options;
}

Result<Engine> load_engine(const EngineFlags& flags, int64_t max_sequences) {
  EngineOptions options = engine_options(flags);
  options.max_sequences = max_sequences;
  return load_engine(flags, std::move(options));
}

Result<Engine> load_engine(const EngineFlags& flags, EngineOptions options) {
  if (is_builtin_model(flags.model)) print_builtin_notice();
  Progress progress("loading " + options.model);
  options.progress = [&](const LoadProgress& now) {
    progress.update(now.bytes_done, now.bytes_total);
  };
  if (flags.verbose) {
    options.notice = [](const std::string& line) {
      std::fprintf(stderr, "ferry: %s\n", line.c_str());
    };
  }
  return Engine::load(options);
}

void add_sampling_flags(CLI::App& command, SamplingFlags& flags) {
  const std::string group = "Sampling (the defaults come with the model)";
  const auto number = [&](const char* name, auto& value, const char* help) {
    command.add_option(name, value, help)->group(group)->type_name("X");
  };
  number("--temperature", flags.temperature, "0 always takes the most probable token");
  number("--top-k", flags.top_k, "Choose among the k most probable tokens; 0: all");
  number("--top-p", flags.top_p, "Choose among the most probable tokens that make up this share");
  number("--min-p", flags.min_p, "Drop tokens below this share of the most probable one");
  number("--presence-penalty", flags.presence_penalty, "Less of what was said already, -2 to 2");
  number("--frequency-penalty", flags.frequency_penalty, "The same, for each time it was said");
  number("--repetition-penalty", flags.repetition_penalty,
         "Above 1: less of what prompt and answer hold");
  command.add_option("--logit-bias", flags.logit_bias, "Add VALUE to the logit of a token")
      ->group(group)
      ->type_name("ID=VALUE")
      ->default_str("");
  command.add_option("--seed", flags.seed, "The same seed gives the same text")
      ->group(group)
      ->type_name("N");
  command
      .add_option("-n,--max-tokens", flags.stop.max_tokens,
                  "Longest answer; 0: until the context is full")
      ->group(group)
      ->type_name("N");
  command.add_option("--min-tokens", flags.stop.min_tokens, "Shortest answer")
      ->group(group)
      ->type_name("N");
  command.add_option("--stop", flags.stop.strings, "End the answer before this text (may repeat)")
      ->group(group)
      ->type_name("TEXT")
      ->default_str("");
  command
      .add_option("--stop-token", flags.stop.token_ids, "End the answer at this id (may repeat)")
      ->group(group)
      ->type_name("ID")
      ->default_str("");
  command.add_flag("--ignore-eos", flags.stop.ignore_eos, "Go on behind the model's own end")
      ->group(group);
}

Result<SamplingParams> apply_sampling_flags(const SamplingFlags& flags, SamplingParams params) {
  if (flags.temperature) params.temperature = *flags.temperature;
  if (flags.top_k) params.top_k = *flags.top_k;
  if (flags.top_p) params.top_p = *flags.top_p;
  if (flags.min_p) params.min_p = *flags.min_p;
  if (flags.presence_penalty) params.presence_penalty = *flags.presence_penalty;
  if (flags.frequency_penalty) params.frequency_penalty = *flags.frequency_penalty;
  if (flags.repetition_penalty) params.repetition_penalty = *flags.repetition_penalty;
  if (flags.seed) params.seed = flags.seed;
  for (const std::string& entry : flags.logit_bias) {
    const size_t equals = entry.find('=');
    std::pair<int32_t, float> bias;
    if (equals == std::string::npos ||
        !parse_number(std::string_view(entry).substr(0, equals), bias.first) ||
        !parse_number(std::string_view(entry).substr(equals + 1), bias.second)) {
      return invalid_input("--logit-bias: {}; expected ID=VALUE, such as 128=-5.5",
                           quote_name(entry));
    }
    params.logit_bias.push_back(bias);
  }
  return params;
}

void add_constraint_flags(CLI::App& command, ConstraintFlags& flags) {
  const std::string group = "What the answer must be (at most one)";
  command
      .add_option("--json-schema", flags.json_schema,
                  "JSON that this schema allows (the schema itself, or a file)")
      ->group(group)
      ->type_name("FILE");
  command.add_flag("--json-object", flags.json_object, "Any JSON object")->group(group);
  command.add_option("--regex", flags.regex, "A text that this expression matches as a whole")
      ->group(group)
      ->type_name("REGEX");
  command.add_option("--choice", flags.choices, "One of these texts (repeat it)")
      ->group(group)
      ->type_name("TEXT")
      ->default_str("");
}

Result<std::optional<Constraint>> read_constraint(const ConstraintFlags& flags) {
  const int count = static_cast<int>(!flags.json_schema.empty()) +
                    static_cast<int>(flags.json_object) + static_cast<int>(!flags.regex.empty()) +
                    static_cast<int>(!flags.choices.empty());
  if (count == 0) return std::optional<Constraint>();
  if (count > 1) {
    return invalid_input("--json-schema, --json-object, --regex and --choice: only one can hold");
  }
  Constraint constraint;
  if (!flags.json_schema.empty()) {
    constraint.kind = Constraint::kJsonSchema;
    constraint.text = flags.json_schema;
    if (flags.json_schema.front() != '{') {
      FERRY_TRY(constraint.text, read_input(flags.json_schema));
    }
  } else if (!flags.regex.empty()) {
    constraint.kind = Constraint::kRegex;
    constraint.text = flags.regex;
  } else if (!flags.choices.empty()) {
    constraint.kind = Constraint::kChoice;
    constraint.choices = flags.choices;
  }
  return std::optional<Constraint>(std::move(constraint));
}

void add_finish(Json& result, const Finish& finish) {
  result["finish_reason"] = finish_reason_name(finish.reason);
  if (!finish.stop_string.empty()) result["stop_string"] = finish.stop_string;
  result["usage"] = {{"prompt_tokens", finish.prompt_tokens},
                     {"completion_tokens", finish.completion_tokens},
                     {"reasoning_tokens", finish.reasoning_tokens},
                     {"total_tokens", finish.prompt_tokens + finish.completion_tokens}};
  if (finish.draft_tokens > 0) {
    result["speculation"] = {{"draft_tokens", finish.draft_tokens},
                             {"accepted_tokens", finish.accepted_tokens}};
  }
  result["seed"] = finish.seed;
  result["seconds"] = {{"prompt", finish.prompt_seconds}, {"decode", finish.decode_seconds}};
}

std::string describe_speed(const Finish& finish) {
  // The first token belongs to the prompt's time.
  std::string text = fmt::format(
      "{} tokens, {:.1f} tokens/s; prompt {} tokens, {:.1f} tokens/s", finish.completion_tokens,
      per_second(finish.completion_tokens - 1, finish.decode_seconds), finish.prompt_tokens,
      per_second(finish.prompt_tokens, finish.prompt_seconds));
  if (finish.draft_tokens > 0) {
    text += fmt::format("; {} of {} guessed tokens were right", finish.accepted_tokens,
                        finish.draft_tokens);
  }
  return text;
}

}  // namespace ferry::cmd
