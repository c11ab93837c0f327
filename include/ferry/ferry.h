// ferry's C++ API: load a model, submit requests, read their text as it comes.
//
//   auto engine = ferry::Engine::load({.model = "path/to/model"});
//   if (!engine.ok()) return fail(engine.error().message);
//   auto stream = engine->submit({.prompt = ferry::TextPrompt{"The capital of France is"}});
//   if (!stream.ok()) return fail(stream.error().message);
//   while (auto event = stream->next()) std::cout << event->text << std::flush;
//
// Errors. What comes from outside (a file, a request, a chip) is a Result or the finish of a
// stream, with a message that names the field and what was expected. Nothing here throws.
//
// Threads. Engine: every const function may be called from any number of threads at once. A
// TokenStream belongs to one thread at a time; cancel() may be called from any. Streams may outlive
// their engine: they then end with FinishReason::kCancelled.
//
// Bits. On the cpu backend the tokens of a request depend on the model, the request and the seed
// alone: not on other requests, threads, speculation, or how long it waited.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "ferry/result.h"
#include "ferry/sampling.h"

namespace ferry {

// A file of a model that is in memory instead of on disk.
struct ModelFile {
  std::string_view name;      // "config.json", "model.safetensors", …
  std::string_view contents;  // stays where it is for as long as the engine lives
};

enum class KvDtype : uint8_t { kF32, kF16, kBF16, kInt8 };

// Tokens are guessed ahead and several positions checked in one step. No answer changes: a guess
// stands only where the model, asked as ever, chooses that token. It pays where a step costs little
// more for some tokens than for one, so only steps of few tokens are filled up with guesses.
enum class Speculation : uint8_t {
  kOff,
  kPromptLookup,  // what followed where prompt and answer last had the same ending
  kMtp,           // what the model's own prediction module says (DeepSeek-V3 and its kin)
};

// Whether the cpu keeps quantised weights in an order that its kernels read faster: about as much
// memory as the file, which then need not stay there itself, and time to pack them. The results
// have the same bits.
enum class WeightPacking : uint8_t {
  kAuto,    // where memory has room for it, or they were packed before (packed_folder); load() does
            // not wait: they are packed while there is nothing to compute, and between steps
  kCopy,    // where they were packed before
  kNever,   // weights are used where the file is mapped
  kAlways,  // by load(); an error where memory has no room
};

struct LoadProgress {
  int64_t bytes_done = 0;
  int64_t bytes_total = 0;
};

struct EngineOptions {
  // A path (directory, .gguf, first shard), an alias, or org/name in the Hugging Face cache.
  std::string model;
  std::vector<ModelFile> model_files;  // used instead of `model` where there are any

  std::string backend = "cpu";
  int device = 0;   // index among the backend's devices
  int threads = 0;  // of a backend that computes with host threads; 0: one per physical core
  // Devices, from `device` on, that compute together: each has a share of the attention heads and
  // of every feed-forward block, and keeps only that. On a backend that is the host itself they
  // share its threads and its memory, which gains nothing but a test.
  int tensor_parallel_size = 1;

  // Multiply weights by activations in f32 also where rounding these to int8 would be faster (the
  // quantised formats on the cpu).
  bool f32_activations = false;
  WeightPacking weight_packing = WeightPacking::kAuto;

  // Longest sequence, prompt and output together. 0: what the model allows, but at most 8192, so
  // that a model with a huge context does not take all memory for it unasked.
  int64_t max_context = 0;
  KvDtype kv_dtype = KvDtype::kF32;
  int64_t block_size = 16;         // tokens per page of the cache
  int64_t max_sequences = 16;      // computed together; [1, 1024]
  int64_t max_batch_tokens = 512;  // per step; at least max_sequences
  int64_t max_waiting = 256;       // requests beyond are refused with kBusy
  // Tokens the cache holds over all sequences; at least max_context. 0: max_context for each of
  // max_sequences, or fewer if that would take more than half of the memory that is free.
  int64_t kv_tokens = 0;
  // Prompts that begin alike are computed once, as long as there is room to keep what came out.
  // No bit of an answer depends on it.
  bool prefix_cache = true;

