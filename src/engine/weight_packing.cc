// See weight_packing.h.
#include "engine/weight_packing.h"

#include <filesystem>

#include "engine/expert_memory.h"

namespace ferry::engine {

std::shared_ptr<const weights::PackedCopy> find_packed_copy(
    const std::string& folder, const disk::ModelSource& source, const Backend& backend,
    const std::function<void(const std::string& line)>& notice) {
  const std::string& layout = backend.spec().packed_layout;
  if (folder.empty() || layout.empty()) return nullptr;
  const std::string path = weights::packed_copy_path(folder, source.name, source.checkpoint);
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) return nullptr;
  auto copy = weights::PackedCopy::open(path);
  const Status holds = copy.ok() ? (*copy)->check(source.checkpoint, layout) : copy.error();
  if (holds.ok()) return *std::move(copy);
  if (notice) {
    notice(fmt::format("packed copy not used, `ferry pack` makes a new one: {}",
                       holds.error().message));
  }
  return nullptr;
}

bool choose_packing(WeightPacking wanted, const LoadedModel& packed, int64_t file_bytes,
                    int64_t other_bytes, bool experts_on_demand, const MemoryInfo& memory) {
  const bool some = packed.packed_bytes > 0 || packed.copied_bytes > 0;
  if (!some || wanted == WeightPacking::kNever) return false;
  if (wanted == WeightPacking::kCopy && packed.copied_bytes == 0) return false;
  if (wanted == WeightPacking::kAlways || packed.packed_bytes == 0) return true;
  if (experts_on_demand || memory.total_bytes == 0) return false;
  const int64_t in_file = file_bytes - packed.replaced_bytes + packed.copied_bytes;
  return packed.weights_bytes + in_file + other_bytes + memory_reserve(memory) <= memory.free_bytes;
}

std::string describe_packing(WeightPacking wanted, const LoadedModel& packed,
                             const weights::PackedCopy* copy) {
  const auto mib = [](int64_t bytes) { return static_cast<double>(bytes) / (1 << 20); };
  const bool later = packs_later(wanted) && packed.packed_bytes > 0;
  std::string text =
      fmt::format("weights are packed{}: of the file, {:.1f} MiB need not stay in memory{}",
                  later ? " between steps" : "", mib(packed.replaced_bytes), later ? " then" : "");
  if (copy != nullptr && packed.copied_bytes > 0) {
    text += fmt::format("; {:.1f} MiB are mapped from {}", mib(packed.copied_bytes),
                        copy->file()->path());
  }
  return text;
}

}  // namespace ferry::engine
