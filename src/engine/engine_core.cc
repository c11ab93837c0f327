// See engine_core.h.
#include "engine/engine_core.h"

#include <algorithm>
#include <random>
#include <utility>

#include "base/check.h"
#include "engine/expert_memory.h"
#include "engine/weight_packing.h"
#include "sample/params.h"

namespace ferry::engine {
namespace {

Result<disk::ModelSource> source_of(const EngineOptions& options) {
  if (options.model_files.empty()) return disk::open_model(options.model);
  std::vector<disk::MemoryFile> files;
  for (const ModelFile& file : options.model_files) {
    files.push_back(
        {std::string(file.name),
         {reinterpret_cast<const uint8_t*>(file.contents.data()), file.contents.size()}});
  }
  return disk::open_model_from_memory(options.model, std::move(files));
}

struct Packing {
  bool pack = false;
  std::shared_ptr<const weights::PackedCopy> copy;
};

Result<LoadedModel> measure_weights(const disk::ModelSource& source,
                                    const std::shared_ptr<Backend>& backend,
                                    const EngineOptions& options, int64_t expert_memory,
                                    const Packing& packing = {}) {
  LoadOptions load{.max_context = options.max_context,
                   .kv_dtype = kv_dtype_of(options.kv_dtype),
                   .mtp = options.speculation == Speculation::kMtp,
                   .measure_only = true,
                   .expert_memory = expert_memory,
                   .pack = packing.pack,
                   .packed_copy = packing.copy.get(),
                   .shard = {.rank = 0, .size = options.tensor_parallel_size}};
  if (load.max_context == 0) {
    // What the model allows is known only once its config was read.
    FERRY_TRY(const LoadedModel longest, load_model(source, backend, load));
    load.max_context = std::min(longest.max_context, kDefaultMaxContext);
  }
  return load_model(source, backend, load);
}

// How the memory is shared out.
struct Fitting {
  Sizing sizing;
  int64_t expert_memory = 0;  // 0: no experts are read on demand
  Packing packing;
};

// Packed weights must leave room for the rest of the plan, of the cache at least for one sequence.
Status pack_if_it_fits(const disk::ModelSource& source, const std::shared_ptr<Backend>& backend,
                       const EngineOptions& options, const ExpertMemory& share,
                       const MemoryInfo& memory, Fitting& fitting) {
  if (options.weight_packing == WeightPacking::kNever || !backend->spec().weights_in_place) {
    return {};
  }
  const Packing packing{
      .pack = true,
      .copy = find_packed_copy(options.packed_folder, source, *backend, options.notice)};
  FERRY_TRY(const LoadedModel packed,
            measure_weights(source, backend, options, share.on_demand ? share.least : 0, packing));
  const int64_t file_bytes = source.checkpoint.data_bytes();
  const nn::MemoryPlan& plan = fitting.sizing.plan;
  const int64_t context = fitting.sizing.limits.batch.max_context;
  const int64_t others = plan.total_bytes() - plan.weights_bytes - plan.kv_bytes +
                         plan.kv_recent_bytes + context * plan.kv_bytes_per_token;
  if (!choose_packing(options.weight_packing, packed, file_bytes, others, share.on_demand,
                      memory)) {
    return {};
  }
  fitting.packing = packing;
  EngineOptions sized = options;
  sized.max_context = context;
  FERRY_TRY(fitting.sizing, choose_sizes(*packed.model, *backend, packed.weights_bytes, file_bytes,
                                         sized, share.on_demand ? share.others : memory));
  if (options.notice) {
    options.notice(describe_packing(options.weight_packing, packed, packing.copy.get()));
  }
  return {};
}

// Without weights: what will not fit is said before anything is read. All ranks take as much as the
// first.
Result<Fitting> fit_into_memory(const disk::ModelSource& source,
                                std::span<const std::shared_ptr<Backend>> devices,
                                const EngineOptions& options) {
  const std::shared_ptr<Backend>& backend = devices.front();
  FERRY_TRY(LoadedModel measured, measure_weights(source, backend, options, options.expert_memory));
  FERRY_TRY(const MemoryInfo memory, memory_of_each(devices));
  const int64_t file_bytes = source.checkpoint.data_bytes();
  FERRY_TRY(const ExpertMemory share,
            share_memory(measured, file_bytes, options.expert_memory, memory));
  if (share.on_demand) {
    // Its forward guesses experts, which takes some workspace.
    FERRY_TRY(measured, measure_weights(source, backend, options, share.least));
  }
  Fitting fitting;
  FERRY_TRY(fitting.sizing,
            choose_sizes(*measured.model, *backend, measured.weights_bytes, file_bytes, options,
                         share.on_demand ? share.others : memory));
  FERRY_TRY_VOID(pack_if_it_fits(source, backend, options, share, memory, fitting));
  if (share.on_demand) {
    fitting.expert_memory = share.bytes(fitting.sizing.plan.total_bytes());
  }
  if (!options.notice) return fitting;
  if (!measured.spec().left_out.empty()) options.notice("left out: " + measured.spec().left_out);
  options.notice(
      describe_plan(fitting.sizing, memory, file_bytes) +
      (devices.size() > 1 ? fmt::format("; on each of {} devices", devices.size()) : ""));
  if (share.on_demand) {
    options.notice(describe_expert_memory(fitting.expert_memory, measured.expert_bytes));
  }
  return fitting;
}

Result<std::vector<LoadedModel>> load_weights(const disk::ModelSource& source,
                                              std::span<const std::shared_ptr<Backend>> devices,
                                              const EngineOptions& options,
                                              const Fitting& fitting) {
  LoadOptions load{.max_context = fitting.sizing.limits.batch.max_context,
                   .kv_dtype = fitting.sizing.limits.cache.dtype,
                   .threads = options.threads,
                   .mtp = options.speculation == Speculation::kMtp,
                   .expert_memory = fitting.expert_memory,
                   .pack = fitting.packing.pack,
                   .pack_later = packs_later(options.weight_packing),
                   .packed_copy = fitting.packing.copy.get(),
                   .notes_folder = options.notes_folder};
  if (options.progress) {
    load.progress = [&options](int64_t done, int64_t total) { options.progress({done, total}); };
  }
  return load_shards(source, devices, load);
}

ModelInfo describe(const disk::ModelSource& source, const LoadedModel& model,
                   const Fitting& fitting) {
  const Sizing& sizing = fitting.sizing;
  ModelInfo info;
  info.name = source.name;
  info.architecture = model.spec().architecture;
  info.backend = model.backend->spec().backend;
  info.num_layers = model.spec().num_hidden_layers;
  info.hidden_size = model.spec().hidden_size;
  info.max_context = sizing.limits.batch.max_context;
  info.model_max_context = model.spec().max_position_embeddings;
  info.memory = {.weights_bytes = model.weights_bytes,
                 .file_bytes = source.checkpoint.data_bytes(),
                 .kv_bytes = sizing.plan.kv_bytes,
                 .workspace_bytes = sizing.plan.workspace_bytes,
                 .scratch_bytes = sizing.plan.scratch_bytes,
                 .other_bytes = sizing.plan.logits_bytes + sizing.plan.index_bytes,
                 .kv_tokens = sizing.limits.cache.num_pages * sizing.limits.cache.block_size,
                 .expert_bytes = fitting.expert_memory};
  return info;
}

uint64_t random_seed() {
  std::random_device device;
  return (static_cast<uint64_t>(device()) << 32) | device();
}

}  // namespace

Result<std::unique_ptr<EngineCore>> EngineCore::load(const EngineOptions& options) {
  FERRY_TRY_VOID(check_options(options));
  FERRY_TRY(const disk::ModelSource source, source_of(options));
  FERRY_TRY(auto tokenizer, read_tokenizer(source));
  FERRY_TRY(auto eos_token_ids, read_eos_token_ids(source, tokenizer));
  FERRY_TRY(auto default_sampling, read_default_sampling(source));
  FERRY_TRY(const auto devices,
            open_ranks(options.backend, {options.device, options.threads, options.f32_activations},
                       options.tensor_parallel_size));

  FERRY_TRY(const Fitting fitting, fit_into_memory(source, devices, options));
  const Sizing& sizing = fitting.sizing;
  FERRY_TRY(auto shards, load_weights(source, devices, options, fitting));

  ChatText chat(source, tokenizer);
  std::unique_ptr<EngineCore> core(
      new EngineCore(std::move(tokenizer), std::move(chat), std::move(shards)));
  const LoadedModel& model = core->shards_.front();
  core->info_ = describe(source, model, fitting);
  core->info_.vocab_size =
      std::min<int64_t>(core->tokenizer_.vocab_size(), model.spec().vocab_size);
  core->info_.eos_token_ids = std::move(eos_token_ids);
  core->info_.default_sampling = std::move(default_sampling);
  core->info_.has_chat_format = core->chat_.usable();
  core->block_size_ = options.prefix_cache ? options.block_size : 0;
  core->drafting_ = {options.speculation, options.draft_tokens, options.min_match};
  core->constraints_ = std::make_unique<ConstraintCompiler>(
      core->tokenizer_, core->info_.vocab_size, core->info_.eos_token_ids);

  FERRY_TRY(auto runner, Runner::create(runner_ranks(core->shards_),
                                        {.batch = sizing.limits.batch,
                                         .cache = sizing.limits.cache,
                                         .max_logit_rows = sizing.limits.max_logit_rows,
                                         .num_known_tokens = core->info_.vocab_size,
                                         .mtp = sizing.limits.mtp,
                                         .workspace_bytes = sizing.plan.workspace_bytes,
                                         .scratch_bytes = sizing.plan.scratch_bytes,
                                         .watch = {}}));
  const SchedulerLimits limits{.block_size = options.block_size,
                               .num_pages = sizing.limits.cache.num_pages,
                               .max_batch_tokens = options.max_batch_tokens,
                               .max_sequences = options.max_sequences,
                               .max_draft_step_tokens = max_draft_step_tokens(options),
                               .recent_tokens = model.model->kv_layout().recent_tokens(),
                               .num_recent_pages = sizing.limits.cache.num_recent_pages};
  core->loop_ = std::make_unique<EngineLoop>(std::move(runner), limits, options.max_waiting,
                                             options.speculation);
  return core;
}

EngineStats EngineCore::stats() const {
  EngineStats stats = loop_->stats();
  const OnDemandStats experts = shards_.front().backend->on_demand_stats();
  stats.expert_hits_total = experts.hits;
  stats.expert_misses_total = experts.misses;
  stats.expert_guesses_total = experts.guesses;
  stats.expert_guesses_right_total = experts.guesses_used;
  stats.expert_read_bytes_total = experts.read_bytes;
  stats.expert_read_seconds_total = experts.read_seconds;
  stats.expert_wait_seconds_total = experts.wait_seconds;
  return stats;
}

Status EngineCore::check_prompt(const std::vector<int32_t>& tokens, bool embeds) const {
  if (tokens.empty()) return invalid_input("prompt: has no tokens; at least one is needed");
  if (embeds && static_cast<int64_t>(tokens.size()) > info_.max_context) {
    return invalid_input("prompt: {} tokens; the context has {}", tokens.size(), info_.max_context);
  }
  if (!embeds && static_cast<int64_t>(tokens.size()) >= info_.max_context) {
    return invalid_input("prompt: {} tokens; the context of {} tokens must also hold the answer",
                         tokens.size(), info_.max_context);
  }
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i] < 0 || tokens[i] >= info_.vocab_size) {
      return invalid_input("prompt: token {} is {}; ids of this model are 0 to {}", i, tokens[i],
                           info_.vocab_size - 1);
    }
  }
  return {};
}

