#include "quant/storage_format.h"

#include <algorithm>
#include <cctype>

#include "base/check.h"
#include "quant_table.inc"

namespace ferry::quant {
namespace {

bool equal_ignoring_case(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](unsigned char x, unsigned char y) {
    return std::tolower(x) == std::tolower(y);
  });
}

}  // namespace

std::span<const StorageFormat* const> all_formats() { return kStorageFormatTable; }

const StorageFormat* find_format(std::string_view name) {
  for (const StorageFormat* format : all_formats()) {
    if (equal_ignoring_case(format->name, name)) return format;
  }
  return nullptr;
}

const StorageFormat* find_gguf_type(int type) {
  for (const StorageFormat* format : all_formats()) {
    if (type >= 0 && format->gguf_type == type) return format;
  }
  return nullptr;
}

const StorageFormat* find_safetensors_dtype(std::string_view dtype) {
  for (const StorageFormat* format : all_formats()) {
    if (!dtype.empty() && format->safetensors == dtype) return format;
  }
  return nullptr;
}

void decode_row(const StorageFormat& format, const uint8_t* row, float* dst, int64_t elements) {
  CHECK(format.decode != nullptr && elements % format.block_elements == 0);
  format.decode(row, dst, elements / format.block_elements);
}

}  // namespace ferry::quant
