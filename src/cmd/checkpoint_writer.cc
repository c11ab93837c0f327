// See checkpoint_writer.h.
#include "cmd/checkpoint_writer.h"

#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <span>

#include "base/checked_math.h"
#include "base/json.h"
#include "base/quote_name.h"
#include "cmd/command.h"
#include "cmd/interrupt.h"
#include "cmd/progress.h"
#include "disk/safetensors.h"
#include "disk/safetensors_writer.h"

namespace ferry::cmd {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

// "a/b/" and "a/b" are the same target; a temporary name is made by appending.
std::string without_slash(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

std::string parent_of(const std::string& path) {
  const std::string parent = fs::path(path).parent_path().string();
  return parent.empty() ? "." : parent;
}

// Beyond the tensors: header, key-values, tokenizer.
constexpr int64_t kRoomForTheRest = 64 << 20;

bool belongs_to_a_model(const fs::directory_entry& entry) {
  const std::string name = entry.path().filename().string();
  if (!entry.is_regular_file()) return false;
  return name.ends_with(".safetensors") || name == disk::kSafetensorsIndexName ||
         name == "config.json" || name == "generation_config.json" || name == "tokenizer.json" ||
         name == "tokenizer_config.json";
}

// Nothing there, or something that may be replaced.
Status check_target(const WriteTarget& target, bool folder) {
  std::error_code error;
  if (!fs::exists(target.path, error)) return {};
  if (!target.overwrite) {
    return invalid_input("{}: exists already; --force replaces it", target.path);
  }
  const bool is_folder = fs::is_directory(target.path, error);
  if (is_folder != folder) {
    return invalid_input("{}: is {}, expected {}", target.path, is_folder ? "a folder" : "a file",
                         folder ? "a folder" : "a file");
  }
  if (!folder) return {};
  for (const fs::directory_entry& entry : fs::directory_iterator(target.path, error)) {
    if (!belongs_to_a_model(entry)) {
      return invalid_input("{}: not replaced, since {} in it is no file of a model", target.path,
                           quote_name(entry.path().filename().string()));
    }
  }
  return {};
}

std::vector<disk::TensorDecl> declarations(std::span<const TensorJob> jobs) {
  std::vector<disk::TensorDecl> tensors;
  tensors.reserve(jobs.size());
  for (const TensorJob& job : jobs) tensors.push_back(job.tensor);
  return tensors;
}

// Runs jobs into writers and counts what goes by.
class Run {
 public:
  Run(const std::string& path, int64_t total_bytes)
      : progress_("writing " + fs::path(path).filename().string()), total_bytes_(total_bytes) {}

  template <typename Writer>
  Status write(std::span<const TensorJob> jobs, Writer& writer) {
    for (const TensorJob& job : jobs) {
      int64_t& of_format = report_.bytes_by_format[std::string(job.tensor.format->name)];
      const auto emit = [&](std::span<const uint8_t> bytes) -> Status {
        if (interrupted()) return Error{ErrorKind::kCancelled, "interrupted, nothing was written"};
        done_bytes_ += static_cast<int64_t>(bytes.size());
        of_format += static_cast<int64_t>(bytes.size());
        progress_.update(done_bytes_, total_bytes_);
        return writer.write(bytes);
      };
      FERRY_TRY_VOID(job.produce(emit));
      ++report_.num_tensors;
    }
    return writer.finish();
  }

  WriteReport finish(int64_t file_bytes) {
    report_.file_bytes = file_bytes;
    report_.seconds = std::chrono::duration<double>(Clock::now() - start_).count();
    return std::move(report_);
  }

 private:
  Progress progress_;
  const int64_t total_bytes_;
  int64_t done_bytes_ = 0;
  WriteReport report_;
  const Clock::time_point start_ = Clock::now();
};

// A folder of our own that goes away unless it is released.
class PartFolder {
 public:
  explicit PartFolder(std::string path) : path_(std::move(path)) {}
  PartFolder(const PartFolder&) = delete;
  PartFolder& operator=(const PartFolder&) = delete;
  ~PartFolder() {
    std::error_code ignored;
    if (!path_.empty()) fs::remove_all(path_, ignored);
  }
  const std::string& path() const { return path_; }
  void release() { path_.clear(); }

 private:
  std::string path_;
};

Result<int64_t> total_of(const std::vector<TensorJob>& jobs) {
  FERRY_TRY(const auto sizes, disk::declared_bytes(declarations(jobs)));
  int64_t total = kRoomForTheRest;
  for (int64_t size : sizes) {
    const auto sum = checked_add(total, size);
    if (!sum) return invalid_input("the tensors overflow 64 bits");
    total = *sum;
  }
  return total;
}

// How many of `jobs` go into each shard.
Result<std::vector<size_t>> split(const std::vector<TensorJob>& jobs, int64_t shard_bytes) {
  FERRY_TRY(const auto sizes, disk::declared_bytes(declarations(jobs)));
  std::vector<size_t> counts = {0};
  int64_t filled = 0;
  for (int64_t size : sizes) {
    if (counts.back() > 0 && filled + size > shard_bytes) {
      counts.push_back(0);
      filled = 0;
    }
    ++counts.back();
    filled += size;
  }
  return counts;
}

Status write_shards(const std::string& folder, const std::vector<TensorJob>& jobs,
                    const std::vector<size_t>& counts, Run& run) {
  Json map = Json::object();
  auto& entries = static_cast<std::vector<Json::object_t::value_type>&>(
      map.get_ref<Json::object_t&>());  // names are unique: declared_bytes() has seen to it
  std::span<const TensorJob> rest = jobs;
  for (size_t i = 0; i < counts.size(); ++i) {
    const std::string name =
        counts.size() == 1 ? "model.safetensors"
                           : fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, counts.size());
    const auto part = rest.first(counts[i]);
    rest = rest.subspan(counts[i]);
    FERRY_TRY(disk::SafetensorsWriter writer,
              disk::SafetensorsWriter::create(fmt::format("{}/{}", folder, name),
                                              declarations(part), {{"format", "pt"}}));
    FERRY_TRY_VOID(run.write(part, writer));
    for (const TensorJob& job : part) entries.emplace_back(job.tensor.name, name);
  }
  if (counts.size() == 1) return {};
  Json index = Json::object();
  FERRY_TRY(const int64_t total, total_of(jobs));
  index["metadata"]["total_size"] = total - kRoomForTheRest;
  index["weight_map"] = std::move(map);
  return disk::write_file(fmt::format("{}/{}", folder, disk::kSafetensorsIndexName),
                          index.dump(2) + "\n");
}

int64_t bytes_of_folder(const std::string& path) {
  int64_t bytes = 0;
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(path, error)) {
    bytes += static_cast<int64_t>(entry.file_size(error));
  }
  return bytes;
}

