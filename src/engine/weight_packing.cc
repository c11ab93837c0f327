// See weight_packing.h.
#include "engine/weight_packing.h"

#include "engine/expert_memory.h"

namespace ferry::engine {

bool choose_packing(WeightPacking wanted, const LoadedModel& packed, int64_t file_bytes,
                    int64_t other_bytes, bool experts_on_demand, const MemoryInfo& memory) {
  if (packed.replaced_bytes == 0 || wanted == WeightPacking::kNever) return false;
  if (wanted == WeightPacking::kAlways) return true;
  if (experts_on_demand || memory.total_bytes == 0) return false;
  const int64_t in_file = file_bytes - packed.replaced_bytes;
  return packed.weights_bytes + in_file + other_bytes + memory_reserve(memory) <= memory.free_bytes;
}

std::string describe_packing(const LoadedModel& packed) {
  return fmt::format("weights are packed: of the file, {:.1f} MiB need not stay in memory",
                     static_cast<double>(packed.replaced_bytes) / (1 << 20));
}

}  // namespace ferry::engine
