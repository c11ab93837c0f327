// The messages of a conversation as DeepSeek's encoders take them: checked, with the arguments of
// calls as JSON text.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "text/deepseek_encoding.h"

namespace ferry::text {

inline constexpr const char* kUserMark = "<｜User｜>";
inline constexpr const char* kAssistantMark = "<｜Assistant｜>";
inline constexpr const char* kOpenThoughts = "<think>";
inline constexpr const char* kCloseThoughts = "</think>";

struct DeepSeekCall {
  std::string id;  // empty: none was given
  std::string name;
  std::string arguments;  // JSON text, as it came
};

struct DeepSeekMessage {
  std::string role;  // system, user, assistant or tool
  std::string content;
  std::string reasoning;  // an assistant's
  std::vector<DeepSeekCall> calls;
  std::string call_id;  // of a tool's result
  std::string task;     // V4: what is wanted behind it in place of an answer
};

// V4's tasks: the token behind a message that asks for one is <｜TASK｜>.
inline constexpr std::string_view kDeepSeekTasks[] = {"action", "query", "authority",
                                                      "domain", "title", "read_url"};

// Errors: "messages[3]: …".
Result<std::vector<DeepSeekMessage>> read_deepseek_messages(const Json& messages);

// All system messages, an empty line between any two.
std::string joined_system(const std::vector<DeepSeekMessage>& messages);

// The index of the last message of the user, -1 where there is none.
int64_t last_user_index(const std::vector<DeepSeekMessage>& messages);

bool has_tools(const DeepSeekOptions& options);
// The functions of the tools: {"name", "description", "parameters"}. Errors: "tools[1]: …".
Result<std::vector<Json>> tool_functions(const Json& tools);

// V3.2 and V4, whose calls are elements (DSML): deepseek_dsml.cc.
Result<std::string> encode_deepseek_v32(const std::vector<DeepSeekMessage>& messages,
                                        const DeepSeekOptions& options);
Result<std::string> encode_deepseek_v4(const std::vector<DeepSeekMessage>& messages,
                                       const DeepSeekOptions& options);

}  // namespace ferry::text
