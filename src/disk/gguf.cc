// See gguf.h.
#include "disk/gguf.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <optional>

#include "base/checked_math.h"
#include "base/quote_name.h"
#include "disk/shard_name.h"

namespace ferry::disk {
namespace {

constexpr uint32_t kMinVersion = 2;
constexpr uint32_t kMaxVersion = 3;
constexpr uint32_t kMaxGgufRank = 4;
constexpr uint64_t kMaxKeyBytes = 65535;
constexpr uint64_t kMaxNameBytes = 1024;
constexpr uint64_t kMaxAlignment = 1 << 20;
constexpr int kMaxArrayDepth = 4;
static_assert(std::endian::native == std::endian::little, "files are read in place");

// Walks over the file; no read leaves it.
class Cursor {
 public:
  explicit Cursor(const MappedFile& file) : file_(file) {}

  uint64_t position() const { return position_; }
  uint64_t remaining() const { return file_.bytes().size() - position_; }

  Result<std::span<const uint8_t>> take(uint64_t count, std::string_view what) {
    if (count > remaining()) {
      return invalid_input("{} at byte {} needs {} bytes, but {} are left (truncated?)", what,
                           position_, count, remaining());
    }
    const auto bytes = file_.bytes().subspan(position_, count);
    position_ += count;
    return bytes;
  }
  template <typename T>
  Result<T> number(std::string_view what) {
    FERRY_TRY(const auto bytes, take(sizeof(T), what));
    T value;
    std::memcpy(&value, bytes.data(), sizeof value);
    return value;
  }
  Result<std::string_view> string(std::string_view what, uint64_t max_bytes) {
    FERRY_TRY(const auto length, number<uint64_t>(what));
    if (length > max_bytes) {
      return invalid_input("{} at byte {} is {} bytes long, the limit is {}", what, position_ - 8,
                           length, max_bytes);
    }
    FERRY_TRY(const auto bytes, take(length, what));
    return std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }

