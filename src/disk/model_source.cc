// See model_source.h.
#include "disk/model_source.h"

#include <algorithm>
#include <cctype>
#include <filesystem>

#include "base/quote_name.h"
#include "disk/aliases.h"
#include "disk/gguf.h"
#include "disk/gguf_names.h"
#include "disk/hf_config.h"
#include "disk/packed_int4.h"
#include "disk/safetensors.h"
#include "disk/shard_name.h"

namespace ferry::disk {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view kSafetensors = ".safetensors";
constexpr std::string_view kGguf = ".gguf";
constexpr size_t kMaxNamesShown = 8;

bool has_ending(std::string_view name, std::string_view ending) { return name.ends_with(ending); }

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

// "a, b, c and 5 more"
std::string some_of(const std::vector<std::string>& names) {
  std::string out;
  for (size_t i = 0; i < names.size() && i < kMaxNamesShown; ++i) {
    out += (i == 0 ? "" : ", ") + one_line(names[i]);
  }
  if (names.size() > kMaxNamesShown) {
    out += fmt::format(" and {} more", names.size() - kMaxNamesShown);
  }
  return out;
}

std::string last_part(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return split_path(path).second;
}

// chat_template of tokenizer_config.json: a text, or a list of {"name", "template"}.
Status templates_from_json(const Json& object, const std::string& path, ModelSource& out) {
  const Json* value = json_find(object, "chat_template");
  if (value == nullptr) return {};
  if (value->is_string()) {
    out.chat_templates.emplace_back("default", value->get<std::string>());
    return {};
  }
  if (!value->is_array()) {
    return invalid_input("{}: chat_template: expected a string or an array, found {}", path,
                         json_type_name(*value));
  }
  for (const Json& entry : *value) {
    if (!entry.is_object()) {
      return invalid_input("{}: chat_template: expected objects in the array, found {}", path,
                           json_type_name(entry));
    }
    auto name = json_string(entry, "name");
    if (!name.ok()) return name.error().in(path + ": chat_template");
    auto text = json_string(entry, "template");
    if (!text.ok()) return text.error().in(path + ": chat_template");
    out.chat_templates.emplace_back(std::move(*name), std::move(*text));
  }
  std::stable_partition(out.chat_templates.begin(), out.chat_templates.end(),
                        [](const auto& item) { return item.first == "default"; });
  return {};
}

Status read_chat_templates(const Folder& folder, ModelSource& out) {
  if (folder.has("chat_template.jinja")) {
    FERRY_TRY(std::string text, folder.read_text("chat_template.jinja"));
    out.chat_templates.emplace_back("default", std::move(text));
    return {};
  }
  FERRY_TRY_VOID(
      templates_from_json(out.tokenizer_config, folder.path_of("tokenizer_config.json"), out));
  if (out.chat_templates.empty() && folder.has("chat_template.json")) {
    FERRY_TRY(const Json object, folder.read_json("chat_template.json"));
    return templates_from_json(object, folder.path_of("chat_template.json"), out);
  }
  return {};
}

Status read_texts(const Folder& folder, ModelSource& out) {
  if (folder.has("tokenizer.json")) {
    out.tokenizer_path = folder.path_of("tokenizer.json");
    FERRY_TRY(out.tokenizer_json, folder.read_text("tokenizer.json"));
  }
  if (folder.has("tokenizer_config.json")) {
    FERRY_TRY(out.tokenizer_config, folder.read_json("tokenizer_config.json"));
  }
  if (folder.has("generation_config.json")) {
    FERRY_TRY(out.generation_config, folder.read_json("generation_config.json"));
  }
  return read_chat_templates(folder, out);
}

// `file`: the safetensors file that was asked for; "": whatever the folder has.
Result<ModelSource> open_hugging_face(const Folder& folder, std::string_view file,
                                      const OpenOptions& options) {
  ModelSource out;
  out.kind = SourceKind::kHuggingFace;
  out.path = folder.path();
  out.name = last_part(folder.path());
  if (!options.tokenizer_only || folder.has("config.json")) {
    FERRY_TRY(out.config, read_hf_config(folder));
  }
  FERRY_TRY_VOID(read_texts(folder, out));
  if (options.tokenizer_only) return out;
  const bool alone = !file.empty() && file != "model.safetensors" && !parse_shard_name(file);
  if (alone) {
    FERRY_TRY(auto mapped, folder.open(file));
    FERRY_TRY(out.checkpoint, read_safetensors_file(std::move(mapped)));
  } else {
    FERRY_TRY(out.checkpoint, read_safetensors_folder(folder));
  }
  FERRY_TRY_VOID(unpack_int4_names(out.config, &out.checkpoint));
  return out;
}

Status gguf_templates(ModelSource& out) {
  constexpr std::string_view kKey = "tokenizer.chat_template";
  if (out.gguf->has(kKey)) {
    FERRY_TRY(const auto text, out.gguf->get_string(kKey));
    out.chat_templates.emplace_back("default", text);
  }
  const std::string prefix = std::string(kKey) + ".";
  for (const std::string& key : out.gguf->keys()) {
    if (!key.starts_with(prefix)) continue;
    FERRY_TRY(const auto text, out.gguf->get_string(key));
    out.chat_templates.emplace_back(key.substr(prefix.size()), text);
  }
  return {};
}

Result<ModelSource> open_gguf(const Folder& folder, std::string_view file,
                              const OpenOptions& options) {
  FERRY_TRY(GgufFile read, read_gguf(folder, file));
  ModelSource out;
  out.kind = SourceKind::kGguf;
  out.path = folder.path_of(file);
  const auto shard = parse_shard_name(file);
  out.name = shard ? shard->stem : std::string(file.substr(0, file.rfind('.')));
  out.gguf = std::move(read.metadata);
  out.checkpoint = std::move(read.checkpoint);
  FERRY_TRY_VOID(gguf_templates(out));
  // A vocabulary alone is no model, and what it says about one may be incomplete.
  const bool needed = !options.tokenizer_only && !out.checkpoint.tensors().empty();
  auto architecture = out.gguf->get_string("general.architecture");
  if (architecture.ok()) {
    const auto layers = gguf_num_layers(*out.gguf, *architecture);  // config_from_gguf tells errors
    FERRY_TRY_VOID(out.checkpoint.rename([&](std::string_view name) {
      return tensor_name_from_gguf(*architecture, name, layers.ok() ? *layers : kAnyNumberOfLayers);
    }));
  }
  auto config = config_from_gguf(*out.gguf, out.checkpoint);
  if (!config.ok() && needed) return std::move(config).error();
  if (config.ok()) out.config = std::move(*config);
  return out;
}

// The one GGUF file of `files` that `pattern` means ("": the only one there is).
Result<std::string> choose_gguf(const std::string& place, const std::vector<std::string>& files,
                                const std::string& pattern) {
  std::vector<std::string> fitting;
  for (const std::string& file : files) {
    if (file == pattern) return file;
    if (lower(file).find(lower(pattern)) != std::string::npos) fitting.push_back(file);
  }
  if (fitting.size() == 1) return fitting.front();
  if (fitting.empty()) {
    return not_found("{}: no GGUF file fits {}, there are: {}", place, quote_name(pattern),
                     some_of(files));
  }
  return invalid_input("{}: {} GGUF files fit, name one of them: {}", place, fitting.size(),
                       some_of(fitting));
}

Error not_a_model(const Folder& folder, const std::vector<std::string>& names) {
  std::string missing = folder.has("config.json") ? "no *.safetensors" : "no config.json";
  const bool torch = std::any_of(names.begin(), names.end(), [](const std::string& name) {
    return has_ending(name, ".bin") || has_ending(name, ".pt") || has_ending(name, ".pth");
  });
  if (torch) missing += " (PyTorch files are not read; convert them to safetensors)";
  return invalid_input("{}: not a model: {} and no *.gguf there; {}", folder.path(), missing,
                       names.empty() ? "the directory is empty" : "there are: " + some_of(names));
}

// `pattern`: which GGUF file; "": any kind of model, the only one there is.
Result<ModelSource> open_folder(const Folder& folder, const std::vector<std::string>& gguf_files,
                                const std::string& pattern, const OpenOptions& options) {
  const auto names = folder.names();
  const bool has_weights = std::any_of(names.begin(), names.end(), [](const std::string& name) {
    return has_ending(name, kSafetensors) || name == kSafetensorsIndexName;
  });
  const bool has_tokenizer = options.tokenizer_only && folder.has("tokenizer.json");
  if (pattern.empty() && ((has_weights && folder.has("config.json")) || has_tokenizer)) {
    return open_hugging_face(folder, "", options);
  }
  if (gguf_files.empty()) return not_a_model(folder, names);
  FERRY_TRY(const std::string file, choose_gguf(folder.path(), gguf_files, pattern));
  const auto [directory, name] = split_path(file);
  if (directory == ".") return open_gguf(folder, name, options);
  FERRY_TRY(const Folder inner, Folder::on_disk(folder.path_of(directory)));
  return open_gguf(inner, name, options);
}

Result<ModelSource> open_directory(const std::string& path, const std::string& pattern,
                                   const OpenOptions& options) {
  FERRY_TRY(const Folder folder, Folder::on_disk(path));
  return open_folder(folder, find_gguf_files(path), pattern, options);
}

Result<ModelSource> open_file(const std::string& path, const OpenOptions& options) {
  const auto [directory, name] = split_path(path);
  FERRY_TRY(const Folder folder, Folder::on_disk(directory));
  if (has_ending(name, kSafetensors)) return open_hugging_face(folder, name, options);
  if (name == "config.json" || name == kSafetensorsIndexName || name == "tokenizer.json") {
    return open_hugging_face(folder, "", options);
  }
  if (has_ending(name, kGguf)) return open_gguf(folder, name, options);
  FERRY_TRY(const auto file, folder.open(name));
  if (file->text().starts_with("GGUF")) return open_gguf(folder, name, options);
  return invalid_input("{}: expected a directory, a .gguf or a .safetensors file", path);
}

bool looks_like_path(std::string_view argument) {
  return argument.starts_with("/") || argument.starts_with("./") || argument.starts_with("../") ||
         argument.starts_with("~") || argument.ends_with("/") || has_ending(argument, kGguf) ||
         has_ending(argument, kSafetensors);
}

std::string expand_home(std::string_view argument) {
  if (argument == "~" || argument.starts_with("~/")) {
    return environment("HOME") + std::string(argument.substr(1));
  }
  return std::string(argument);
}

Result<ModelSource> open_path(const std::string& path, const OpenOptions& options) {
  std::error_code error;
  return fs::is_directory(path, error) ? open_directory(path, "", options)
                                       : open_file(path, options);
}

// "org/name:file" → {"org/name", "file"}.
std::pair<std::string, std::string> split_file(const std::string& argument) {
  const size_t colon = argument.find(':');
  if (colon == std::string::npos) return {argument, ""};
  return {argument.substr(0, colon), argument.substr(colon + 1)};
}

}  // namespace

