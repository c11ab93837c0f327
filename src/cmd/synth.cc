// `ferry synth`: writes checkpoints — with random weights in the exact shapes of a public model, so
// that anyone can time it without a download, or (--from) with the weights of a model there is, as
// GGUF in a chosen quantisation.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>

#include "base/quote_name.h"
#include "cmd/command.h"
#include "cmd/gguf_vocab_keys.h"
#include "cmd/model_argument.h"
#include "cmd/quant_mix.h"
#include "cmd/random_weights.h"
#include "cmd/read_input.h"
#include "cmd/source_weights.h"
#include "disk/gguf_names.h"
#include "disk/hf_config.h"
#include "models/registry/select.h"
#include "models/registry/shapes.h"
#include "nn/rope.h"

namespace ferry::cmd {
namespace {

struct SynthFlags {
  std::string shape;
  std::string from;
  std::string quant = "BF16";
  std::string out;
  int64_t layers = 0;
  bool mtp = false;
  uint64_t seed = 1;
  float stddev = 0.02f;
  bool pure = false;
  bool force = false;
  bool list = false;
  bool json = false;
};

constexpr uint32_t kQuantizationVersion = 2;  // of GGUF's block formats, as all files have it

bool is_gguf_path(const std::string& path) { return path.ends_with(".gguf"); }

// A public shape by name, or the path of a config.json.
Result<Json> read_shape(const SynthFlags& flags) {
  Json config;
  if (flags.shape.ends_with(".json")) {
    FERRY_TRY(const std::string text, read_input(flags.shape));
    auto parsed = parse_json(text);
    if (!parsed.ok()) return parsed.error().in(flags.shape);
    if (!parsed->is_object()) return invalid_input("{}: expected an object", flags.shape);
    FERRY_TRY(config, disk::canonical_config(std::move(*parsed), flags.shape));
  } else {
    FERRY_TRY(config, models::public_shape_config(flags.shape));
  }
  return config;
}

// Cuts layers off. The MTP modules stay only with --mtp; whatever else drafts is left out.
Status trim(Json& config, int64_t layers, bool mtp) {
  FERRY_TRY(const int64_t all, json_int(config, "num_hidden_layers"));
  if (layers > all) return invalid_input("--layers: {}, the model has {}", layers, all);
  const int64_t kept = layers > 0 ? layers : all;
  config["num_hidden_layers"] = kept;
  FERRY_TRY(int64_t modules, json_int_or(config, "num_nextn_predict_layers", 0));
  if (!mtp || config.contains("dspark_block_size")) modules = 0;
  if (mtp && modules == 0) return invalid_input("--mtp: this model has no MTP module");
  if (config.contains("num_nextn_predict_layers")) config["num_nextn_predict_layers"] = modules;
  FERRY_TRY(const int64_t hashed, json_int_or(config, "num_hash_layers", 0));
  if (hashed > kept) config["num_hash_layers"] = kept;
  config.erase("dspark_block_size");
  Json* ratios = config.contains("compress_ratios") ? &config["compress_ratios"] : nullptr;
  if (ratios != nullptr && ratios->is_array() && std::ssize(*ratios) > kept) {
    ratios->erase(ratios->begin() + kept, ratios->end());
    for (int64_t i = 0; i < modules; ++i) ratios->push_back(0);  // a window alone
  }
  return {};
}

Result<nn::ModelSpec> read_spec(const Json& config) {
  FERRY_TRY(const nn::Architecture* architecture, models::select_architecture(config));
  return architecture->read_spec(config);
}

// GGUF keeps llama3's rope scaling as a tensor of divisors of the frequencies.
TensorJob rope_factors(const nn::ModelSpec& spec) {
  nn::RopeSpec plain = spec.rope;
  plain.scaling = nn::RopeScaling::kNone;
  const std::vector<double> base = nn::rope_frequencies(plain);
  const std::vector<double> scaled = nn::rope_frequencies(spec.rope);
  std::vector<float> factors;
  for (size_t i = 0; i < base.size(); ++i) {
    factors.push_back(static_cast<float>(base[i] / scaled[i]));
  }
  return {.tensor = {.name = "rope_freqs.weight",
                     .format = quant::find_format("F32"),
                     .shape = {static_cast<int64_t>(factors.size())}},
          .produce = [factors](const Emit& emit) {
            return emit(
                {reinterpret_cast<const uint8_t*>(factors.data()), factors.size() * sizeof(float)});
          }};
}

using MakeJob =
    std::function<TensorJob(const weights::TensorRecord& record, const std::string& name,
                            const quant::StorageFormat& format)>;

Result<WriteReport> write_as_gguf(const SynthFlags& flags, const Json& config,
                                  const std::string& model_name, const Vocabulary& vocabulary,
                                  const MakeJob& make_job) {
  FERRY_TRY(const QuantMix mix, QuantMix::find(flags.quant, flags.pure));
  FERRY_TRY(const nn::ModelSpec spec, read_spec(config));
  FERRY_TRY(const auto records,
            models::list_tensors(config, {.split_kv_b = true, .mtp = flags.mtp}));
  FERRY_TRY(disk::GgufKeyValues keys, disk::config_to_gguf(config));
  keys.add_string("general.name", model_name);
  keys.add_u32("general.file_type", mix.gguf_file_type());
  keys.add_u32("general.quantization_version", kQuantizationVersion);
  add_vocabulary(keys, vocabulary);
  FERRY_TRY(const std::string model_type, json_string(config, "model_type"));
  const std::string architecture(disk::gguf_architecture_of(model_type).value_or(""));

  std::vector<TensorJob> jobs;
  if (spec.rope.scaling == nn::RopeScaling::kLlama3) jobs.push_back(rope_factors(spec));
  for (const weights::TensorRecord& record : records) {
    const auto name = disk::tensor_name_to_gguf(architecture, record.name, spec.num_hidden_layers);
    if (!name) return unsupported("{}: GGUF has no name for this tensor", record.name);
    jobs.push_back(make_job(record, *name, mix.format_of(record, spec)));
  }
  return write_gguf({.path = flags.out, .overwrite = flags.force}, keys, jobs);
}

// What published FP8 checkpoints leave in BF16: all but linear layers, and of indexers and
// compressors what only few numbers go through.
bool stays_bf16(const weights::TensorRecord& record) {
  return (record.role != weights::TensorRole::kLinear &&
          record.role != weights::TensorRole::kExpert) ||
         record.name.ends_with(".weights_proj.weight") ||
         record.name.ends_with(".eh_proj.weight") ||
         record.name.find(".compressor.") != std::string::npos;
}

bool is_f32(const weights::TensorRecord& record) {
  return record.role == weights::TensorRole::kTable || record.name.ends_with("gate.bias") ||
         record.name.ends_with("e_score_correction_bias") || record.name.ends_with(".attn_sink") ||
         record.name.ends_with("_base") || record.name.ends_with("_scale");
}

// The tensors of a folder in the formats of one --quant.
class FolderTensors {
 public:
  FolderTensors(std::string_view quant, const Json& config, RandomWeights& random)
      : fp8_(quant == "FP8"),
        int4_(quant == "INT4"),
        v4_(config.value("model_type", Json()) == "deepseek_v4"),
        fp4_experts_(fp8_ && v4_ && config.value("expert_dtype", Json()) == "fp4"),
        plain_(*quant::find_format(fp8_ || int4_ ? "BF16" : quant)),
        random_(random) {}

