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
