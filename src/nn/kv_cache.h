// The paged KV cache. Memory is cut into planes (one or two per layer: keys and values, or one MLA
// latent), each plane into pages of `block_size` tokens. A page id means the same page in every
// plane, so that one block table per sequence serves all layers.
//
//   plane p:  [num_pages, block_size, width_p]   in the cache's dtype; as int8 every page also has
//                                                the scales of its rows (device/int8_rows.h)
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "base/tensor_view.h"
#include "device/backend.h"

namespace ferry::nn {

// What a model keeps per token; filled by the model when it is built.
struct KvLayout {
  std::vector<int64_t> plane_widths;  // elements per token in each plane
  std::vector<int64_t> plane_groups;  // how many of them share a scale as int8

  // Gives the index of the new plane.
  int64_t add_plane(int64_t width, int64_t group) {
    plane_widths.push_back(width);
    plane_groups.push_back(group);
    return static_cast<int64_t>(plane_widths.size()) - 1;
  }
};

struct KvCacheSpec {
  Dtype dtype = Dtype::kF32;  // f32, f16, bf16 or i8
  int64_t block_size = 16;    // tokens per page
  int64_t num_pages = 0;
};

// Bytes the cache takes; what the plan says and allocate() asks for. Planes start on 256 bytes.
int64_t kv_cache_bytes(const KvLayout& layout, const KvCacheSpec& spec);
// Of all planes, scales included; what lies between pages and planes is not counted.
int64_t kv_bytes_per_token(const KvLayout& layout, Dtype dtype);

class KvCache {
 public:
  static Result<KvCache> allocate(Backend& backend, const KvLayout& layout,
                                  const KvCacheSpec& spec);

  TensorView plane(int64_t index) const { return planes_[index]; }
  int64_t group(int64_t index) const { return groups_[index]; }  // KvWriteArgs::group
  const KvCacheSpec& spec() const { return spec_; }

  // A cache without memory, for measuring a forward. Addresses are fake.
  static KvCache measuring(const KvLayout& layout, const KvCacheSpec& spec);

 private:
  KvCacheSpec spec_;
  Buffer buffer_;
  std::vector<TensorView> planes_;
  std::vector<int64_t> groups_;
};

}  // namespace ferry::nn
