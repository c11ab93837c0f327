// Flags that every command with an engine shares: which model, on what, and how to sample.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/dtype.h"
#include "base/json.h"
#include "ferry/ferry.h"

namespace CLI {
class App;
}

namespace ferry::cmd {

struct EngineFlags {
  std::string model;  // empty: the built-in one
  std::string backend = "cpu";
  int device = 0;
  int threads = 0;
  int tensor_parallel_size = 1;
  int64_t context = 0;
  std::string kv_dtype = "bf16";
  std::string activations = "int8";
  std::string pack_weights = "auto";
  std::string speculate = "off";
  std::string expert_memory = "auto";
  int64_t draft_tokens = EngineOptions().draft_tokens;
  std::string check_weights = "once";
  bool verbose = false;
};

void add_engine_flags(CLI::App& command, EngineFlags& flags);
// --tensor-parallel-size.
void add_tensor_parallel_flag(CLI::App& command, int& value);
// --activations int8|f32; what `value` holds is the default.
void add_activations_flag(CLI::App& command, std::string& value);
// $XDG_CACHE_HOME/ferry/WHAT, else ~/.cache/ferry/WHAT; empty where there is no home.
std::string cache_folder(std::string_view what);
inline constexpr std::string_view kPackedFolder = "packed";  // of `ferry pack`
// --pack-weights; what `value` holds is the default. weight_packing_named() takes what it let
// through.
void add_pack_weights_flag(CLI::App& command, std::string& value);
WeightPacking weight_packing_named(const std::string& name);
// --expert-memory SIZE|auto; expert_memory_bytes() takes what it let through, auto is 0.
void add_expert_memory_flag(CLI::App& command, std::string& value);
int64_t expert_memory_bytes(const std::string& value);
// --speculate HOW and --draft-tokens N; what they hold is the default.
void add_speculate_flags(CLI::App& command, std::string& how, int64_t& draft_tokens);
// --kv-dtype; what `value` holds is the default. kv_dtype_named() takes what it let through.
void add_kv_dtype_flag(CLI::App& command, std::string& value);
Dtype kv_dtype_named(const std::string& name);

// Loads what the flags say, with a progress bar on stderr, and the memory plan with --verbose. For
// the built-in model one line on stderr says what it is.
Result<Engine> load_engine(const EngineFlags& flags, int64_t max_sequences);
// The same in two steps, for a command that has more to say about the engine.
EngineOptions engine_options(const EngineFlags& flags);
Result<Engine> load_engine(const EngineFlags& flags, EngineOptions options);

// Flags left alone keep what the model's generation_config.json says.
struct SamplingFlags {
  std::optional<double> temperature, top_p, min_p;
  std::optional<int64_t> top_k;
  std::optional<double> presence_penalty, frequency_penalty, repetition_penalty;
  std::vector<std::string> logit_bias;  // "ID=VALUE"
  std::optional<uint64_t> seed;
  StopConditions stop;
};

void add_sampling_flags(CLI::App& command, SamplingFlags& flags);

// Errors: --logit-bias that is not ID=VALUE. Ranges are the engine's to check.
Result<SamplingParams> apply_sampling_flags(const SamplingFlags& flags, SamplingParams defaults);

// What the answer must be; at most one of them.
struct ConstraintFlags {
  std::string json_schema;  // a file, or the schema itself
  bool json_object = false;
  std::string regex;
  std::vector<std::string> choices;
};

void add_constraint_flags(CLI::App& command, ConstraintFlags& flags);

// Errors: more than one of them, a file that can't be read. What the constraint says is the
// engine's to check.
Result<std::optional<Constraint>> read_constraint(const ConstraintFlags& flags);

// {"finish_reason", "stop_string", "usage", "seed", "seconds"}: the end of every --json result.
void add_finish(Json& result, const Finish& finish);

// "127 tokens, 41.3 tokens/s; prompt 35 tokens, 210.0 tokens/s"
std::string describe_speed(const Finish& finish);

}  // namespace ferry::cmd