  void add(const weights::TensorRecord& record) {
    if (record.role == weights::TensorRole::kIndices) {
      jobs_.push_back(
          random_.index_job(record.name, record.shape[0], record.shape[1], record.limit, true));
      return;
    }
    if (record.role != weights::TensorRole::kExpert) return add(record, record.name, record.shape);
    for (int64_t e = 0; e < record.shape[0]; ++e) {
      add(record, record.expert_name(e), {record.shape[1], record.shape[2]});
    }
  }
  const std::vector<TensorJob>& jobs() const { return jobs_; }

 private:
  void add(const weights::TensorRecord& record, const std::string& name,
           const std::vector<int64_t>& shape) {
    const bool expert = record.role == weights::TensorRole::kExpert;
    if (expert && fp4_experts_ && shape[1] % RandomWeights::kFp4Group == 0) {
      return add_all(random_.fp4_jobs(name, shape[0], shape[1]));
    }
    if (fp8_ && !stays_bf16(record) && shape.size() == 2) {
      return add_all(random_.fp8_jobs(name, shape[0], shape[1], v4_));
    }
    if (int4_ && expert && shape[1] % RandomWeights::kInt4Group == 0) {
      return add_all(random_.int4_jobs(name, shape[0], shape[1]));
    }
    const quant::StorageFormat& format = is_f32(record) ? *quant::find_format("F32") : plain_;
    jobs_.push_back(random_.job(name, shape, format, record.role));
  }
  void add_all(std::vector<TensorJob> jobs) {
    for (TensorJob& job : jobs) jobs_.push_back(std::move(job));
  }

