// See library_communicator.h.
#include "device/library_communicator.h"

#include <thread>

namespace ferry {

Status start_ranks(int size, const std::function<Status(int rank)>& start) {
  std::vector<Status> statuses(static_cast<size_t>(size));
  std::vector<std::thread> threads;
  for (int rank = 0; rank < size; ++rank) {
    threads.emplace_back([&, rank] { statuses[static_cast<size_t>(rank)] = start(rank); });
  }
  for (std::thread& thread : threads) thread.join();
  for (const Status& status : statuses) FERRY_TRY_VOID(status);
  return {};
}

std::vector<CollectivePath> collective_paths(bool there, const std::string& why,
                                             const std::array<const char*, 4>& symbols) {
  static constexpr std::array<std::string_view, 4> kNames = {"all_reduce", "all_gather",
                                                             "reduce_scatter", "all_to_all_v"};
  std::vector<CollectivePath> paths;
  for (size_t i = 0; i < kNames.size(); ++i) {
    paths.push_back({kNames[i], there ? symbols[i] : "host memory, as " + why, "emulated"});
  }
  return paths;
}

std::vector<int64_t> offsets_of(std::span<const int64_t> counts) {
  std::vector<int64_t> offsets;
  int64_t sum = 0;
  for (const int64_t count : counts) {
    offsets.push_back(sum);
    sum += count;
  }
  return offsets;
}

}  // namespace ferry
