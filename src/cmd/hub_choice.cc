// See hub_choice.h.
#include "cmd/hub_choice.h"

#include <algorithm>
#include <map>

#include "base/checked_math.h"
#include "base/quote_name.h"
#include "cmd/http.h"
#include "disk/shard_name.h"

namespace ferry::cmd {
namespace {

std::string_view file_name(std::string_view path) { return path.substr(path.rfind('/') + 1); }

bool is_gguf(std::string_view path) { return path.ends_with(".gguf"); }

bool is_default_file(std::string_view path) {
  if (path.find('/') != std::string_view::npos) return false;
  if (path == "config.json" || path == "generation_config.json") return true;
  if (path.starts_with("tokenizer") && path.ends_with(".json")) return true;
  if (path.starts_with("chat_template")) return path.ends_with(".jinja") || path.ends_with(".json");
  return path.ends_with(".safetensors") || path.ends_with(".safetensors.index.json");
}

// "dir/name-00002-of-00003.gguf" → "dir/name-00001-of-00003.gguf"
std::string first_part(const std::string& path) {
  const std::string_view name = file_name(path);
  const auto shard = disk::parse_shard_name(name);
  if (!shard) return path;
  return path.substr(0, path.size() - name.size()) + shard->with_number(1);
}

Result<std::vector<GgufModel>> group_gguf(const std::vector<HubFile>& files) {
  std::map<std::string, GgufModel> groups;
  for (const HubFile& file : files) {
    if (!is_gguf(file.path)) continue;
    GgufModel& model = groups[first_part(file.path)];
    const auto sum = checked_add(model.bytes, file.bytes);
    if (!sum) return invalid_input("{}: sizes beyond 2^63 bytes", quote_name(file.path));
    model.bytes = *sum;
    model.parts.push_back(file);
  }
  std::vector<GgufModel> models;
  for (auto& [path, model] : groups) {
    model.path = path;
    models.push_back(std::move(model));
  }
  return models;
}

// `part` stands in `text` as a word: bounded by the ends, '-', '.' or '/'. F16 is in "x-F16.gguf"
// and not in "x-BF16.gguf"; Q4_0 is not in "x-Q4_0_8_8.gguf".
bool has_word(std::string_view text, std::string_view part) {
  constexpr std::string_view kBounds = "-./";
  for (size_t at = text.find(part); at != std::string_view::npos; at = text.find(part, at + 1)) {
    const size_t end = at + part.size();
    const bool left = at == 0 || kBounds.find(text[at - 1]) != std::string_view::npos;
    const bool right = end == text.size() || kBounds.find(text[end]) != std::string_view::npos;
    if (left && right) return true;
  }
  return false;
}

template <typename Predicate>
std::vector<GgufModel> matching(const std::vector<GgufModel>& models, Predicate predicate) {
  std::vector<GgufModel> out;
  std::copy_if(models.begin(), models.end(), std::back_inserter(out), predicate);
  return out;
}

Result<HubChoice> chosen(const GgufModel& model) {
  const auto shard = disk::parse_shard_name(file_name(model.path));
  const size_t expected = shard ? static_cast<size_t>(shard->count) : 1;
  if (model.parts.size() != expected) {
    return invalid_input("{}: the repository has {} of its {} parts", quote_name(model.path),
                         model.parts.size(), expected);
  }
  return HubChoice{.files = model.parts, .gguf = model.path};
}

Result<HubChoice> choose_gguf(const std::vector<GgufModel>& models, const std::string& wanted) {
  const std::string part = lower(wanted);
  auto found = matching(models, [&](const GgufModel& model) {
    const std::string name = lower(file_name(model.path));
    return name == part || name == part + ".gguf";
  });
  if (found.empty()) {
    found = matching(models, [&](const GgufModel& m) { return has_word(lower(m.path), part); });
  }
  if (found.empty()) {
    found = matching(
        models, [&](const GgufModel& m) { return lower(m.path).find(part) != std::string::npos; });
  }
  if (found.size() == 1) return chosen(found[0]);
  if (!found.empty()) {
    return HubChoice{
        .problem = fmt::format("{} fits several files, name one of them", quote_name(wanted)),
        .candidates = found};
  }
  if (models.empty()) return not_found("no file {} there", quote_name(wanted));
  return HubChoice{.problem = fmt::format("no file {} there, but these", quote_name(wanted)),
                   .candidates = models};
}

Result<HubChoice> choose_default(const std::vector<HubFile>& files,
                                 const std::vector<GgufModel>& models) {
  HubChoice choice;
  bool weights = false;
  bool named_model = false;
  for (const HubFile& file : files) {
    if (!is_default_file(file.path)) continue;
    choice.files.push_back(file);
    if (!file.path.ends_with(".safetensors")) continue;
    weights = true;
    named_model = named_model || file.path.starts_with("model");
  }
  if (weights) {
    // The same weights a second time, in the layout of their makers.
    if (named_model) {
      std::erase_if(choice.files,
                    [](const HubFile& file) { return file.path.starts_with("consolidated"); });
    }
    return choice;
  }
  if (models.size() == 1) return chosen(models[0]);
  if (models.empty()) {
    return unsupported("there is no .safetensors and no .gguf file among its {} files",
                       files.size());
  }
  return HubChoice{.problem = "has several GGUF files, name one of them", .candidates = models};
}

}  // namespace

Result<HubChoice> choose_files(const std::vector<HubFile>& files, const std::string& wanted) {
  FERRY_TRY(const std::vector<GgufModel> models, group_gguf(files));
  if (wanted.empty()) return choose_default(files, models);
  for (const HubFile& file : files) {
    if (file.path != wanted) continue;
    if (!is_gguf(wanted)) return HubChoice{.files = {file}};
    for (const GgufModel& model : models) {
      if (model.path == first_part(wanted)) return chosen(model);
    }
  }
  return choose_gguf(models, wanted);
}

}  // namespace ferry::cmd
