// See packed_copy.h.
#include "weights/packed_copy.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <concepts>
#include <cstring>

#include "base/check.h"
#include "base/checked_math.h"
#include "base/quote_name.h"
#include "weights/path_key.h"

namespace ferry::weights {
namespace {

constexpr std::string_view kHeader = "ferry packed copy 1\n";
constexpr int64_t kHeaderBytes = 4096;
constexpr int64_t kFooterBytes = 16;
constexpr int64_t kDataAlignment = 64;
constexpr size_t kLeastEntryBytes = 2 * sizeof(uint32_t) + 5 * sizeof(int64_t);

uint64_t fnv1a(std::span<const uint8_t> bytes, uint64_t hash) {
  for (const uint8_t byte : bytes) hash = (hash ^ byte) * 0x100000001b3;
  return hash;
}
constexpr uint64_t kFnvStart = 0xcbf29ce484222325;

template <std::integral T>
bool take(std::string_view& rest, T& value) {
  if (rest.size() < sizeof value) return false;
  std::memcpy(&value, rest.data(), sizeof value);
  rest.remove_prefix(sizeof value);
  return true;
}
bool take(std::string_view& rest, std::string_view& text) {
  uint32_t size = 0;
  if (!take(rest, size) || rest.size() < size) return false;
  text = rest.substr(0, size);
  rest.remove_prefix(size);
  return true;
}

template <std::integral T>
void put(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}
void put(std::string& out, std::string_view text) {
  put(out, static_cast<uint32_t>(text.size()));
  out += text;
}

// Where the index begins; −1: nowhere in the file.
int64_t index_offset(std::span<const uint8_t> file) {
  const auto size = static_cast<int64_t>(file.size());
  if (size < kHeaderBytes + kFooterBytes) return -1;
  int64_t offset = 0;
  std::memcpy(&offset, file.data() + size - kFooterBytes, sizeof offset);
  return offset >= kHeaderBytes && offset <= size - kFooterBytes ? offset : -1;
}

auto place_of(const PackedMatrix& matrix) { return std::pair(matrix.tensor, matrix.first_row); }

Error not_as_written(const disk::MappedFile& file, std::string_view what) {
  return invalid_input("{}: is no packed copy that ferry wrote: {}", file.path(), what);
}

}  // namespace

std::optional<uint64_t> packed_copy_checksum(std::span<const uint8_t> file) {
  const int64_t index = index_offset(file);
  if (index < 0) return std::nullopt;
  const uint64_t header = fnv1a(file.first(static_cast<size_t>(kHeaderBytes)), kFnvStart);
  const auto checked = file.subspan(static_cast<size_t>(index));
  return fnv1a(checked.first(checked.size() - sizeof(uint64_t)), header);
}

Result<std::shared_ptr<const PackedCopy>> PackedCopy::open(const std::string& path) {
  FERRY_TRY(auto file, disk::MappedFile::open(path));
  return read(std::move(file));
}

Result<std::shared_ptr<const PackedCopy>> PackedCopy::read(
    std::shared_ptr<const disk::MappedFile> file) {
  std::shared_ptr<PackedCopy> copy(new PackedCopy(std::move(file)));
  FERRY_TRY_VOID(copy->parse());
  return std::shared_ptr<const PackedCopy>(std::move(copy));
}

Status PackedCopy::parse() {
  const std::string_view text = file_->text();
  if (!text.starts_with(kHeader)) return not_as_written(*file_, "another header");
  const std::optional<uint64_t> checksum = packed_copy_checksum(file_->bytes());
  if (!checksum) return not_as_written(*file_, "its end is missing");
  std::string_view footer = text.substr(text.size() - static_cast<size_t>(kFooterBytes));
  int64_t index = 0;
  uint64_t stated = 0;
  if (!take(footer, index) || !take(footer, stated) || stated != *checksum) {
    return not_as_written(*file_, "the checksum of its index is another");
  }
  const auto begin = static_cast<size_t>(index);
  std::string_view rest =
      text.substr(begin, text.size() - static_cast<size_t>(kFooterBytes) - begin);
  uint32_t num_sources = 0;
  if (!take(rest, layout_) || !take(rest, model_) || !take(rest, model_path_) ||
      !take(rest, num_sources)) {
    return not_as_written(*file_, "its index is cut off");
  }
  for (uint32_t i = 0; i < num_sources; ++i) {
    Source source;
    if (!take(rest, source.path) || !take(rest, source.identity)) {
      return not_as_written(*file_, "its index is cut off");
    }
    sources_.push_back(source);
  }
  return parse_entries(rest, index);
}

Status PackedCopy::parse_entries(std::string_view& rest, int64_t data_end) {
  uint64_t count = 0;
  if (!take(rest, count) || count > rest.size() / kLeastEntryBytes) {
    return not_as_written(*file_, "its index is cut off");
  }
  entries_.reserve(count);
  std::vector<std::pair<int64_t, int64_t>> places;  // begin, end
  places.reserve(count);
  for (uint64_t i = 0; i < count; ++i) {
    PackedMatrix matrix;
    int64_t offset = 0, bytes = 0;
    if (!take(rest, matrix.tensor) || !take(rest, matrix.format) || !take(rest, matrix.first_row) ||
        !take(rest, matrix.rows) || !take(rest, matrix.cols) || !take(rest, offset) ||
        !take(rest, bytes)) {
      return not_as_written(*file_, "its index is cut off");
    }
    const bool within = offset >= kHeaderBytes && offset % kDataAlignment == 0 && bytes > 0 &&
                        offset <= data_end && bytes <= data_end - offset;
    if (!within || matrix.first_row < 0 || matrix.rows <= 0 || matrix.cols <= 0) {
      return not_as_written(*file_, fmt::format("entry {} of its index has no sense", i));
    }
    if (!entries_.empty() && place_of(entries_.back().matrix) >= place_of(matrix)) {
      return not_as_written(*file_, fmt::format("entry {} of its index is out of order", i));
    }
    places.emplace_back(offset, offset + bytes);
    entries_.push_back(
        {matrix, file_->bytes().subspan(static_cast<size_t>(offset), static_cast<size_t>(bytes))});
  }
  if (!rest.empty()) return not_as_written(*file_, "its index goes on behind its end");
  std::sort(places.begin(), places.end());
  for (size_t i = 1; i < places.size(); ++i) {
    if (places[i].first < places[i - 1].second) {
      return not_as_written(*file_, "matrices of it lie over one another");
    }
  }
  return {};
}

Status PackedCopy::check(const disk::Checkpoint& checkpoint, std::string_view layout) const {
  if (layout_ != layout) {
    return invalid_input("{}: was packed as {}, and this ferry packs as {}", file_->path(),
                         quote_name(layout_), quote_name(layout));
  }
  const auto files = checkpoint.files();
  bool same = files.size() == sources_.size();
  for (size_t i = 0; same && i < files.size(); ++i) {
    const std::string identity = files[i]->identity();
    same = !identity.empty() && identity == sources_[i].identity;
  }
  if (same) return {};
  return invalid_input("{}: the model's files are not what they were when it was made",
                       file_->path());
}

std::span<const uint8_t> PackedCopy::find(const PackedMatrix& matrix, int64_t bytes) const {
  const auto entry = std::lower_bound(
      entries_.begin(), entries_.end(), place_of(matrix),
      [](const Entry& have, const auto& wanted) { return place_of(have.matrix) < wanted; });
  if (entry == entries_.end() || place_of(entry->matrix) != place_of(matrix)) return {};
  const PackedMatrix& have = entry->matrix;
  const bool same =
      have.format == matrix.format && have.rows == matrix.rows && have.cols == matrix.cols;
  return same && std::ssize(entry->data) == bytes ? entry->data : std::span<const uint8_t>();
}

Result<PackedCopyWriter> PackedCopyWriter::create(
    const std::string& path, const disk::Checkpoint& checkpoint, std::string_view model,
    std::string_view model_path, std::string_view layout, std::function<bool()> stop) {
  std::vector<std::string> identities;
  std::string names;
  put(names, layout);
  put(names, model);
  put(names, model_path);
  put(names, static_cast<uint32_t>(checkpoint.files().size()));
  for (const auto& source : checkpoint.files()) {
    identities.push_back(source->identity());
    if (identities.back().empty()) {
      return unsupported("{}: no file on disk, so that no copy could say what it was made from",
                         source->path());
    }
    put(names, canonical_path(source->path()));
    put(names, identities.back());
  }
  FERRY_TRY(disk::AtomicFile file, disk::AtomicFile::create(path));
  PackedCopyWriter writer(std::move(file), checkpoint);
  writer.identities_ = std::move(identities);
  writer.names_ = std::move(names);
  writer.stop_ = std::move(stop);
  FERRY_TRY_VOID(writer.file_.write(kHeader));
  FERRY_TRY_VOID(writer.file_.write_zeros(kHeaderBytes - std::ssize(kHeader)));
  return writer;
}

Status PackedCopyWriter::add(const PackedMatrix& matrix, std::span<const uint8_t> data) {
  CHECK(!data.empty());
  if (stop_ && stop_()) return Error{ErrorKind::kCancelled, "packing was interrupted"};
  const int64_t offset = round_up(file_.position(), kDataAlignment);
  const auto [entry, is_new] = entries_.try_emplace(
      {std::string(matrix.tensor), matrix.first_row},
      Written{std::string(matrix.format), matrix.rows, matrix.cols, offset, std::ssize(data)});
  if (!is_new) return {};
  FERRY_TRY_VOID(file_.write_zeros(offset - file_.position()));
  return file_.write(data);
}

Status PackedCopyWriter::finish() {
  std::string index = names_;
  put(index, static_cast<uint64_t>(entries_.size()));
  for (const auto& [place, written] : entries_) {
    put(index, std::string_view(place.first));
    put(index, std::string_view(written.format));
    for (const int64_t number :
         {place.second, written.rows, written.cols, written.offset, written.bytes}) {
      put(index, number);
    }
  }
  put(index, file_.position());
  std::string header(kHeader);
  header.resize(static_cast<size_t>(kHeaderBytes));
  const auto bytes_of = [](const std::string& text) {
    return std::span(reinterpret_cast<const uint8_t*>(text.data()), text.size());
  };
  put(index, fnv1a(bytes_of(index), fnv1a(bytes_of(header), kFnvStart)));
  FERRY_TRY_VOID(file_.write(std::string_view(index)));
  for (size_t i = 0; i < identities_.size(); ++i) {
    const disk::MappedFile& source = *checkpoint_->files()[i];
    if (source.identity() == identities_[i]) continue;
    return io_error("{}: was written to while it was packed", source.path());
  }
  return file_.commit();
}

std::string packed_copy_path(const std::string& folder, std::string_view model,
                             const disk::Checkpoint& checkpoint) {
  constexpr size_t kMostLetters = 100;
  std::string name(model.substr(0, kMostLetters));
  for (char& c : name) {
    const bool plain = std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_';
    if (!plain && (c != '.' || &c == name.data())) c = '_';
  }
  std::string paths;
  for (const auto& file : checkpoint.files()) paths += canonical_path(file->path()) + '\n';
  return fmt::format("{}/{}-{}{}", folder, name, path_key(paths), kPackedCopySuffix);
}

}  // namespace ferry::weights
