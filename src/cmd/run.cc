// `ferry run [MODEL]`: a chat with a person, or one answer with -p.
#include <unistd.h>
#include <CLI/CLI.hpp>

#include <cstdio>

#include "cmd/builtin_model.h"
#include "cmd/chat.h"
#include "cmd/command.h"
#include "cmd/engine_flags.h"
#include "cmd/interrupt.h"
#include "cmd/read_input.h"

namespace ferry::cmd {
namespace {

constexpr const char* kRunFooter =
    R"(Without -p, and with a terminal, this is a chat: /help there shows the commands.
Without -p, and with a pipe or file as standard input, the prompt is read from there.

Examples:
  ferry run                                      talk to the built-in model
  ferry run -p "What is 12 + 34?" --thinking     one answer; reasoning is shown on a terminal
  ferry run model.gguf -p - --json < letter.txt  prompt from a file, result as JSON)";

struct RunFlags {
  EngineFlags engine;
  SamplingFlags sampling;
  ConstraintFlags constraint;
  std::string prompt;
  bool has_prompt = false;
  std::string system;
  std::string tools_file;
  bool thinking = false;
  bool has_thinking = false;
  std::string reasoning = "auto";
  bool json = false;
};

ShowReasoning show_reasoning(const std::string& name) {
  if (name == "show") return ShowReasoning::kShow;
  return name == "hide" ? ShowReasoning::kHide : ShowReasoning::kAuto;
}

Result<ChatSettings> chat_settings(const RunFlags& flags, const Engine& engine) {
  ChatSettings settings;
  FERRY_TRY(settings.sampling,
            apply_sampling_flags(flags.sampling, engine.info().default_sampling));
  settings.stop = flags.sampling.stop;
  FERRY_TRY(settings.constraint, read_constraint(flags.constraint));
  settings.verbose = flags.engine.verbose;
  // The built-in model was made to think: that is when its answers are right.
  if (is_builtin_model(flags.engine.model)) settings.thinking = true;
  if (flags.has_thinking) settings.thinking = flags.thinking;
  if (!flags.tools_file.empty()) {
    FERRY_TRY(settings.tools_json, read_input(flags.tools_file));
  }
  return settings;
}

void print_result(const Engine& engine, const Completion& completion) {
  Json result;
  result["model"] = engine.info().name;
  result["text"] = completion.text;
  if (!completion.reasoning.empty()) result["reasoning"] = completion.reasoning;
  if (!completion.tool_calls.empty()) result["tool_calls"] = tool_calls_json(completion.tool_calls);
  add_finish(result, completion.finish);
  print_json(result);
}

int answer_once(const RunFlags& flags, const Engine& engine, const ChatSettings& settings,
                Conversation conversation, std::string prompt) {
  conversation.add_user(std::move(prompt));
  Result<TokenStream> stream =
      engine.submit({.prompt = ChatPrompt{.messages_json = conversation.messages_json(),
                                          .tools_json = settings.tools_json,
                                          .thinking = settings.thinking,
                                          .extra_json = {}},
                     .sampling = settings.sampling,
                     .stop = settings.stop,
                     .constraint = settings.constraint});
  if (!stream.ok()) return fail(stream.error());
  const Completion completion =
      flags.json ? collect_answer(std::move(stream).value())
                 : print_answer(std::move(stream).value(),
                                detect_answer_style(show_reasoning(flags.reasoning)));
  if (completion.finish.error.has_value()) return fail(*completion.finish.error);
  if (flags.json) print_result(engine, completion);
  if (flags.engine.verbose) {
    std::fprintf(stderr, "ferry: %s\n", describe_speed(completion.finish).c_str());
  }
  return finish_exit_code(completion.finish);
}

int run(const RunFlags& flags) {
  const bool from_stdin = flags.prompt == "-" || (!flags.has_prompt && isatty(STDIN_FILENO) == 0);
  const bool once = flags.has_prompt || from_stdin;
  if (flags.json && !once) return fail(invalid_input("--json: needs a prompt (-p)"));
  std::string prompt = flags.prompt;
  if (from_stdin) {
    Result<std::string> input = read_input("-");
    if (!input.ok()) return fail(input.error());
    prompt = std::move(input).value();
  }
  if (once && prompt.empty()) return fail(invalid_input("-p: the prompt is empty"));
  catch_interrupts();
  Result<Engine> engine = load_engine(flags.engine, 1);
  if (!engine.ok()) return fail(engine.error());
  if (!engine->info().has_chat_format) {
    return fail(engine->render_chat({}).error());  // says what is in the way
  }
  Result<ChatSettings> settings = chat_settings(flags, *engine);
  if (!settings.ok()) return fail(settings.error());
  Conversation conversation;
  conversation.set_system(flags.system);
  if (once) {
    return answer_once(flags, *engine, *settings, std::move(conversation), std::move(prompt));
  }
  return Chat(*engine, std::move(settings).value(), std::move(conversation)).run();
}

}  // namespace

void add_run(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("run", "Talk to a model, or get one answer with -p");
  command->footer(kRunFooter);
  auto flags = std::make_shared<RunFlags>();
  command
      ->add_option("model,-m,--model", flags->engine.model,
                   "Path, alias or org/name; without it: the built-in model")
      ->type_name("MODEL");
  CLI::Option* prompt =
      command
          ->add_option("-p,--prompt", flags->prompt, "Answer this and stop; -: read it from stdin")
          ->type_name("TEXT");
  command->add_option("--system", flags->system, "How the model is to behave")->type_name("TEXT");
  command->add_option("--tools", flags->tools_file, "Tools the model may call, as OpenAI has them")
      ->type_name("FILE");
  CLI::Option* thinking = command->add_flag("--thinking,!--no-thinking", flags->thinking,
                                            "Let the model think before it answers, or not");
  command
      ->add_option("--reasoning", flags->reasoning,
                   "Print what it thinks: auto (on a terminal), show or hide")
      ->type_name("WHEN")
      ->check(CLI::IsMember({"auto", "show", "hide"}));
  command->add_flag("--json", flags->json, "With a prompt: print the whole result as JSON");
  add_engine_flags(*command, flags->engine);
  add_sampling_flags(*command, flags->sampling);
  add_constraint_flags(*command, flags->constraint);
  command->callback([&action, flags, prompt, thinking] {
    flags->has_prompt = prompt->count() > 0;
    flags->has_thinking = thinking->count() > 0;
    action = [flags] { return run(*flags); };
  });
}

}  // namespace ferry::cmd
