// Renders templates for compare.py: JSON lines {"template", "context"} on stdin, JSON lines
// {"rendered"} or {"error"} on stdout, in the same order. Time stands still at 2025-05-29 12:00.
#include <ctime>
#include <iostream>
#include <string>

#include "base/json.h"
#include "text/chat_template.h"

namespace {

ferry::Result<std::string> render(const std::string& line) {
  using ferry::text::ChatTemplate;
  FERRY_TRY(const ferry::Json request, ferry::parse_json(line));
  FERRY_TRY(const std::string source, ferry::json_string(request, "template"));
  FERRY_TRY(const ChatTemplate parsed, ChatTemplate::parse(source));
  ferry::text::RenderLimits limits;
  std::tm noon{};
  noon.tm_year = 125;
  noon.tm_mon = 4;
  noon.tm_mday = 29;
  noon.tm_hour = 12;
  noon.tm_wday = 4;
  noon.tm_yday = 148;
  limits.local_time = noon;
  return parsed.render(request.at("context"), limits);
}

}  // namespace

int main() {
  for (std::string line; std::getline(std::cin, line);) {
    const ferry::Result<std::string> result = render(line);
    ferry::Json answer;
    if (result.ok()) {
      answer["rendered"] = *result;
    } else {
      answer["error"] = result.error().message;
    }
    std::cout << answer.dump(-1, ' ', false, ferry::Json::error_handler_t::replace) << '\n';
  }
  return 0;
}
