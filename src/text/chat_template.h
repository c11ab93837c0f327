// ChatTemplate: the Jinja program of a checkpoint's tokenizer_config.json, which turns a list of
// messages into the text the model was trained on.
//
// Semantics are those of jinja2 3.1 as Hugging Face sets it up: trim_blocks, lstrip_blocks, break
// and continue, an immutable sandbox, `tojson` that escapes nothing, raise_exception, strftime_now
// and {% generation %}. What ferry does not know is an error that names the line and the
// construct. Rendering is bounded in steps, memory, nesting and output.
#pragma once

#include <ctime>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"

namespace ferry::text {

namespace jinja {
struct Ast;
}

struct RenderLimits {
  int64_t max_steps = 50'000'000;  // roughly nodes evaluated; a second or two
  int64_t max_memory_bytes = 512 << 20;
  int64_t max_output_bytes = 64 << 20;
  int max_depth = 400;
  // What strftime_now() sees; absent: the local time. Not a bound, but tests must fix it too.
  std::optional<std::tm> local_time;
};

inline constexpr int64_t kMaxTemplateBytes = 4 << 20;

// Immutable once parsed; any number of threads may render at once.
class ChatTemplate {
 public:
  // Errors: "template line N: ...".
  static Result<ChatTemplate> parse(std::string_view source);

  // `context` is an object: messages, tools, add_generation_prompt, bos_token, eos_token and
  // whatever else the template reads. Errors: "template line N: ...", among them the messages of
  // the template's own raise_exception().
  Result<std::string> render(const Json& context, const RenderLimits& limits = {}) const;

 private:
  explicit ChatTemplate(std::shared_ptr<const jinja::Ast> ast) : ast_(std::move(ast)) {}

  std::shared_ptr<const jinja::Ast> ast_;
};

}  // namespace ferry::text
