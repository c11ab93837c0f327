// See completions.h.
#include "server/api/completions.h"

#include <fmt/format.h>

#include "server/api/chat_ask.h"
#include "server/api/completion_answer.h"
#include "server/api/prompts.h"
#include "server/api/sampling_fields.h"
#include "server/api/tools.h"

namespace ferry::server::api {
namespace {

constexpr size_t kMaxPrompts = 128;
constexpr size_t kMaxStreams = 256;  // prompts times choices
constexpr int64_t kMaxLogprobs = 20;
constexpr int64_t kDefaultMaxTokens = 16;  // the API's own

// How families mark the gap, in the order of the prompt: before the prefix, before the suffix,
// before what the model writes.
struct InfillMarks {
  std::string_view prefix, suffix, middle;
};
constexpr InfillMarks kInfillMarks[] = {
    {"<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"},  // DeepSeek
    {"<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"},  // Qwen
    {"<fim_prefix>", "<fim_suffix>", "<fim_middle>"},        // StarCoder, Granite
};

// The id of a special token by its spelling; none where the vocabulary lacks it.
std::optional<int32_t> special_id(const ServedModel& model, std::string_view spelling) {
  const auto ids = model.tokenize(TextPrompt{std::string(spelling), false, true});
  if (!ids.ok() || ids->size() != 1 || model.token_bytes((*ids)[0]) != spelling) {
    return std::nullopt;
  }
  return (*ids)[0];
}

void read_echo(Fields& body, const ServedModel& model, CompletionBody& out) {
  if (!body.boolean("echo").value_or(false)) return;
  if (out.sampling.logprobs >= 0) {
    body.fail(unsupported_value("echo",
                                "log-probabilities of the prompt are not computed; "
                                "leave out echo or logprobs"));
    return;
  }
  for (const Prompt& prompt : out.prompts) {
    if (const auto* text = std::get_if<TextPrompt>(&prompt)) {
      out.echoes.push_back(text->text);
    } else if (const auto* ids = std::get_if<std::vector<int32_t>>(&prompt)) {
      out.echoes.push_back(model.detokenize(*ids).ok() ? *model.detokenize(*ids) : "");
    }
  }
}

void read_suffix(Fields& body, const ServedModel& model, CompletionBody& out) {
  const auto suffix = body.string("suffix");
  if (!suffix.has_value() || suffix->empty()) return;
  if (!out.echoes.empty()) {
    body.fail(unsupported_value("suffix", "can't be combined with echo"));
    return;
  }
  for (Prompt& prompt : out.prompts) {
    const auto* text = std::get_if<TextPrompt>(&prompt);
    if (text == nullptr) {
      body.fail(unsupported_value("suffix", "needs a prompt that is text"));
      return;
    }
    auto ids = infill_prompt(model, text->text, *suffix);
    if (!ids.ok()) {
      body.fail(unsupported_value("suffix", ids.error().message));
      return;
    }
    prompt = std::move(ids).value();
  }
}

void read_completion_stream(Fields& body, CompletionBody& out) {
  out.stream = body.boolean("stream").value_or(false);
  const Json* options = body.object("stream_options");
  if (options == nullptr) return;
  if (!out.stream) {
    body.fail(invalid_value("stream_options", "is only allowed with stream: true"));
  }
  Fields fields(*options, "stream_options", body.failure());
  out.include_usage = fields.boolean("include_usage").value_or(false);
}

void read_counts(Fields& body, CompletionBody& out) {
  out.num_choices = body.integer("n", 1, kMaxChoices).value_or(1);
  const auto best_of = body.integer("best_of", 1, INT64_MAX);
  if (best_of.value_or(out.num_choices) != out.num_choices) {
    body.fail(unsupported_value("best_of", "is not supported; use n"));
  }
  out.stop.max_tokens = body.integer("max_tokens", 1, INT64_MAX).value_or(kDefaultMaxTokens);
  if (out.prompts.size() * static_cast<size_t>(out.num_choices) > kMaxStreams) {
    body.fail(
        invalid_value("n", fmt::format("prompts times choices are more than {}", kMaxStreams)));
  }
}

}  // namespace

Result<std::vector<int32_t>> infill_prompt(const ServedModel& model, const std::string& prefix,
                                           const std::string& suffix) {
  for (const InfillMarks& marks : kInfillMarks) {
    const auto begin = special_id(model, marks.prefix);
    const auto hole = special_id(model, marks.suffix);
    const auto end = special_id(model, marks.middle);
    if (!begin.has_value() || !hole.has_value() || !end.has_value()) continue;
    // What the tokenizer puts in front of any text, and the texts taken as plain.
    FERRY_TRY(std::vector<int32_t> out, model.tokenize(TextPrompt{"", true, false}));
    FERRY_TRY(const auto before, model.tokenize(TextPrompt{prefix, false, false}));
    FERRY_TRY(const auto after, model.tokenize(TextPrompt{suffix, false, false}));
    out.push_back(*begin);
    out.insert(out.end(), before.begin(), before.end());
    out.push_back(*hole);
    out.insert(out.end(), after.begin(), after.end());
    out.push_back(*end);
    return out;
  }
  return unsupported("this model was not made to fill gaps: its vocabulary has no marks for them");
}

ApiResult<CompletionBody> read_completion_body(const ServedModel& model, std::string_view text) {
  ApiResult<Json> json = parse_body(text);
  if (!json.ok()) return std::move(json).error();
  Failure failure;
  Fields body(*json, "", failure);
  check_model(body, model);
  CompletionBody out;
  out.prompts = read_prompts(body, "prompt", model, kMaxPrompts);
  out.sampling = read_sampling(body, model);
  out.sampling.logprobs = body.integer("logprobs", 0, kMaxLogprobs).value_or(-1);
  out.stop = read_stop(body);
  read_completion_stream(body, out);
  read_counts(body, out);
  read_echo(body, model, out);
  read_suffix(body, model, out);
  ChatAsk formats;
  read_response_format(body, formats);
  out.constraint = std::move(formats.constraint);
  out.cache_scope = read_cache_scope(body);
  out.priority = static_cast<int>(body.integer("priority", -1000, 1000).value_or(0));
  if (failure.has_value()) return *failure;
  return out;
}

ApiResult<Reply> completions(const ServedModel& model, std::string_view text) {
  ApiResult<CompletionBody> body = read_completion_body(model, text);
  if (!body.ok()) return std::move(body).error();
  Job job;
  job.stream = body->stream;
  for (const Prompt& prompt : body->prompts) {
    for (int64_t i = 0; i < body->num_choices; ++i) {
      Request request;
      request.prompt = prompt;
      request.sampling = body->sampling;
      offset_seed(request.sampling, static_cast<size_t>(i));
      request.stop = body->stop;
      request.constraint = body->constraint;
      request.cache_scope = body->cache_scope;
      request.priority = body->priority;
      job.requests.push_back(std::move(request));
    }
  }
  job.answer = make_completion_answer(model, *body);
  return Reply(std::move(job));
}

}  // namespace ferry::server::api
