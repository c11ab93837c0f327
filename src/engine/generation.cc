// See generation.h.
#include "engine/generation.h"

#include <algorithm>
#include <iterator>

#include "base/check.h"

namespace ferry::engine {
namespace {

constexpr int32_t kNoToken = -1;

int64_t last_token_count(const GenerationInput& input) {
  const auto prompt = static_cast<int64_t>(input.prompt.size());
  if (input.embed.has_value()) return prompt;
  CHECK(prompt >= 1 && prompt < input.max_context);
  const int64_t room = input.max_context - prompt;
  return prompt + (input.stop.max_tokens > 0 ? std::min(input.stop.max_tokens, room) : room);
}

std::vector<int32_t> all_stop_ids(const GenerationInput& input) {
  std::vector<int32_t> ids = input.stop.token_ids;
  if (!input.stop.ignore_eos) {
    ids.insert(ids.end(), input.eos_token_ids.begin(), input.eos_token_ids.end());
  }
  return ids;
}

double seconds_between(Generation::Clock::time_point from, Generation::Clock::time_point to) {
  const Generation::Clock::time_point never{};
  if (from == never || to == never) return 0;
  return std::chrono::duration<double>(to - from).count();
}

}  // namespace

Generation::Generation(GenerationInput input, std::shared_ptr<Doorbell> doorbell)
    : stream_(std::make_shared<StreamState>(std::move(doorbell), input.prompt.size())),
      num_prompt_tokens_(static_cast<int64_t>(input.prompt.size())),
      max_tokens_(last_token_count(input)),
      min_output_tokens_(input.stop.min_tokens),
      stop_ids_(all_stop_ids(input)),
      sampler_(std::move(input.sampling), input.seed, input.vocab_size, input.prompt),
      text_(std::move(input.text)),
      embed_(input.embed),
      priority_(input.priority),
      block_keys_(std::move(input.block_keys)),
      drafter_(input.drafting) {
  tokens_ = std::move(input.prompt);
  if (input.grammar != nullptr) constraint_.emplace(std::move(input.grammar));
}

void Generation::computing(int64_t begin) {
  if (started_ != Clock::time_point{}) return;
  started_ = Clock::now();
  num_cached_tokens_ = begin;  // what is not computed first was there
}

std::span<const int32_t> Generation::forbidden(int64_t num_before) const {
  if (num_before < min_output_tokens_) return stop_ids_;
  return {};
}

// What is forbidden behind guesses is no more.
int64_t Generation::num_deciding_logits() const {
  if (constraint_.has_value()) return sample::kAllLogits;
  const int64_t num_before = std::ssize(tokens_) - num_prompt_tokens_;
  return sampler_.num_deciding(std::ssize(forbidden(num_before)));
}

Result<sample::Choice> Generation::choose(const sample::LogitRow& logits, int64_t num_before) {
  std::span<const int32_t> never = forbidden(num_before);
  if (logits.all.empty()) return sampler_.sample(logits.top, never);
  if (!constraint_.has_value()) return sampler_.sample(logits.all, never);
  // An answer that can't go on ends, min_tokens or not.
  if (constraint_->only_end()) never = {};
  FERRY_TRY(sample::Choice choice, sampler_.sample(logits.all, never, constraint_->allowed()));
  constraint_->accept(choice.token);
  return choice;
}

Generation::Progress Generation::advance(std::span<const sample::LogitRow> logits) {
  const size_t num_rows = logits.size();
  const int64_t num_drafts = std::ssize(logits) - 1;
  const std::span<const int32_t> guessed = drafter_.guessed();
  const int64_t accepted_before = num_accepted_tokens_;
  num_draft_tokens_ += num_drafts;
  Progress progress;
  for (size_t row = 0; row < num_rows && !progress.ended; ++row) {
    const size_t num_before = tokens_.size();
    const int32_t guess = row + 1 < num_rows ? guessed[row + 1] : kNoToken;
    progress.ended = choose_and_publish(logits[row], guess);
    if (tokens_.size() == num_before) break;  // it ended without one
    ++progress.num_tokens;
    if (tokens_.back() != guess) break;
  }
  progress.num_right = num_accepted_tokens_ - accepted_before;
  drafter_.judge(num_drafts, progress.num_right);
  return progress;
}

bool Generation::choose_and_publish(const sample::LogitRow& logits, int32_t guess) {
  const int64_t num_before = static_cast<int64_t>(tokens_.size()) - num_prompt_tokens_;
  if (constraint_.has_value()) {
    constraint_->prepare();
    if (constraint_->ends_silently()) {
      end(FinishReason::kStop, {});
      return true;
    }
  }
  Result<sample::Choice> choice = choose(logits, num_before);
  if (!choice.ok()) {
    fail(choice.error());
    return true;
  }
  last_token_ = Clock::now();
  if (num_before == 0) first_token_ = last_token_;
  const int32_t token = choice->token;
  tokens_.push_back(token);
  if (token == guess) ++num_accepted_tokens_;
  StreamEvent event;
  event.tokens.push_back(token);
  if (choice->logprobs.has_value()) event.logprobs.push_back(std::move(*choice->logprobs));

  const bool ended = constraint_.has_value() && constraint_->ended();
  if (ended || std::find(stop_ids_.begin(), stop_ids_.end(), token) != stop_ids_.end()) {
    end(FinishReason::kStop, std::move(event));
    return true;
  }
  if (text_ != nullptr) {
    if (text_->reasoning()) {
      ++num_reasoning_tokens_;
      event.num_reasoning_tokens = 1;
    }
    OutputText::Piece piece = text_->push(token, num_before + 1 >= min_output_tokens_);
    event.text = std::move(piece.text);
    event.reasoning = std::move(piece.reasoning);
    event.tool_calls = std::move(piece.tool_calls);
    if (!text_->stop_string().empty()) {
      end(FinishReason::kStop, std::move(event));
      return true;
    }
    if (text_->complete()) {
      end(FinishReason::kToolCalls, std::move(event));
      return true;
    }
  }
  if (static_cast<int64_t>(tokens_.size()) >= max_tokens_) {
    end(FinishReason::kLength, std::move(event));
    return true;
  }
  stream_->push(std::move(event));
  return false;
}

bool Generation::pool(int64_t begin, std::span<const float> hidden, size_t hidden_size) {
  if (begin == 0) pooled_.assign(hidden_size, 0);  // perhaps once more, after a preemption
  const size_t num_rows = hidden.size() / hidden_size;
  // Summed in order of position, so that it doesn't matter how the prompt was cut.
  for (size_t row = 0; row < num_rows; ++row) {
    for (size_t i = 0; i < hidden_size; ++i) {
      const double value = hidden[row * hidden_size + i];
      pooled_[i] = *embed_ == Pooling::kMean ? pooled_[i] + value : value;
    }
  }
  if (begin + static_cast<int64_t>(num_rows) < num_prompt_tokens_) return false;
  first_token_ = last_token_ = Clock::now();
  const double scale =
      *embed_ == Pooling::kMean ? 1.0 / static_cast<double>(num_prompt_tokens_) : 1.0;
  StreamEvent event;
  for (const double value : pooled_) event.embedding.push_back(static_cast<float>(value * scale));
  end(FinishReason::kStop, std::move(event));
  return true;
}

void Generation::fail(const Error& error) {
  StreamEvent event;
  event.finish.emplace().error = error;
  end(FinishReason::kError, std::move(event));
}

void Generation::end(FinishReason reason, StreamEvent event) {
  if (!event.finish.has_value()) event.finish.emplace();
  Finish& finish = *event.finish;
  finish.reason = reason;
  if (text_ != nullptr) {
    OutputText::Piece rest = text_->finish();
    event.text += rest.text;
    event.reasoning += rest.reasoning;
    std::move(rest.tool_calls.begin(), rest.tool_calls.end(), std::back_inserter(event.tool_calls));
    finish.stop_string = text_->stop_string();
    const bool by_itself = reason == FinishReason::kStop && finish.stop_string.empty();
    if (by_itself && text_->num_tool_calls() > 0) finish.reason = FinishReason::kToolCalls;
  }
  finish.prompt_tokens = num_prompt_tokens_;
  finish.cached_prompt_tokens = num_cached_tokens_;
  finish.completion_tokens = static_cast<int64_t>(tokens_.size()) - num_prompt_tokens_;
  finish.reasoning_tokens = num_reasoning_tokens_;
  finish.draft_tokens = num_draft_tokens_;
  finish.accepted_tokens = num_accepted_tokens_;
  finish.seed = sampler_.seed();
  finish.wait_seconds = seconds_between(submitted_, started_);
  finish.prompt_seconds = seconds_between(started_, first_token_);
  finish.decode_seconds = seconds_between(first_token_, last_token_);
  stream_->push(std::move(event));
}

}  // namespace ferry::engine
