// The interactive chat of `ferry run`: reads lines, answers, obeys /commands.
#pragma once

#include <optional>
#include <string>

#include "cmd/answer.h"
#include "cmd/conversation.h"
#include "cmd/line_reader.h"
#include "ferry/ferry.h"

namespace ferry::cmd {

struct ChatSettings {
  SamplingParams sampling;
  StopConditions stop;
  std::optional<Constraint> constraint;  // of every answer
  std::optional<bool> thinking;          // none: as the model's chat format has it
  std::string tools_json;
  bool verbose = false;
};

// One of the names that /set knows, with a value as the user typed it.
// Errors: a name or number that is none; ranges are the engine's to check.
Status change_setting(ChatSettings& settings, std::string_view name, std::string_view value);
// All of them, one "name value" a line.
std::string describe_settings(const ChatSettings& settings);

class Chat {
 public:
  Chat(const Engine& engine, ChatSettings settings, Conversation conversation);

  // Until the user leaves. Returns the exit code.
  int run();

 private:
  enum class Next { kGoOn, kLeave };

  LineReader::Outcome read_message(std::string& text);
  Next obey(const std::string& line);
  Next obey_thinking(const std::string& argument);
  void answer(std::string text);
  void say(const Status& status, const std::string& done) const;

  const Engine& engine_;
  ChatSettings settings_;
  Conversation conversation_;
  AnswerStyle style_;
  LineReader reader_;
};

}  // namespace ferry::cmd