  // Experts stay in the file and are read when they are needed; of them, those used last are kept
  // in so much memory (bytes), and what the next layer will probably want is read ahead. No bit of
  // an answer depends on it. 0: only if the file is larger than the memory that is free; experts
  // then get what is left.
  int64_t expert_memory = 0;

  // Weights are looked through for values that are not finite when they are loaded. Folder where it
  // is noted which files were, by size and times of change, so that the next load need not; made if
  // it is not there. Empty: every load looks.
  std::string notes_folder;
  // Folder where `ferry pack` leaves packed weights of models: a start that finds those of this
  // model maps them. They take no memory of their own, so that `weight_packing` is as if there were
  // room. Empty: none.
  std::string packed_folder;

  Speculation speculation = Speculation::kOff;
  int64_t draft_tokens = 8;  // kPromptLookup: guessed per step at most; [1, 15]. kMtp: always one
  int64_t min_match = 2;     // kPromptLookup: tokens an ending must have in common; [1, 16]

  // Called from load(), on its thread.
  std::function<void(const LoadProgress&)> progress;
  std::function<void(const std::string& line)> notice;  // the memory plan, before loading
};

// What the engine takes, to the byte; known before anything is loaded.
struct MemoryPlan {
  int64_t weights_bytes = 0;  // of the chip's memory; 0 where the file is used as it is mapped
  int64_t file_bytes = 0;     // of the tensors in the file
  int64_t kv_bytes = 0;
  int64_t workspace_bytes = 0;
  int64_t scratch_bytes = 0;  // that the chip's ops take for themselves
  int64_t other_bytes = 0;    // logits and batch arrays
  int64_t kv_tokens = 0;      // that the cache holds over all sequences
  int64_t expert_bytes = 0;   // for experts that are read on demand; 0: all are in memory
};

struct ModelInfo {
  std::string name;          // as it was asked for
  std::string architecture;  // "deepseek_v3"
  std::string backend;
  int64_t vocab_size = 0;  // ids the tokenizer knows
  int64_t num_layers = 0;
  int64_t hidden_size = 0;        // entries of an embedding
  int64_t max_context = 0;        // of this engine
  int64_t model_max_context = 0;  // of the model
  std::vector<int32_t> eos_token_ids;
  bool has_chat_format = false;     // false: render_chat() says why
  SamplingParams default_sampling;  // from generation_config.json
  MemoryPlan memory;
};

// A conversation, as the OpenAI API has it: messages and tools are JSON arrays.
struct ChatPrompt {
  std::string messages_json;
  std::string tools_json;        // empty: no tools
  std::optional<bool> thinking;  // none: what the model's chat format does by itself
  std::string extra_json;        // further variables of the template, an object; empty: none
  // The last message is the assistant's, unfinished: the answer goes on where it ends.
  bool continue_last = false;
};

struct TextPrompt {
  std::string text;
  bool add_special = true;    // what the tokenizer puts in front by itself (<bos>)
  bool parse_special = true;  // spellings of special tokens become those tokens
};

using Prompt = std::variant<TextPrompt, std::vector<int32_t>, ChatPrompt>;

// What the answer must be. Compiled at submit(); masks keep every token to it.
struct Constraint {
  enum Kind : uint8_t { kJsonObject, kJsonSchema, kRegex, kChoice };
  Kind kind = kJsonObject;
  std::string text;                  // the schema as JSON text, or the regex
  std::vector<std::string> choices;  // kChoice
};

// Whether a chat with tools may, must or must not call them.
struct ToolChoice {
  enum Kind : uint8_t { kAuto, kNone, kRequired, kNamed };
  Kind kind = kAuto;
  std::string name;  // kNamed
};

// How the states of all tokens of a text become one vector.
enum class Pooling : uint8_t { kMean, kLast };

struct Request {
  Prompt prompt;
  SamplingParams sampling;
  StopConditions stop;
  // Higher first: one level is worth as much as having come 4096 steps of the engine earlier.
  int priority = 0;
  std::string cache_scope;  // the prefix cache is shared inside one scope only
  std::optional<Constraint> constraint;
  ToolChoice tool_choice;  // of a ChatPrompt with tools
  bool parallel_tool_calls = true;
  // Wanted is a vector of the prompt, not an answer: what is said above of answers has no effect.
  std::optional<Pooling> embed;
};

enum class FinishReason : uint8_t {
  kStop,       // end of text, a stop token or a stop string
  kLength,     // max_tokens, or the context is full
  kToolCalls,  // the answer ends in calls of tools
  kCancelled,  // cancel(), or the engine went away
  kError,      // see Finish::error
};
std::string_view finish_reason_name(FinishReason reason);  // "stop", "length", …

struct Finish {
  FinishReason reason = FinishReason::kStop;
  std::optional<Error> error;
  std::string stop_string;  // the one that was met, or empty
  int64_t prompt_tokens = 0;
  int64_t cached_prompt_tokens = 0;  // of these, taken from the prefix cache
  int64_t completion_tokens = 0;     // the end-of-text token included
  int64_t reasoning_tokens = 0;      // of these, chosen before the reasoning ended
  int64_t draft_tokens = 0;          // guesses that were checked, see Speculation
  int64_t accepted_tokens = 0;       // of these, right: tokens of the answer
  uint64_t seed = 0;                 // that the draws came from
  double wait_seconds = 0;           // submitted → first computed
  double prompt_seconds = 0;         // → first token
  double decode_seconds = 0;         // → last token
};

// A piece of a tool call: id and name come with the first one, then pieces of the arguments.
struct ToolCallPiece {
  int64_t index = 0;
  std::string id;
  std::string name;
  std::string arguments;
};

// What is new since the last event. Any part may be empty; `finish` is set on the last one.
struct StreamEvent {
  std::string text;       // the answer: whole UTF-8 characters, never a piece of a stop string
  std::string reasoning;  // what the model thinks before it answers, without the markers
  std::vector<ToolCallPiece> tool_calls;
  std::vector<int32_t> tokens;       // every id chosen; text may follow later, when it is certain
  int64_t num_reasoning_tokens = 0;  // of `tokens`, from the front: chosen before reasoning ended
  std::vector<PositionLogprobs> logprobs;  // one per token where they were asked for
  // Of a request that embeds, together with `finish`: hidden_size entries, the state after the
  // last layer and its norm, of the last token or the mean over all of them. Of no certain length.
  std::vector<float> embedding;
  std::optional<Finish> finish;
};

namespace engine {
class EngineCore;
class StreamState;
}  // namespace engine

// The answer to one request. Destroying it cancels the request.
class TokenStream {
 public:
  explicit TokenStream(std::shared_ptr<engine::StreamState> state);
  ~TokenStream();
  TokenStream(TokenStream&&) noexcept;
  TokenStream& operator=(TokenStream&&) noexcept;

