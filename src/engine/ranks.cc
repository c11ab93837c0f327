// See ranks.h.
#include "engine/ranks.h"

#include <algorithm>

#include "base/cpu_info.h"

namespace ferry::engine {

Result<std::vector<std::shared_ptr<Backend>>> open_ranks(std::string_view backend,
                                                         const BackendOptions& options,
                                                         int64_t size) {
  FERRY_TRY(auto first, open_backend(backend, options));
  if (size == 1) return std::vector{std::move(first)};
  const bool on_host = first->spec().host_memory;
  BackendOptions each = options;
  std::vector<std::shared_ptr<Backend>> devices;
  if (on_host) {
    const int threads = options.threads > 0 ? options.threads : read_cpu_info().usable_cores;
    each.threads = std::max(1, threads / static_cast<int>(size));
  } else {
    devices.push_back(std::move(first));
  }
  while (std::ssize(devices) < size) {
    if (!on_host) each.device = options.device + static_cast<int>(devices.size());
    auto opened = open_backend(backend, each);
    if (!opened.ok()) return opened.error().in(fmt::format("tensor parallel size {}", size));
    devices.push_back(*std::move(opened));
  }
  return devices;
}

Result<MemoryInfo> memory_of_each(std::span<const std::shared_ptr<Backend>> devices) {
  FERRY_TRY(MemoryInfo least, devices[0]->memory_info());
  if (devices[0]->spec().host_memory) {
    const auto size = static_cast<int64_t>(devices.size());
    return MemoryInfo{.total_bytes = least.total_bytes / size,
                      .free_bytes = least.free_bytes / size};
  }
  for (const auto& device : devices.subspan(1)) {
    FERRY_TRY(const MemoryInfo memory, device->memory_info());
    if (memory.free_bytes < least.free_bytes) least = memory;
  }
  return least;
}

Result<std::vector<LoadedModel>> load_shards(const disk::ModelSource& source,
                                             std::span<const std::shared_ptr<Backend>> devices,
                                             const LoadOptions& options) {
  const auto size = static_cast<int64_t>(devices.size());
  std::vector<LoadedModel> shards;
  for (int64_t rank = 0; rank < size; ++rank) {
    LoadOptions own = options;
    own.shard = {.rank = rank, .size = size};
    if (options.progress) {
      own.progress = [&, rank](int64_t done, int64_t total) {
        options.progress(rank * total + done, size * total);
      };
    }
    FERRY_TRY(auto shard, load_model(source, devices[static_cast<size_t>(rank)], own));
    shards.push_back(std::move(shard));
  }
  return shards;
}

std::vector<RunnerRank> runner_ranks(std::span<const LoadedModel> shards) {
  std::vector<RunnerRank> ranks;
  for (const LoadedModel& shard : shards) ranks.push_back({shard.backend, shard.model.get()});
  return ranks;
}

}  // namespace ferry::engine
