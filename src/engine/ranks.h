// The devices that a model is spread over, and its shards on them.
#pragma once

#include <memory>
#include <vector>

#include "engine/model_loader.h"
#include "engine/runner.h"

namespace ferry::engine {

// `size` devices of a backend from options.device on; where all of its devices are the host, that
// one, with a share of the threads each. Errors: as of opening one, and how many were wanted.
Result<std::vector<std::shared_ptr<Backend>>> open_ranks(std::string_view backend,
                                                         const BackendOptions& options,
                                                         int64_t size);

// Of each rank: the least that any of them has, or a share where all have the same memory.
Result<MemoryInfo> memory_of_each(std::span<const std::shared_ptr<Backend>> devices);

// A shard of the model on each device, in the order of ranks; load_model() with its options, but
// the shard.
Result<std::vector<LoadedModel>> load_shards(const disk::ModelSource& source,
                                             std::span<const std::shared_ptr<Backend>> devices,
                                             const LoadOptions& options);

// Views of them for a Runner.
std::vector<RunnerRank> runner_ranks(std::span<const LoadedModel> shards);

}  // namespace ferry::engine
