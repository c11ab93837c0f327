// FileLoader for one rank of several: the rows or columns of a matrix that the rank computes with,
// and the part of a scale grid that belongs to them.
#include <fmt/format.h>

#include <cstring>
#include <numeric>

#include "base/checked_math.h"
#include "weights/file_loader.h"

namespace ferry::weights {
namespace {

// "1, 2, 4": into how many equal parts of whole blocks columns can be cut, as far as `most`.
std::string sizes_that_fit(int64_t cols, int64_t block, int64_t most) {
  std::string sizes;
  for (int64_t size = 1; size <= most; ++size) {
    if (cols % (size * block) == 0) sizes += (sizes.empty() ? "" : ", ") + std::to_string(size);
  }
  return sizes;
}

}  // namespace

// False, and an error, where columns can't be cut between blocks.
bool FileLoader::apply(const Cut& cut, Part& part) {
  if (shard().whole() || cut.along == Cut::Along::kNothing) return true;
  const bool by_rows = cut.along == Cut::Along::kRows;
  const int64_t all = by_rows ? part.rows : part.cols;
  CHECK(cut.units > 0 && all % cut.units == 0);
  const int64_t width = all / cut.units;
  const int64_t first = shard().first(cut.units) * width;
  const int64_t count = shard().share(cut.units) * width;
  if (by_rows) {
    part.first_row += first;
    part.cut_row = first;
    part.rows = count;
    return true;
  }
  const quant::StorageFormat& format = *part.tensor->format;
  const int64_t block = format.block_elements;
  if (first % block != 0 || count % block != 0) {
    constexpr int64_t kMostSizes = 64;
    fail(
        unsupported("{}: {} has blocks of {} columns, and each of {} ranks would have {} of {}; "
                    "tensor parallel sizes that cut between blocks: {}",
                    checkpoint_.where(*part.tensor), format.name, block, shard().size, count, all,
                    sizes_that_fit(all, block, kMostSizes)));
    return false;
  }
  part.stored_cols = part.cols;
  part.first_col = first;
  part.cols = count;
  return true;
}

std::vector<uint8_t> FileLoader::copy_columns(const Part& part) const {
  const quant::StorageFormat& format = *part.tensor->format;
  const auto stored_row = static_cast<size_t>(format.bytes_for(part.stored_cols));
  const auto row = static_cast<size_t>(format.bytes_for(part.cols));
  const auto* from = part.tensor->data.data() + static_cast<size_t>(part.first_row) * stored_row +
                     static_cast<size_t>(format.bytes_for(part.first_col));
  std::vector<uint8_t> columns(row * static_cast<size_t>(part.rows));
  for (size_t r = 0; r < static_cast<size_t>(part.rows); ++r) {
    std::memcpy(columns.data() + r * row, from + r * stored_row, row);
  }
  return columns;
}

// A cut that does not fall between blocks of the grid makes these finer: so fine that it does.
FileLoader::Grid FileLoader::grid_of(const Part& part) {
  const bool single = part.factor >= 0;
  const int64_t rows = single ? part.rows : options_.scale_rows;
  const int64_t cols = single ? part.cols : options_.scale_cols;
  Grid grid{.values = {}, .rows = rows, .cols = cols};
  if (!single) {
    grid.rows = std::gcd(rows, part.cut_row);
    grid.cols = std::gcd(cols, part.first_col);
  }
  const int64_t grid_rows = ceil_div(part.rows, grid.rows);
  const int64_t grid_cols = ceil_div(part.cols, grid.cols);
  grid.values.resize(static_cast<size_t>(grid_rows * grid_cols));
  if (options_.measure_only) return grid;  // only the size counts
  const std::vector<float> stored = read_plain(*part.scale);
  if (!status_.ok()) return grid;
  if (single) {
    grid.values = {stored[static_cast<size_t>(part.factor)]};
    return grid;
  }
  const int64_t stored_cols = part.stored_cols > 0 ? part.stored_cols : part.cols;
  const int64_t stored_grid_cols = ceil_div(stored_cols, cols);
  for (int64_t r = 0; r < grid_rows; ++r) {
    const int64_t from_row = (part.cut_row + r * grid.rows) / rows;
    for (int64_t c = 0; c < grid_cols; ++c) {
      const int64_t from_col = (part.first_col + c * grid.cols) / cols;
      grid.values[static_cast<size_t>(r * grid_cols + c)] =
          stored[static_cast<size_t>(from_row * stored_grid_cols + from_col)];
    }
  }
  return grid;
}

}  // namespace ferry::weights
