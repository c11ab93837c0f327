// See schema_costs.h.
#include "server/http/schema_costs.h"

namespace ferry::server {
namespace {

// Calls that are held to the schemas of their tools.
bool holds_calls(const Request& request, const ChatPrompt& chat) {
  if (chat.tools_json.empty() || request.tool_choice.kind == ToolChoice::kNone) return false;
  return request.constraint.has_value() || request.tool_choice.kind != ToolChoice::kAuto ||
         chat.tools_json.find("\"strict\":true") != std::string::npos;
}

void add_part(std::string& out, std::string_view part) {
  out += std::to_string(part.size()) + ":";
  out += part;
}

}  // namespace

std::string schemas_of(const api::Job& job) {
  if (job.requests.empty()) return {};
  const Request& request = job.requests.front();  // the others differ in their seeds
  std::string out;
  if (request.constraint.has_value() && request.constraint->kind != Constraint::kJsonObject) {
    out += std::to_string(static_cast<int>(request.constraint->kind));
    add_part(out, request.constraint->text);
    for (const std::string& choice : request.constraint->choices) add_part(out, choice);
  }
  const auto* chat = std::get_if<ChatPrompt>(&request.prompt);
  if (chat != nullptr && holds_calls(request, *chat)) {
    out += "t" + std::to_string(static_cast<int>(request.tool_choice.kind));
    add_part(out, request.tool_choice.name);
    add_part(out, chat->tools_json);
  }
  return out;
}

bool SchemaCosts::is_quick(const std::string& schemas) const {
  std::lock_guard lock(mutex_);
  return index_.count(schemas) > 0;
}

void SchemaCosts::note(const std::string& schemas, double seconds) {
  if (schemas.size() > kMaxBytes) return;
  std::lock_guard lock(mutex_);
  const auto known = index_.find(schemas);
  if (seconds > kQuickSeconds) {
    if (known == index_.end()) return;
    const auto entry = known->second;
    index_.erase(known);
    quick_.erase(entry);
    return;
  }
  if (known != index_.end()) {
    quick_.splice(quick_.begin(), quick_, known->second);
    return;
  }
  quick_.push_front(schemas);
  index_.emplace(quick_.front(), quick_.begin());
  if (quick_.size() <= kMaxEntries) return;
  index_.erase(quick_.back());
  quick_.pop_back();
}

}  // namespace ferry::server
