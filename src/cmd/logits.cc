// `ferry logits`: the porter's tool. Token ids in, logits out as raw little-endian f32
// [tokens, vocab_size], so that two implementations can be compared number by number; or, with
// --compare, which op of a backend is the first to go wrong.
#include "engine/logits.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <bit>
#include <cstdio>
#include <filesystem>

#include "cmd/command.h"
#include "cmd/engine_flags.h"
#include "cmd/logits_compare.h"
#include "cmd/model_argument.h"
#include "cmd/progress.h"
#include "cmd/read_input.h"
#include "disk/atomic_file.h"
#include "engine/ranks.h"

namespace ferry::cmd {
namespace {

struct LogitsFlags {
  std::string model;
  std::string tokens;
  std::string out;
  std::string backend = "cpu";
  std::string compare;  // the backend to compare with; empty: write logits
  std::string kv_dtype = "f32";
  std::string activations = "f32";  // the porter's tool shows the model, not a fast path
  int threads = 0;
  int tensor_parallel_size = 1;
  int64_t step = -1;
  int64_t chunk = 0;
  bool json = false;
};

Result<std::vector<int32_t>> read_token_ids(const std::string& path) {
  FERRY_TRY(const std::string text, read_input(path));
  auto parsed = parse_json(text, {.max_depth = 2});
  if (!parsed.ok()) return parsed.error().in(path);
  if (!parsed->is_array() || parsed->empty()) {
    return invalid_input("{}: expected an array of token ids, found {}", path,
                         parsed->is_array() ? "an empty one" : json_type_name(*parsed));
  }
  std::vector<int32_t> ids;
  for (size_t i = 0; i < parsed->size(); ++i) {
    const Json& id = (*parsed)[i];
    if (!id.is_number_integer()) {
      return invalid_input("{}: entry {}: expected an integer, found {}", path, i,
                           json_type_name(id));
    }
    const auto value = id.get<int64_t>();
    if (value < 0 || value > INT32_MAX) {
      return invalid_input("{}: entry {}: {} is no token id", path, i, value);
    }
    ids.push_back(static_cast<int32_t>(value));
  }
  return ids;
}

// The file replaces what was there; a device or folder must not be replaced.
Status check_output(const std::string& path) {
  std::error_code ignored;
  const auto status = std::filesystem::status(path, ignored);
  if (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status)) {
    return invalid_input("--out: {} is there and is not a regular file", path);
  }
  return {};
}

Result<std::vector<engine::LoadedModel>> load_on(const std::string& backend_name,
                                                 const disk::ModelSource& source,
                                                 const LogitsFlags& flags, size_t num_tokens) {
  FERRY_TRY(const auto devices, engine::open_ranks(backend_name,
                                                   {.threads = flags.threads,
                                                    .f32_activations = flags.activations == "f32"},
                                                   flags.tensor_parallel_size));
  Progress progress("loading " + source.name);
  return engine::load_shards(
      source, devices,
      {.max_context = static_cast<int64_t>(num_tokens),
       .kv_dtype = kv_dtype_named(flags.kv_dtype),
       .threads = flags.threads,
       .progress = [&](int64_t done, int64_t total) { progress.update(done, total); }});
}

// 1 where an op is wrong.
Result<int> compare(const LogitsFlags& flags, const disk::ModelSource& source,
                    std::span<const int32_t> tokens, const engine::LogitsOptions& options) {
  FERRY_TRY(const auto reference, load_on(flags.compare, source, flags, tokens.size()));
  FERRY_TRY(const auto subject, load_on(flags.backend, source, flags, tokens.size()));
  FERRY_TRY(const auto comparison,
            engine::compare_ops(reference.front(), subject.front(), tokens, options));
  if (flags.json) {
    print_json(comparison_json(comparison));
  } else {
    print_comparison(comparison, flags.backend, flags.compare);
  }
  const auto wrong = [&](const engine::OpDifference& op) { return comparison.is_wrong(op); };
  return std::any_of(comparison.ops.begin(), comparison.ops.end(), wrong) ? 1 : 0;
}

Result<int> write_logits(const LogitsFlags& flags) {
  if (!flags.out.empty()) FERRY_TRY_VOID(check_output(flags.out));
  FERRY_TRY(const std::vector<int32_t> tokens, read_token_ids(flags.tokens));
  if (flags.step > static_cast<int64_t>(tokens.size())) {
    return invalid_input("--step: {} is more than the {} tokens of {}", flags.step, tokens.size(),
                         flags.tokens);
  }
  FERRY_TRY(const disk::ModelSource source, open_model_argument(flags.model));
  const engine::LogitsOptions options{
      .prefill = flags.step, .chunk = flags.chunk, .kv_dtype = kv_dtype_named(flags.kv_dtype)};
  if (!flags.compare.empty()) return compare(flags, source, tokens, options);
  FERRY_TRY(const auto shards, load_on(flags.backend, source, flags, tokens.size()));
  FERRY_TRY(const std::vector<float> logits, engine::compute_logits(shards, tokens, options));
  static_assert(std::endian::native == std::endian::little);
  FERRY_TRY(disk::AtomicFile file, disk::AtomicFile::create(flags.out));
  FERRY_TRY_VOID(file.write(
      std::span(reinterpret_cast<const uint8_t*>(logits.data()), logits.size() * sizeof(float))));
  FERRY_TRY_VOID(file.commit());
  const int64_t vocab_size = shards.front().spec().vocab_size;
  if (flags.json) {
    print_json({{"out", flags.out},
                {"tokens", tokens.size()},
                {"vocab_size", vocab_size},
                {"dtype", "f32"},
                {"bytes", logits.size() * sizeof(float)}});
  } else {
    std::fprintf(stderr, "%s: f32 [%zu, %lld]\n", flags.out.c_str(), tokens.size(),
                 static_cast<long long>(vocab_size));
  }
  return 0;
}

}  // namespace

