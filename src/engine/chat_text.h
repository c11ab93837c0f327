// From a conversation to the text a model continues: parses the JSON of a ChatPrompt, picks the
// model's chat format and says in which state the answer begins.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "disk/model_source.h"
#include "ferry/ferry.h"
#include "text/chat_format.h"
#include "text/tokenizer.h"
#include "text/tool_calls.h"

namespace ferry::engine {

class ChatText {
 public:
  // The checkpoint's own template, else the format of its family. What stands in the way is kept
  // for render(): a model whose template can't be read still completes texts.
  ChatText(const disk::ModelSource& source, const text::Tokenizer& tokenizer);

  bool usable() const { return !error_.has_value(); }

  // Errors: no chat format; JSON that is none, "messages: …", "tools: …"; what the template says.
  Result<std::string> render(const ChatPrompt& chat) const;

  // An array, empty where the chat has none. Errors: "tools: …".
  Result<Json> tools(const ChatPrompt& chat) const;
  // How the model writes down that it wants a tool called. nullopt: nobody knows.
  std::optional<text::ToolFormat> call_format() const { return call_format_; }
  // Takes the calls out of the answer to `chat`. nullptr: it has no tools, or call_format() is
  // not known, and so everything is text.
  std::unique_ptr<text::ToolCallParser> call_parser(const ChatPrompt& chat, bool parallel) const;

 private:
  std::optional<text::ChatFormat> format_;
  std::optional<text::ChatFormat> tool_format_;  // some checkpoints have one of its own for tools
  std::optional<text::ToolFormat> call_format_;
  std::optional<Error> error_;
};

// The rendered prompt ends in an opened <think>, or goes on inside one: the answer begins with
// reasoning.
bool opens_reasoning(const ChatPrompt& chat, std::string_view prompt);

}  // namespace ferry::engine
