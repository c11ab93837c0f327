// See expert_memory.h.
#include "engine/expert_memory.h"

#include <algorithm>

namespace ferry::engine {

int64_t memory_reserve(const MemoryInfo& memory) {
  return std::max<int64_t>(memory.total_bytes / 16, int64_t{256} << 20);
}

int64_t ExpertMemory::bytes(int64_t other_bytes) const {
  return wanted > 0 ? wanted : std::max(left - other_bytes, least);
}

ExpertMemory divide_memory(const ExpertSizes& sizes, const MemoryInfo& memory) {
  const int64_t free_bytes = memory.free_bytes - memory_reserve(memory);
  ExpertMemory share{.least = 2 * (sizes.largest_expert_bytes + 8192)};
  share.on_demand =
      sizes.expert_bytes > 0 && memory.total_bytes > 0 && sizes.file_bytes > free_bytes;
  share.left = std::max<int64_t>(free_bytes - (sizes.file_bytes - sizes.expert_bytes), 0);
  share.others = memory;
  share.others.free_bytes = share.left / 2;
  return share;
}

Result<ExpertMemory> share_memory(const LoadedModel& measured, int64_t file_bytes, int64_t wanted,
                                  const MemoryInfo& memory) {
  const DeviceSpec& device = measured.backend->spec();
  ExpertMemory share = divide_memory({.file_bytes = file_bytes,
                                      .expert_bytes = measured.expert_bytes,
                                      .largest_expert_bytes = measured.largest_expert_bytes},
                                     memory);
  if (wanted == 0) {
    share.on_demand = share.on_demand && device.weights_on_demand;
    return share;
  }
  if (!device.weights_on_demand) {
    return unsupported("expert_memory: {} can't read experts when they are needed", device.backend);
  }
  if (measured.expert_bytes == 0) {
    return invalid_input("expert_memory: {} has no experts that could be left in the file",
                         measured.name);
  }
  if (wanted < share.least) {
    return invalid_input("expert_memory: {} bytes; two matrices of an expert of {} take {}", wanted,
                         measured.name, share.least);
  }
  share.wanted = wanted;
  share.on_demand = true;
  share.others.free_bytes = std::max<int64_t>(memory.free_bytes - wanted, 0);
  return share;
}

std::string describe_expert_memory(int64_t bytes, int64_t all_bytes) {
  const auto mib = [](int64_t n) { return static_cast<double>(n) / (1 << 20); };
  return fmt::format("experts {:.1f} MiB of {:.1f} MiB, the others are read when they are needed",
                     mib(std::min(bytes, all_bytes)), mib(all_bytes));
}

}  // namespace ferry::engine