void add_logits(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("logits", "Write the logits of given tokens to a file");
  command->footer(
      "The result is raw little-endian f32 [tokens, vocabulary]; row i holds the logits after\n"
      "token i. Nothing is put in front of the tokens. --step N computes the first N as a prompt\n"
      "and the others one by one, as if they had been generated. Unless --activations int8 is\n"
      "given, products are computed in f32, which `ferry run` does not do with quantised "
      "weights.\n\n"
      "--compare runs every op on both backends with the same inputs, and says how far each kind\n"
      "is off and which op is the first that rounding doesn't explain: the way from a garbled\n"
      "answer to its cause. 64 tokens at most; exit code 1 if an op is wrong.\n\n"
      "Example: ferry logits model.gguf --tokens ids.json --out logits.f32 --step 20\n"
      "         ferry logits model.gguf --tokens ids.json --backend ascend --compare reference");
  auto flags = std::make_shared<LogitsFlags>();
  command->add_option("model", flags->model, kModelHelp)->type_name("MODEL");
  command->add_option("--tokens", flags->tokens, "JSON array of token ids; - for standard input")
      ->required()
      ->type_name("FILE");
  CLI::Option* out =
      command->add_option("--out", flags->out, "Where the logits go")->type_name("FILE");
  CLI::Option* compare =
      command
          ->add_option(
              "--compare", flags->compare,
              "Write no logits: find the first op of --backend that differs from this backend")
          ->type_name("NAME")
          ->excludes(out);
  add_tensor_parallel_flag(*command, flags->tensor_parallel_size);
  compare->excludes("--tensor-parallel-size");
  command->add_option("--step", flags->step, "Prompt tokens; the rest goes one by one")
      ->type_name("N")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 24))
      ->default_str("all");
  command->add_option("--chunk", flags->chunk, "Prompt tokens computed together; 0: all")
      ->type_name("N")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 24));
  command->add_option("--backend", flags->backend, "Backend to compute with")->type_name("NAME");
  command->add_option("-t,--threads", flags->threads, "Threads; 0: one per physical core")
      ->type_name("N")
      ->check(CLI::Range(0, 1024));
  add_kv_dtype_flag(*command, flags->kv_dtype);
  add_activations_flag(*command, flags->activations);
  command->add_flag("--json", flags->json, "Print what was written as JSON");
  command->callback([&action, flags] {
    if (flags->out.empty() && flags->compare.empty()) throw CLI::RequiredError("--out");
    action = [flags] {
      Result<int> code = write_logits(*flags);
      return code.ok() ? *code : fail(code.error());
    };
  });
}

}  // namespace ferry::cmd