// The finished folder takes its name; what had it before goes.
Status put_in_place(PartFolder& made, const std::string& path) {
  std::error_code error;
  const std::string old = fmt::format("{}.old-{}", path, static_cast<int>(::getpid()));
  const bool replace = fs::exists(path, error);
  if (replace) fs::rename(path, old, error);
  if (error) return io_error("{}: cannot be moved away: {}", path, error.message());
  fs::rename(made.path(), path, error);
  if (error) {
    std::error_code ignored;
    if (replace) fs::rename(old, path, ignored);
    return io_error("{}: cannot rename the finished folder: {}", path, error.message());
  }
  made.release();
  if (replace) fs::remove_all(old, error);
  return {};
}

}  // namespace

Status check_disk_space(const std::string& folder, int64_t bytes) {
  std::error_code error;
  const fs::space_info space = fs::space(folder, error);
  if (error) return io_error("{}: {}", folder, error.message());
  const auto free = static_cast<int64_t>(std::min<uintmax_t>(space.available, INT64_MAX));
  if (bytes <= free) return {};
  return io_error("{}: not enough space: {} needed, {} free", folder, format_bytes(bytes),
                  format_bytes(free));
}

Result<WriteReport> write_gguf(const WriteTarget& target, const disk::GgufKeyValues& keys,
                               const std::vector<TensorJob>& jobs) {
  FERRY_TRY_VOID(check_target(target, false));
  FERRY_TRY(const int64_t total, total_of(jobs));
  FERRY_TRY_VOID(check_disk_space(parent_of(target.path), total));
  catch_interrupts();
  Run run(target.path, total - kRoomForTheRest);
  FERRY_TRY(disk::GgufWriter writer,
            disk::GgufWriter::create(target.path, keys, declarations(jobs)));
  FERRY_TRY_VOID(run.write(jobs, writer));
  std::error_code error;
  return run.finish(static_cast<int64_t>(fs::file_size(target.path, error)));
}

Result<WriteReport> write_hugging_face(
    const WriteTarget& target, const std::vector<std::pair<std::string, std::string>>& texts,
    const std::vector<TensorJob>& jobs, int64_t shard_bytes) {
  const std::string path = without_slash(target.path);
  FERRY_TRY_VOID(check_target(target, true));
  FERRY_TRY(const int64_t total, total_of(jobs));
  FERRY_TRY_VOID(check_disk_space(parent_of(path), total));
  FERRY_TRY(const auto counts, split(jobs, shard_bytes));
  catch_interrupts();
  Run run(path, total - kRoomForTheRest);
  PartFolder made(fmt::format("{}.part-{}", path, static_cast<int>(::getpid())));
  std::error_code error;
  if (!fs::create_directory(made.path(), error)) {
    return io_error("{}: cannot create: {}", made.path(),
                    error ? error.message() : "it is there already");
  }
  for (const auto& [name, content] : texts) {
    FERRY_TRY_VOID(disk::write_file(fmt::format("{}/{}", made.path(), name), content));
  }
  FERRY_TRY_VOID(write_shards(made.path(), jobs, counts, run));
  FERRY_TRY_VOID(put_in_place(made, path));
  return run.finish(bytes_of_folder(path));
}

}  // namespace ferry::cmd
