// `ferry complete [MODEL]`: continues a text as it stands, without a chat template.
#include <unistd.h>
#include <CLI/CLI.hpp>

#include <cstdio>

#include "cmd/answer.h"
#include "cmd/command.h"
#include "cmd/engine_flags.h"
#include "cmd/interrupt.h"
#include "cmd/read_input.h"

namespace ferry::cmd {
namespace {

constexpr const char* kCompleteFooter =
    R"(Special tokens may be spelled out in the prompt (--plain takes them as text).

Examples:
  ferry complete model.gguf -p "The capital of France is" -n 20
  ferry complete model.gguf -p - --stop "###" < draft.txt
  ferry complete model.gguf -p "1 2 3" -n 4 --logprobs 3 --json
  ferry complete model.gguf -p "Today is a " --regex "(Mon|Tues|Wednes|Thurs|Fri)day")";

struct CompleteFlags {
  EngineFlags engine;
  SamplingFlags sampling;
  ConstraintFlags constraint;
  std::string prompt;
  bool no_bos = false;
  bool plain = false;
  bool echo = false;
  bool json = false;
  int64_t logprobs = -1;
};

Json token_json(const Engine& engine, const TokenLogprob& token) {
  return {
      {"id", token.token}, {"text", engine.token_bytes(token.token)}, {"logprob", token.logprob}};
}

Json logprobs_json(const Engine& engine, const std::vector<PositionLogprobs>& positions) {
  Json list = Json::array();
  for (const PositionLogprobs& position : positions) {
    Json entry = token_json(engine, position.chosen);
    entry["top"] = Json::array();
    for (const TokenLogprob& token : position.top) {
      entry["top"].push_back(token_json(engine, token));
    }
    list.push_back(std::move(entry));
  }
  return list;
}

void print_completions(const CompleteFlags& flags, const Engine& engine, const std::string& prompt,
                       const Completion& completion) {
  Json result;
  result["model"] = engine.info().name;
  result["text"] = flags.echo ? prompt + completion.text : completion.text;
  result["tokens"] = completion.tokens;
  if (flags.logprobs >= 0) result["logprobs"] = logprobs_json(engine, completion.logprobs);
  add_finish(result, completion.finish);
  print_json(result);
}

int complete(const CompleteFlags& flags) {
  std::string prompt = flags.prompt;
  if (prompt.empty() || prompt == "-") {
    if (prompt.empty() && isatty(STDIN_FILENO) == 1) {
      return fail(invalid_input("-p: a prompt is needed"));
    }
    Result<std::string> input = read_input("-");
    if (!input.ok()) return fail(input.error());
    prompt = std::move(input).value();
  }
  Result<std::optional<Constraint>> constraint = read_constraint(flags.constraint);
  if (!constraint.ok()) return fail(constraint.error());
  catch_interrupts();
  Result<Engine> engine = load_engine(flags.engine, 1);
  if (!engine.ok()) return fail(engine.error());
  Result<SamplingParams> sampling =
      apply_sampling_flags(flags.sampling, engine->info().default_sampling);
  if (!sampling.ok()) return fail(sampling.error());
  sampling->logprobs = flags.logprobs;
  Result<TokenStream> stream =
      engine->submit({.prompt = TextPrompt{prompt, !flags.no_bos, !flags.plain},
                      .sampling = std::move(sampling).value(),
                      .stop = flags.sampling.stop,
                      .constraint = std::move(constraint).value()});
  if (!stream.ok()) return fail(stream.error());
  const AnswerStyle style = detect_answer_style(ShowReasoning::kAuto);
  if (flags.echo && !flags.json) {
    std::fputs((style.terminal ? without_controls(prompt) : prompt).c_str(), stdout);
  }
  const Completion completion = flags.json ? collect_answer(std::move(stream).value())
                                           : print_answer(std::move(stream).value(), style);
  if (completion.finish.error.has_value()) return fail(*completion.finish.error);
  if (flags.json) print_completions(flags, *engine, prompt, completion);
  if (flags.engine.verbose) {
    std::fprintf(stderr, "ferry: %s\n", describe_speed(completion.finish).c_str());
  }
  return finish_exit_code(completion.finish);
}

}  // namespace

void add_complete(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("complete", "Continue a text, without a chat template");
  command->footer(kCompleteFooter);
  auto flags = std::make_shared<CompleteFlags>();
  command
      ->add_option("model,-m,--model", flags->engine.model,
                   "Path, alias or org/name; without it: the built-in model")
      ->type_name("MODEL");
  command->add_option("-p,--prompt", flags->prompt, "The text; -: read it from stdin")
      ->type_name("TEXT");
  command->add_flag("--no-bos", flags->no_bos, "Put nothing in front of the text");
  command->add_flag("--plain", flags->plain, "Spellings of special tokens are ordinary text");
  command->add_flag("--echo", flags->echo, "Print the prompt in front of what follows");
  CLI::Option* json =
      command->add_flag("--json", flags->json, "Print the whole result as JSON at the end");
  command
      ->add_option("--logprobs", flags->logprobs,
                   "With --json: log-probabilities, also of the N most probable tokens")
      ->type_name("N")
      ->default_str("")
      ->needs(json);
  flags->engine.pack_weights = "copy";  // one answer: what it takes to pack is not won back
  add_engine_flags(*command, flags->engine);
  add_sampling_flags(*command, flags->sampling);
  add_constraint_flags(*command, flags->constraint);
  command->callback([&action, flags] { action = [flags] { return complete(*flags); }; });
}

}  // namespace ferry::cmd
