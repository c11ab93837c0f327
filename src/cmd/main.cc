// The binary: reads the command line, the environment and the config file, and runs one command.
//
// Precedence: flag, environment (FERRY_<FLAG>), config file (TOML), default. Exit codes: command.h.
#include <CLI/CLI.hpp>
#include <clocale>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "cmd/command.h"

namespace ferry::cmd {
namespace {

constexpr const char* kMainFooter =
    R"(Models are named by path (a directory, a .gguf, the first shard), by alias,
or as org/name in the Hugging Face cache. Without one, the small built-in model answers.

Environment:
  FERRY_<FLAG>        default of --flag of every command, e.g. FERRY_THREADS=4
  FERRY_CPU           generic, avx2, avx512, amx, neon or dotprod: an instruction set of the cpu
                      backend
  HF_HUB_CACHE, HF_HOME, HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE   as Hugging Face's tools read them
  NO_COLOR            no colours or other escape sequences

Files:
  ~/.config/ferry/config.toml    defaults of flags, one section per command ($XDG_CONFIG_HOME)
  ~/.config/ferry/aliases.json   {"short name": "path or org/name"}

Exit codes: 0 done; 1 a check failed; 2 wrong flag, file or model; 3 system or network;
4 out of memory; 5 device; 130 interrupted.

Examples:
  ferry run                                     talk to the built-in model
  ferry run deepseek-ai/DeepSeek-V2-Lite-Chat   talk to a model of the Hugging Face cache
  ferry run model.gguf -p "Why is the sky blue?" --json
  ferry serve model.gguf                        OpenAI-compatible server and web page on port 8000
  ferry show model.gguf                         what it is and what it needs
  ferry doctor --measure                        what this machine is and how fast it can be)";

std::string default_config_path() {
  const char* xdg = std::getenv("XDG_CONFIG_HOME");
  const char* home = std::getenv("HOME");
  std::string path;
  if (xdg != nullptr && *xdg != '\0') {
    path = std::string(xdg) + "/ferry/config.toml";
  } else if (home != nullptr) {
    path = std::string(home) + "/.config/ferry/config.toml";
  }
  std::error_code ignored;
  return std::filesystem::is_regular_file(path, ignored) ? path : "";
}

// --max-tokens can also be given as FERRY_MAX_TOKENS.
std::string variable_of(const std::string& flag) {
  std::string variable = "FERRY_";
  for (char c : flag) {
    variable += c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  }
  return variable;
}

void name_environment(CLI::App& command) {
  for (CLI::Option* option : command.get_options()) {
    const auto& names = option->get_lnames();
    if (names.empty() || names[0] == "help" || names[0] == "help-all") continue;
    option->envname(variable_of(names[0]));
  }
  for (CLI::App* inner : command.get_subcommands({})) name_environment(*inner);
}

// CLI11 reads the file first and asks the environment only for what is still unset; here the
// environment goes before the file.
class FileBehindEnvironment : public CLI::ConfigTOML {
 public:
  std::vector<CLI::ConfigItem> from_config(std::istream& input) const override {
    std::vector<CLI::ConfigItem> kept = CLI::ConfigTOML::from_config(input);
    std::erase_if(kept, [](const CLI::ConfigItem& item) {
      return std::getenv(variable_of(item.name).c_str()) != nullptr;
    });
    return kept;
  }
};

// Help without "(Env:FERRY_X)" behind every line: the footer says the rule once.
class HelpFormatter : public CLI::Formatter {
 public:
  std::string make_option_opts(const CLI::Option* option) const override {
    std::string text;
    if (option->get_type_size() != 0) {
      if (!option->get_type_name().empty()) text += " " + get_label(option->get_type_name());
      if (!option->get_default_str().empty()) text += " [" + option->get_default_str() + "]";
      if (option->get_required()) text += " (required)";
    }
    return text;
  }
};

int main_impl(int argc, char** argv) {
  CLI::App app{"ferry runs and serves open-weight language models on whatever chip there is."};
  app.name("ferry");
  app.footer(kMainFooter);
  app.set_version_flag("-V,--version", "ferry " FERRY_VERSION);
  auto formatter = std::make_shared<HelpFormatter>();
  formatter->column_width(34);
  app.formatter(formatter);
  app.require_subcommand(0, 1);
  app.fallthrough();
  app.option_defaults()->always_capture_default();

  app.config_formatter(std::make_shared<FileBehindEnvironment>());
  app.set_config("--config", default_config_path(), "Read defaults of flags from this TOML file")
      ->type_name("FILE");
  bool print_config = false;
  app.add_flag("--print-config", print_config,
               "Print the flags of the command as they are in force, as TOML, and stop");

  Action action;
  add_run(app, action);
  add_complete(app, action);
  add_serve(app, action);
  add_show(app, action);
  add_ls(app, action);
  add_pull(app, action);
  add_pack(app, action);
  add_doctor(app, action);
  add_bench(app, action);
  add_logits(app, action);
  add_tokenize(app, action);
  add_synth(app, action);
  add_plan(app, action);
  add_completion(app, action);
  for (CLI::App* command : app.get_subcommands({})) {
    command->formatter(formatter);
    for (CLI::App* inner : command->get_subcommands({})) inner->formatter(formatter);
    name_environment(*command);
  }

  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& success) {  // --help, --version
    return app.exit(success);
  } catch (const CLI::ParseError& error) {
    const bool known = !app.get_subcommands().empty();
    std::string help = known ? "ferry " + app.get_subcommands()[0]->get_name() : "ferry";
    if (known && !app.get_subcommands()[0]->get_subcommands().empty()) {
      help += " " + app.get_subcommands()[0]->get_subcommands()[0]->get_name();
    }
    std::fprintf(stderr, "ferry: %s (see %s --help)\n", error.what(), help.c_str());
    return 2;
  }
  if (print_config) {
    std::fputs(app.config_to_str(true, false).c_str(), stdout);
    return 0;
  }
  if (!action) {
    std::fputs(app.help().c_str(), stdout);
    return 0;
  }
  return action();
}

}  // namespace
}  // namespace ferry::cmd

int main(int argc, char** argv) {
  std::setlocale(LC_CTYPE, "");
  // A reader of our output that went away is an error of write(), not the end of the program.
  std::signal(SIGPIPE, SIG_IGN);
  ferry::cmd::report_shortened_files();
  return ferry::cmd::main_impl(argc, argv);
}
