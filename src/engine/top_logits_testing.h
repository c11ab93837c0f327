// For tests: the built-in model on any backend, its answers where steps bring the largest logits to
// the host and where they bring whole rows, and how many bytes came.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "device/watched_stream.h"
#include "engine/demo_engine.h"
#include "engine/engine_loop.h"
#include "engine/model_text.h"
#include "engine/testing.h"

namespace ferry::engine::testing {

// The first step has the first request alone and waits until all others are there, so that the same
// ones meet whatever the machine does.
class Steps {
 public:
  void wait_for_the_first() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return begun_; });
  }
  void let_go() {
    const std::lock_guard lock(mutex_);
    waiting_ = false;
    changed_.notify_all();
  }
  void wait() {
    std::unique_lock lock(mutex_);
    begun_ = true;
    changed_.notify_all();
    changed_.wait(lock, [this] { return !waiting_; });
  }
  int64_t bytes_out = 0;       // of the engine's thread, until its streams are gone
  int64_t num_top_logits = 0;  // ops

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool begun_ = false;
  bool waiting_ = true;
};

class CountingStream : public WatchedStream {
 public:
  CountingStream(std::unique_ptr<Stream> inner, Steps& steps)
      : WatchedStream(std::move(inner)), steps_(steps) {}
  void copy_in(void* dst, const void* src, int64_t bytes) override {
    steps_.wait();
    WatchedStream::copy_in(dst, src, bytes);
  }
  void copy_out(void* dst, const void* src, int64_t bytes) override {
    steps_.bytes_out += bytes;
    WatchedStream::copy_out(dst, src, bytes);
  }

 protected:
  void on_op(Op op, const Call& call, std::span<const TensorView>) override {
    steps_.num_top_logits += op == Op::kTopLogits;
    call(inner());
  }

 private:
  Steps& steps_;
};

class DemoLoops {
 public:
  explicit DemoLoops(std::shared_ptr<Backend> backend)
      : source_(open_source(FERRY_SOURCE_DIR "/demo")),
        tokenizer_(read_tokenizer(source_).value()),
        eos_ids_(read_eos_token_ids(source_, tokenizer_).value()),
        model_(load_model(source_, std::move(backend), {.max_context = kContext, .mtp = true})
                   .value()),
        constraints_(tokenizer_, tokenizer_.vocab_size(), eos_ids_) {}

  struct Answers {
    std::vector<Completion> completions;
    int64_t bytes_out = 0;
    int64_t num_top_logits = 0;
    EngineStats stats;
  };

  int64_t vocab_size() const { return model_.spec().vocab_size; }

  // All together. whole_rows: as on a device whose memory is the host's.
  Answers answer(const std::vector<Request>& requests, bool whole_rows,
                 Speculation speculation = Speculation::kOff) {
    Steps steps;
    Answers answers;
    {
      EngineLoop loop(make_runner(steps, whole_rows, speculation),
                      {.block_size = kBlock,
                       .num_pages = kPages,
                       .max_batch_tokens = kTokens,
                       .max_sequences = kSequences,
                       .max_draft_step_tokens = speculation == Speculation::kOff ? 0 : kTokens},
                      kSequences, speculation);
      std::vector<std::shared_ptr<StreamState>> streams;
      for (const Request& request : requests) {
        streams.push_back(loop.submit(input_of(request, speculation)).value());
        if (streams.size() == 1) steps.wait_for_the_first();
      }
      steps.let_go();
      for (const auto& stream : streams) {
        Completion& completion = answers.completions.emplace_back();
        while (auto event = stream->take(std::nullopt)) completion.add(*std::move(event));
        EXPECT_FALSE(completion.finish.error.has_value());
      }
      // The last step is counted when its last tokens are out.
      for (int i = 0; i < 1000 && loop.stats().num_running > 0; ++i) {
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
      }
      answers.stats = loop.stats();
    }
    answers.bytes_out = steps.bytes_out;
    answers.num_top_logits = steps.num_top_logits;
    return answers;
  }

 private:
  static constexpr int64_t kContext = 256, kBlock = 16, kPages = 160, kTokens = 256,
                           kSequences = 16;

  Runner make_runner(Steps& steps, bool whole_rows, Speculation speculation) const {
    const nn::PlanLimits limits{
        .batch = {.max_tokens = kTokens,
                  .max_sequences = kSequences,
                  .max_context = kContext,
                  .block_size = kBlock},
        .cache = {.dtype = Dtype::kF32, .block_size = kBlock, .num_pages = kPages},
        .max_logit_rows = kTokens,
        .mtp = speculation == Speculation::kMtp,
        .top_logits = kMaxTopLogits};
    const nn::MemoryPlan plan = nn::plan_memory(*model_.model, model_.weights_bytes, limits);
    const RunnerRank rank{model_.backend, model_.model.get()};
    return Runner::create({&rank, 1}, {.batch = limits.batch,
                                       .cache = limits.cache,
                                       .max_logit_rows = limits.max_logit_rows,
                                       .num_known_tokens = whole_rows ? 0 : tokenizer_.vocab_size(),
                                       .mtp = limits.mtp,
                                       .workspace_bytes = plan.workspace_bytes,
                                       .watch =
                                           [&steps](std::unique_ptr<Stream> inner) {
                                             return std::make_unique<CountingStream>(
                                                 std::move(inner), steps);
                                           }})
        .value();
  }