  // Waits for the next event; none once the last one has been taken. What has piled up since the
  // last call comes as one event.
  std::optional<StreamEvent> next();
  // The same, but gives up after `timeout` (0: at once); finished() tells the two cases apart.
  std::optional<StreamEvent> next_within(std::chrono::milliseconds timeout);
  // Calls `notify` whenever an event can be taken where none could before, and at once if one can
  // already; an empty function ends that. So one thread can read thousands of streams without
  // waiting for any. `notify` runs on the engine's thread (or on this one, inside the call) and
  // only leaves a note: it must be quick and must not call into the stream. Once this has returned,
  // no earlier function is called any more.
  void on_event(std::function<void()> notify);
  // The last event has been taken.
  bool finished() const;

  // Ends the request within one step. The events that were made come first, the finish last.
  void cancel();

  int64_t prompt_tokens() const;

 private:
  void let_go();
  std::shared_ptr<engine::StreamState> state_;
};

struct ToolCall {
  std::string id;
  std::string name;
  std::string arguments;  // JSON, as the model wrote it
};

// A whole answer.
struct Completion {
  std::string text;
  std::string reasoning;
  std::vector<ToolCall> tool_calls;
  std::vector<int32_t> tokens;
  std::vector<PositionLogprobs> logprobs;
  Finish finish;