 private:
  const MappedFile& file_;
  uint64_t position_ = 0;
};

struct Part {
  GgufMetadata metadata;
  std::vector<FileTensor> tensors;
  uint32_t version = 0;
  uint64_t header_bytes = 0;
};

Status check_bools(std::span<const uint8_t> bytes) {
  for (uint8_t byte : bytes) {
    if (byte > 1) return invalid_input("expected a bool (0 or 1), found {}", byte);
  }
  return {};
}

Result<GgufType> read_type(Cursor& cursor) {
  FERRY_TRY(const auto number, cursor.number<uint32_t>("type"));
  const auto type = static_cast<GgufType>(number);
  if (gguf_type_bytes(type) < 0) return invalid_input("unknown value type {}", number);
  return type;
}

Status skip_array(Cursor& cursor, GgufValue& value, int depth);

// Steps over `count` elements that have no fixed size.
Status skip_elements(Cursor& cursor, GgufType type, uint64_t count, int depth) {
  for (uint64_t i = 0; i < count; ++i) {
    if (type == GgufType::kString) {
      FERRY_TRY_VOID(cursor.string("string", cursor.remaining()));
    } else {
      GgufValue inner;
      FERRY_TRY_VOID(skip_array(cursor, inner, depth + 1));
    }
  }
  return {};
}

// Reads element type and count into `value`, steps over the elements. Each element takes at least
// one byte of the file, so the work is bounded by its size; the depth is bounded here.
Status skip_array(Cursor& cursor, GgufValue& value, int depth) {
  if (depth > kMaxArrayDepth) {
    return invalid_input("arrays nested deeper than {} levels", kMaxArrayDepth);
  }
  FERRY_TRY(value.element_type, read_type(cursor));
  FERRY_TRY(value.count, cursor.number<uint64_t>("array length"));
  const int64_t size = gguf_type_bytes(value.element_type);
  if (size == 0) return skip_elements(cursor, value.element_type, value.count, depth);
  if (value.count > cursor.remaining() / static_cast<uint64_t>(size)) {
    return invalid_input("array of {} {} elements, but {} bytes are left (truncated?)", value.count,
                         gguf_type_name(value.element_type), cursor.remaining());
  }
  FERRY_TRY(const auto bytes, cursor.take(value.count * size, "array"));
  return value.element_type == GgufType::kBool ? check_bools(bytes) : Status();
}

Result<GgufValue> read_value(Cursor& cursor, const MappedFile& file) {
  GgufValue value;
  FERRY_TRY(value.type, read_type(cursor));
  if (value.type == GgufType::kString) {
    FERRY_TRY(const auto text, cursor.string("string", cursor.remaining()));
    value.bytes = {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
  } else if (value.type == GgufType::kArray) {
    const uint64_t begin = cursor.position() + sizeof(uint32_t) + sizeof(uint64_t);
    FERRY_TRY_VOID(skip_array(cursor, value, 1));
    value.bytes = file.bytes().subspan(begin, cursor.position() - begin);
  } else {
    FERRY_TRY(value.bytes, cursor.take(gguf_type_bytes(value.type), "value"));
    if (value.type == GgufType::kBool) FERRY_TRY_VOID(check_bools(value.bytes));
  }
  return value;
}

Status read_metadata(Cursor& cursor, const MappedFile& file, uint64_t count, GgufMetadata& out) {
  for (uint64_t i = 0; i < count; ++i) {
    auto key = cursor.string("key", kMaxKeyBytes);
    if (!key.ok()) return key.error().in(fmt::format("key {} of {}", i + 1, count));
    auto value = read_value(cursor, file);
    if (!value.ok()) return value.error().in("key " + quote_name(*key));
    if (!out.add(std::string(*key), *value)) {
      return invalid_input("key {} appears twice", quote_name(*key));
    }
  }
  return {};
}

// Name, shape, format and offset of one tensor. What the offset points at is checked later, when
// it is known where the data begin.
Result<FileTensor> read_tensor_info(Cursor& cursor) {
  FileTensor tensor;
  FERRY_TRY(const auto name, cursor.string("name", kMaxNameBytes));
  tensor.name = name;
  const auto at = [&](const Error& error) { return error.in("tensor " + quote_name(name)); };
  FERRY_TRY(const auto rank, cursor.number<uint32_t>("rank"));
  if (rank > kMaxGgufRank) {
    return at(invalid_input("{} dimensions, the limit is {}", rank, kMaxGgufRank));
  }
  for (uint32_t i = 0; i < rank; ++i) {
    FERRY_TRY(const auto dim, cursor.number<uint64_t>("dimension"));
    if (dim > INT64_MAX) return at(invalid_input("dimension {} overflows", dim));
    tensor.shape.insert(tensor.shape.begin(), static_cast<int64_t>(dim));
  }
  FERRY_TRY(const auto type, cursor.number<uint32_t>("type"));
  tensor.format = type > INT32_MAX ? nullptr : quant::find_gguf_type(static_cast<int>(type));
  if (tensor.format == nullptr) return at(unsupported("unknown storage type {}", type));
  FERRY_TRY(const auto offset, cursor.number<uint64_t>("offset"));
  if (offset > INT64_MAX) return at(invalid_input("offset {} is past any file", offset));
  tensor.offset = static_cast<int64_t>(offset);
  return tensor;
}

Result<int64_t> read_alignment(const GgufMetadata& metadata) {
  FERRY_TRY(const uint64_t alignment, metadata.get_u64_or("general.alignment", 32));
  if (!std::has_single_bit(alignment) || alignment > kMaxAlignment) {
    return invalid_input(
        "{}: key \"general.alignment\": expected a power of two up to {}, found {}",
        metadata.path(), kMaxAlignment, alignment);
  }
  return static_cast<int64_t>(alignment);
}

// Turns offsets into views; checks alignment and bounds.
Status place_tensor(const MappedFile& file, int64_t data_begin, int64_t alignment,
                    FileTensor& tensor) {
  FERRY_TRY(const int64_t bytes, tensor_bytes(*tensor.format, tensor.shape));
  if (tensor.offset % alignment != 0) {
    return invalid_input("offset {} is not a multiple of the alignment {}", tensor.offset,
                         alignment);
  }
  const int64_t data_bytes = std::max<int64_t>(file.size() - data_begin, 0);
  const auto end = checked_add(tensor.offset, bytes);
  if (!end || *end > data_bytes) {
    return invalid_input(
        "{} bytes ({} {}) at data offset {} leave the file, which holds {} bytes "
        "of data (truncated?)",
        bytes, tensor.format->name, shape_text(tensor.shape), tensor.offset, data_bytes);
  }
  tensor.offset += data_begin;
  if (bytes > 0) tensor.data = file.bytes().subspan(tensor.offset, bytes);
  return {};
}

Status check_overlap(const std::vector<FileTensor>& tensors) {
  std::vector<const FileTensor*> order;
  for (const FileTensor& tensor : tensors) {
    if (!tensor.data.empty()) order.push_back(&tensor);
  }
  std::sort(order.begin(), order.end(),
            [](const FileTensor* a, const FileTensor* b) { return a->offset < b->offset; });
  for (size_t i = 1; i < order.size(); ++i) {
    const int64_t end = order[i - 1]->offset + static_cast<int64_t>(order[i - 1]->data.size());
    if (order[i]->offset < end) {
      return invalid_input("tensor {} at byte {} overlaps tensor {}, which ends at {}",
                           quote_name(order[i]->name), order[i]->offset,
                           quote_name(order[i - 1]->name), end);
    }
  }
  return {};
}

Result<uint32_t> read_version(Cursor& cursor, const MappedFile& file) {
  if (file.text().starts_with("version https://git-lfs")) {
    return invalid_input("a Git LFS pointer, not the file itself: fetch it with `git lfs pull`");
  }
  FERRY_TRY(const auto magic, cursor.take(4, "magic"));
  if (std::memcmp(magic.data(), "GGUF", 4) != 0) {
    return invalid_input("not a GGUF file: expected it to begin with \"GGUF\", found {:02x}",
                         fmt::join(magic, " "));
  }
  FERRY_TRY(const auto version, cursor.number<uint32_t>("version"));
  if (version > 0xffff && (version & 0xffff) == 0) {
    return unsupported("a big-endian GGUF file; convert it to little-endian");
  }
  if (version < kMinVersion || version > kMaxVersion) {
    return unsupported("GGUF version {}, expected {} or {}", version, kMinVersion, kMaxVersion);
  }
  return version;
}

Result<Part> read_part_unnamed(std::shared_ptr<const MappedFile> file) {
  Cursor cursor(*file);
  Part part{GgufMetadata(file), {}, 0, 0};
  FERRY_TRY(part.version, read_version(cursor, *file));
  FERRY_TRY(const auto num_tensors, cursor.number<uint64_t>("tensor count"));
  FERRY_TRY(const auto num_keys, cursor.number<uint64_t>("key count"));
  FERRY_TRY_VOID(read_metadata(cursor, *file, num_keys, part.metadata));
  for (uint64_t i = 0; i < num_tensors; ++i) {
    auto tensor = read_tensor_info(cursor);
    if (!tensor.ok()) return tensor.error().in(fmt::format("tensor {} of {}", i + 1, num_tensors));
    part.tensors.push_back(std::move(tensor).value());
  }
  part.header_bytes = cursor.position();
  return part;
}

// One file, checked in itself.
Result<Part> read_part(std::shared_ptr<const MappedFile> file) {
  auto part = read_part_unnamed(file);
  if (!part.ok()) return part.error().in(file->path());
  FERRY_TRY(const int64_t alignment, read_alignment(part->metadata));
  const int64_t data_begin = round_up(static_cast<int64_t>(part->header_bytes), alignment);
  for (FileTensor& tensor : part->tensors) {
    auto placed = place_tensor(*file, data_begin, alignment, tensor);
    if (!placed.ok()) {
      return placed.error().in(fmt::format("{}: tensor {}", file->path(), quote_name(tensor.name)));
    }
  }
  auto apart = check_overlap(part->tensors);
  if (!apart.ok()) return apart.error().in(file->path());
  return part;
}

Status add_part(Checkpoint& checkpoint, std::shared_ptr<const MappedFile> file, Part& part) {
  const int file_index = checkpoint.add_file(std::move(file));
  for (FileTensor& tensor : part.tensors) {
    tensor.file_index = file_index;
    FERRY_TRY_VOID(checkpoint.add(std::move(tensor)));
  }
  return {};
}

Result<GgufFile> single_file(std::shared_ptr<const MappedFile> file, Part part) {
  GgufFile out{std::move(part.metadata), {}, static_cast<int>(part.version)};
  FERRY_TRY_VOID(add_part(out.checkpoint, std::move(file), part));
  return out;
}

// The names of all parts, given that of one whose metadata say that there are `count`.
Result<std::vector<std::string>> part_names(const Folder& folder, std::string_view name,
                                            uint64_t count) {
  const auto shard = parse_shard_name(name);
  if (!shard || static_cast<uint64_t>(shard->count) != count) {
    return invalid_input(
        "{}: one of {} parts of a split model, so its name must end in "
        "-0000K-of-{:05}.gguf for the others to be found",
        folder.path_of(name), count, count);
  }
  std::vector<std::string> names;
  std::string missing;
  int num_missing = 0;
  for (int i = 1; i <= shard->count; ++i) {
    names.push_back(shard->with_number(i));
    if (folder.has(names.back())) continue;
    if (++num_missing <= 3) missing += (missing.empty() ? "" : ", ") + names.back();
  }
  if (num_missing == 0) return names;
  if (num_missing > 3) missing += fmt::format(" and {} more", num_missing - 3);
  return not_found("{}: {} of {} parts missing: {} (`ferry pull org/name:file` fetches them)",
                   folder.path(), num_missing, count, missing);
}

Status check_split(const GgufMetadata& metadata, uint64_t number, uint64_t count) {
  FERRY_TRY(const uint64_t found_number, metadata.get_u64("split.no"));
  FERRY_TRY(const uint64_t found_count, metadata.get_u64("split.count"));
  if (found_number != number || found_count != count) {
    return invalid_input("{}: expected part {} of {}, found part {} of {} (split.no, split.count)",
                         metadata.path(), number + 1, count, found_number + 1, found_count);
  }
  return {};
}

Result<GgufFile> read_split(const Folder& folder, const std::vector<std::string>& names) {
  std::optional<GgufFile> out;
  uint64_t expected_tensors = 0;
  for (size_t i = 0; i < names.size(); ++i) {
    FERRY_TRY(auto file, folder.open(names[i]));
    FERRY_TRY(Part part, read_part(file));
    FERRY_TRY_VOID(check_split(part.metadata, i, names.size()));
    if (i == 0) {
      FERRY_TRY(expected_tensors, part.metadata.get_u64("split.tensors.count"));
      out.emplace(GgufFile{std::move(part.metadata), {}, static_cast<int>(part.version)});
    }
    FERRY_TRY_VOID(add_part(out->checkpoint, std::move(file), part));
  }
  const uint64_t num_tensors = out->checkpoint.tensors().size();
  if (num_tensors != expected_tensors) {
    return invalid_input("{}: {} tensors in all {} parts, but split.tensors.count says {}",
                         folder.path_of(names.front()), num_tensors, names.size(),
                         expected_tensors);
  }
  return std::move(*out);
}

}  // namespace

Result<GgufFile> read_gguf_file(std::shared_ptr<const MappedFile> file) {
  FERRY_TRY(Part part, read_part(file));
  FERRY_TRY(const uint64_t count, part.metadata.get_u64_or("split.count", 1));
  if (count > 1) {
    return invalid_input("{}: one of {} parts of a split model, expected a whole one", file->path(),
                         count);
  }
  return single_file(std::move(file), std::move(part));
}

Result<GgufFile> read_gguf(const Folder& folder, std::string_view name) {
  FERRY_TRY(auto file, folder.open(name));
  FERRY_TRY(Part part, read_part(file));
  FERRY_TRY(const uint64_t count, part.metadata.get_u64_or("split.count", 1));
  if (count <= 1) return single_file(std::move(file), std::move(part));
  FERRY_TRY(const auto names, part_names(folder, name, count));
  return read_split(folder, names);
}

Result<GgufFile> read_gguf(const std::string& path) {
  const auto [directory, name] = split_path(path);
  FERRY_TRY(const Folder folder, Folder::on_disk(directory));
  return read_gguf(folder, name);
}

}  // namespace ferry::disk
