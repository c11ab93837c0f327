// `ferry show MODEL`: what a model is — architecture, sizes, storage formats — and what it will
// take of a machine's memory, by the very functions that allocate it (nn/memory_plan.h).
#include <CLI/CLI.hpp>
#include <cstdio>
#include <map>

#include "cmd/command.h"
#include "cmd/engine_flags.h"
#include "cmd/model_argument.h"
#include "engine/expert_memory.h"
#include "engine/model_loader.h"
#include "engine/weight_packing.h"
#include "models/registry/select.h"
#include "nn/memory_plan.h"

namespace ferry::cmd {
namespace {

struct ShowFlags {
  std::string model;
  std::string backend = "cpu";
  std::string kv_dtype = "bf16";
  int64_t context = 0;
  bool tensors = false;
  bool json = false;
};

constexpr int64_t kDefaultContext = 8192;  // as the engine has it
constexpr int64_t kBlockSize = 16;

struct FormatShare {
  int64_t tensors = 0;
  int64_t elements = 0;
  int64_t bytes = 0;
};

std::map<std::string, FormatShare> count_formats(const disk::Checkpoint& checkpoint) {
  std::map<std::string, FormatShare> shares;
  for (const disk::FileTensor& tensor : checkpoint.tensors()) {
    FormatShare& share = shares[std::string(tensor.format->name)];
    ++share.tensors;
    share.elements += tensor.num_elements();
    share.bytes += static_cast<int64_t>(tensor.data.size());
  }
  return shares;
}

std::string layers_text(int64_t count) {
  return count == 1 ? "1 layer" : fmt::format("{} layers", count);
}

// Layers by what they read behind the window.
std::string window_text(const nn::ModelSpec& spec) {
  std::map<int64_t, int64_t> layers;
  for (const int64_t ratio : spec.window.ratios) ++layers[ratio];
  std::string text = fmt::format("{} heads over one key of {}, window {}", spec.num_attention_heads,
                                 spec.head_dim, spec.window.window);
  for (const auto& [ratio, count] : layers) {
    if (ratio == 0) {
      text += fmt::format("; {} nothing else", layers_text(count));
    } else {
      text += fmt::format("; {} an entry per {} tokens", layers_text(count), ratio);
      if (ratio == nn::kOverlappingRatio) text += fmt::format(", {} at most", spec.indexer.top_k);
    }
  }
  return text;
}

std::string attention_text(const nn::ModelSpec& spec) {
  if (spec.attention == nn::AttentionKind::kMla) {
    return fmt::format(
        "MLA, {} heads, latent {} + rope {}, q rank {}{}", spec.num_attention_heads,
        spec.mla.kv_lora_rank, spec.mla.qk_rope_head_dim,
        spec.mla.q_lora_rank == 0 ? "none" : std::to_string(spec.mla.q_lora_rank),
        spec.indexer.top_k > 0 ? fmt::format(", {} positions at most", spec.indexer.top_k) : "");
  }
  if (spec.attention == nn::AttentionKind::kWindow) return window_text(spec);
  return fmt::format("GQA, {} heads over {} KV heads of {}", spec.num_attention_heads,
                     spec.num_key_value_heads, spec.head_dim);
}

std::string experts_text(const nn::ModelSpec& spec) {
  if (spec.moe.num_experts == 0) return "none (dense)";
  int64_t layers = 0;
  for (bool moe : spec.layer_is_moe) layers += moe;
  return fmt::format("{} of {} per token, width {}, shared width {}, in {} of {} layers",
                     spec.moe.num_experts_per_tok, spec.moe.num_experts,
                     spec.moe.moe_intermediate_size, spec.moe.shared_intermediate_size, layers,
                     spec.num_hidden_layers);
}

Json spec_json(const nn::ModelSpec& spec) {
  Json out = {{"architecture", spec.architecture},
              {"vocab_size", spec.vocab_size},
              {"hidden_size", spec.hidden_size},
              {"intermediate_size", spec.intermediate_size},
              {"num_hidden_layers", spec.num_hidden_layers},
              {"num_attention_heads", spec.num_attention_heads},
              {"max_position_embeddings", spec.max_position_embeddings},
              {"tie_word_embeddings", spec.tie_word_embeddings},
              {"num_nextn_predict_layers", spec.num_nextn_predict_layers}};
  if (spec.attention == nn::AttentionKind::kMla) {
    out["attention"] = "mla";
    out["q_lora_rank"] = spec.mla.q_lora_rank;
    out["kv_lora_rank"] = spec.mla.kv_lora_rank;
    out["qk_nope_head_dim"] = spec.mla.qk_nope_head_dim;
    out["qk_rope_head_dim"] = spec.mla.qk_rope_head_dim;
    out["v_head_dim"] = spec.mla.v_head_dim;
  } else if (spec.attention == nn::AttentionKind::kWindow) {
    out["attention"] = "window";
    out["head_dim"] = spec.head_dim;
    out["q_lora_rank"] = spec.window.q_lora_rank;
    out["sliding_window"] = spec.window.window;
    out["compress_ratios"] = spec.window.ratios;
    out["hc_mult"] = spec.hyper.streams;
  } else {
    out["attention"] = "gqa";
    out["num_key_value_heads"] = spec.num_key_value_heads;
    out["head_dim"] = spec.head_dim;
  }
  if (spec.indexer.top_k > 0) out["index_topk"] = spec.indexer.top_k;
  if (!spec.left_out.empty()) out["left_out"] = spec.left_out;
  if (spec.moe.num_experts > 0) {
    out["num_experts"] = spec.moe.num_experts;
    out["num_experts_per_tok"] = spec.moe.num_experts_per_tok;
    out["moe_intermediate_size"] = spec.moe.moe_intermediate_size;
    out["shared_intermediate_size"] = spec.moe.shared_intermediate_size;
  }
  return out;
}

struct Report {
  disk::ModelSource source;
  engine::LoadedModel loaded;
  int64_t context = 0;
  nn::MemoryPlan plan;        // for one sequence of `context` tokens
  int64_t expert_memory = 0;  // what experts would get now that are read on demand; 0: none are
  std::shared_ptr<const weights::PackedCopy> packed_copy;  // that a start would use; or nullptr
};

Result<Report> examine_model(const ShowFlags& flags) {
  Report report;
  FERRY_TRY(report.source, open_model_argument(flags.model));
  FERRY_TRY(std::shared_ptr<Backend> backend, open_backend(flags.backend, {}));
  const Dtype kv_dtype = kv_dtype_named(flags.kv_dtype);
  auto architecture = models::select_architecture(report.source.config);
  if (!architecture.ok()) return architecture.error().in(report.source.config_path());
  const auto read = (*architecture)->read_spec(report.source.config);
  if (!read.ok()) return read.error().in(report.source.config_path());
  const nn::ModelSpec& spec = *read;
  report.context = flags.context > 0
                       ? flags.context
                       : std::min<int64_t>(kDefaultContext, spec.max_position_embeddings);
  FERRY_TRY(report.loaded,
            engine::load_model(
                report.source, backend,
                {.max_context = report.context, .kv_dtype = kv_dtype, .measure_only = true}));
  nn::PlanLimits limits{.batch = {.max_tokens = std::min<int64_t>(512, report.context),
                                  .max_sequences = 1,
                                  .max_context = report.context,
                                  .block_size = kBlockSize},
                        .cache = {.dtype = kv_dtype,
                                  .block_size = kBlockSize,
                                  .num_pages = ceil_div(report.context, kBlockSize)}};
  limits.cache.num_recent_pages =
      nn::num_recent_pages(report.loaded.model->kv_layout(), limits.batch, limits.cache.num_pages);
  report.plan =
      nn::plan_memory(*report.loaded.model, report.loaded.weights_bytes, limits, backend.get());
  FERRY_TRY(const MemoryInfo memory, backend->memory_info());
  FERRY_TRY(const engine::ExpertMemory share,
            engine::share_memory(report.loaded, report.source.checkpoint.data_bytes(), 0, memory));
  if (share.on_demand) {
    FERRY_TRY(report.loaded, engine::load_model(report.source, backend,
                                                {.max_context = report.context,
                                                 .kv_dtype = kv_dtype,
                                                 .measure_only = true,
                                                 .expert_memory = share.least}));
    report.plan =
        nn::plan_memory(*report.loaded.model, report.loaded.weights_bytes, limits, backend.get());
    report.expert_memory = share.bytes(report.plan.total_bytes());
  }
  report.packed_copy =
      engine::find_packed_copy(cache_folder(kPackedFolder), report.source, *backend, {});
  return report;
}

// Whether experts stay in the file, and how much of them memory has room for.
std::string on_demand_text(const Report& report) {
  const std::string all = format_bytes(report.loaded.expert_bytes);
  if (report.expert_memory == 0) {
    return fmt::format("{:>9}  of these could be read on demand (--expert-memory)", all);
  }
  return fmt::format("{:>9}  of these are read on demand, {} of them kept in memory", all,
                     format_bytes(std::min(report.expert_memory, report.loaded.expert_bytes)));
}

// Of the file.
int64_t bytes_in_memory(const Report& report) {
  const int64_t all = report.source.checkpoint.data_bytes() - report.loaded.replaced_bytes;
  if (report.expert_memory == 0) return all;
  const int64_t experts = report.loaded.expert_bytes;
  return all - experts + std::min(report.expert_memory, experts);
}

void print_report(const Report& report, const ShowFlags& flags) {
  const nn::ModelSpec& spec = report.loaded.spec();
  const disk::Checkpoint& checkpoint = report.source.checkpoint;
  auto row = [](const char* label, const std::string& value) {
    std::printf("  %-18s %s\n", label, value.c_str());
  };
  std::printf("%s\n", report.source.name.c_str());
  row("path", report.source.path);
  row("architecture",
      fmt::format("{} ({})", spec.architecture, report.loaded.architecture->summary));
  int64_t elements = 0;
  for (const auto& [name, share] : count_formats(checkpoint)) elements += share.elements;
  row("numbers stored", format_count(elements));
  row("layers", std::to_string(spec.num_hidden_layers) +
                    (spec.num_nextn_predict_layers > 0
                         ? fmt::format(" + {} MTP", spec.num_nextn_predict_layers)
                         : ""));
  if (!spec.left_out.empty()) row("left out", spec.left_out);
  row("hidden size", std::to_string(spec.hidden_size));
  row("attention", attention_text(spec));
  row("experts", experts_text(spec));
  row("vocabulary", std::to_string(spec.vocab_size));
  row("context", fmt::format("{} tokens", spec.max_position_embeddings));
  row("chat template", report.source.chat_templates.empty() ? "none" : "yes");

  std::printf("\nStorage\n");
  for (const auto& [name, share] : count_formats(checkpoint)) {
    row(name.c_str(), fmt::format("{:>9}  {:>6} tensors  {:>9} numbers", format_bytes(share.bytes),
                                  share.tensors, format_count(share.elements)));
  }
  row("total", fmt::format("{:>9}", format_bytes(checkpoint.data_bytes())));
  if (report.packed_copy != nullptr) {
    const disk::MappedFile& copy = *report.packed_copy->file();
    row("packed copy", fmt::format("{:>9}  {}", format_bytes(copy.size()), copy.path()));
  }

  const bool in_place = report.loaded.backend->spec().weights_in_place;
  std::printf("\nMemory on %s for one sequence of %lld tokens, KV cache in %s\n",
              flags.backend.c_str(), static_cast<long long>(report.context),
              flags.kv_dtype.c_str());
  if (in_place)
    row("weights",
        fmt::format("{:>9}  used where the file is mapped",
                    format_bytes(checkpoint.data_bytes() - report.loaded.replaced_bytes)));
  const bool on_demand = report.loaded.backend->spec().weights_on_demand;
  if (on_demand && report.loaded.expert_bytes > 0) row("experts", on_demand_text(report));
  row(!in_place                          ? "weights"
      : report.loaded.replaced_bytes > 0 ? "reordered"
                                         : "tables",
      fmt::format("{:>9}", format_bytes(report.plan.weights_bytes)));
  const int64_t windows = report.plan.kv_recent_bytes;
  row("KV cache",
      fmt::format("{:>9}  {} a token{}", format_bytes(report.plan.kv_bytes),
                  format_bytes(report.plan.kv_bytes_per_token),
                  windows > 0 ? ", and " + format_bytes(windows) + " for windows" : ""));
  row("workspace", fmt::format("{:>9}", format_bytes(report.plan.workspace_bytes)));
  if (report.plan.scratch_bytes > 0) {
    row("scratch of ops", fmt::format("{:>9}", format_bytes(report.plan.scratch_bytes)));
  }
  row("total", fmt::format("{:>9}", format_bytes(report.plan.total_bytes() +
                                                 (in_place ? bytes_in_memory(report) : 0))));
  if (!flags.tensors) return;
  std::printf("\nTensors\n");
  for (const disk::FileTensor& tensor : checkpoint.tensors()) {
    std::printf("  %-9s %-22s %s\n", std::string(tensor.format->name).c_str(),
                tensor.shape_text().c_str(), tensor.source_name.c_str());
  }
}

Json report_json(const Report& report, const ShowFlags& flags) {
  const disk::Checkpoint& checkpoint = report.source.checkpoint;
  Json out = {{"name", report.source.name}, {"path", report.source.path}};
  out.update(spec_json(report.loaded.spec()));
  out["file_bytes"] = checkpoint.data_bytes();
  out["packed_copy"] = nullptr;
  if (report.packed_copy != nullptr) {
    const disk::MappedFile& copy = *report.packed_copy->file();
    out["packed_copy"] = {{"path", copy.path()}, {"bytes", copy.size()}};
  }
  for (const auto& [name, share] : count_formats(checkpoint)) {
    out["formats"][name] = {
        {"tensors", share.tensors}, {"elements", share.elements}, {"bytes", share.bytes}};
  }
  out["memory"] = {{"backend", flags.backend},
                   {"context", report.context},
                   {"kv_dtype", flags.kv_dtype},
                   {"weights_in_place", report.loaded.backend->spec().weights_in_place},
                   {"weights_bytes", report.plan.weights_bytes},
                   {"replaced_bytes", report.loaded.replaced_bytes},
                   {"expert_bytes", report.loaded.expert_bytes},
                   {"expert_memory_bytes", report.expert_memory},
                   {"kv_bytes", report.plan.kv_bytes},
                   {"kv_bytes_per_token", report.plan.kv_bytes_per_token},
                   {"kv_recent_bytes", report.plan.kv_recent_bytes},
                   {"workspace_bytes", report.plan.workspace_bytes},
                   {"scratch_bytes", report.plan.scratch_bytes},
                   {"logits_bytes", report.plan.logits_bytes},
                   {"index_bytes", report.plan.index_bytes},
                   {"total_bytes", report.plan.total_bytes()}};
  if (flags.tensors) {
    for (const disk::FileTensor& tensor : checkpoint.tensors()) {
      out["tensors"].push_back({{"name", tensor.source_name},
                                {"format", std::string(tensor.format->name)},
                                {"shape", tensor.shape},
                                {"bytes", tensor.data.size()}});
    }
  }
  return out;
}

}  // namespace

void add_show(CLI::App& app, Action& action) {
  CLI::App* command =
      app.add_subcommand("show", "Show a model: architecture, sizes, formats, memory plan");
  command->footer(
      "Reads headers only; no weight is loaded.\n\nExample: ferry show model.gguf -c 32768");
  auto flags = std::make_shared<ShowFlags>();
  command->add_option("model", flags->model, kModelHelp)->type_name("MODEL");
  command->add_option("--backend", flags->backend, "Plan the memory for this backend")
      ->type_name("NAME");
  command
      ->add_option("-c,--context", flags->context,
                   "Tokens of the sequence to plan for; 0: what the model allows, at most 8192")
      ->type_name("N")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 24));
  add_kv_dtype_flag(*command, flags->kv_dtype);
  command->add_flag("--tensors", flags->tensors, "List every tensor");
  command->add_flag("--json", flags->json, "Print JSON");
  command->callback([&action, flags] {
    action = [flags] {
      Result<Report> report = examine_model(*flags);
      if (!report.ok()) return fail(report.error());
      if (flags->json) {
        print_json(report_json(*report, *flags));
      } else {
        print_report(*report, *flags);
      }
      return 0;
    };
  });
}

}  // namespace ferry::cmd
