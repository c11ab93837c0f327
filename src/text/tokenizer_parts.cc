// See tokenizer_parts.h.
#include "text/tokenizer_parts.h"

#include "base/quote_name.h"
#include "text/utf8.h"

namespace ferry::text {
Result<Vocabulary::Entry*> Vocabulary::entry(int64_t id) {
  if (id < 0 || id > kMaxTokenId) {
    return invalid_input("token id {}, expected 0 to {}", id, kMaxTokenId);
  }
  if (static_cast<size_t>(id) >= entries_.size()) entries_.resize(id + 1);
  return &entries_[id];
}

Status Vocabulary::add_normal(int64_t id, std::string_view spelling) {
  if (spelling.size() > kMaxTokenBytes) {
    return invalid_input("token {} has {} bytes, the limit is {}", id, spelling.size(),
                         kMaxTokenBytes);
  }
  FERRY_TRY(Entry * slot, entry(id));
  if (slot->kind != Kind::kNone) {
    return invalid_input("token id {} is given twice, to {} and to {}", id, quote_name(slot->bytes),
                         quote_name(spelling));
  }
  auto bytes = bytes_from_alphabet(spelling);
  slot->reachable = bytes.has_value();
  slot->bytes = bytes ? std::move(*bytes) : std::string(spelling);
  slot->kind = Kind::kNormal;
  return {};
}

Status Vocabulary::add_added(int64_t id, std::string_view content, bool special) {
  if (content.size() > kMaxTokenBytes) {
    return invalid_input("added token {} has {} bytes, the limit is {}", id, content.size(),
                         kMaxTokenBytes);
  }
  FERRY_TRY(Entry * slot, entry(id));
  const bool same = slot->bytes == content || bytes_to_alphabet(slot->bytes) == content;
  if (slot->kind != Kind::kNone && !same) {
    return invalid_input("token id {} is given twice, to {} and to {}", id, quote_name(slot->bytes),
                         quote_name(content));
  }
  // Merges may still lead to it if it stands for the same bytes either way.
  slot->reachable = slot->reachable && slot->bytes == content;
  slot->bytes = content;
  slot->kind = special ? Kind::kSpecial : Kind::kAdded;
  return {};
}

void Vocabulary::finish() {
  normal_.reserve(entries_.size());
  for (int32_t id = 0; id < size(); ++id) {
    const Entry& entry = entries_[id];
    if (entry.kind == Kind::kNone) continue;
    (entry.reachable ? normal_ : literal_).try_emplace(entry.bytes, id);
  }
}

std::optional<int32_t> Vocabulary::find_normal(std::string_view bytes) const {
  auto it = normal_.find(bytes);
  return it == normal_.end() ? std::nullopt : std::optional(it->second);
}

std::optional<int32_t> Vocabulary::find(std::string_view content) const {
  auto it = literal_.find(content);
  return it == literal_.end() ? find_normal(content) : std::optional(it->second);
}

Result<int32_t> BpeBuilder::side(std::string_view spelling, std::string& bytes) const {
  const auto decoded = bytes_from_alphabet(spelling);
  const auto id = decoded ? vocabulary_.find_normal(*decoded) : std::nullopt;
  if (!id) {
    return invalid_input("merge {}: {} is not in the vocabulary", num_added_, quote_name(spelling));
  }
  bytes += *decoded;
  return *id;
}

Status BpeBuilder::add_merge(std::string_view left, std::string_view right) {
  std::string bytes;
  FERRY_TRY(const int32_t left_id, side(left, bytes));
  FERRY_TRY(const int32_t right_id, side(right, bytes));
  const auto joined = vocabulary_.find_normal(bytes);
  if (!joined) {
    return invalid_input("merge {}: {} and {} make no token of the vocabulary", num_added_,
                         quote_name(left), quote_name(right));
  }
  merges_.insert(left_id, right_id, {num_added_++, *joined});
  return {};
}

Status BpeBuilder::add_merge(std::string_view pair) {
  const size_t space = pair.find(' ');
  if (space == std::string_view::npos || pair.find(' ', space + 1) != std::string_view::npos) {
    return invalid_input("merge {}: expected two tokens with a space between, found {}", num_added_,
                         quote_name(pair));
  }
  return add_merge(pair.substr(0, space), pair.substr(space + 1));
}

Result<Bpe> BpeBuilder::finish(bool ignore_merges) {
  std::array<int32_t, 256> byte_ids;
  for (int byte = 0; byte < 256; ++byte) {
    const char text = static_cast<char>(byte);
    byte_ids[byte] = vocabulary_.find_normal({&text, 1}).value_or(-1);
    const bool never_in_utf8 = byte == 0xC0 || byte == 0xC1 || byte > 0xF4;
    if (byte_ids[byte] < 0 && !never_in_utf8) {
      return unsupported(
          "the vocabulary has no token for the byte 0x{:02x} alone: byte fallback and unknown "
          "tokens are not supported",
          byte);
    }
  }
  Bpe bpe(byte_ids, std::move(merges_));
  if (ignore_merges) bpe.set_whole_words(vocabulary_.normal_tokens());
  return bpe;
}

void TokenizerParts::add_matcher(AddedToken token) {
  if (token.normalized) {
    std::string pattern = normalized(token.content);
    added_normalized.add(std::move(pattern), std::move(token));
  } else {
    std::string pattern = token.content;
    added_raw.add(std::move(pattern), std::move(token));
  }
}

std::string TokenizerParts::normalized(std::string_view text) const {
  std::string out(text);
  for (NormalForm form : normal_forms) out = normalize(out, form);
  return out;
}

}  // namespace ferry::text
