// See gguf_writer.h.
#include "disk/gguf_writer.h"

#include "base/check.h"
#include "base/checked_math.h"
#include "base/quote_name.h"

namespace ferry::disk {
namespace {

constexpr uint32_t kVersion = 3;
constexpr size_t kMaxWrittenRank = 4;

template <typename T>
void append(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

void append_text(std::string& out, std::string_view text) {
  append<uint64_t>(out, text.size());
  out.append(text);
}

// Everything before the data, padded to the alignment.
Result<std::string> header(const GgufKeyValues& keys, const std::vector<TensorDecl>& tensors,
                           const std::vector<int64_t>& sizes) {
  std::string out = "GGUF";
  append<uint32_t>(out, kVersion);
  append<uint64_t>(out, tensors.size());
  append<uint64_t>(out, keys.count());
  out += keys.encoded();
  int64_t offset = 0;
  for (size_t i = 0; i < tensors.size(); ++i) {
    const TensorDecl& tensor = tensors[i];
    if (tensor.format->gguf_type < 0) {
      return unsupported("tensor {}: GGUF cannot hold {}", quote_name(tensor.name),
                         tensor.format->name);
    }
    if (tensor.shape.size() > kMaxWrittenRank) {
      return unsupported("tensor {}: {} dimensions, GGUF has at most {}", quote_name(tensor.name),
                         tensor.shape.size(), kMaxWrittenRank);
    }
    append_text(out, tensor.name);
    append<uint32_t>(out, static_cast<uint32_t>(tensor.shape.size()));
    for (auto dim = tensor.shape.rbegin(); dim != tensor.shape.rend(); ++dim) {
      append<uint64_t>(out, *dim);
    }
    append<uint32_t>(out, tensor.format->gguf_type);
    append<uint64_t>(out, offset);
    const auto end = checked_add(offset, sizes[i]);
    if (!end || *end > INT64_MAX - GgufWriter::kAlignment) {
      return invalid_input("tensor {}: the file overflows", quote_name(tensor.name));
    }
    offset = round_up(*end, GgufWriter::kAlignment);
  }
  out.resize(round_up(static_cast<int64_t>(out.size()), GgufWriter::kAlignment), '\0');
  return out;
}

}  // namespace

template <typename T>
void GgufKeyValues::put(T value) {
  append(encoded_, value);
}

void GgufKeyValues::put_text(std::string_view text) { append_text(encoded_, text); }

void GgufKeyValues::begin(std::string_view key, GgufType type) {
  put_text(key);
  put(static_cast<uint32_t>(type));
  ++count_;
}

void GgufKeyValues::add_u32(std::string_view key, uint32_t value) {
  begin(key, GgufType::kU32);
  put(value);
}
void GgufKeyValues::add_u64(std::string_view key, uint64_t value) {
  begin(key, GgufType::kU64);
  put(value);
}
void GgufKeyValues::add_i32(std::string_view key, int32_t value) {
  begin(key, GgufType::kI32);
  put(value);
}
void GgufKeyValues::add_f32(std::string_view key, float value) {
  begin(key, GgufType::kF32);
  put(value);
}
void GgufKeyValues::add_bool(std::string_view key, bool value) {
  begin(key, GgufType::kBool);
  put<uint8_t>(value ? 1 : 0);
}
void GgufKeyValues::add_string(std::string_view key, std::string_view value) {
  begin(key, GgufType::kString);
  put_text(value);
}
void GgufKeyValues::add_strings(std::string_view key, std::span<const std::string> values) {
  begin(key, GgufType::kArray);
  put(static_cast<uint32_t>(GgufType::kString));
  put<uint64_t>(values.size());
  for (const std::string& value : values) put_text(value);
}
void GgufKeyValues::add_i32s(std::string_view key, std::span<const int32_t> values) {
  begin(key, GgufType::kArray);
  put(static_cast<uint32_t>(GgufType::kI32));
  put<uint64_t>(values.size());
  for (int32_t value : values) put(value);
}
void GgufKeyValues::add_f32s(std::string_view key, std::span<const float> values) {
  begin(key, GgufType::kArray);
  put(static_cast<uint32_t>(GgufType::kF32));
  put<uint64_t>(values.size());
  for (float value : values) put(value);
}
void GgufKeyValues::add_value(std::string_view key, const GgufValue& value) {
  begin(key, value.type);
  if (value.type == GgufType::kString) put<uint64_t>(value.bytes.size());
  if (value.type == GgufType::kArray) {
    put(static_cast<uint32_t>(value.element_type));
    put(value.count);
  }
  encoded_.append(reinterpret_cast<const char*>(value.bytes.data()), value.bytes.size());
}

Result<GgufWriter> GgufWriter::create(const std::string& path, const GgufKeyValues& keys,
                                      const std::vector<TensorDecl>& tensors) {
  auto sizes = declared_bytes(tensors);
  if (!sizes.ok()) return sizes.error().in(path);
  auto text = header(keys, tensors, *sizes);
  if (!text.ok()) return text.error().in(path);
  FERRY_TRY(AtomicFile file, AtomicFile::create(path));
  FERRY_TRY_VOID(file.write(*text));
  GgufWriter writer(std::move(file), std::move(sizes).value());
  FERRY_TRY_VOID(writer.skip_finished());
  return writer;
}

// Pads after every tensor that is complete, empty ones included.
Status GgufWriter::skip_finished() {
  while (current_ < sizes_.size() && written_ == sizes_[current_]) {
    FERRY_TRY_VOID(file_.write_zeros(round_up(file_.position(), kAlignment) - file_.position()));
    ++current_;
    written_ = 0;
  }
  return {};
}

Status GgufWriter::write(std::span<const uint8_t> bytes) {
  if (bytes.empty()) return {};
  CHECK(current_ < sizes_.size());
  CHECK(static_cast<int64_t>(bytes.size()) <= sizes_[current_] - written_);
  FERRY_TRY_VOID(file_.write(bytes));
  written_ += static_cast<int64_t>(bytes.size());
  return skip_finished();
}

Status GgufWriter::finish() {
  CHECK(current_ == sizes_.size());
  return file_.commit();
}

}  // namespace ferry::disk