Result<std::vector<int32_t>> EngineCore::tokenize(const Prompt& prompt) const {
  if (const auto* tokens = std::get_if<std::vector<int32_t>>(&prompt)) return *tokens;
  if (const auto* text = std::get_if<TextPrompt>(&prompt)) {
    return tokenizer_.encode(
        text->text, {.add_special = text->add_special, .parse_special = text->parse_special});
  }
  FERRY_TRY(const std::string text, render(std::get<ChatPrompt>(prompt)));
  return encode_chat(text);
}

// The template has written all special tokens there are to be.
std::vector<int32_t> EngineCore::encode_chat(const std::string& text) const {
  return tokenizer_.encode(text, {.add_special = false, .parse_special = true});
}

TextParts EngineCore::chat_parts(const Request& request, const ChatPrompt& chat,
                                 const std::string& rendered) const {
  TextParts parts;
  parts.splitter.emplace(opens_reasoning(chat, rendered));
  parts.tool_calls = chat_.call_parser(chat, request.parallel_tool_calls);
  std::vector<std::string_view> markers{"<think>", "</think>"};
  if (parts.tool_calls != nullptr) {
    for (std::string_view marker : text::tool_markers(*chat_.call_format())) {
      markers.push_back(marker);
    }
  }
  for (std::string_view marker : markers) {
    if (const auto id = tokenizer_.token_id(marker)) parts.markers.push_back(*id);
  }
  return parts;
}