Result<ModelSource> open_model(std::string_view argument, const OpenOptions& options) {
  if (argument.empty() || argument.find('\0') != std::string_view::npos) {
    return invalid_input("expected the path or name of a model, found {}", quote_name(argument));
  }
  std::string path = expand_home(argument);
  std::error_code error;
  if (fs::exists(path, error)) return open_path(path, options);
  if (looks_like_path(argument) && !is_repo_name(split_file(path).first)) {
    return not_found("{}: no such file or directory", path);
  }
  const std::string alias_file = options.alias_file.value_or(user_alias_file());
  FERRY_TRY(const auto target, resolve_alias(argument, alias_file));
  if (target) path = expand_home(*target);
  if (target && fs::exists(path, error)) return open_path(path, options);
  const std::string meaning = target ? fmt::format(" (alias of {})", quote_name(*target)) : "";
  const auto [repo, file] = split_file(path);
  if (!is_repo_name(repo)) {
    return not_found(
        "{}{}: no such model: there is no file or directory of that name, it is none "
        "of the {} built-in aliases nor in {}, and it is not org/name",
        quote_name(argument), meaning, built_in_aliases().size(), alias_file);
  }
  const HubCache cache = options.hub_cache.value_or(HubCache::from_environment());
  auto snapshot = cache.snapshot(repo, options.revision);
  if (!snapshot.ok()) {
    return not_found(
        "{}{}: no such model: no file or directory of that name, no alias in {}, not in "
        "the Hugging Face cache ({}); `ferry pull {}` would fetch it",
        quote_name(argument), meaning, alias_file, snapshot.error().message, one_line(path));
  }
  FERRY_TRY(ModelSource source, open_directory(*snapshot, file, options));
  if (source.kind == SourceKind::kHuggingFace) source.name = last_part(repo);
  return source;
}

Result<ModelSource> open_model_from_memory(std::string name, std::vector<MemoryFile> files,
                                           const OpenOptions& options) {
  std::vector<std::string> gguf_files;
  for (const MemoryFile& file : files) {
    if (has_ending(file.name, kGguf)) gguf_files.push_back(file.name);
  }
  const Folder folder = Folder::in_memory(std::move(name), std::move(files));
  return open_folder(folder, gguf_files, "", options);
}

}  // namespace ferry::disk
