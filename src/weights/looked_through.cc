// See looked_through.h.
#include "weights/looked_through.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "weights/path_key.h"

namespace ferry::weights {
namespace {

constexpr const char* kFirstLine = "ferry looked through 1";
constexpr int64_t kMostRanges = 100000;  // of a note that anybody wrote

void join(std::map<int64_t, int64_t>& ranges, int64_t begin, int64_t end) {
  auto next = ranges.upper_bound(begin);
  if (next != ranges.begin() && std::prev(next)->second >= begin) {
    next = std::prev(next);
    begin = next->first;
  }
  while (next != ranges.end() && next->first <= end) {
    end = std::max(end, next->second);
    next = ranges.erase(next);
  }
  ranges.emplace(begin, end);
}

}  // namespace

LookedThrough::LookedThrough(const disk::Checkpoint& checkpoint, std::string folder,
                             int64_t least_bytes)
    : checkpoint_(checkpoint) {
  for (const auto& file : checkpoint.files()) {
    Noted noted{.identity = file->identity()};
    if (!noted.identity.empty() && file->size() >= least_bytes) {
      noted.note_path = folder + "/" + path_key(canonical_path(file->path()));
      read_note(noted);
    }
    files_.push_back(std::move(noted));
  }
}

void LookedThrough::read_note(Noted& file) const {
  std::ifstream in(file.note_path);
  std::string line;
  if (!std::getline(in, line) || line != kFirstLine) return;
  if (!std::getline(in, line) || line != file.identity) return;
  int64_t begin = 0, end = 0;
  for (int64_t i = 0; i < kMostRanges && in >> begin >> end; ++i) {
    if (begin < 0 || end < begin) break;
    join(file.ranges, begin, end);
  }
}

bool LookedThrough::covers(int file_index, int64_t offset, int64_t bytes) const {
  const Noted& file = files_[static_cast<size_t>(file_index)];
  auto range = file.ranges.upper_bound(offset);
  if (range == file.ranges.begin()) return false;
  --range;
  if (range->second < offset + bytes) return false;
  const disk::MappedFile& mapped = *checkpoint_.files()[static_cast<size_t>(file_index)];
  return mapped.in_memory(
      mapped.bytes().subspan(static_cast<size_t>(offset), static_cast<size_t>(bytes)));
}

void LookedThrough::add(int file_index, int64_t offset, int64_t bytes) {
  Noted& file = files_[static_cast<size_t>(file_index)];
  if (file.note_path.empty()) return;
  join(file.ranges, offset, offset + bytes);
  file.changed = true;
}

void LookedThrough::save() const {
  for (size_t i = 0; i < files_.size(); ++i) {
    const Noted& file = files_[i];
    if (!file.changed || checkpoint_.files()[i]->identity() != file.identity) continue;
    std::error_code failed;
    std::filesystem::create_directories(std::filesystem::path(file.note_path).parent_path(),
                                        failed);
    const std::string unfinished = fmt::format("{}.{}", file.note_path, getpid());
    std::ofstream out(unfinished);
    out << kFirstLine << "\n" << file.identity << "\n";
    for (const auto& [begin, end] : file.ranges) out << begin << " " << end << "\n";
    out.close();
    if (out) std::filesystem::rename(unfinished, file.note_path, failed);
    if (!out || failed) std::filesystem::remove(unfinished, failed);
  }
}

}  // namespace ferry::weights
