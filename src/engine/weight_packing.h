// Whether weights are packed (HostWeight::pack): they take memory of their own then, where the file
// as it is mapped takes only what nobody else wants.
#pragma once

#include <cstdint>

#include "engine/model_loader.h"
#include "ferry/ferry.h"

namespace ferry::engine {

// `packed`: the model measured with LoadOptions::pack; other_bytes: what else of memory will be
// taken; experts_on_demand: they stay in the file, because memory is short.
bool choose_packing(WeightPacking wanted, const LoadedModel& packed, int64_t file_bytes,
                    int64_t other_bytes, bool experts_on_demand, const MemoryInfo& memory);

// "weights are packed, 8412.3 MiB in place of as much of the file", for people.
std::string describe_packing(const LoadedModel& packed);

}  // namespace ferry::engine