  // Takes in the next event of a stream.
  void add(StreamEvent event);
};

struct Embedding {
  std::vector<float> vector;  // as StreamEvent::embedding
  int64_t prompt_tokens = 0;
};

// A snapshot; the totals count since load() and never fall.
struct EngineStats {
  int64_t num_running = 0;
  int64_t num_waiting = 0;
  int64_t kv_tokens_free = 0;  // what the prefix cache holds and nobody uses counts as free
  int64_t kv_tokens = 0;       // that the cache has room for
  int64_t num_preemptions = 0;
  int64_t bytes_to_pack = 0;        // of weights, see WeightPacking::kAuto
  int64_t prompt_tokens_total = 0;  // computed, recomputation included
  int64_t output_tokens_total = 0;
  int64_t prefix_queries_total = 0;  // prompt tokens that were looked for in the prefix cache
  int64_t prefix_hits_total = 0;     // of these, found there
  int64_t num_steps_total = 0;
  int64_t step_tokens_total = 0;  // computed by them
  // Entry i: steps of at most 2^i tokens that did not fit an earlier entry; the last one: the rest.
  std::array<int64_t, 16> steps_by_tokens{};
  int64_t draft_tokens_total = 0;     // guesses that were checked
  int64_t accepted_tokens_total = 0;  // of these, right
  // Matrices of experts that are read on demand; all zero where everything is in memory.
  int64_t expert_hits_total = 0;           // wanted and found in memory
  int64_t expert_misses_total = 0;         // wanted and waited for
  int64_t expert_guesses_total = 0;        // read ahead of the layer that might want them
  int64_t expert_guesses_right_total = 0;  // of these, wanted
  int64_t expert_read_bytes_total = 0;
  double expert_read_seconds_total = 0;  // with a read going on
  double expert_wait_seconds_total = 0;  // of these, with nothing to compute meanwhile
};

class Engine {
 public:
  // Errors: no such model (kNotFound), a bad file (kInvalidInput), an architecture or format this
  // build or chip can't run (kUnsupported), not enough memory (kOutOfMemory, with the numbers).
  static Result<Engine> load(const EngineOptions& options);

  ~Engine();  // cancels what is running
  Engine(Engine&&) noexcept;
  Engine& operator=(Engine&&) noexcept;

  // Errors: a field out of its range, a prompt that does not fit the context (kInvalidInput), a
  // full queue (kBusy), a chip that failed earlier (kDevice).
  Result<TokenStream> submit(const Request& request) const;
  // submit() and wait for the end. A finish with kError comes out as the error.
  Result<Completion> complete(const Request& request) const;

  // submit() with Request::embed and wait for the vector; the prompt may fill the whole context.
  Result<Embedding> embed(const Prompt& prompt, Pooling pooling) const;

  const ModelInfo& info() const;
  // As of the step before; waits for nothing. Cheap enough to be asked many times a second.
  EngineStats stats() const;

  // The ids a prompt becomes; what submit() would compute.
  Result<std::vector<int32_t>> tokenize(const Prompt& prompt) const;
  // Errors: an id out of range. Bytes that are no UTF-8 become U+FFFD.
  Result<std::string> detokenize(const std::vector<int32_t>& tokens) const;
  // The bytes of one token, which may be a piece of a character. Empty for an unknown id.
  std::string token_bytes(int32_t token) const;
  // The text a conversation becomes before it is tokenised.
  Result<std::string> render_chat(const ChatPrompt& chat) const;

 private:
  explicit Engine(std::unique_ptr<engine::EngineCore> core);
  std::unique_ptr<engine::EngineCore> core_;
};

}  // namespace ferry
