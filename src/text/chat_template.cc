// See chat_template.h. Here the interpreter's exceptions become results.
#include "text/chat_template.h"

#include <algorithm>
#include <new>
#include <utility>

#include "base/quote_name.h"
#include "text/jinja_ast.h"
#include "text/jinja_eval.h"
#include "text/jinja_parser.h"

namespace ferry::text {
namespace {

constexpr size_t kMaxMessageBytes = 1000;

Error to_error(jinja::JinjaError error) {
  std::replace(error.message.begin(), error.message.end(), '\n', ' ');
  return {error.kind, fmt::format("template line {}: {}", error.line,
                                  one_line(error.message, kMaxMessageBytes))};
}

}  // namespace

Result<ChatTemplate> ChatTemplate::parse(std::string_view source) {
  if (static_cast<int64_t>(source.size()) > kMaxTemplateBytes) {
    return invalid_input("template of {} bytes, the limit is {}", source.size(), kMaxTemplateBytes);
  }
  try {
    auto ast = std::make_shared<jinja::Ast>();
    jinja::parse_template(source, ast.get());
    return ChatTemplate(std::move(ast));
  } catch (jinja::JinjaError& error) {
    return to_error(std::move(error));
  }
}

Result<std::string> ChatTemplate::render(const Json& context, const RenderLimits& limits) const {
  if (!context.is_object()) {
    return invalid_input("template context: expected an object, found {}", json_type_name(context));
  }
  jinja::InterpreterOptions options;
  options.heap = {limits.max_steps, limits.max_memory_bytes, limits.max_depth};
  options.max_output_bytes = limits.max_output_bytes;
  options.local_time = limits.local_time;
  try {
    return jinja::Interpreter(*ast_, context, options).run();
  } catch (jinja::JinjaError& error) {
    return to_error(std::move(error));
  } catch (const std::bad_alloc&) {
    return out_of_memory("template: not enough memory to render it");
  }
}

}  // namespace ferry::text
