// ChatFormat: how a model wants a conversation written down — by the Jinja template of its
// checkpoint, or by DeepSeek's own encoding where a DeepSeek checkpoint has none.
//
// Messages are those of the OpenAI API: an array of {role, content, …}. Content may be a string,
// null, or an array of text parts, which is joined. Arguments of tool calls may be JSON text or an
// object; each template gets the one it was written for (found out by asking it once).
// Thread safety: immutable.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"
#include "text/chat_template.h"
#include "text/deepseek_encoding.h"

namespace ferry::text {

struct ChatRequest {
  Json messages = Json::array();
  Json tools;  // array of OpenAI tool objects, or null
  bool add_generation_prompt = true;
  std::optional<bool> thinking;  // none: as the template has it
  Json extra = Json::object();   // further variables of the template; they win over all others
};

class ChatFormat {
 public:
  // Errors: "chat template: line N: …".
  static Result<ChatFormat> from_template(std::string_view source, std::string bos,
                                          std::string eos);
  static ChatFormat deepseek(DeepSeekFormat format, std::string bos, std::string eos);

  // Errors name the message and field, or the line of the template that refused.
  Result<std::string> render(const ChatRequest& request, const RenderLimits& limits = {}) const;

 private:
  ChatFormat() = default;
  Result<std::string> render_template(const Json& messages, const ChatRequest& request,
                                      const RenderLimits& limits) const;
  void probe_arguments();

  std::optional<ChatTemplate> template_;
  DeepSeekFormat deepseek_ = DeepSeekFormat::kV3;
  std::string bos_, eos_;
  bool object_arguments_ = true;
};

}  // namespace ferry::text
