// Holds the built-in model to the accuracy it was published with, through the public API.
//
//   demo_accuracy MODEL BACKEND full|short
//
// full:  demo/accuracy.jsonl, 1,120 problems; per task within one point of demo/accuracy.json.
// short: demo/eval.jsonl, 300 problems, each with what the reference implementation made of it; per
//        task within one point of that.
// Both sets were drawn with seeds, so that a correct engine gives the very same answers up to ties
// of logits.
#include <fmt/format.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
#include <vector>

#include "base/json.h"
#include "ferry/ferry.h"

namespace {

using ferry::Json;

constexpr int64_t kMaxNewTokens = 400;
constexpr double kMaxPoints = 1.0;

[[noreturn]] void die(const std::string& message) {
  std::fprintf(stderr, "demo_accuracy: %s\n", message.c_str());
  std::exit(2);
}

std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) die("cannot read " + path);
  return {std::istreambuf_iterator<char>(in), {}};
}

struct Problem {
  std::string task;  // "add, thinking"
  std::string prompt;
  std::string expected;
  bool must_think = false;
  bool reference_correct = false;  // short set
};

std::vector<Problem> read_problems(const std::string& path) {
  std::vector<Problem> problems;
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) {
    auto json = ferry::parse_json(line);
    if (!json.ok()) die(path + ": " + json.error().message);
    Problem problem;
    problem.task = (*json)["task"].get<std::string>() +
                   ((*json)["thinking"].get<bool>() ? ", thinking" : ", direct");
    problem.prompt = (*json)["prompt"];
    problem.expected = (*json)["expected"];
    problem.must_think = problem.prompt.ends_with("<think>");
    problem.reference_correct = json->value("reference_correct", false);
    problems.push_back(std::move(problem));
  }
  if (problems.empty()) die("no problems in " + path);
  return problems;
}

// Reasoning closed exactly when it was asked for, and the answer behind it word for word.
bool correct(const Problem& problem, const std::string& text) {
  const size_t end = text.find("</think>");
  const bool closed = end != std::string::npos;
  return closed == problem.must_think && (closed ? text.substr(end + 8) : text) == problem.expected;
}

std::vector<std::string> answers(const ferry::Engine& engine,
                                 const std::vector<Problem>& problems) {
  std::vector<ferry::TokenStream> streams;
  for (const Problem& problem : problems) {
    ferry::Request request{.prompt = ferry::TextPrompt{problem.prompt, false, true}};
    request.sampling.temperature = 0;
    request.stop.max_tokens = kMaxNewTokens;
    auto stream = engine.submit(request);
    if (!stream.ok()) die(stream.error().message);
    streams.push_back(std::move(*stream));
  }
  std::vector<std::string> texts;
  for (ferry::TokenStream& stream : streams) {
    std::string text;
    while (auto event = stream.next()) {
      text += event->text;
      if (event->finish && event->finish->error) die(event->finish->error->message);
    }
    texts.push_back(std::move(text));
  }
  return texts;
}

struct Score {
  int count = 0, right = 0, expected = 0;
};

std::map<std::string, Score> expected_scores(bool full, const std::vector<Problem>& problems) {
  std::map<std::string, Score> scores;
  if (!full) {
    for (const Problem& problem : problems)
      scores[problem.task].expected += problem.reference_correct;
    return scores;
  }
  auto table = ferry::parse_json(read_file(FERRY_SOURCE_DIR "/demo/accuracy.json"));
  if (!table.ok()) die(table.error().message);
  for (const auto& [task, modes] : table->items()) {
    for (const auto& [mode, fraction] : modes.items()) {
      scores[task + ", " + mode].expected = fraction[0].get<int>();
    }
  }
  return scores;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) die("usage: demo_accuracy MODEL BACKEND full|short");
  const bool full = std::string(argv[3]) == "full";
  const auto problems = read_problems(full ? FERRY_SOURCE_DIR "/demo/accuracy.jsonl"
                                           : FERRY_SOURCE_DIR "/demo/eval.jsonl");
  auto engine = ferry::Engine::load({.model = argv[1],
                                     .backend = argv[2],
                                     .max_context = 1024,
                                     .max_sequences = 64,
                                     .max_batch_tokens = 512,
                                     .max_waiting = 100000});
  if (!engine.ok()) die(engine.error().message);

  const std::vector<std::string> texts = answers(*engine, problems);
  std::map<std::string, Score> scores = expected_scores(full, problems);
  int right = 0;
  for (size_t i = 0; i < problems.size(); ++i) {
    Score& score = scores[problems[i].task];
    const bool ok = correct(problems[i], texts[i]);
    ++score.count;
    score.right += ok;
    right += ok;
  }
  int failed = 0;
  for (const auto& [task, score] : scores) {
    if (score.count == 0) die("no problem of " + task);
    const double points = 100.0 * (score.right - score.expected) / score.count;
    const bool good = std::fabs(points) <= kMaxPoints;
    failed += !good;
    std::printf("%-22s %3d/%3d  expected %3d  %s\n", task.c_str(), score.right, score.count,
                score.expected, good ? "" : "<- more than a point away");
  }
  std::printf("%d of %zu correct with %s on %s\n", right, problems.size(), argv[1], argv[2]);
  return failed == 0 ? 0 : 1;
}