Result<grammar::GrammarRef> EngineCore::compile_constraint(const Request& request,
                                                           const std::string& rendered) const {
  const bool held = request.constraint.has_value();
  grammar::ConstraintText constraint{.kind = grammar::ConstraintText::Kind::kText};
  if (held) constraint = constraint_text(*request.constraint);
  const auto* chat = std::get_if<ChatPrompt>(&request.prompt);
  if (chat != nullptr && request.tool_choice.kind != ToolChoice::kNone) {
    FERRY_TRY(const Json tools, chat_.tools(*chat));
    FERRY_TRY(constraint.calls, call_constraint(chat_.call_format(), tools, request.tool_choice,
                                                request.parallel_tool_calls, held));
  }
  if (!held && !constraint.calls.has_value()) return grammar::GrammarRef();
  if (chat != nullptr) {
    allow_thoughts(opens_reasoning(*chat, rendered), rendered, tokenizer_, constraint);
  }
  return constraints_->compile(constraint);
}

Result<std::shared_ptr<StreamState>> EngineCore::submit(const Request& request) const {
  FERRY_TRY_VOID(sample::validate(request.sampling, info_.vocab_size));
  FERRY_TRY_VOID(sample::validate(request.stop, info_.vocab_size));
  GenerationInput input;
  TextParts parts;
  if (const auto* asked = std::get_if<ChatPrompt>(&request.prompt)) {
    ChatPrompt chat = *asked;
    // What must not be called is not shown either.
    if (request.tool_choice.kind == ToolChoice::kNone) chat.tools_json.clear();
    FERRY_TRY(const std::string text, render(chat));
    input.prompt = encode_chat(text);
    parts = chat_parts(request, chat, text);
    FERRY_TRY(input.grammar, compile_constraint(request, text));
  } else {
    FERRY_TRY(input.prompt, tokenize(request.prompt));
    FERRY_TRY(input.grammar, compile_constraint(request, {}));
  }
  input.embed = request.embed;
  FERRY_TRY_VOID(check_prompt(input.prompt, request.embed.has_value()));
  input.priority = request.priority;
  // A mean needs every token's state, and the cache has none.
  if (block_size_ > 0 && !request.embed.has_value()) {
    input.block_keys = block_keys(block_secret_, request.cache_scope, input.prompt, block_size_);
  }
  input.sampling = request.sampling;
  input.stop = request.stop;
  input.seed = request.sampling.seed.value_or(random_seed());
  input.eos_token_ids = info_.eos_token_ids;
  input.vocab_size = info_.vocab_size;
  input.max_context = info_.max_context;
  input.drafting = drafting_;
  input.text = std::make_unique<TokenText>(tokenizer_, request.stop.strings, std::move(parts));
  return loop_->submit(std::move(input));
}

}  // namespace ferry::engine