  const bool fp8_, int4_;  // INT4: experts only, as in Kimi-K2-Thinking
  const bool v4_;          // scales are powers of two
  const bool fp4_experts_;
  const quant::StorageFormat& plain_;
  RandomWeights& random_;
  std::vector<TensorJob> jobs_;
};

// What config.json says of packed experts.
Json int4_config() {
  const Json weights = {{"num_bits", 4},       {"type", "int"},
                        {"strategy", "group"}, {"group_size", RandomWeights::kInt4Group},
                        {"symmetric", true},   {"dynamic", false},
                        {"actorder", nullptr}};
  return {{"quant_method", "compressed-tensors"},
          {"format", "pack-quantized"},
          {"quantization_status", "compressed"},
          {"ignore", {"lm_head", "re:.*self_attn.*", "re:.*shared_experts.*"}},
          {"config_groups", {{"group_0", {{"targets", {"Linear"}}, {"weights", weights}}}}}};
}

// A folder as on the hub: one tensor per expert, kv_b_proj in one piece.
Result<WriteReport> write_as_folder(const SynthFlags& flags, Json config,
                                    const Vocabulary& vocabulary, RandomWeights& random) {
  std::string quant = flags.quant;
  std::transform(quant.begin(), quant.end(), quant.begin(), ::toupper);
  if (quant != "BF16" && quant != "F16" && quant != "F32" && quant != "FP8" && quant != "INT4") {
    return invalid_input(
        "--quant: {} is not known for a folder of safetensors; known are "
        "BF16, F16, F32, FP8, INT4 (for others let --out end in .gguf)",
        quote_name(flags.quant));
  }
  FERRY_TRY(const auto records, models::list_tensors(config, {.mtp = flags.mtp}));
  FolderTensors tensors(quant, config, random);
  for (const weights::TensorRecord& record : records) tensors.add(record);
  config.erase("quantization_config");
  if (quant == "FP8") {
    config["quantization_config"] = {{"quant_method", "fp8"},
                                     {"fmt", "e4m3"},
                                     {"activation_scheme", "dynamic"},
                                     {"weight_block_size", {128, 128}}};
  }
  if (quant == "INT4") config["quantization_config"] = int4_config();
  config["_name_or_path"] = random_model_name(flags.shape);
  auto texts = tokenizer_files(vocabulary);
  texts.emplace_back("config.json", config.dump(2) + "\n");
  return write_hugging_face({.path = flags.out, .overwrite = flags.force}, texts, tensors.jobs());
}

Result<WriteReport> synthesize(const SynthFlags& flags) {
  FERRY_TRY(Json config, read_shape(flags));
  FERRY_TRY_VOID(trim(config, flags.layers, flags.mtp));
  FERRY_TRY(const nn::ModelSpec spec, read_spec(config));
  const int64_t eos = spec.eos_token_ids.empty() ? -1 : spec.eos_token_ids[0];
  const Vocabulary vocabulary = make_vocabulary(spec.vocab_size, spec.bos_token_id, eos);
  RandomWeights random(flags.seed, flags.stddev);
  if (!is_gguf_path(flags.out)) return write_as_folder(flags, config, vocabulary, random);
  return write_as_gguf(flags, config, random_model_name(flags.shape), vocabulary,
                       [&random](const weights::TensorRecord& record, const std::string& name,
                                 const quant::StorageFormat& format) {
                         return record.role == weights::TensorRole::kIndices
                                    ? random.index_job(name, record.shape[0], record.shape[1],
                                                       record.limit, false)
                                    : random.job(name, record.shape, format, record.role);
                       });
}

Result<WriteReport> export_model(const SynthFlags& flags) {
  if (!is_gguf_path(flags.out)) {
    return invalid_input("--out: {}: --from writes GGUF, the name must end in .gguf", flags.out);
  }
  FERRY_TRY(const disk::ModelSource source, open_model_argument(flags.from));
  if (source.kind != disk::SourceKind::kHuggingFace) {
    return unsupported("--from: {} is a GGUF file; only Hugging Face checkpoints are exported",
                       source.path);
  }
  Json config = source.config;
  if (!flags.mtp && json_int_or(config, "num_nextn_predict_layers", 0).ok() &&
      config.value("num_nextn_predict_layers", Json(0)) != 0) {
    std::fprintf(stderr, "ferry: the MTP module is left out of the GGUF file (--mtp)\n");
  }
  FERRY_TRY_VOID(trim(config, 0, flags.mtp));
  FERRY_TRY(const nn::ModelSpec spec, read_spec(config));
  FERRY_TRY(const Vocabulary vocabulary, vocabulary_of(source, spec.vocab_size));
  FERRY_TRY(const models::ScaleBlock scale_block, models::read_scale_block(source.config));
  const SourceWeights weights(source.checkpoint, spec, scale_block);
  return write_as_gguf(
      flags, config, source.name, vocabulary,
      [&weights](const weights::TensorRecord& record, const std::string& name,
                 const quant::StorageFormat& format) { return weights.job(record, name, format); });
}

int list_shapes(bool json) {
  Json names = Json::array();
  for (const models::PublicShape& shape : models::public_shapes()) {
    auto config = parse_json(shape.config_json);
    auto records = config.ok() ? models::list_tensors(*config)
                               : Result<std::vector<weights::TensorRecord>>(config.error());
    if (!records.ok()) return fail(records.error().in(std::string(shape.name)));
    const int64_t parameters = models::count_parameters(*records);
    if (!json) {
      std::printf("%-22s %10s parameters\n", std::string(shape.name).c_str(),
                  format_count(parameters).c_str());
    }
    names.push_back({{"name", std::string(shape.name)}, {"parameters", parameters}});
  }
  if (json) print_json(names);
  return 0;
}

int run_synth(const SynthFlags& flags) {
  if (flags.list) return list_shapes(flags.json);
  if (flags.shape.empty() == flags.from.empty()) {
    return fail(
        invalid_input("give either a shape or --from MODEL (ferry synth --list has the shapes)"));
  }
  if (flags.out.empty()) return fail(invalid_input("--out is required"));
  auto report = flags.from.empty() ? synthesize(flags) : export_model(flags);
  if (!report.ok()) return fail(report.error());
  if (flags.json) {
    Json formats = Json::object();
    for (const auto& [name, bytes] : report->bytes_by_format) formats[name] = bytes;
    print_json({{"path", flags.out},
                {"file_bytes", report->file_bytes},
                {"tensors", report->num_tensors},
                {"bytes_by_format", formats},
                {"seconds", report->seconds}});
    return 0;
  }
  std::printf("%s: %s in %lld tensors, %.1f s (%s/s)\n", flags.out.c_str(),
              format_bytes(report->file_bytes).c_str(), static_cast<long long>(report->num_tensors),
              report->seconds,
              format_bytes(static_cast<int64_t>(static_cast<double>(report->file_bytes) /
                                                std::max(report->seconds, 1e-3)))
                  .c_str());
  return 0;
}

}  // namespace

void add_synth(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand(
      "synth", "Write a checkpoint: random weights in a public model's shapes, or a GGUF export");
  command->footer(
      "SHAPE is a name of `ferry synth --list` or the path of a config.json. What is written can "
      "be\n"
      "timed like the real model (speed does not depend on the values); its text is nonsense.\n"
      "FP8 of DeepSeek-V4 is as published: experts in FP4, scales that are powers of two.\n"
      "--out FILE.gguf writes GGUF, anything else a folder of safetensors (BF16, F16, F32, "
      "FP8).\n\n"
      "GGUF quantisations: " +
      quant_mix_names() +
      "\n\n"
      "Examples:\n"
      "  ferry synth deepseek-v2-lite --quant Q4_K_M --out v2lite.gguf\n"
      "  ferry synth deepseek-v3 --layers 5 --quant FP8 --out v3-cut\n"
      "  ferry synth --from demo --quant Q8_0 --out demo-Q8_0.gguf");
  auto flags = std::make_shared<SynthFlags>();
  command->add_option("shape", flags->shape, "Whose shapes")->type_name("SHAPE");
  command->add_option("--from", flags->from, "Export this model as GGUF instead")
      ->type_name("MODEL");
  command->add_option("--quant", flags->quant, "Storage formats of the weights")->type_name("NAME");
  command->add_option("--out", flags->out, "A .gguf file, or a folder")->type_name("PATH");
  command->add_option("--layers", flags->layers, "Only the first N layers; 0: all")
      ->type_name("N")
      ->check(CLI::Range(int64_t{0}, int64_t{10000}));
  command->add_flag("--mtp", flags->mtp,
                    "With the model's prediction modules (other programs may not read such GGUF)");
  command->add_option("--seed", flags->seed, "Seed of the random weights")->type_name("N");
  command->add_option("--stddev", flags->stddev, "Standard deviation of the random matrices")
      ->type_name("X")
      ->check(CLI::Range(1e-4f, 10.0f));
  command->add_flag("--pure", flags->pure, "GGUF: one format for every matrix, no mix");
  command->add_flag("--force", flags->force, "Replace what is there");
  command->add_flag("--list", flags->list, "List the shapes and their parameter counts");
  command->add_flag("--json", flags->json, "Print JSON");
  command->callback([&action, flags] { action = [flags] { return run_synth(*flags); }; });
}

}  // namespace ferry::cmd
