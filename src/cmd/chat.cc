// See chat.h.
#include "cmd/chat.h"

#include <charconv>
#include <cstdio>

#include "base/quote_name.h"
#include "cmd/command.h"
#include "cmd/engine_flags.h"
#include "cmd/interrupt.h"

namespace ferry::cmd {
namespace {

constexpr const char* kHelp =
    "  /reset             forget the conversation (the system message stays)\n"
    "  /system TEXT       how the model is to behave; without TEXT: show it\n"
    "  /thinking on|off   let the model think before it answers, or not\n"
    "  /set NAME VALUE    change how answers are sampled; without both: show all\n"
    "  /save FILE         write the conversation as JSON\n"
    "  /load FILE         read one\n"
    "  /exit              leave (as Ctrl-D)\n"
    "  Several lines: begin and end with \"\"\", or end each line but the last with \\.\n"
    "  Ctrl-C stops an answer.\n";

constexpr std::string_view kFence = "\"\"\"";

std::string trimmed_line(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return "";
  return std::string(text.substr(begin, text.find_last_not_of(" \t") - begin + 1));
}

template <typename T>
Status parse_setting(std::string_view name, std::string_view text, T& value) {
  T parsed{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), parsed);
  if (error != std::errc() || end != text.data() + text.size()) {
    return invalid_input("{}: {} is not a number it can be", name, quote_name(text));
  }
  value = parsed;
  return {};
}

// One dispatch for reading and showing: `visit(name, reference)` for every setting.
template <typename Settings, typename Visit>
void for_each_number(Settings& settings, Visit visit) {
  visit("temperature", settings.sampling.temperature);
  visit("top_k", settings.sampling.top_k);
  visit("top_p", settings.sampling.top_p);
  visit("min_p", settings.sampling.min_p);
  visit("presence_penalty", settings.sampling.presence_penalty);
  visit("frequency_penalty", settings.sampling.frequency_penalty);
  visit("repetition_penalty", settings.sampling.repetition_penalty);
  visit("max_tokens", settings.stop.max_tokens);
}

}  // namespace

Status change_setting(ChatSettings& settings, std::string_view name, std::string_view value) {
  if (name == "seed") {
    if (value == "random") {
      settings.sampling.seed.reset();
      return {};
    }
    uint64_t seed = 0;
    FERRY_TRY_VOID(parse_setting(name, value, seed));
    settings.sampling.seed = seed;
    return {};
  }
  std::optional<Status> status;
  for_each_number(settings, [&](std::string_view candidate, auto& field) {
    if (candidate == name) status = parse_setting(name, value, field);
  });
  if (status.has_value()) return *status;
  return invalid_input("/set: there is no {}; /set alone shows what there is", quote_name(name));
}

std::string describe_settings(const ChatSettings& settings) {
  std::string text;
  for_each_number(settings, [&](std::string_view name, const auto& field) {
    text += fmt::format("  {} {}\n", name, field);
  });
  const std::optional<uint64_t> seed = settings.sampling.seed;
  return text + fmt::format("  seed {}\n", seed ? std::to_string(*seed) : "random");
}

Chat::Chat(const Engine& engine, ChatSettings settings, Conversation conversation)
    : engine_(engine),
      settings_(std::move(settings)),
      conversation_(std::move(conversation)),
      style_(detect_answer_style(ShowReasoning::kAuto)),
      reader_(history_path()) {}

int Chat::run() {
  std::printf("%s · /help shows the commands, Ctrl-D leaves\n", engine_.info().name.c_str());
  while (true) {
    std::string text;
    const LineReader::Outcome outcome = read_message(text);
    if (outcome == LineReader::Outcome::kEnd) {
      std::fputs("\n", stdout);
      return 0;
    }
    if (outcome == LineReader::Outcome::kInterrupted) {
      std::fputs("(Ctrl-D or /exit leaves)\n", stdout);
      continue;
    }
    if (trimmed_line(text).empty()) continue;
    reader_.remember(text);
    if (text[0] == '/') {
      if (obey(text) == Next::kLeave) return 0;
      continue;
    }
    answer(std::move(text));
  }
}

