// Models that are larger than memory: how much of it their experts get. Where the backend can read
// them on demand, the file's other weights stay where it is mapped, and of the experts those used
// last are kept.
#pragma once

#include <cstdint>
#include <string>

#include "device/backend.h"
#include "engine/model_loader.h"

namespace ferry::engine {

// Of the memory that is free: for everybody else, and for what no plan counts.
int64_t memory_reserve(const MemoryInfo& memory);

struct ExpertMemory {
  bool on_demand = false;  // otherwise the rest says nothing
  int64_t wanted = 0;      // 0: what cache and workspace leave
  int64_t least = 0;       // two matrices
  int64_t left = 0;        // what is free beside the weights that stay in memory, and a reserve
  MemoryInfo others;       // what cache and workspace may take of it

  // Memory for experts when everything that is no weight takes `other_bytes`.
  int64_t bytes(int64_t other_bytes) const;
};

struct ExpertSizes {
  int64_t file_bytes = 0;  // of all weights as they are stored
  int64_t expert_bytes = 0;
  int64_t largest_expert_bytes = 0;  // a matrix of one
};

// Of memory that nobody has said how to share: experts are read on demand only if the file is
// larger than what is free, and get what is left. What the planner says of a machine that is not
// this one, too.
ExpertMemory divide_memory(const ExpertSizes& sizes, const MemoryInfo& memory);

// For a model and `wanted` bytes for its experts; 0: as divide_memory() has it. Errors: a backend
// that can't, a model without such experts, less than two matrices (a backend can't read one while
// it computes with another).
Result<ExpertMemory> share_memory(const LoadedModel& measured, int64_t file_bytes, int64_t wanted,
                                  const MemoryInfo& memory);

// "experts 4096.0 MiB of 22518.3 MiB, the others are read when they are needed", for people.
std::string describe_expert_memory(int64_t bytes, int64_t all_bytes);

}  // namespace ferry::engine
