// See kv_cache.h.
#include "nn/kv_cache.h"

#include "base/checked_math.h"
#include "device/int8_rows.h"

namespace ferry::nn {
namespace {

constexpr int64_t kPlaneAlignment = 256;

int64_t plane_bytes(const KvLayout& layout, size_t plane, const KvCacheSpec& spec) {
  const int64_t width = layout.plane_widths[plane];
  const int64_t page = spec.dtype == Dtype::kI8
                           ? int8_page_bytes(spec.block_size, width, layout.plane_groups[plane])
                           : spec.block_size * width * dtype_bytes(spec.dtype);
  return round_up(spec.num_pages * page, kPlaneAlignment);
}

std::vector<TensorView> cut_planes(char* base, const KvLayout& layout, const KvCacheSpec& spec) {
  std::vector<TensorView> planes;
  planes.reserve(layout.plane_widths.size());
  for (size_t p = 0; p < layout.plane_widths.size(); ++p) {
    const int64_t width = layout.plane_widths[p];
    planes.push_back(
        spec.dtype == Dtype::kI8
            ? int8_pages(base, spec.num_pages, spec.block_size, width, layout.plane_groups[p])
            : TensorView::contiguous(base, spec.dtype, {spec.num_pages, spec.block_size, width}));
    base += plane_bytes(layout, p, spec);
  }
  return planes;
}

}  // namespace

int64_t kv_cache_bytes(const KvLayout& layout, const KvCacheSpec& spec) {
  int64_t sum = 0;
  for (size_t p = 0; p < layout.plane_widths.size(); ++p) sum += plane_bytes(layout, p, spec);
  return sum;
}

int64_t kv_bytes_per_token(const KvLayout& layout, Dtype dtype) {
  int64_t sum = 0;
  for (size_t p = 0; p < layout.plane_widths.size(); ++p) {
    const int64_t width = layout.plane_widths[p];
    sum += width * dtype_bytes(dtype);
    if (dtype == Dtype::kI8) {
      sum += ceil_div(width, layout.plane_groups[p]) * dtype_bytes(Dtype::kF32);
    }
  }
  return sum;
}

Result<KvCache> KvCache::allocate(Backend& backend, const KvLayout& layout,
                                  const KvCacheSpec& spec) {
  KvCache cache;
  cache.spec_ = spec;
  cache.groups_ = layout.plane_groups;
  FERRY_TRY(cache.buffer_, backend.allocate(kv_cache_bytes(layout, spec)));
  cache.planes_ = cut_planes(static_cast<char*>(cache.buffer_.data), layout, spec);
  return cache;
}

KvCache KvCache::measuring(const KvLayout& layout, const KvCacheSpec& spec) {
  KvCache cache;
  cache.spec_ = spec;
  cache.groups_ = layout.plane_groups;
  cache.planes_ = cut_planes(reinterpret_cast<char*>(kPlaneAlignment), layout, spec);
  return cache;
}

}  // namespace ferry::nn
