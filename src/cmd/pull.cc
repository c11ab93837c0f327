// `ferry pull`: fetches a model from the Hugging Face hub, or a server that speaks like it, into
// the cache that Hugging Face's tools use too. What is there already is not fetched again.
#include <unistd.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <cstdio>
#include <memory>

#include "base/quote_name.h"
#include "cmd/command.h"
#include "cmd/hub_choice.h"
#include "cmd/hub_download.h"
#include "cmd/interrupt.h"
#include "cmd/progress.h"
#include "disk/aliases.h"
#include "disk/hub_cache.h"

namespace ferry::cmd {
namespace {

struct PullFlags {
  std::string model;
  std::string revision = "main";
  int jobs = 4;
  int retries = 5;
  bool json = false;
};

struct Target {
  std::string repo;
  std::string file;  // "" for what a model needs
};

struct Pulled {
  std::string path;  // the snapshot, or the GGUF file
  std::string name;  // what `ferry run` takes
  std::string commit;
  std::vector<HubFile> files;
  DownloadReport report;
};

Result<Target> parse_target(const std::string& argument) {
  FERRY_TRY(const auto alias, disk::resolve_alias(argument, disk::user_alias_file()));
  const std::string& name = alias ? *alias : argument;
  const size_t colon = std::min(name.find(':'), name.size());
  Target target{name.substr(0, colon), name.substr(std::min(colon + 1, name.size()))};
  if (!disk::is_repo_name(target.repo)) {
    return invalid_input("{}: expected ORG/NAME, ORG/NAME:FILE or an alias (ferry ls --aliases)",
                         quote_name(argument));
  }
  return target;
}

// What to choose from, on stderr, and the exit code.
int list_candidates(const Target& target, const HubChoice& choice) {
  const int code = fail(invalid_input("{}: {}:", target.repo, choice.problem));
  size_t width = 0;
  for (const GgufModel& model : choice.candidates) width = std::max(width, model.path.size());
  for (const GgufModel& model : choice.candidates) {
    std::fprintf(
        stderr, "  %-*s  %9s%s\n", static_cast<int>(width), model.path.c_str(),
        format_bytes(model.bytes).c_str(),
        model.parts.size() > 1 ? fmt::format("  in {} parts", model.parts.size()).c_str() : "");
  }
  std::fprintf(stderr, "For example: ferry pull %s:%s\n", target.repo.c_str(),
               choice.candidates.front().path.c_str());
  return code;
}

Result<Pulled> fetch(const HubSettings& settings, const Target& target, const PullFlags& flags,
                     const std::string& commit, const HubChoice& choice) {
  Progress progress("pulling " + target.repo);
  const DownloadJob job{
      .repo = target.repo,
      .revision = flags.revision,
      .commit = commit,
      .files = choice.files,
      .parallel = flags.jobs,
      .progress = [&](int64_t done, int64_t total) { progress.update(done, total); }};
  Pulled pulled{.name = target.repo, .commit = commit, .files = choice.files};
  FERRY_TRY(pulled.report, download(settings, disk::HubCache::from_environment(), job));
  pulled.path = pulled.report.snapshot;
  if (!choice.gguf.empty()) {
    pulled.path += "/" + choice.gguf;
    pulled.name += ":" + choice.gguf;
  }
  return pulled;
}

Result<Json> pulled_json(const Pulled& pulled) {
  Json files = Json::array();
  for (const HubFile& file : pulled.files) {
    std::string sha256 = file.hash;
    if (file.kind != HashKind::kSha256) {  // small, and the hub does not say it
      FERRY_TRY(sha256, sha256_of_file(pulled.report.snapshot + "/" + file.path));
    }
    files.push_back({{"name", file.path}, {"bytes", file.bytes}, {"sha256", sha256}});
  }
  return Json{{"path", pulled.path}, {"commit", pulled.commit}, {"files", files}};
}

int report(const Pulled& pulled, const PullFlags& flags) {
  if (flags.json) {
    const auto json = pulled_json(pulled);
    if (!json.ok()) return fail(json.error());
    print_json(*json);
    return 0;
  }
  int64_t bytes = 0;
  for (const HubFile& file : pulled.files) bytes += file.bytes;
  std::printf("%s\n", pulled.path.c_str());
  std::fprintf(stderr, "%zu %s, %s, of which %s were fetched now. Next: ferry run %s\n",
               pulled.files.size(), pulled.files.size() == 1 ? "file" : "files",
               format_bytes(bytes).c_str(), format_bytes(pulled.report.fetched_bytes).c_str(),
               pulled.name.c_str());
  return 0;
}

int pull(const PullFlags& flags) {
  const auto target = parse_target(flags.model);
  if (!target.ok()) return fail(target.error());
  if (!is_safe_path(flags.revision)) {
    return fail(
        invalid_input("--revision: {} is no branch, tag or commit", quote_name(flags.revision)));
  }
  auto settings = HubSettings::from_environment();
  if (!settings.ok()) return fail(settings.error());
  settings->retries = flags.retries;
  settings->http.stop = interrupted;
  catch_interrupts();

  Hub hub(*settings, target->repo);
  const auto commit = hub.commit(flags.revision);
  if (!commit.ok()) return fail(commit.error());
  const auto files = hub.files(*commit);
  if (!files.ok()) return fail(files.error());
  const auto choice = choose_files(*files, target->file);
  if (!choice.ok()) return fail(choice.error().in(target->repo));
  if (choice->files.empty()) return list_candidates(*target, *choice);
  const auto pulled = fetch(*settings, *target, flags, *commit, *choice);
  if (!pulled.ok()) return fail(pulled.error());
  return report(*pulled, flags);
}

}  // namespace

void add_pull(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("pull", "Fetch a model from the Hugging Face hub");
  command->footer(
      "Goes into $HF_HUB_CACHE, else $HF_HOME/hub, else ~/.cache/huggingface/hub. HF_ENDPOINT\n"
      "names another hub, HF_TOKEN opens private and gated models. Every file is checked against\n"
      "its hash; after an interruption the same command goes on where it stopped.\n\n"
      "Of a repository of GGUF files, one is named, by file or by a part of its name:\n"
      "  ferry pull org/name:Q4_K_M");
  auto flags = std::make_shared<PullFlags>();
  command->add_option("model", flags->model, "ORG/NAME, ORG/NAME:FILE or an alias")
      ->type_name("MODEL")
      ->required();
  command->add_option("--revision", flags->revision, "Branch, tag or commit")->type_name("NAME");
  command->add_option("--jobs", flags->jobs, "Files fetched at the same time")
      ->type_name("N")
      ->check(CLI::Range(1, 32));
  command->add_option("--retries", flags->retries, "How often to try again when nothing comes")
      ->type_name("N")
      ->check(CLI::Range(0, 20));
  command->add_flag("--json", flags->json, "Print JSON");
  command->callback([&action, flags] { action = [flags] { return pull(*flags); }; });
}

}  // namespace ferry::cmd
