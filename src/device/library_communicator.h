// What communicators over vendors' libraries have in common: an error that sticks for all ranks,
// since none can go on without the others, and starting ranks side by side, as libraries wait in
// each rank's initialisation until all have come.
//
// After abort() nothing more is queued; what waits in a queue for a rank that will not come ends by
// the library's own timeout.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "device/communicator.h"

namespace ferry {

class LibraryCommunicator : public Communicator {
 public:
  // What the ranks share. Thread-safe.
  class Group {
   public:
    Status status() const {
      const std::lock_guard lock(mutex_);
      return failure_.has_value() ? Status(*failure_) : Status();
    }
    void fail(const Error& error) {
      const std::lock_guard lock(mutex_);
      if (!failure_.has_value()) failure_ = error;
    }

   private:
    mutable std::mutex mutex_;
    std::optional<Error> failure_;
  };

  LibraryCommunicator(int rank, int size, std::shared_ptr<Group> group)
      : Communicator(rank, size), group_(std::move(group)) {}

  void abort(const Error& why) override { group_->fail(why); }
  Status status() const override { return group_->status(); }

 protected:
  // Whether a call may be queued, as making the rank's device the thread's own gave `bound`.
  bool bound_to_device(const Status& bound) {
    if (!bound.ok()) fail(bound.error());
    return bound.ok();
  }
  // Of an error that this rank's call gave.
  void fail(const Error& error) {
    group_->fail(error.in("rank " + std::to_string(rank()) + " of " + std::to_string(size())));
  }

 private:
  const std::shared_ptr<Group> group_;
};

// start(rank) for each of `size` ranks, each on a thread of its own. The first rank's error, if
// any.
Status start_ranks(int size, const std::function<Status(int rank)>& start);

// What all_reduce, all_gather, reduce_scatter and all_to_all_v go by: `symbols` of a library that
// is emulated in tests, or the host where it is not `there`, as `why` says.
std::vector<CollectivePath> collective_paths(bool there, const std::string& why,
                                             const std::array<const char*, 4>& symbols);

// Where the parts of counts[0], counts[1], … elements begin that lie back to back.
std::vector<int64_t> offsets_of(std::span<const int64_t> counts);

}  // namespace ferry
