// Whether weights are packed (HostWeight::pack): they take memory of their own then, where the file
// as it is mapped takes only what nobody else wants. Where `ferry pack` has left a copy of them, it
// is mapped in place of the file, and takes none.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "engine/model_loader.h"
#include "ferry/ferry.h"
#include "weights/packed_copy.h"

namespace ferry::engine {

// The copy of the model's packed weights in a folder (weights::packed_copy_path()); nullptr: there
// is none, or none that this backend could use. Of one that is there and does not hold, `notice` is
// told why not; it may be empty.
std::shared_ptr<const weights::PackedCopy> find_packed_copy(
    const std::string& folder, const disk::ModelSource& source, const Backend& backend,
    const std::function<void(const std::string& line)>& notice);

// `packed`: the model measured with LoadOptions::pack, and the copy there is; other_bytes: what
// else of memory will be taken; experts_on_demand: they stay in the file, because memory is short.
bool choose_packing(WeightPacking wanted, const LoadedModel& packed, int64_t file_bytes,
                    int64_t other_bytes, bool experts_on_demand, const MemoryInfo& memory);

// Whether what is packed at all is left for Runner::pack_more().
constexpr bool packs_later(WeightPacking wanted) { return wanted == WeightPacking::kAuto; }

// "weights are packed between steps: of the file, 8412.3 MiB need not stay in memory then", for
// people, and what of them is mapped from `copy`, which may be nullptr.
std::string describe_packing(WeightPacking wanted, const LoadedModel& packed,
                             const weights::PackedCopy* copy);

}  // namespace ferry::engine
