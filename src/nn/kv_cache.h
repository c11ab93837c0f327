// The paged KV cache. Memory is cut into planes (one or two per layer: keys and values, or one MLA
// latent), each plane into pages of `block_size` tokens. A page id means the same page in every
// plane, so that one block table per sequence serves all layers.
//
//   plane p:  [num_pages, rows_p, width_p]   in the cache's dtype; as int8 every page also has the
//                                            scales of its rows (device/int8_rows.h)
//
// Most planes have a row per token. Compressed ones have one per `tokens_per_row` (device/ops_v4.h
// says which page and row), and some hold numbers that are pooled later and stay in f32: what a
// model keeps of a sequence is a matter of its pages alone, so that sharing, throwing out and
// rolling back need no second mechanism.
//
// Of some planes only recent rows are ever read again: the window of an attention, what a pool
// still takes in. These have pages of their own, [num_recent_pages, rows_p, width_p], with a second
// block table per sequence, and a sequence lets those go that lie behind (engine/scheduler.h).
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "base/tensor_view.h"
#include "device/backend.h"
#include "device/batch.h"

namespace ferry::nn {

struct KvPlane {
  int64_t width = 0;           // elements of a row
  int64_t group = 0;           // how many of them share a scale as int8
  int64_t tokens_per_row = 1;  // a page has ceil(block_size / tokens_per_row) rows
  bool always_f32 = false;     // whatever the dtype of the cache
  int64_t recent_tokens = 0;   // a token reads the rows of so many, its own included; 0: of all
  PageKind pages() const { return recent_tokens > 0 ? PageKind::kRecent : PageKind::kAll; }
};

// What a model keeps of a sequence; filled by the model when it is built.
struct KvLayout {
  std::vector<KvPlane> planes;

  // Gives the index of the new plane.
  int64_t add_plane(const KvPlane& plane) {
    planes.push_back(plane);
    return static_cast<int64_t>(planes.size()) - 1;
  }
  int64_t add_plane(int64_t width, int64_t group) {
    return add_plane({.width = width, .group = group});
  }
  // The most that any plane of recent tokens looks back on; 0: there are none.
  int64_t recent_tokens() const;
};

struct KvCacheSpec {
  Dtype dtype = Dtype::kF32;  // f32, f16, bf16 or i8
  int64_t block_size = 16;    // tokens per page
  int64_t num_pages = 0;
  int64_t num_recent_pages = 0;  // of planes of recent tokens; 0: they go by the others' pages
};

// Bytes the cache takes; what the plan says and allocate() asks for. Planes start on 256 bytes.
int64_t kv_cache_bytes(const KvLayout& layout, const KvCacheSpec& spec);
// Of the planes with such pages, scales included: the share of a token in full pages; what lies
// between pages and planes is not counted.
int64_t kv_bytes_per_token(const KvLayout& layout, PageKind kind, Dtype dtype, int64_t block_size);

class KvCache {
 public:
  static Result<KvCache> allocate(Backend& backend, const KvLayout& layout,
                                  const KvCacheSpec& spec);

  TensorView plane(int64_t index) const { return planes_[index]; }
  int64_t group(int64_t index) const { return layout_.planes[index].group; }  // KvWriteArgs::group
  PageKind pages(int64_t index) const { return layout_.planes[index].pages(); }
  const KvCacheSpec& spec() const { return spec_; }

  // A cache without memory, for measuring a forward. Addresses are fake.
  static KvCache measuring(const KvLayout& layout, const KvCacheSpec& spec);

 private:
  KvCacheSpec spec_;
  Buffer buffer_;
  std::vector<TensorView> planes_;
  KvLayout layout_;
};

}  // namespace ferry::nn
