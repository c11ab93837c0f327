// See kv_cache.h.
#include "nn/kv_cache.h"

#include <algorithm>

#include "base/checked_math.h"
#include "device/int8_rows.h"

namespace ferry::nn {
namespace {

constexpr int64_t kPlaneAlignment = 256;

Dtype dtype_of(const KvPlane& plane, Dtype cache) { return plane.always_f32 ? Dtype::kF32 : cache; }

int64_t rows_of(const KvPlane& plane, int64_t block_size) {
  return ceil_div(block_size, plane.tokens_per_row);
}

int64_t pages_of(const KvPlane& plane, const KvCacheSpec& spec) {
  const bool own = plane.pages() == PageKind::kRecent && spec.num_recent_pages > 0;
  return own ? spec.num_recent_pages : spec.num_pages;
}

int64_t plane_bytes(const KvPlane& plane, const KvCacheSpec& spec) {
  const Dtype dtype = dtype_of(plane, spec.dtype);
  const int64_t rows = rows_of(plane, spec.block_size);
  const int64_t page = dtype == Dtype::kI8 ? int8_page_bytes(rows, plane.width, plane.group)
                                           : rows * plane.width * dtype_bytes(dtype);
  return round_up(pages_of(plane, spec) * page, kPlaneAlignment);
}

std::vector<TensorView> cut_planes(char* base, const KvLayout& layout, const KvCacheSpec& spec) {
  std::vector<TensorView> planes;
  planes.reserve(layout.planes.size());
  for (const KvPlane& plane : layout.planes) {
    const Dtype dtype = dtype_of(plane, spec.dtype);
    const int64_t pages = pages_of(plane, spec);
    const int64_t rows = rows_of(plane, spec.block_size);
    planes.push_back(dtype == Dtype::kI8
                         ? int8_pages(base, pages, rows, plane.width, plane.group)
                         : TensorView::contiguous(base, dtype, {pages, rows, plane.width}));
    base += plane_bytes(plane, spec);
  }
  return planes;
}

}  // namespace

int64_t KvLayout::recent_tokens() const {
  int64_t most = 0;
  for (const KvPlane& plane : planes) most = std::max(most, plane.recent_tokens);
  return most;
}

int64_t kv_cache_bytes(const KvLayout& layout, const KvCacheSpec& spec) {
  int64_t sum = 0;
  for (const KvPlane& plane : layout.planes) sum += plane_bytes(plane, spec);
  return sum;
}

int64_t kv_bytes_per_token(const KvLayout& layout, PageKind kind, Dtype dtype, int64_t block_size) {
  int64_t page = 0;
  for (const KvPlane& plane : layout.planes) {
    if (plane.pages() != kind) continue;
    const Dtype own = dtype_of(plane, dtype);
    int64_t row = plane.width * dtype_bytes(own);
    if (own == Dtype::kI8) row += ceil_div(plane.width, plane.group) * dtype_bytes(Dtype::kF32);
    page += row * rows_of(plane, block_size);
  }
  return ceil_div(page, block_size);
}

Result<KvCache> KvCache::allocate(Backend& backend, const KvLayout& layout,
                                  const KvCacheSpec& spec) {
  KvCache cache;
  cache.spec_ = spec;
  cache.layout_ = layout;
  FERRY_TRY(cache.buffer_, backend.allocate(kv_cache_bytes(layout, spec)));
  cache.planes_ = cut_planes(static_cast<char*>(cache.buffer_.data), layout, spec);
  return cache;
}

KvCache KvCache::measuring(const KvLayout& layout, const KvCacheSpec& spec) {
  KvCache cache;
  cache.spec_ = spec;
  cache.layout_ = layout;
  cache.planes_ = cut_planes(reinterpret_cast<char*>(kPlaneAlignment), layout, spec);
  return cache;
}

}  // namespace ferry::nn
