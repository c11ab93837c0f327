// `ferry ls`: the models that a bare name finds: the built-in one, the Hugging Face cache, aliases.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>

#include "cmd/builtin_model.h"
#include "cmd/command.h"
#include "disk/aliases.h"
#include "disk/hub_cache.h"

namespace ferry::cmd {
namespace {

int64_t builtin_bytes() {
  int64_t bytes = 0;
  for (const ModelFile& file : builtin_model_files()) bytes += file.contents.size();
  return bytes;
}

std::vector<disk::CachedModel> list_models(const disk::HubCache& cache) {
  std::vector<disk::CachedModel> models = cache.list();
  models.insert(models.begin(), {.name = std::string(kBuiltinModelName),
                                 .path = "(built in)",
                                 .format = "safetensors",
                                 .bytes = builtin_bytes()});
  return models;
}

void print_models(const disk::HubCache& cache, const std::vector<disk::CachedModel>& models) {
  size_t width = 4;
  for (const auto& model : models) width = std::max(width, model.name.size());
  std::printf("%-*s  %-11s  %9s  %s\n", static_cast<int>(width), "NAME", "FORMAT", "SIZE", "PATH");
  for (const auto& model : models) {
    std::printf("%-*s  %-11s  %9s  %s\n", static_cast<int>(width), model.name.c_str(),
                model.format.c_str(), format_bytes(model.bytes).c_str(), model.path.c_str());
  }
  if (models.size() == 1) {
    std::fprintf(stderr, "\nNo models in %s. Fetch one: ferry pull ORG/NAME\n",
                 cache.root().c_str());
  }
}

int list(bool json, bool aliases) {
  const disk::HubCache cache = disk::HubCache::from_environment();
  const std::vector<disk::CachedModel> models = list_models(cache);
  if (json) {
    Json result = {{"cache", cache.root()}, {"models", Json::array()}, {"aliases", Json::object()}};
    for (const auto& model : models) {
      result["models"].push_back({{"name", model.name},
                                  {"format", model.format},
                                  {"bytes", model.bytes},
                                  {"path", model.path}});
    }
    for (const disk::Alias& alias : disk::built_in_aliases()) {
      result["aliases"][std::string(alias.name)] = alias.target;
    }
    print_json(result);
    return 0;
  }
  if (aliases) {
    for (const disk::Alias& alias : disk::built_in_aliases()) {
      std::printf("%-32s %s\n", std::string(alias.name).c_str(), std::string(alias.target).c_str());
    }
    std::fprintf(stderr, "Your own go into %s\n", disk::user_alias_file().c_str());
    return 0;
  }
  print_models(cache, models);
  return 0;
}

}  // namespace

void add_ls(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("ls", "List the models on this machine");
  command->footer("Looks into $HF_HUB_CACHE, else $HF_HOME/hub, else ~/.cache/huggingface/hub.");
  auto json = std::make_shared<bool>(false);
  auto aliases = std::make_shared<bool>(false);
  command->add_flag("--json", *json, "Print JSON");
  command->add_flag("--aliases", *aliases, "List the short names ferry knows instead");
  command->callback(
      [&action, json, aliases] { action = [json, aliases] { return list(*json, *aliases); }; });
}

}  // namespace ferry::cmd
