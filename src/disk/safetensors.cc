// See safetensors.h.
#include "disk/safetensors.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <map>
#include <set>

#include "base/checked_math.h"
#include "base/json.h"
#include "base/quote_name.h"
#include "disk/shard_name.h"

namespace ferry::disk {
namespace {

constexpr int64_t kLengthBytes = 8;
constexpr size_t kMaxRank = 16;  // far above anything a model has
constexpr std::string_view kExtension = ".safetensors";
static_assert(std::endian::native == std::endian::little, "files are read in place");

Result<int64_t> read_offset(const Json& value, std::string_view what) {
  if (!value.is_number_integer()) {
    return invalid_input("{}: expected an integer, found {}", what, json_type_name(value));
  }
  if (value.is_number_unsigned() && value.get<uint64_t>() > INT64_MAX) {
    return invalid_input("{}: {} is past any file", what, value.get<uint64_t>());
  }
  const auto number = value.get<int64_t>();
  if (number < 0) return invalid_input("{}: {} is negative", what, number);
  return number;
}

Result<const quant::StorageFormat*> read_dtype(const Json& entry) {
  FERRY_TRY(std::string dtype, json_string(entry, "dtype"));
  const quant::StorageFormat* format = quant::find_safetensors_dtype(dtype);
  if (format == nullptr) return unsupported("unknown dtype {}", quote_name(dtype));
  return format;
}

Result<std::vector<int64_t>> read_shape(const Json& entry) {
  const Json* list = json_find(entry, "shape");
  if (list == nullptr || !list->is_array()) {
    return invalid_input("shape: expected an array, found {}",
                         list == nullptr ? "nothing" : json_type_name(*list));
  }
  if (list->size() > kMaxRank) {
    return invalid_input("shape: {} dimensions, the limit is {}", list->size(), kMaxRank);
  }
  std::vector<int64_t> shape;
  for (const Json& dim : *list) {
    FERRY_TRY(const int64_t size, read_offset(dim, "shape"));
    shape.push_back(size);
  }
  return shape;
}

// One entry of the header → a tensor whose data lie inside `data`.
Result<FileTensor> read_entry(const Json& entry, std::span<const uint8_t> data) {
  if (!entry.is_object()) {
    return invalid_input("expected an object, found {}", json_type_name(entry));
  }
  FileTensor tensor;
  FERRY_TRY(tensor.format, read_dtype(entry));
  FERRY_TRY(tensor.shape, read_shape(entry));
  const Json* offsets = json_find(entry, "data_offsets");
  if (offsets == nullptr || !offsets->is_array() || offsets->size() != 2) {
    return invalid_input("data_offsets: expected an array of two offsets");
  }
  FERRY_TRY(const int64_t begin, read_offset((*offsets)[0], "data_offsets"));
  FERRY_TRY(const int64_t end, read_offset((*offsets)[1], "data_offsets"));
  if (begin > end || end > static_cast<int64_t>(data.size())) {
    return invalid_input("data_offsets [{}, {}] leave the file, which holds {} bytes of data",
                         begin, end, data.size());
  }
  FERRY_TRY(const int64_t bytes, tensor_bytes(*tensor.format, tensor.shape));
  if (bytes != end - begin) {
    return invalid_input("data_offsets [{}, {}] span {} bytes, but {} {} needs {}", begin, end,
                         end - begin, tensor.format->name, shape_text(tensor.shape), bytes);
  }
  tensor.data = data.subspan(begin, bytes);
  tensor.offset = begin;
  return tensor;
}

// "__metadata__" must map strings to strings; ferry needs nothing from it.
Status check_metadata(const Json& metadata) {
  if (!metadata.is_object()) {
    return invalid_input("__metadata__: expected an object, found {}", json_type_name(metadata));
  }
  for (const auto& [key, value] : metadata.items()) {
    if (!value.is_string()) {
      return invalid_input("__metadata__: key {}: expected a string, found {}", quote_name(key),
                           json_type_name(value));
    }
  }
  return {};
}

// The tensors must lie one after the other from the first byte of data to the last.
Status check_cover(const std::string& path, std::vector<FileTensor>& tensors, int64_t data_bytes) {
  std::stable_sort(tensors.begin(), tensors.end(), [](const FileTensor& a, const FileTensor& b) {
    return a.offset != b.offset ? a.offset < b.offset : a.data.size() < b.data.size();
  });
  int64_t end = 0;
  const FileTensor* before = nullptr;
  for (const FileTensor& tensor : tensors) {
    if (tensor.offset < end) {
      return invalid_input(
          "{}: tensor {} at data offset {} overlaps tensor {}, which ends "
          "at {}",
          path, quote_name(tensor.name), tensor.offset, quote_name(before->name), end);
    }
    if (tensor.offset > end) {
      return invalid_input("{}: a hole of {} bytes before tensor {} at data offset {}", path,
                           tensor.offset - end, quote_name(tensor.name), tensor.offset);
    }
    end += static_cast<int64_t>(tensor.data.size());
    before = &tensor;
  }
  if (end != data_bytes) {
    return invalid_input("{}: {} bytes after the last tensor, expected none", path,
                         data_bytes - end);
  }
  return {};
}

Result<std::string_view> read_header_text(const MappedFile& file) {
  const auto bytes = file.bytes();
  if (file.text().starts_with("version https://git-lfs")) {
    return invalid_input("{}: a Git LFS pointer, not the file itself: fetch it with `git lfs pull`",
                         file.path());
  }
  if (file.size() < kLengthBytes) {
    return invalid_input("{}: {} bytes, too short for a safetensors file", file.path(),
                         file.size());
  }
  uint64_t length;
  std::memcpy(&length, bytes.data(), sizeof length);
  if (length > static_cast<uint64_t>(kMaxSafetensorsHeaderBytes)) {
    return invalid_input("{}: header of {} bytes, the limit is {} (is it a safetensors file?)",
                         file.path(), length, kMaxSafetensorsHeaderBytes);
  }
  if (length > bytes.size() - kLengthBytes) {
    return invalid_input("{}: header of {} bytes, but only {} follow (truncated?)", file.path(),
                         length, bytes.size() - kLengthBytes);
  }
  return file.text().substr(kLengthBytes, length);
}

// Tensors of one file, in the order of their data.
Result<std::vector<FileTensor>> read_tensors(const MappedFile& file) {
  FERRY_TRY(const std::string_view text, read_header_text(file));
  auto header = parse_json(text);
  if (!header.ok()) return header.error().in(file.path() + ": header");
  if (!header->is_object()) {
    return invalid_input("{}: header: expected a JSON object, found {}", file.path(),
                         json_type_name(*header));
  }
  const int64_t data_begin = kLengthBytes + static_cast<int64_t>(text.size());
  const auto data = file.bytes().subspan(data_begin);
  std::vector<FileTensor> tensors;
  for (const auto& [name, entry] : header->items()) {
    if (name == "__metadata__") {
      auto ok = check_metadata(entry);
      if (!ok.ok()) return ok.error().in(file.path());
      continue;
    }
    auto tensor = read_entry(entry, data);
    if (!tensor.ok()) {
      return tensor.error().in(fmt::format("{}: tensor {}", file.path(), quote_name(name)));
    }
    tensor->name = name;
    tensors.push_back(std::move(tensor).value());
  }
  FERRY_TRY_VOID(check_cover(file.path(), tensors, static_cast<int64_t>(data.size())));
  for (FileTensor& tensor : tensors) tensor.offset += data_begin;
  return tensors;
}

Status add_tensors(Checkpoint& checkpoint, std::shared_ptr<const MappedFile> file) {
  FERRY_TRY(auto tensors, read_tensors(*file));
  const int file_index = checkpoint.add_file(std::move(file));
  for (FileTensor& tensor : tensors) {
    tensor.file_index = file_index;
    FERRY_TRY_VOID(checkpoint.add(std::move(tensor)));
  }
  return {};
}

// tensor → file of an index, checked.
Result<std::map<std::string, std::string>> read_weight_map(const Folder& folder) {
  const std::string path = folder.path_of(kSafetensorsIndexName);
  FERRY_TRY(const Json index, folder.read_json(kSafetensorsIndexName));
  const Json* weight_map = json_find(index, "weight_map");
  if (weight_map == nullptr || !weight_map->is_object()) {
    return invalid_input("{}: weight_map: expected an object, found {}", path,
                         weight_map == nullptr ? "nothing" : json_type_name(*weight_map));
  }
  std::map<std::string, std::string> files;
  for (const auto& [tensor, file] : weight_map->items()) {
    if (!file.is_string()) {
      return invalid_input("{}: weight_map: tensor {}: expected a file name, found {}", path,
                           quote_name(tensor), json_type_name(file));
    }
    auto name = file.get<std::string>();
    if (!is_plain_file_name(name)) {
      return invalid_input("{}: weight_map: tensor {}: {} is not a plain file name", path,
                           quote_name(tensor), quote_name(name));
    }
    files.emplace(tensor, std::move(name));
  }
  if (files.empty()) return invalid_input("{}: weight_map is empty", path);
  return files;
}

Error missing_shards(const Folder& folder, const std::vector<std::string>& missing, size_t total) {
  std::string list = missing.front();
  for (size_t i = 1; i < missing.size() && i < 3; ++i) list += ", " + missing[i];
  if (missing.size() > 3) list += fmt::format(" and {} more", missing.size() - 3);
  return not_found(
      "{}: {} of {} shards missing: {} (`ferry pull org/name` fetches what is missing)",
      folder.path(), missing.size(), total, list);
}

// The index and the shards must tell the same story.
Status check_index(const Checkpoint& checkpoint, const Folder& folder,
                   const std::map<std::string, std::string>& weight_map) {
  for (const auto& [name, file] : weight_map) {
    const FileTensor* tensor = checkpoint.find(name);
    const std::string expected = folder.path_of(file);
    if (tensor == nullptr || checkpoint.files()[tensor->file_index]->path() != expected) {
      return invalid_input("{}: tensor {} is not in it, though {} says so", expected,
                           quote_name(name), kSafetensorsIndexName);
    }
  }
  for (const FileTensor& tensor : checkpoint.tensors()) {
    if (!weight_map.contains(tensor.name)) {
      return invalid_input("{}: is not listed in {}", checkpoint.where(tensor),
                           kSafetensorsIndexName);
    }
  }
  return {};
}

Result<Checkpoint> read_files(const Folder& folder, const std::vector<std::string>& names) {
  std::vector<std::string> missing;
  for (const std::string& name : names) {
    if (!folder.has(name)) missing.push_back(name);
  }
  if (!missing.empty()) return missing_shards(folder, missing, names.size());
  Checkpoint checkpoint;
  checkpoint.set_path(folder.path());
  for (const std::string& name : names) {
    FERRY_TRY(auto file, folder.open(name));
    FERRY_TRY_VOID(add_tensors(checkpoint, std::move(file)));
  }
  return checkpoint;
}

Result<Checkpoint> read_indexed(const Folder& folder) {
  FERRY_TRY(const auto weight_map, read_weight_map(folder));
  std::set<std::string> names;
  for (const auto& [tensor, file] : weight_map) names.insert(file);
  FERRY_TRY(Checkpoint checkpoint, read_files(folder, {names.begin(), names.end()}));
  FERRY_TRY_VOID(check_index(checkpoint, folder, weight_map));
  return checkpoint;
}

}  // namespace

Result<Checkpoint> read_safetensors_file(std::shared_ptr<const MappedFile> file) {
  Checkpoint checkpoint;
  FERRY_TRY_VOID(add_tensors(checkpoint, std::move(file)));
  return checkpoint;
}

Result<Checkpoint> read_safetensors_folder(const Folder& folder) {
  if (folder.has("model.safetensors")) return read_files(folder, {"model.safetensors"});
  if (folder.has(kSafetensorsIndexName)) return read_indexed(folder);
  std::vector<std::string> found;
  for (const std::string& name : folder.names()) {
    if (std::string_view(name).ends_with(kExtension)) found.push_back(name);
  }
  if (found.empty()) return not_found("{}: no *.safetensors file there", folder.path());
  if (const auto shard = parse_shard_name(found.front())) {
    std::vector<std::string> names;
    for (int i = 1; i <= shard->count; ++i) names.push_back(shard->with_number(i));
    return read_files(folder, names);
  }
  if (found.size() > 1) {
    return invalid_input("{}: {} *.safetensors files and no {} to say which belong to the model",
                         folder.path(), found.size(), kSafetensorsIndexName);
  }
  return read_files(folder, found);
}

}  // namespace ferry::disk
