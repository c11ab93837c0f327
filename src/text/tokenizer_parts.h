// What both loaders (tokenizer_json.cc, gguf_vocab.cc) fill and Tokenizer runs: the vocabulary and
// the stages that a text goes through, in this order: added tokens, normal forms, added tokens that
// match normalized text, pre-tokenizer, byte-pair encoding.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "text/added_tokens.h"
#include "text/bpe.h"
#include "text/normalizer.h"
#include "text/pre_tokenizer.h"

namespace ferry::text {

inline constexpr int64_t kMaxTokenId = (int64_t{1} << 20) - 1;
inline constexpr size_t kMaxTokenBytes = 64 << 10;

class Vocabulary {
 public:
  enum class Kind : uint8_t { kNone, kNormal, kAdded, kSpecial };

  Vocabulary() = default;
  Vocabulary(Vocabulary&&) = default;  // the index points into the entries: moved, never copied
  Vocabulary& operator=(Vocabulary&&) = default;

  void reserve(size_t num_tokens) { entries_.reserve(num_tokens); }

  // A token spelled in the byte alphabet (or, if a character of it is not, as plain text that byte
  // pairs never reach). Errors name the id.
  Status add_normal(int64_t id, std::string_view spelling);
  // A token that stands for `content` as it is. It may repeat what add_normal() gave the same id.
  Status add_added(int64_t id, std::string_view content, bool special);
  // Marks an existing token as special.
  void make_special(int32_t id) { entries_[id].kind = Kind::kSpecial; }

  // Indexes the tokens. Nothing is added afterwards, or the views would dangle.
  void finish();

  int32_t size() const { return static_cast<int32_t>(entries_.size()); }
  bool has(int64_t id) const { return id >= 0 && id < size() && kind(id) != Kind::kNone; }
  Kind kind(int64_t id) const { return entries_[id].kind; }
  std::string_view bytes(int64_t id) const { return entries_[id].bytes; }
  // The token of byte-pair encoding that stands for `bytes`.
  std::optional<int32_t> find_normal(std::string_view bytes) const;
  const std::unordered_map<std::string_view, int32_t>& normal_tokens() const { return normal_; }
  // Any token by what it stands for, added ones first.
  std::optional<int32_t> find(std::string_view content) const;

 private:
  struct Entry {
    std::string bytes;
    Kind kind = Kind::kNone;
    bool reachable = false;  // by byte-pair encoding
  };
  Result<Entry*> entry(int64_t id);

  std::vector<Entry> entries_;
  std::unordered_map<std::string_view, int32_t> normal_;
  std::unordered_map<std::string_view, int32_t> literal_;
};

// The byte-pair encoder over a finished vocabulary. Adds merges one by one, in order of rank.
class BpeBuilder {
 public:
  BpeBuilder(const Vocabulary& vocabulary, size_t num_merges)
      : vocabulary_(vocabulary), merges_(num_merges) {}
  // Both sides spelled in the byte alphabet. Errors name the rank.
  Status add_merge(std::string_view left, std::string_view right);
  // "left right", as GGUF and older tokenizer.json files write a merge.
  Status add_merge(std::string_view pair);
  // Refuses a vocabulary that lacks a byte of valid UTF-8: such a byte could not be encoded.
  Result<Bpe> finish(bool ignore_merges);

 private:
  Result<int32_t> side(std::string_view spelling, std::string& bytes) const;

  const Vocabulary& vocabulary_;
  MergeTable merges_;
  int32_t num_added_ = 0;
};

struct TokenizerParts {
  Vocabulary vocabulary;
  AddedTokenMatcher added_raw;         // matched in the text as it is
  AddedTokenMatcher added_normalized;  // matched after the normal forms
  std::vector<NormalForm> normal_forms;
  PreTokenizer pre_tokenizer;
  std::optional<Bpe> bpe;       // set by every loader
  std::vector<int32_t> prefix;  // with add_special
  std::vector<int32_t> suffix;
  std::optional<int32_t> bos_id;
  std::optional<int32_t> eos_id;

  // REQUIRES: normal_forms is final
  void add_matcher(AddedToken token);
  std::string normalized(std::string_view text) const;
};

}  // namespace ferry::text
