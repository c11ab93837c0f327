// See aliases.h.
#include "disk/aliases.h"

#include <algorithm>
#include <cctype>
#include <filesystem>

#include "base/quote_name.h"
#include "disk/folder.h"
#include "disk/hub_cache.h"

namespace ferry::disk {
namespace {

constexpr Alias kAliases[] = {
    {"deepseek-r1", "deepseek-ai/DeepSeek-R1"},
    {"deepseek-r1-0528", "deepseek-ai/DeepSeek-R1-0528"},
    {"deepseek-r1-distill-llama-70b", "deepseek-ai/DeepSeek-R1-Distill-Llama-70B"},
    {"deepseek-r1-distill-llama-8b", "deepseek-ai/DeepSeek-R1-Distill-Llama-8B"},
    {"deepseek-r1-distill-qwen-1.5b", "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B"},
    {"deepseek-r1-distill-qwen-14b", "deepseek-ai/DeepSeek-R1-Distill-Qwen-14B"},
    {"deepseek-r1-distill-qwen-32b", "deepseek-ai/DeepSeek-R1-Distill-Qwen-32B"},
    {"deepseek-r1-distill-qwen-7b", "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B"},
    {"deepseek-v2", "deepseek-ai/DeepSeek-V2-Chat"},
    {"deepseek-v2-lite", "deepseek-ai/DeepSeek-V2-Lite-Chat"},
    {"deepseek-v2.5", "deepseek-ai/DeepSeek-V2.5"},
    {"deepseek-v3", "deepseek-ai/DeepSeek-V3"},
    {"deepseek-v3-0324", "deepseek-ai/DeepSeek-V3-0324"},
    {"deepseek-v3.1", "deepseek-ai/DeepSeek-V3.1"},
    {"kimi-k2", "moonshotai/Kimi-K2-Instruct"},
    {"qwen3-0.6b", "Qwen/Qwen3-0.6B"},
    {"qwen3-1.7b", "Qwen/Qwen3-1.7B"},
    {"qwen3-14b", "Qwen/Qwen3-14B"},
    {"qwen3-235b-a22b", "Qwen/Qwen3-235B-A22B"},
    {"qwen3-30b-a3b", "Qwen/Qwen3-30B-A3B"},
    {"qwen3-32b", "Qwen/Qwen3-32B"},
    {"qwen3-4b", "Qwen/Qwen3-4B"},
    {"qwen3-8b", "Qwen/Qwen3-8B"},
};

std::optional<std::string> find_built_in(std::string name) {
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  for (const Alias& alias : kAliases) {
    if (alias.name == name) return std::string(alias.target);
  }
  return std::nullopt;
}

// The user's entry for `name`; nullopt when there is no file or no entry.
Result<std::optional<std::string>> find_users(std::string_view name, const std::string& file) {
  std::error_code error;
  if (file.empty() || !std::filesystem::exists(file, error)) return std::optional<std::string>();
  const auto [directory, file_name] = split_path(file);
  FERRY_TRY(const Folder folder, Folder::on_disk(directory));
  FERRY_TRY(const Json aliases, folder.read_json(file_name));
  const Json* target = json_find(aliases, name);
  if (target == nullptr) return std::optional<std::string>();
  if (!target->is_string() || target->get_ref<const std::string&>().empty()) {
    return invalid_input("{}: alias {}: expected the name or path of a model, found {}", file,
                         quote_name(name), json_type_name(*target));
  }
  return std::optional<std::string>(target->get<std::string>());
}

}  // namespace

std::span<const Alias> built_in_aliases() { return kAliases; }

std::string user_alias_file() {
  std::string base = environment("XDG_CONFIG_HOME");
  if (base.empty()) base = environment("HOME") + "/.config";
  return base + "/ferry/aliases.json";
}

Result<std::optional<std::string>> resolve_alias(std::string_view name,
                                                 const std::string& user_file) {
  FERRY_TRY(auto target, find_users(name, user_file));
  if (!target) return find_built_in(std::string(name));
  auto further = find_built_in(*target);
  return further ? further : target;
}

}  // namespace ferry::disk
