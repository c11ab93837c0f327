// `ferry completion bash|zsh|fish`: completion scripts, made from the very tree of commands and
// flags that parses the command line, so that they can't fall behind it.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <vector>

#include "cmd/command.h"

namespace ferry::cmd {
namespace {

// Single quotes for a shell string: ' → '\''
std::string shell_quoted(const std::string& text) {
  std::string out = "'";
  for (char c : text) {
    if (c == '\'') {
      out += "'\\''";
    } else {
      out += c;
    }
  }
  return out + "'";
}

std::string first_sentence(const std::string& text) { return text.substr(0, text.find('\n')); }

std::string joined_flags(const CLI::App& app) {
  std::string out;
  for (const CLI::Option* option : app.get_options()) {
    for (const auto& name : option->get_lnames()) out += (out.empty() ? "--" : " --") + name;
    for (const auto& name : option->get_snames()) out += (out.empty() ? "-" : " -") + name;
  }
  return out;
}

std::vector<const CLI::App*> commands_of(const CLI::App& app) {
  return app.get_subcommands([](const CLI::App*) { return true; });
}

// A command as it is typed: "bench serve", then "bench". Inner ones come first, so that the first
// pattern that matches is the right one.
struct TypedCommand {
  std::string words;
  const CLI::App* command;
  bool inner = false;
};

std::vector<TypedCommand> typed_commands(const CLI::App& app) {
  std::vector<TypedCommand> typed;
  for (const CLI::App* command : commands_of(app)) {
    for (const CLI::App* inner : commands_of(*command)) {
      typed.push_back({command->get_name() + " " + inner->get_name(), inner, true});
    }
    typed.push_back({command->get_name(), command});
  }
  return typed;
}

void print_bash(const CLI::App& app) {
  std::string names;
  for (const CLI::App* command : commands_of(app)) names += command->get_name() + " ";
  std::printf(
      "# bash completion for ferry: source it, or save it as\n"
      "# /usr/share/bash-completion/completions/ferry\n"
      "_ferry() {\n"
      "  local word=${COMP_WORDS[COMP_CWORD]} command=\n"
      "  local i\n"
      "  for ((i = 1; i < COMP_CWORD; ++i)); do\n"
      "    if [[ ${COMP_WORDS[i]} != -* ]]; then command+=\"${COMP_WORDS[i]} \"; fi\n"
      "  done\n"
      "  local flags=%s\n"
      "  case $command in\n",
      shell_quoted(joined_flags(app)).c_str());
  for (const TypedCommand& typed : typed_commands(app)) {
    std::printf("    %s*) flags=%s ;;\n", shell_quoted(typed.words + " ").c_str(),
                shell_quoted(joined_flags(*typed.command)).c_str());
  }
  std::printf(
      "  esac\n"
      "  if [[ $word == -* ]]; then\n"
      "    COMPREPLY=($(compgen -W \"$flags\" -- \"$word\"))\n"
      "  elif [[ -z $command ]]; then\n"
      "    COMPREPLY=($(compgen -W %s -- \"$word\"))\n"
      "  elif [[ $command == 'completion '* ]]; then\n"
      "    COMPREPLY=($(compgen -W 'bash zsh fish' -- \"$word\"))\n"
      "  else\n"
      "    COMPREPLY=($(compgen -f -- \"$word\"))\n"
      "  fi\n"
      "}\n"
      "complete -o filenames -F _ferry ferry\n",
      shell_quoted(names).c_str());
}

// zsh's _arguments takes 'spec[description]'; brackets and colons inside need a backslash.
std::string zsh_escaped(const std::string& text) {
  std::string out;
  for (char c : text) {
    if (c == '[' || c == ']' || c == ':' || c == '\\') out += '\\';
    out += c;
  }
  return out;
}

void print_zsh(const CLI::App& app) {
  std::printf(
      "#compdef ferry\n# zsh completion for ferry: save it as _ferry in a folder of $fpath\n"
      "_ferry() {\n  local -a commands\n  commands=(\n");
  for (const CLI::App* command : commands_of(app)) {
    std::printf("    %s\n", shell_quoted(command->get_name() + ":" +
                                         zsh_escaped(first_sentence(command->get_description())))
                                .c_str());
  }
  std::printf(
      "  )\n  if (( CURRENT == 2 )); then _describe command commands; return; fi\n"
      "  case \"$words[2] $words[3] \" in\n");
  for (const TypedCommand& typed : typed_commands(app)) {
    std::printf("    %s*) _arguments", shell_quoted(typed.words + " ").c_str());
    for (const CLI::Option* option : typed.command->get_options()) {
      const bool flag = option->get_type_size() == 0;
      for (const auto& name : option->get_lnames()) {
        std::printf(" \\\n      %s",
                    shell_quoted("--" + name + "[" +
                                 zsh_escaped(first_sentence(option->get_description())) + "]" +
                                 (flag ? "" : ":value:_files"))
                        .c_str());
      }
    }
    std::printf(" \\\n      %s ;;\n",
                typed.words == "completion" ? "'2:shell:(bash zsh fish)'" : "'*:file:_files'");
  }
  std::printf("  esac\n}\n_ferry \"$@\"\n");
}

void print_fish(const CLI::App& app) {
  std::printf("# fish completion for ferry: save it as ~/.config/fish/completions/ferry.fish\n");
  for (const TypedCommand& typed : typed_commands(app)) {
    const size_t space = typed.words.find(' ');
    const std::string outer = typed.words.substr(0, space);
    const std::string seen = "__fish_seen_subcommand_from ";
    std::string condition = seen + outer;
    if (typed.inner) condition += "; and " + seen + typed.words.substr(space + 1);
    std::printf("complete -c ferry -n %s -f -a %s -d %s\n",
                typed.inner ? shell_quoted(seen + outer).c_str() : "__fish_use_subcommand",
                typed.command->get_name().c_str(),
                shell_quoted(first_sentence(typed.command->get_description())).c_str());
    for (const CLI::Option* option : typed.command->get_options()) {
      if (option->get_lnames().empty()) continue;
      std::string names;
      for (const auto& long_name : option->get_lnames()) names += " -l " + long_name;
      for (const auto& short_name : option->get_snames()) names += " -s " + short_name;
      std::printf("complete -c ferry -n %s%s%s -d %s\n", shell_quoted(condition).c_str(),
                  names.c_str(), option->get_type_size() == 0 ? "" : " -r",
                  shell_quoted(first_sentence(option->get_description())).c_str());
    }
  }
  std::printf(
      "complete -c ferry -n '__fish_seen_subcommand_from completion' -f -a 'bash zsh fish'\n");
}

}  // namespace

void add_completion(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("completion", "Print a completion script for a shell");
  command->footer(
      "bash:  source <(ferry completion bash)\n"
      "zsh:   ferry completion zsh > \"${fpath[1]}/_ferry\"\n"
      "fish:  ferry completion fish > ~/.config/fish/completions/ferry.fish");
  auto shell = std::make_shared<std::string>();
  command->add_option("shell", *shell, "bash, zsh or fish")
      ->required()
      ->type_name("SHELL")
      ->check(CLI::IsMember({"bash", "zsh", "fish"}));
  command->callback([&app, &action, shell] {
    action = [&app, shell] {
      if (*shell == "bash") print_bash(app);
      if (*shell == "zsh") print_zsh(app);
      if (*shell == "fish") print_fish(app);
      return 0;
    };
  });
}

}  // namespace ferry::cmd
