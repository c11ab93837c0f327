// Conversation: the messages of a chat, as `ferry run` keeps, saves and loads them. A file holds
//   {"messages": [{"role": "user", "content": "…"}, …]}
// which is what the OpenAI API takes, so that a saved chat can be sent to any server.
#pragma once

#include <string>

#include "base/json.h"
#include "base/result.h"
#include "ferry/ferry.h"

namespace ferry::cmd {

// As the messages of an assistant have them.
Json tool_calls_json(const std::vector<ToolCall>& calls);

class Conversation {
 public:
  // Replaces the system message; empty: none.
  void set_system(std::string text);
  const std::string& system() const { return system_; }

  void add_user(std::string text);
  void add_assistant(Completion answer);
  void drop_last();                         // the user's message that got no answer
  void reset() { turns_ = Json::array(); }  // the system message stays
  int64_t num_turns() const { return static_cast<int64_t>(turns_.size()); }

  // The messages as a JSON array.
  std::string messages_json() const;

  Status save(const std::string& path) const;
  // Errors name the file and what is wrong with it; the conversation is then unchanged.
  Status load(const std::string& path);

 private:
  Json messages() const;

  std::string system_;
  Json turns_ = Json::array();
};

}  // namespace ferry::cmd
