// `ferry pack`: packs a model's weights for the cpu once, into a file that later starts map
// (weights/packed_copy.h). One per model, in ferry's cache folder.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <set>

#include "base/quote_name.h"
#include "cmd/checkpoint_writer.h"
#include "cmd/command.h"
#include "cmd/engine_flags.h"
#include "cmd/interrupt.h"
#include "cmd/model_argument.h"
#include "cmd/progress.h"
#include "disk/mapped_file.h"
#include "engine/model_loader.h"
#include "weights/packed_copy.h"

namespace ferry::cmd {
namespace {

namespace fs = std::filesystem;
using weights::PackedCopy;

constexpr const char* kPackFooter =
    R"(On the cpu, quantised weights are multiplied fastest in an order of their own. Where memory
has room, run and serve pack them into it while they give their first answers, which takes seconds
of work for a large model. `ferry pack` does that once and keeps the result on disk: run, complete,
serve and bench then map it, which takes no work and no memory of their own, and all that run share
its pages. The answers are the same to the bit. The model's own file is still needed, for what is
not packed, and to know the copy by.

A copy takes about as much disk as the model's quantised matrices. It lies in
$XDG_CACHE_HOME/ferry/packed, else ~/.cache/ferry/packed, and can be removed at any time. It holds
for the files it was made from: once one of them is written to, replaced or moved to another disk,
the copy is not used (-v says so), and `ferry pack` makes a new one in its place. With
--pack-weights never, no copy is used.

Weights in BF16, F16, F32 and FP8 are used as they are: there is nothing to pack.

Examples:
  ferry pack model.gguf              make the copy
  ferry run model.gguf -v            says that weights are mapped from it
  ferry pack --list                  what there is, how large it is and whether it still holds
  ferry pack --remove model.gguf     remove it; or by the name that --list shows)";

struct PackFlags {
  std::string model;
  int threads = 0;
  bool list = false;
  bool remove = false;
  bool json = false;
};

struct FoundCopy {
  std::string path, name, model, model_path;
  std::string problem;  // why it is not used; empty: it is
  int64_t bytes = 0;
};

Result<std::string> packed_folder() {
  std::string folder = cache_folder(kPackedFolder);
  if (!folder.empty()) return folder;
  return invalid_input("no place for packed copies: neither XDG_CACHE_HOME nor HOME is a path");
}

// Whether the files that a copy was made from are still what they were.
std::string changed_source(const PackedCopy& copy) {
  for (const PackedCopy::Source& source : copy.sources()) {
    const auto file = disk::MappedFile::open(std::string(source.path));
    if (!file.ok()) return "a file of the model is gone";
    if ((*file)->identity() != source.identity) return "a file of the model has changed";
  }
  return {};
}

// By name; a folder that is not there has none. What an interrupted run may have left, too.
std::vector<FoundCopy> find_copies(const std::string& folder, std::string_view layout) {
  std::vector<FoundCopy> copies;
  std::error_code failed;
  for (fs::directory_iterator at(folder, failed), end; !failed && at != end; at.increment(failed)) {
    FoundCopy found{.path = at->path().string(), .name = at->path().filename().string()};
    const size_t suffix = found.name.find(weights::kPackedCopySuffix);
    if (suffix == std::string::npos) continue;
    std::error_code ignored;
    found.bytes = std::max<int64_t>(static_cast<int64_t>(fs::file_size(at->path(), ignored)), 0);
    if (!found.name.ends_with(weights::kPackedCopySuffix)) {
      found.problem = "unfinished";
    } else if (const auto copy = PackedCopy::open(found.path); !copy.ok()) {
      found.problem = "can't be read";
    } else {
      found.model = (*copy)->model();
      found.model_path = (*copy)->model_path();
      found.problem =
          (*copy)->layout() != layout ? "packed by another ferry" : changed_source(**copy);
    }
    copies.push_back(std::move(found));
  }
  std::sort(copies.begin(), copies.end(),
            [](const FoundCopy& a, const FoundCopy& b) { return a.name < b.name; });
  return copies;
}

Json copy_json(const FoundCopy& copy) {
  return {{"name", copy.name},   {"path", copy.path},
          {"model", copy.model}, {"model_path", copy.model_path},
          {"bytes", copy.bytes}, {"problem", copy.problem.empty() ? Json() : Json(copy.problem)}};
}

int list_copies(const std::string& folder, std::string_view layout, bool json) {
  const std::vector<FoundCopy> copies = find_copies(folder, layout);
  if (json) {
    Json out = {{"folder", folder}, {"copies", Json::array()}};
    for (const FoundCopy& copy : copies) out["copies"].push_back(copy_json(copy));
    print_json(out);
    return 0;
  }
  if (copies.empty()) {
    std::fprintf(stderr, "No packed copies in %s. Make one: ferry pack MODEL\n", folder.c_str());
    return 0;
  }
  // What a file says is not the terminal's to act on.
  const auto shown = [](const std::string& text) { return text.empty() ? text : quote_name(text); };
  size_t width = 4;
  for (const FoundCopy& copy : copies) width = std::max(width, shown(copy.name).size());
  const auto pad = static_cast<int>(width);
  std::printf("%-*s  %9s  %-28s  %s\n", pad, "NAME", "SIZE", "STATE", "MODEL");
  for (const FoundCopy& copy : copies) {
    std::printf(
        "%-*s  %9s  %-28s  %s\n", pad, shown(copy.name).c_str(), format_bytes(copy.bytes).c_str(),
        copy.problem.empty() ? "good" : copy.problem.c_str(), shown(copy.model_path).c_str());
  }
  std::fprintf(stderr, "In %s. Remove one: ferry pack --remove NAME\n", folder.c_str());
  return 0;
}

// Whether `name` is that of the copy, or of what an interrupted run left of it.
bool is_of(const FoundCopy& found, const std::string& name) {
  return found.name == name || found.name.starts_with(name + ".part-");
}

Result<std::vector<FoundCopy>> remove_copies(const std::string& folder,
                                             const std::string& argument) {
  std::vector<FoundCopy> copies = find_copies(folder, {});
  std::string name = argument;
  const bool listed = std::any_of(copies.begin(), copies.end(),
                                  [&](const FoundCopy& found) { return is_of(found, name); });
  if (!listed) {
    FERRY_TRY(const disk::ModelSource source, open_model_argument(argument));
    name = fs::path(weights::packed_copy_path(folder, source.name, source.checkpoint))
               .filename()
               .string();
  }
  std::erase_if(copies, [&](const FoundCopy& found) { return !is_of(found, name); });
  if (copies.empty()) {
    return not_found("{}: there is no packed copy of it in {} (ferry pack --list)",
                     argument.empty() ? "the built-in model" : argument, folder);
  }
  for (const FoundCopy& found : copies) {
    std::error_code failed;
    if (!fs::remove(found.path, failed)) {
      return io_error("{}: cannot remove: {}", found.path, failed.message());
    }
  }
  return copies;
}

int print_removed(const std::string& folder, const PackFlags& flags) {
  const auto removed = remove_copies(folder, flags.model);
  if (!removed.ok()) return fail(removed.error());
  Json out = {{"removed", Json::array()}, {"bytes", 0}};
  int64_t bytes = 0;
  for (const FoundCopy& copy : *removed) {
    bytes += copy.bytes;
    out["removed"].push_back(copy.path);
    if (!flags.json) std::printf("%s\n", copy.path.c_str());
  }
  out["bytes"] = bytes;
  if (flags.json) {
    print_json(out);
  } else {
    std::fprintf(stderr, "Removed: %s are free again.\n", format_bytes(bytes).c_str());
  }
  return 0;
}

// "BF16, F32": formats of tensors that are matrices.
std::string matrix_formats(const disk::Checkpoint& checkpoint) {
  std::set<std::string_view> names;
  for (const disk::FileTensor& tensor : checkpoint.tensors()) {
    if (tensor.shape.size() > 1) names.insert(tensor.format->name);
  }
  return fmt::format("{}", fmt::join(names, ", "));
}

std::string packable_formats(const Backend& backend) {
  std::vector<std::string_view> names;
  for (const quant::StorageFormat* format : quant::all_formats()) {
    const HostWeight one{.format = format, .rows = 1, .cols = format->block_elements, .pack = true};
    if (backend.import_bytes(one) > 0) names.push_back(format->name);
  }
  return fmt::format("{}", fmt::join(names, ", "));
}

struct Made {
  std::string path, model;
  int64_t bytes = 0;
  int64_t matrices = 0;
  double seconds = 0;
  bool there_before = false;
};

// What the packed matrices of the model take.
Result<int64_t> measure_packed(const disk::ModelSource& source,
                               const std::shared_ptr<Backend>& backend) {
  FERRY_TRY(const engine::LoadedModel measured,
            engine::load_model(source, backend, {.measure_only = true, .pack = true}));
  if (measured.packed_bytes > 0) return measured.packed_bytes;
  if (backend->spec().packed_layout.empty()) {
    return unsupported("{}: nothing is packed on this processor (cpu: {})", source.name,
                       backend->spec().detail);
  }
  return invalid_input("{}: has nothing to pack: its matrices are stored as {}; packed are {}",
                       source.name, matrix_formats(source.checkpoint), packable_formats(*backend));
}

Result<Made> make_copy(const std::string& folder, const disk::ModelSource& source,
                       const std::shared_ptr<Backend>& backend, int threads) {
  FERRY_TRY(const int64_t packed_bytes, measure_packed(source, backend));
  Made made{.path = weights::packed_copy_path(folder, source.name, source.checkpoint),
            .model = source.name};
  const std::string& layout = backend->spec().packed_layout;
  std::error_code failed;
  if (fs::exists(made.path, failed)) {
    const auto copy = PackedCopy::open(made.path);
    if (copy.ok() && (*copy)->check(source.checkpoint, layout).ok()) {
      made.bytes = (*copy)->file()->size();
      made.matrices = std::ssize((*copy)->entries());
      made.there_before = true;
      return made;
    }
    fs::remove(made.path, failed);  // so that there is room for the new one
  }
  fs::create_directories(folder, failed);
  if (failed) return io_error("{}: cannot create: {}", folder, failed.message());
  FERRY_TRY_VOID(check_disk_space(folder, packed_bytes));
  const auto start = std::chrono::steady_clock::now();
  FERRY_TRY(auto writer,
            weights::PackedCopyWriter::create(made.path, source.checkpoint, source.name,
                                              source.path, layout, interrupted));
  Progress progress("packing " + source.name);
  FERRY_TRY(const engine::LoadedModel packed,
            engine::load_model(
                source, backend,
                {.threads = threads,
                 .pack = true,
                 .packed_writer = &writer,
                 .notes_folder = cache_folder("looked-through"),
                 .progress = [&](int64_t done, int64_t total) { progress.update(done, total); }}));
  made.matrices = writer.num_matrices();
  FERRY_TRY_VOID(writer.finish());
  made.bytes = static_cast<int64_t>(fs::file_size(made.path, failed));
  made.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return made;
}

int pack(const PackFlags& flags) {
  const auto folder = packed_folder();
  if (!folder.ok()) return fail(folder.error());
  auto backend = open_backend("cpu", {.threads = flags.threads});
  if (!backend.ok()) return fail(backend.error());
  if (flags.list) return list_copies(*folder, (*backend)->spec().packed_layout, flags.json);
  if (flags.remove) return print_removed(*folder, flags);
  catch_interrupts();
  const auto source = open_model_argument(flags.model);
  if (!source.ok()) return fail(source.error());
  const auto made = make_copy(*folder, *source, *backend, flags.threads);
  if (!made.ok()) return fail(made.error());
  if (flags.json) {
    print_json({{"path", made->path},
                {"model", made->model},
                {"bytes", made->bytes},
                {"matrices", made->matrices},
                {"seconds", made->seconds},
                {"there_before", made->there_before}});
    return 0;
  }
  std::printf("%s\n", made->path.c_str());
  const std::string how =
      made->there_before ? "was there already" : fmt::format("packed in {:.1f} s", made->seconds);
  std::fprintf(stderr, "%lld matrices, %s, %s. Remove it: ferry pack --remove %s\n",
               static_cast<long long>(made->matrices), format_bytes(made->bytes).c_str(),
               how.c_str(), flags.model.c_str());
  return 0;
}

}  // namespace

void add_pack(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand(
      "pack", "Keep a model's weights on disk as the cpu reads them fastest, for quick starts");
  command->footer(kPackFooter);
  auto flags = std::make_shared<PackFlags>();
  CLI::Option* model =
      command
          ->add_option("model", flags->model,
                       "A directory, a .gguf, an alias, or org/name in the Hugging Face cache")
          ->type_name("MODEL");
  command->add_option("-t,--threads", flags->threads, "Threads that pack; 0: one per physical core")
      ->type_name("N")
      ->check(CLI::Range(0, 1024));
  CLI::Option* list = command->add_flag("--list", flags->list, "List the copies there are instead");
  command->add_flag("--remove", flags->remove, "Remove the model's copy instead")->excludes(list);
  list->excludes(model);
  command->add_flag("--json", flags->json, "Print JSON");
  command->callback([&action, flags] { action = [flags] { return pack(*flags); }; });
}

}  // namespace ferry::cmd
