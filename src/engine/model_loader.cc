// See model_loader.h.
#include "engine/model_loader.h"

#include <algorithm>
#include <optional>
#include <thread>

#include "device/plan_stream.h"
#include "models/registry/select.h"
#include "nn/shard.h"
#include "weights/file_loader.h"

namespace ferry::engine {
namespace {

constexpr int64_t kDefaultPlannedContext = 131072;
constexpr int64_t kBytesWorthATeam = 64 << 20;  // below, threads cost more than they save
constexpr int kMaxThreads = 64;

int num_readers(const disk::ModelSource& source, int wanted) {
  if (source.checkpoint.data_bytes() < kBytesWorthATeam) return 1;
  const int there = static_cast<int>(std::thread::hardware_concurrency());
  return std::clamp(wanted > 0 ? wanted : there, 1, kMaxThreads);
}

// A batch small enough to be no burden, with both phases in it: for the questions about ops.
nn::PlanLimits question_limits(const LoadOptions& options) {
  nn::PlanLimits limits;
  limits.batch = {.max_tokens = 2, .max_sequences = 2, .max_context = 16, .block_size = 16};
  limits.cache = {.dtype = options.kv_dtype, .block_size = 16, .num_pages = 2};
  limits.mtp = options.mtp;
  return limits;
}

Status check_memory(const Backend& backend, int64_t weights_bytes) {
  FERRY_TRY(const MemoryInfo memory, backend.memory_info());
  if (memory.total_bytes == 0 || weights_bytes <= memory.free_bytes) return {};
  return out_of_memory("the weights take {} MiB on {}, {} of {} MiB are free", weights_bytes >> 20,
                       backend.spec().backend, memory.free_bytes >> 20, memory.total_bytes >> 20);
}

Status check_shard(const nn::Architecture& architecture, const nn::ModelSpec& spec,
                   const LoadOptions& options) {
  if (options.shard.whole()) return {};
  if (!architecture.shards) {
    return unsupported("tensor parallel size {}: {} is computed on one device only",
                       options.shard.size, architecture.name);
  }
  if (options.expert_memory > 0) {
    return unsupported(
        "tensor parallel size {}: experts that stay in the file are read for one "
        "device only",
        options.shard.size);
  }
  return nn::check_shards(spec, options.shard.size);
}

}  // namespace

Result<LoadedModel> load_model(const disk::ModelSource& source, std::shared_ptr<Backend> backend,
                               const LoadOptions& options) {
  const auto in_config = [&](const Error& error) { return error.in(source.config_path()); };
  Result<const nn::Architecture*> architecture = models::select_architecture(source.config);
  if (!architecture.ok()) return in_config(architecture.error());
  Result<nn::ModelSpec> spec = (*architecture)->read_spec(source.config);
  if (!spec.ok()) return in_config(spec.error());
  if (Status fits = check_shard(**architecture, *spec, options); !fits.ok()) {
    return in_config(fits.error());
  }
  Result<models::ScaleBlock> scale_block = models::read_scale_block(source.config);
  if (!scale_block.ok()) return in_config(scale_block.error());

  LoadedModel loaded;
  loaded.name = source.name;
  loaded.architecture = *architecture;
  loaded.backend = backend;
  const int64_t longest = spec->max_position_embeddings;
  if (options.max_context > longest) {
    return invalid_input("a context of {} tokens was asked for, {} was made for at most {}",
                         options.max_context, source.name, longest);
  }
  loaded.max_context =
      options.max_context > 0 ? options.max_context : std::min(longest, kDefaultPlannedContext);

  weights::FileLoaderOptions loader_options{.measure_only = true,
                                            .experts_on_demand = options.expert_memory > 0,
                                            .pack = options.pack,
                                            .pack_later = options.pack_later,
                                            .packed_copy = options.packed_copy,
                                            .packed_writer = options.packed_writer,
                                            .scale_rows = scale_block->rows,
                                            .scale_cols = scale_block->cols,
                                            .shard = options.shard};
  const nn::BuildOptions build_options{.max_context = loaded.max_context};
  weights::FileLoader measure(source.checkpoint, backend, loader_options);
  loaded.model = (*architecture)->build(*spec, measure, build_options);
  FERRY_TRY_VOID(measure.finish());
  if (options.mtp && loaded.model->num_mtp_modules() == 0) {
    return unsupported("{}: has no prediction module (MTP) to guess tokens with{}", source.name,
                       spec->left_out.empty() ? "" : "; left out is " + spec->left_out);
  }
  loaded.weights_bytes = measure.device_bytes();
  loaded.replaced_bytes = measure.replaced_bytes();
  loaded.packed_bytes = measure.packed_bytes();
  loaded.copied_bytes = measure.copied_bytes();
  loaded.expert_bytes = measure.expert_bytes();
  loaded.largest_expert_bytes = measure.largest_expert_bytes();
  const nn::MemoryPlan questions =
      nn::plan_memory(*loaded.model, loaded.weights_bytes, question_limits(options));
  FERRY_TRY_VOID(check_support(*backend, questions.queries));
  if (options.measure_only) return loaded;
  FERRY_TRY_VOID(check_memory(*backend, loaded.weights_bytes));
  if (options.expert_memory > 0) backend->set_on_demand_memory(options.expert_memory);

  ThreadTeam team(num_readers(source, options.threads));
  loader_options.measure_only = false;
  loader_options.team = &team;
  loader_options.progress = options.progress;
  std::optional<weights::LookedThrough> looked_through;
  if (!options.notes_folder.empty() && options.shard.whole()) {
    loader_options.looked_through =
        &looked_through.emplace(source.checkpoint, options.notes_folder);
  }
  weights::FileLoader loader(source.checkpoint, backend, loader_options);
  loaded.model = (*architecture)->build(*spec, loader, build_options);
  FERRY_TRY_VOID(loader.finish());
  return loaded;
}

}  // namespace ferry::engine
