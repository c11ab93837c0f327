// PagePool: which pages of the KV cache are free, held or remembered. A page is a number; what lies
// in it is the business of the cache (nn/kv_cache.h), who holds it that of the scheduler.
//
// A page whose contents are final may be published under a key. It can then be held by several
// sequences at once, and stays findable when nobody holds it any more, until the room is needed:
// the one that was given back longest ago goes first.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <unordered_map>
#include <vector>

namespace ferry::engine {

// Names the tokens of a page and all before them (engine/block_keys.h).
struct BlockKey {
  uint64_t low = 0;
  uint64_t high = 0;
  friend bool operator==(const BlockKey&, const BlockKey&) = default;
};

struct BlockKeyHash {
  // The key is a hash already.
  size_t operator()(const BlockKey& key) const { return static_cast<size_t>(key.low); }
};

class PagePool {
 public:
  explicit PagePool(int64_t num_pages);

  int64_t num_pages() const { return static_cast<int64_t>(pages_.size()); }
  // That nobody holds, remembered ones included.
  int64_t num_free() const { return static_cast<int64_t>(empty_.size() + remembered_.size()); }
  int32_t num_holders(int32_t page) const { return pages_[page].holders; }

  // A page to write on, with one holder. REQUIRES: num_free() > 0. Empty pages come first, the one
  // given back last at the front: it may still be in a cache of the chip.
  int32_t take();
  // The page published under `key`; -1: there is none.
  int32_t find(const BlockKey& key) const;
  // One more holder of a page that find() gave.
  void hold(int32_t page);
  // What lies in `page`, which is held, will not change. Nothing happens if the key is known.
  void publish(int32_t page, const BlockKey& key);
  // One holder less. REQUIRES: it has one
  void give_back(int32_t page);

 private:
  struct Page {
    int32_t holders = 0;
    bool published = false;
    BlockKey key;
    std::list<int32_t>::iterator place;  // in remembered_, while published and not held
  };

  std::vector<Page> pages_;
  std::vector<int32_t> empty_;
  std::list<int32_t> remembered_;  // given back longest ago first
  std::unordered_map<BlockKey, int32_t, BlockKeyHash> by_key_;
};

}  // namespace ferry::engine