namespace ferry {

Engine::Engine(std::unique_ptr<engine::EngineCore> core) : core_(std::move(core)) {}
Engine::~Engine() = default;
Engine::Engine(Engine&&) noexcept = default;
Engine& Engine::operator=(Engine&&) noexcept = default;

Result<Engine> Engine::load(const EngineOptions& options) {
  FERRY_TRY(auto core, engine::EngineCore::load(options));
  return Engine(std::move(core));
}

Result<TokenStream> Engine::submit(const Request& request) const {
  FERRY_TRY(auto state, core_->submit(request));
  return TokenStream(std::move(state));
}

Result<Completion> Engine::complete(const Request& request) const {
  FERRY_TRY(auto stream, submit(request));
  Completion completion;
  while (std::optional<StreamEvent> event = stream.next()) completion.add(*std::move(event));
  if (completion.finish.error.has_value()) return *completion.finish.error;
  return completion;
}

Result<Embedding> Engine::embed(const Prompt& prompt, Pooling pooling) const {
  Request request;
  request.prompt = prompt;
  request.embed = pooling;
  FERRY_TRY(auto stream, submit(request));
  Embedding embedding;
  while (std::optional<StreamEvent> event = stream.next()) {
    if (!event->finish.has_value()) continue;
    if (event->finish->error.has_value()) return *event->finish->error;
    embedding = {std::move(event->embedding), event->finish->prompt_tokens};
  }
  if (embedding.vector.empty()) return Error{ErrorKind::kCancelled, "the engine is going away"};
  return embedding;
}

const ModelInfo& Engine::info() const { return core_->info(); }
EngineStats Engine::stats() const { return core_->stats(); }

Result<std::vector<int32_t>> Engine::tokenize(const Prompt& prompt) const {
  return core_->tokenize(prompt);
}

Result<std::string> Engine::detokenize(const std::vector<int32_t>& tokens) const {
  for (int32_t token : tokens) {
    if (token >= 0 && token < core_->info().vocab_size) continue;
    return invalid_input("tokens: {} is not an id of this model (0 to {})", token,
                         core_->info().vocab_size - 1);
  }
  return core_->tokenizer().decode(tokens, true);
}

std::string Engine::token_bytes(int32_t token) const {
  return std::string(core_->tokenizer().token_bytes(token));
}

Result<std::string> Engine::render_chat(const ChatPrompt& chat) const {
  return core_->render(chat);
}

}  // namespace ferry
