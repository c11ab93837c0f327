// See safetensors_writer.h.
#include "disk/safetensors_writer.h"

#include "base/check.h"
#include "base/checked_math.h"
#include "base/json.h"
#include "base/quote_name.h"
#include "disk/safetensors.h"

namespace ferry::disk {
namespace {

constexpr int64_t kDataAlignment = 8;  // the header is padded with spaces up to it

// The header's text; `data_bytes` becomes the end of the last tensor.
Result<std::string> header_text(const std::vector<TensorDecl>& tensors,
                                const std::vector<std::pair<std::string, std::string>>& metadata,
                                int64_t& data_bytes) {
  FERRY_TRY(const auto sizes, declared_bytes(tensors));
  nlohmann::ordered_json header = Json::object();
  if (!metadata.empty()) {
    Json entries = Json::object();
    for (const auto& [key, value] : metadata) entries[key] = value;
    header["__metadata__"] = std::move(entries);
  }
  data_bytes = 0;
  for (size_t i = 0; i < tensors.size(); ++i) {
    const TensorDecl& tensor = tensors[i];
    if (tensor.format->safetensors.empty()) {
      return unsupported("tensor {}: safetensors cannot hold {}", quote_name(tensor.name),
                         tensor.format->name);
    }
    const auto end = checked_add(data_bytes, sizes[i]);
    if (!end) return invalid_input("tensor {}: the file overflows", quote_name(tensor.name));
    Json entry = Json::object();
    entry["dtype"] = std::string(tensor.format->safetensors);
    entry["shape"] = tensor.shape;
    entry["data_offsets"] = {data_bytes, *end};
    auto& object = header.get_ref<Json::object_t&>();
    static_cast<std::vector<Json::object_t::value_type>&>(object).emplace_back(tensor.name,
                                                                               std::move(entry));
    data_bytes = *end;
  }
  std::string text = header.dump();
  text.resize(round_up(static_cast<int64_t>(text.size()), kDataAlignment), ' ');
  if (static_cast<int64_t>(text.size()) > kMaxSafetensorsHeaderBytes) {
    return invalid_input("header of {} bytes, the limit is {}", text.size(),
                         kMaxSafetensorsHeaderBytes);
  }
  return text;
}

}  // namespace

Result<SafetensorsWriter> SafetensorsWriter::create(
    const std::string& path, const std::vector<TensorDecl>& tensors,
    const std::vector<std::pair<std::string, std::string>>& metadata) {
  for (const TensorDecl& tensor : tensors) {
    if (!is_utf8(tensor.name)) {
      return invalid_input("{}: tensor {}: expected UTF-8", path, quote_name(tensor.name));
    }
  }
  int64_t data_bytes = 0;
  auto text = header_text(tensors, metadata, data_bytes);
  if (!text.ok()) return text.error().in(path);
  FERRY_TRY(AtomicFile file, AtomicFile::create(path));
  const auto length = static_cast<uint64_t>(text->size());
  FERRY_TRY_VOID(file.write(std::span(reinterpret_cast<const uint8_t*>(&length), sizeof length)));
  FERRY_TRY_VOID(file.write(*text));
  return SafetensorsWriter(std::move(file), data_bytes);
}

Status SafetensorsWriter::write(std::span<const uint8_t> bytes) {
  CHECK(static_cast<int64_t>(bytes.size()) <= remaining_);
  remaining_ -= static_cast<int64_t>(bytes.size());
  return file_.write(bytes);
}

Status SafetensorsWriter::finish() {
  CHECK(remaining_ == 0);
  return file_.commit();
}

}  // namespace ferry::disk