// One message, which may be several lines.
LineReader::Outcome Chat::read_message(std::string& text) {
  LineReader::Outcome outcome = reader_.read("> ", text);
  if (outcome != LineReader::Outcome::kLine) return outcome;
  std::string line;
  if (text.starts_with(kFence)) {
    text.erase(0, kFence.size());
    size_t end = text.find(kFence);
    while (end == std::string::npos) {
      outcome = reader_.read("… ", line);
      if (outcome != LineReader::Outcome::kLine) return outcome;
      const size_t searched = text.size();
      text += "\n" + line;
      end = text.find(kFence, searched);
    }
    text.erase(end);
    if (text.starts_with("\n")) text.erase(0, 1);
    return outcome;
  }
  while (text.ends_with("\\")) {
    outcome = reader_.read("… ", line);
    if (outcome != LineReader::Outcome::kLine) return outcome;
    text.back() = '\n';
    text += line;
  }
  return outcome;
}

void Chat::say(const Status& status, const std::string& done) const {
  if (status.ok()) {
    std::printf("%s\n", done.c_str());
  } else {
    fail(status.error());
  }
}

Chat::Next Chat::obey(const std::string& line) {
  const size_t space = line.find_first_of(" \t");
  const std::string command = line.substr(0, space);
  const std::string argument = space == std::string::npos ? "" : trimmed_line(line.substr(space));
  if (command == "/exit" || command == "/quit" || command == "/bye") return Next::kLeave;
  if (command == "/help" || command == "/?") {
    std::fputs(kHelp, stdout);
  } else if (command == "/reset") {
    conversation_.reset();
    std::puts("forgotten");
  } else if (command == "/system") {
    if (!argument.empty()) conversation_.set_system(argument);
    const std::string& system = conversation_.system();
    std::printf("%s\n", system.empty() ? "no system message" : system.c_str());
  } else if (command == "/thinking") {
    return obey_thinking(argument);
  } else if (command == "/set") {
    const size_t gap = argument.find_first_of(" \t");
    if (gap == std::string::npos) {
      std::fputs(describe_settings(settings_).c_str(), stdout);
    } else {
      say(change_setting(settings_, argument.substr(0, gap), trimmed_line(argument.substr(gap))),
          "set");
    }
  } else if (command == "/save" || command == "/load") {
    const bool save = command == "/save";
    if (argument.empty()) {
      fail(invalid_input("{}: which file?", command));
    } else {
      const Status status = save ? conversation_.save(argument) : conversation_.load(argument);
      say(status, fmt::format("{} {}: {} messages", save ? "saved" : "loaded", argument,
                              conversation_.num_turns()));
    }
  } else {
    fail(invalid_input("{}: no such command; /help shows them", one_line(command)));
  }
  return Next::kGoOn;
}

Chat::Next Chat::obey_thinking(const std::string& argument) {
  if (argument == "on" || argument == "off") {
    settings_.thinking = argument == "on";
  } else if (!argument.empty()) {
    fail(invalid_input("/thinking: {}; expected on or off", quote_name(argument)));
    return Next::kGoOn;
  }
  const char* chosen = settings_.thinking.value_or(false) ? "on" : "off";
  std::printf("thinking: %s\n", settings_.thinking.has_value() ? chosen : "as the model likes");
  return Next::kGoOn;
}

void Chat::answer(std::string text) {
  conversation_.add_user(std::move(text));
  clear_interrupt();
  Result<TokenStream> stream =
      engine_.submit({.prompt = ChatPrompt{.messages_json = conversation_.messages_json(),
                                           .tools_json = settings_.tools_json,
                                           .thinking = settings_.thinking,
                                           .extra_json = {}},
                      .sampling = settings_.sampling,
                      .stop = settings_.stop,
                      .constraint = settings_.constraint});
  if (!stream.ok()) {
    fail(stream.error());
    conversation_.drop_last();
    return;
  }
  Completion completion = print_answer(std::move(stream).value(), style_);
  if (completion.finish.error.has_value()) {
    fail(*completion.finish.error);
    conversation_.drop_last();
    return;
  }
  if (completion.finish.reason == FinishReason::kLength) {
    std::fputs("(cut off: the limit of tokens is reached; /reset makes room)\n", stderr);
  }
  if (settings_.verbose || use_color(STDERR_FILENO)) {
    const bool dim = use_color(STDERR_FILENO);
    std::fprintf(stderr, "%s%s%s\n", dim ? "\033[2m" : "",
                 describe_speed(completion.finish).c_str(), dim ? "\033[0m" : "");
  }
  // What was said until Ctrl-C was said.
  conversation_.add_assistant(std::move(completion));
}

}  // namespace ferry::cmd