  GenerationInput input_of(const Request& request, Speculation speculation) {
    GenerationInput input;
    input.prompt = tokenizer_.encode(std::get<TextPrompt>(request.prompt).text,
                                     {.add_special = false, .parse_special = true});
    input.sampling = request.sampling;
    input.stop = request.stop;
    input.seed = request.sampling.seed.value_or(0);
    input.eos_token_ids = eos_ids_;
    input.vocab_size = tokenizer_.vocab_size();
    input.max_context = kContext;
    if (request.constraint.has_value()) {
      input.grammar = constraints_.compile(constraint_text(*request.constraint)).value();
    }
    input.drafting = {.kind = speculation, .draft_tokens = 7, .min_match = 1};
    return input;
  }

  disk::ModelSource source_;
  text::Tokenizer tokenizer_;
  std::vector<int32_t> eos_ids_;
  LoadedModel model_;
  ConstraintCompiler constraints_;
};

// Requests that the largest logits are enough for, and `others`: each with something that needs
// whole rows.
inline std::vector<Request> requests_for_top_logits(int64_t max_tokens, bool others) {
  std::vector<Request> requests;
  for (int i = 0; i < (others ? 10 : 4); ++i) {
    Request request = greedy(question("one two three one two " + std::to_string(i), i % 2 == 0),
                             max_tokens + i % 3);
    request.sampling.seed = 100 + i;
    request.stop.ignore_eos = true;
    requests.push_back(std::move(request));
  }
  requests[1].sampling.temperature = 0.9;
  requests[1].sampling.top_k = 40;
  requests[2].stop.ignore_eos = false;  // its ends are forbidden for a while
  requests[2].stop.min_tokens = max_tokens / 2;
  requests[3].sampling.temperature = 1.3;
  requests[3].sampling.top_k = 5;
  requests[3].sampling.top_p = 0.8;
  if (!others) return requests;
  requests[4].sampling.temperature = 1.0;
  requests[5].sampling.temperature = 0.7;
  requests[5].sampling.top_p = 0.9;
  requests[6].sampling.repetition_penalty = 1.1;
  requests[7].sampling.logprobs = 3;
  requests[8].constraint = Constraint{Constraint::kRegex, "((one|two|three|four) ){30}", {}};
  requests[9].sampling.temperature = 0.8;
  requests[9].sampling.top_k = kMaxTopLogits;  // one too many
  return requests;
}

// Answers are the same with whole rows, and what steps bring to the host is as much less as can be
// worked out.
inline void expect_top_logits_do(std::shared_ptr<Backend> backend, int64_t max_tokens) {
  DemoLoops loops(std::move(backend));
  const auto row_bytes = static_cast<double>(loops.vocab_size() * dtype_bytes(Dtype::kF32));
  const double share = static_cast<double>(kMaxTopLogits * 2) / loops.vocab_size();
  for (const bool others : {false, true}) {
    const std::vector<Request> requests = requests_for_top_logits(max_tokens, others);
    const DemoLoops::Answers whole = loops.answer(requests, true);
    const DemoLoops::Answers top = loops.answer(requests, false);
    for (size_t i = 0; i < requests.size(); ++i) {
      EXPECT_GE(std::ssize(whole.completions[i].tokens), requests[i].stop.min_tokens);
      EXPECT_FALSE(whole.completions[i].tokens.empty());
      expect_same_bits(whole.completions[i], top.completions[i], i);
    }
    EXPECT_EQ(whole.num_top_logits, 0);
    EXPECT_EQ(top.stats.num_steps_total, whole.stats.num_steps_total);
    const auto rows = static_cast<double>(whole.stats.output_tokens_total);
    EXPECT_NEAR(static_cast<double>(whole.bytes_out), rows * row_bytes, row_bytes);
    const double part = static_cast<double>(top.bytes_out) / (rows * row_bytes);
    if (!others) {
      EXPECT_EQ(top.num_top_logits, top.stats.num_steps_total);
      EXPECT_DOUBLE_EQ(part, share);
      continue;
    }
    // The largest come beside whole rows.
    int64_t num_whole = 0;
    for (size_t i = 4; i < requests.size(); ++i) {
      num_whole += std::ssize(whole.completions[i].tokens);
    }
    EXPECT_LT(part, (static_cast<double>(num_whole) + 1) / rows + share);
    EXPECT_GT(part, static_cast<double>(num_whole) / rows);
  }
}

}  // namespace ferry::engine::testing
