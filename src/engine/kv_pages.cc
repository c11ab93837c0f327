// See kv_pages.h.
#include "engine/kv_pages.h"

#include "base/check.h"

namespace ferry::engine {

PagePool::PagePool(int64_t num_pages) {
  CHECK(num_pages >= 0 && num_pages <= INT32_MAX);
  pages_.resize(static_cast<size_t>(num_pages));
  empty_.reserve(static_cast<size_t>(num_pages));
  // Taken from the back: low numbers first.
  for (int64_t page = num_pages - 1; page >= 0; --page) {
    empty_.push_back(static_cast<int32_t>(page));
  }
}

int32_t PagePool::take() {
  int32_t page = -1;
  if (!empty_.empty()) {
    page = empty_.back();
    empty_.pop_back();
  } else {
    CHECK(!remembered_.empty());
    page = remembered_.front();
    remembered_.pop_front();
    CHECK(by_key_.erase(pages_[page].key) == 1);
    pages_[page].published = false;
  }
  CHECK(pages_[page].holders == 0 && !pages_[page].published);
  pages_[page].holders = 1;
  return page;
}

int32_t PagePool::find(const BlockKey& key) const {
  const auto found = by_key_.find(key);
  return found == by_key_.end() ? -1 : found->second;
}

void PagePool::hold(int32_t page) {
  CHECK(pages_[page].published);
  if (pages_[page].holders++ == 0) remembered_.erase(pages_[page].place);
}

void PagePool::publish(int32_t page, const BlockKey& key) {
  CHECK(pages_[page].holders > 0);
  if (pages_[page].published || !by_key_.emplace(key, page).second) return;
  pages_[page].published = true;
  pages_[page].key = key;
}

void PagePool::give_back(int32_t page) {
  CHECK(page >= 0 && page < num_pages() && pages_[page].holders > 0);
  if (--pages_[page].holders > 0) return;
  if (pages_[page].published) {
    pages_[page].place = remembered_.insert(remembered_.end(), page);
  } else {
    empty_.push_back(page);
  }
}

}  // namespace ferry::engine
