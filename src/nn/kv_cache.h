// The paged KV cache. Memory is cut into planes (one or two per layer: keys and values, or one MLA
// latent), each plane into pages of `block_size` tokens. A page id means the same page in every
// plane, so that one block table per sequence serves all layers.
//
//   plane p:  [num_pages, block_size, width_p]   in the cache's dtype
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

  int64_t elements_per_token() const {
    int64_t sum = 0;
    for (int64_t width : plane_widths) sum += width;
    return sum;
  }
};

struct KvCacheSpec {
  Dtype dtype = Dtype::kF32;  // f32, f16 or bf16
  int64_t block_size = 16;    // tokens per page
  int64_t num_pages = 0;
};

// Bytes the cache takes; what the plan says and allocate() asks for. Planes start on 256 bytes.
int64_t kv_cache_bytes(const KvLayout& layout, const KvCacheSpec& spec);

class KvCache {
 public:
  static Result<KvCache> allocate(Backend& backend, const KvLayout& layout,
                                  const KvCacheSpec& spec);

  TensorView plane(int64_t index) const { return planes_[index]; }
  const KvCacheSpec& spec() const { return spec_; }

  // A cache without memory, for measuring a forward. Addresses are fake.
  static KvCache measuring(const KvLayout& layout, const KvCacheSpec& spec);

 private:
  KvCacheSpec spec_;
  Buffer buffer_;
  std::vector<TensorView> planes_;
};

}  // namespace ferry::nn
