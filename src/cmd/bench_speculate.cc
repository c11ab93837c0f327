// See bench_speculate.h.
#include "cmd/bench_speculate.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <optional>
#include <thread>

#include "cmd/bench_report.h"
#include "cmd/builtin_model.h"
#include "cmd/command.h"
#include "cmd/model_argument.h"
#include "cmd/progress.h"
#include "cmd/random_weights.h"
#include "cmd/read_input.h"

namespace ferry::cmd {
namespace {

// What the built-in model was trained on (demo/README.md).
constexpr const char* kBuiltinPrompts[] = {
    "What is 347 + 586?",
    "Please compute 6139 - 850.",
    "What is the product of 23 and 4?",
    "Sort these numbers: 41, 7, 93, 18, 66, 52, 30",
    "Put 55, 95, 70, 25, 17 in order from largest to smallest.",
    "Of 3611 and 1000, which one is smaller?",
    "Spell the word \"window\".",
    "Is 4718 even or odd?",
};

// Text, code, lists, and texts that quote their prompt.
constexpr const char* kGeneralPrompts[] = {
    "Explain in a few sentences why the sky is blue.",
    "Write a C function that reverses a string in place, with a comment for every line.",
    "List the planets of the solar system from the sun outwards, one per line, with a fact each.",
    "Translate into French, sentence by sentence: The train leaves at nine. We will be late. "
    "Nobody "
    "will wait for us. Next time we will take a taxi.",
    "A shop sells pens at 3 for 2 euros. How much do 27 pens cost? Think step by step.",
    "Rewrite this as JSON with the keys name, city and age: Anna lives in Graz and is 31; Bo lives "
    "in Oslo and is 27; Cem lives in Izmir and is 45.",
    "Correct the spelling and repeat the text: The quick brwon fox jumps ovr the lazy dog, and the "
    "lazy dog dose not care about the quick brwon fox.",
    "Tell a short story about a lighthouse keeper who finds a letter.",
};

constexpr int64_t kPromptsPerPlace = 2;  // at least, of each sequence of a batch

double ratio(double a, double b) { return b > 0 ? a / b : 0; }

Result<std::vector<std::string>> read_prompts(const SpeculationBench& bench, int64_t wanted) {
  std::vector<std::string> known;
  if (!bench.prompts_file.empty()) {
    FERRY_TRY(const std::string text, read_input(bench.prompts_file));
    for (size_t at = 0; at < text.size();) {
      const size_t end = std::min(text.find('\n', at), text.size());
      if (end > at) known.push_back(text.substr(at, end - at));
      at = end + 1;
    }
    if (known.empty()) return invalid_input("{}: expected one prompt a line", bench.prompts_file);
  } else if (!bench.engine.model_files.empty()) {
    known.assign(std::begin(kBuiltinPrompts), std::end(kBuiltinPrompts));
  } else {
    known.assign(std::begin(kGeneralPrompts), std::end(kGeneralPrompts));
  }
  const auto count = std::max<size_t>(known.size(), static_cast<size_t>(wanted));
  std::vector<std::string> prompts;
  for (size_t i = 0; i < count; ++i) prompts.push_back(known[i % known.size()]);
  return prompts;
}

Request request_for(const Engine& engine, const std::string& prompt, int64_t generate) {
  Request request;
  if (engine.info().has_chat_format) {
    const Json message = {{"role", "user"}, {"content", prompt}};
    request.prompt = ChatPrompt{.messages_json = Json::array({message}).dump(),
                                .tools_json = {},
                                .thinking = std::nullopt,
                                .extra_json = {}};
  } else {
    request.prompt = TextPrompt{prompt};
  }
  request.sampling = engine.info().default_sampling;
  request.sampling.temperature = 0;
  request.stop.max_tokens = generate;
  return request;
}

// Answers all, each of `batch` threads waiting for one at a time.
Result<AnswerRound> answer_all(const Engine& engine, const std::vector<std::string>& prompts,
                               int64_t batch, int64_t generate) {
  std::vector<std::optional<Result<Completion>>> done(prompts.size());
  std::atomic<size_t> next = 0;
  const auto start = std::chrono::steady_clock::now();
  {
    std::vector<std::jthread> threads;
    for (int64_t i = 0; i < batch; ++i) {
      threads.emplace_back([&] {
        for (size_t at; (at = next.fetch_add(1)) < prompts.size();) {
          done[at] = engine.complete(request_for(engine, prompts[at], generate));
        }
      });
    }
  }
  AnswerRound round;
  round.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  for (std::optional<Result<Completion>>& result : done) {
    FERRY_TRY(Completion completion, std::move(*result));
    const Finish& finish = completion.finish;
    round.tokens += finish.completion_tokens;
    round.drafted += finish.draft_tokens;
    round.accepted += finish.accepted_tokens;
    round.decode_tokens += std::max<int64_t>(finish.completion_tokens - 1, 0);
    round.decode_seconds += finish.decode_seconds;
    round.answers.push_back(std::move(completion.tokens));
  }
  return round;
}

// All points with one engine, and one round each before that does not count.
Status measure_engine_rounds(const SpeculationBench& bench, Speculation speculation,
                             const std::vector<std::string>& prompts, SpeculationResult& result) {
  EngineOptions options = bench.engine;
  options.speculation = speculation;
  options.prefix_cache = false;  // every round computes its prompts
  options.max_sequences = *std::max_element(bench.batches.begin(), bench.batches.end());
  options.max_batch_tokens = std::max(options.max_batch_tokens, options.max_sequences);
  Progress progress("loading " + options.model);
  options.progress = [&](const LoadProgress& now) {
    progress.update(now.bytes_done, now.bytes_total);
  };
  FERRY_TRY(const Engine engine, Engine::load(options));
  while (engine.stats().bytes_to_pack > 0)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  const bool on = speculation != Speculation::kOff;
  result.model = engine.info().name;
  result.architecture = engine.info().architecture;
  result.backend = engine.info().backend;
  for (SpeculationPoint& point : result.points) {
    std::vector<AnswerRound>& rounds = on ? point.on : point.off;
    for (int64_t i = 0; i <= bench.repeat; ++i) {
      FERRY_TRY(AnswerRound round, answer_all(engine, prompts, point.batch, bench.generate));
      if (i > 0) rounds.push_back(std::move(round));
    }
    std::fprintf(stderr, "ferry: %s, batch %lld: %.1f tokens/s a sequence\n",
                 on ? bench.how.c_str() : "off", static_cast<long long>(point.batch),
                 rounds.back().sequence_per_s());
  }
  return {};
}

struct Spread {
  double middle = 0, least = 0, most = 0;
};

Spread spread_of(const std::vector<AnswerRound>& rounds, double (AnswerRound::*rate)() const) {
  std::vector<double> values;
  for (const AnswerRound& round : rounds) values.push_back((round.*rate)());
  const auto [least, most] = std::minmax_element(values.begin(), values.end());
  return {median(values), *least, *most};
}

AnswerRound all_of(const std::vector<AnswerRound>& rounds) {
  AnswerRound sum;
  for (const AnswerRound& round : rounds) {
    sum.tokens += round.tokens;
    sum.drafted += round.drafted;
    sum.accepted += round.accepted;
    sum.decode_tokens += round.decode_tokens;
  }
  return sum;
}

bool same_tokens(const SpeculationPoint& point) {
  const auto as_expected = [&](const AnswerRound& round) {
    return round.answers == point.off.front().answers;
  };
  return std::all_of(point.off.begin(), point.off.end(), as_expected) &&
         std::all_of(point.on.begin(), point.on.end(), as_expected);
}

Json rounds_json(const std::vector<AnswerRound>& rounds) {
  const AnswerRound sum = all_of(rounds);
  const Spread one = spread_of(rounds, &AnswerRound::sequence_per_s);
  const Spread whole = spread_of(rounds, &AnswerRound::tokens_per_s);
  return {{"output_tokens", sum.tokens},
          {"draft_tokens", sum.drafted},
          {"accepted_tokens", sum.accepted},
          {"acceptance_rate", sum.acceptance_rate()},
          {"tokens_per_step", sum.tokens_per_step()},
          {"decode_tokens_per_s", one.middle},
          {"decode_tokens_per_s_min", one.least},
          {"decode_tokens_per_s_max", one.most},
          {"tokens_per_s", whole.middle},
          {"tokens_per_s_min", whole.least},
          {"tokens_per_s_max", whole.most}};
}

constexpr const char* kRandomNote =
    "The weights are random: guesses are right as often as chance has it, which says nothing about "
    "a trained model.";

}  // namespace

double AnswerRound::tokens_per_s() const { return ratio(static_cast<double>(tokens), seconds); }

double AnswerRound::sequence_per_s() const {
  return ratio(static_cast<double>(decode_tokens), decode_seconds);
}

// The first token of an answer comes from its prompt; of the others, a step chooses one and those
// that were guessed right.
double AnswerRound::tokens_per_step() const {
  return ratio(static_cast<double>(decode_tokens), static_cast<double>(decode_tokens - accepted));
}

double AnswerRound::acceptance_rate() const {
  return ratio(static_cast<double>(accepted), static_cast<double>(drafted));
}

Result<SpeculationResult> measure_speculation(const SpeculationBench& bench) {
  SpeculationResult result{.how = bench.how, .generate = bench.generate};
  for (const int64_t batch : bench.batches) result.points.push_back({.batch = batch});
  const int64_t widest = *std::max_element(bench.batches.begin(), bench.batches.end());
  FERRY_TRY(const std::vector<std::string> prompts, read_prompts(bench, kPromptsPerPlace * widest));
  result.num_prompts = std::ssize(prompts);
  result.prompts = !bench.prompts_file.empty()         ? bench.prompts_file
                   : !bench.engine.model_files.empty() ? "tasks of the built-in model"
                                                       : "general questions";
  if (bench.engine.model_files.empty()) {
    FERRY_TRY(const disk::ModelSource source, open_model_argument(bench.engine.model));
    result.random_weights = has_random_weights(source);
  }
  // With guesses first: what a model lacks for them shows before anything is measured.
  FERRY_TRY_VOID(measure_engine_rounds(bench, bench.engine.speculation, prompts, result));
  FERRY_TRY_VOID(measure_engine_rounds(bench, Speculation::kOff, prompts, result));
  return result;
}

Json speculation_json(const SpeculationResult& result) {
  Json out = {{"model", result.model},
              {"architecture", result.architecture},
              {"backend", result.backend},
              {"speculate", result.how},
              {"random_weights", result.random_weights},
              {"prompts", result.prompts},
              {"num_prompts", result.num_prompts},
              {"generate", result.generate},
              {"results", Json::array()}};
  for (const SpeculationPoint& point : result.points) {
    Json row = {{"batch", point.batch}};
    row.update(rounds_json(point.on));
    row["off"] = rounds_json(point.off);
    row["speedup"] = ratio(row["decode_tokens_per_s"], row["off"]["decode_tokens_per_s"]);
    row["same_tokens"] = same_tokens(point);
    out["results"].push_back(std::move(row));
  }
  return out;
}

void print_speculation(const SpeculationResult& result) {
  std::printf("%s: %s on %s; answers to %lld prompts (%s), greedy, %lld tokens at most\n",
              result.model.c_str(), result.architecture.c_str(), result.backend.c_str(),
              static_cast<long long>(result.num_prompts), result.prompts.c_str(),
              static_cast<long long>(result.generate));
  if (result.random_weights) std::printf("%s\n", kRandomNote);
  std::printf(
      "\nGuesses: %s. Decode tokens/s of one sequence: median (smallest to largest round)\n",
      result.how.c_str());
  std::printf("%8s %9s %9s %7s %12s  %-24s %-24s %7s\n", "batch", "guessed", "right", "share",
              "tokens/step", "with guesses", "without", "times");
  for (const SpeculationPoint& point : result.points) {
    const AnswerRound sum = all_of(point.on);
    const auto rates = [](const std::vector<AnswerRound>& rounds) {
      const Spread spread = spread_of(rounds, &AnswerRound::sequence_per_s);
      return fmt::format("{:.1f} ({:.1f} to {:.1f})", spread.middle, spread.least, spread.most);
    };
    const double times = ratio(spread_of(point.on, &AnswerRound::sequence_per_s).middle,
                               spread_of(point.off, &AnswerRound::sequence_per_s).middle);
    std::printf("%8lld %9lld %9lld %5.1f %% %12.2f  %-24s %-24s %7.2f%s\n",
                static_cast<long long>(point.batch), static_cast<long long>(sum.drafted),
                static_cast<long long>(sum.accepted), 100 * sum.acceptance_rate(),
                sum.tokens_per_step(), rates(point.on).c_str(), rates(point.off).c_str(), times,
                same_tokens(point) ? "" : "  (tokens differ between rounds)");
  }
}

}  // namespace ferry::cmd
