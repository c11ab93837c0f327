// See kv_cache.h.
#include "nn/kv_cache.h"

#include "base/checked_math.h"

namespace ferry::nn {
namespace {

constexpr int64_t kPlaneAlignment = 256;

int64_t plane_bytes(int64_t width, const KvCacheSpec& spec) {
  return round_up(spec.num_pages * spec.block_size * width * dtype_bytes(spec.dtype),
                  kPlaneAlignment);
}

std::vector<TensorView> cut_planes(char* base, const KvLayout& layout, const KvCacheSpec& spec) {
  std::vector<TensorView> planes;
  planes.reserve(layout.plane_widths.size());
  for (int64_t width : layout.plane_widths) {
    planes.push_back(
        TensorView::contiguous(base, spec.dtype, {spec.num_pages, spec.block_size, width}));
    base += plane_bytes(width, spec);
  }
  return planes;
}

}  // namespace

int64_t kv_cache_bytes(const KvLayout& layout, const KvCacheSpec& spec) {
  int64_t sum = 0;
  for (int64_t width : layout.plane_widths) sum += plane_bytes(width, spec);
  return sum;
}

Result<KvCache> KvCache::allocate(Backend& backend, const KvLayout& layout,
                                  const KvCacheSpec& spec) {
  KvCache cache;
  cache.spec_ = spec;
  FERRY_TRY(cache.buffer_, backend.allocate(kv_cache_bytes(layout, spec)));
  cache.planes_ = cut_planes(static_cast<char*>(cache.buffer_.data), layout, spec);
  return cache;
}

KvCache KvCache::measuring(const KvLayout& layout, const KvCacheSpec& spec) {
  KvCache cache;
  cache.spec_ = spec;
  cache.planes_ = cut_planes(reinterpret_cast<char*>(kPlaneAlignment), layout, spec);
  return cache;
}

}  // namespace ferry::nn
