// Shard: which of several ranks a model is loaded for, and Cut: how a matrix is shared out among
// them. A matrix consists of equal units — heads, or the columns of a feed-forward block — that lie
// along its rows or its columns; each rank takes as many units as any other, in the order of ranks.
// Where there are fewer units than ranks (heads of keys and values), neighbouring ranks have the
// same one.
//
// (Shoeybi et al. 2019, Megatron-LM: rows of what leads into a block, columns of what leads out of
// it, and a sum over the ranks behind that.)
#pragma once

#include <cstdint>

namespace ferry::weights {

struct Shard {
  int64_t rank = 0;
  int64_t size = 1;

  bool whole() const { return size == 1; }
  // Of `units`: how many this rank has, and the first of them. REQUIRES: size divides units, or the
  // other way round
  int64_t share(int64_t units) const { return units < size ? 1 : units / size; }
  int64_t first(int64_t units) const { return rank * units / size; }
};

struct Cut {
  enum class Along : uint8_t { kNothing, kRows, kColumns };
  Along along = Along::kNothing;  // every rank has all of it
  int64_t units = 0;
};
inline Cut cut_rows(int64_t units) { return {Cut::Along::kRows, units}; }
inline Cut cut_columns(int64_t units) { return {Cut::Along::kColumns, units}; }

}  // namespace ferry::weights
