// PagePool: which pages of the KV cache are free. A page is a number; what lies in it is the
// business of the cache (nn/kv_cache.h), who holds it that of the scheduler.
#pragma once

#include <cstdint>
#include <vector>

#include "base/check.h"

namespace ferry::engine {

class PagePool {
 public:
  explicit PagePool(int64_t num_pages) : taken_(num_pages, false) {
    CHECK(num_pages >= 0 && num_pages <= INT32_MAX);
    free_.reserve(num_pages);
    // Taken from the back: low numbers first.
    for (int64_t page = num_pages - 1; page >= 0; --page) {
      free_.push_back(static_cast<int32_t>(page));
    }
  }

  int64_t num_pages() const { return static_cast<int64_t>(taken_.size()); }
  int64_t num_free() const { return static_cast<int64_t>(free_.size()); }

  // REQUIRES: num_free() > 0. The page given back last is taken first: it may still be in a cache.
  int32_t take() {
    CHECK(!free_.empty());
    const int32_t page = free_.back();
    free_.pop_back();
    taken_[page] = true;
    return page;
  }

  void give_back(int32_t page) {
    CHECK(page >= 0 && page < num_pages() && taken_[page]);
    taken_[page] = false;
    free_.push_back(page);
  }

 private:
  std::vector<int32_t> free_;
  std::vector<bool> taken_;
};

}  // namespace ferry::engine
