// See tokenizer.h; the loaders are in tokenizer_json.cc and gguf_vocab.cc.
#include "text/tokenizer.h"

#include "base/quote_name.h"
#include "text/tokenizer_parts.h"
#include "text/utf8.h"

namespace ferry::text {
namespace {

// BPE counts positions of a piece in 32 bits. No request comes near: servers limit their input.
constexpr size_t kMaxPiece_bytes = size_t{1} << 30;

class Encoder {
 public:
  Encoder(const TokenizerParts& parts, bool parse_special)
      : parts_(parts), parse_special_(parse_special) {}

  std::vector<int32_t> run(std::string_view text) {
    std::vector<AddedTokenMatcher::Segment> segments;
    parts_.added_raw.cut(text, parse_special_, segments);
    for (const auto& segment : segments) {
      if (segment.id >= 0) {
        ids_.push_back(segment.id);
      } else if (parts_.normal_forms.empty()) {
        normalized(segment.text);
      } else {
        normalized(parts_.normalized(segment.text));
      }
    }
    return std::move(ids_);
  }

 private:
  void normalized(std::string_view text) {
    if (parts_.added_normalized.empty()) return ordinary(text);
    std::vector<AddedTokenMatcher::Segment> segments;
    parts_.added_normalized.cut(text, parse_special_, segments);
    for (const auto& segment : segments) {
      if (segment.id >= 0) {
        ids_.push_back(segment.id);
      } else {
        ordinary(segment.text);
      }
    }
  }

  void ordinary(std::string_view text) {
    parts_.pre_tokenizer.cut(text, pre_tokenizer_scratch_, pieces_);
    for (std::string_view piece : pieces_) {
      for (; piece.size() > kMaxPiece_bytes; piece.remove_prefix(kMaxPiece_bytes)) {
        parts_.bpe->encode(piece.substr(0, kMaxPiece_bytes), bpe_scratch_, ids_);
      }
      parts_.bpe->encode(piece, bpe_scratch_, ids_);
    }
    pre_tokenizer_scratch_.prefixed.clear();
  }

  const TokenizerParts& parts_;
  const bool parse_special_;
  PreTokenizerScratch pre_tokenizer_scratch_;
  BpeScratch bpe_scratch_;
  std::vector<std::string_view> pieces_;
  std::vector<int32_t> ids_;
};

}  // namespace

std::vector<int32_t> Tokenizer::encode(std::string_view text, const EncodeOptions& options) const {
  Encoder encoder(*parts_, options.parse_special);
  std::vector<int32_t> ids = is_utf8(text) ? encoder.run(text) : encoder.run(utf8_lossy(text));
  if (options.add_special) {
    ids.insert(ids.begin(), parts_->prefix.begin(), parts_->prefix.end());
    ids.insert(ids.end(), parts_->suffix.begin(), parts_->suffix.end());
  }
  return ids;
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special) const {
  std::string bytes;
  for (int32_t id : ids) {
    if (!skip_special || !is_special(id)) bytes += token_bytes(id);
  }
  return is_utf8(bytes) ? bytes : utf8_lossy(bytes);
}

std::string_view Tokenizer::token_bytes(int32_t id) const {
  return parts_->vocabulary.has(id) ? parts_->vocabulary.bytes(id) : std::string_view();
}

std::optional<int32_t> Tokenizer::token_id(std::string_view content) const {
  return parts_->vocabulary.find(content);
}

bool Tokenizer::is_special(int32_t id) const {
  return parts_->vocabulary.has(id) && parts_->vocabulary.kind(id) == Vocabulary::Kind::kSpecial;
}

bool Tokenizer::is_added(int32_t id) const {
  if (!parts_->vocabulary.has(id)) return false;
  const Vocabulary::Kind kind = parts_->vocabulary.kind(id);
  return kind == Vocabulary::Kind::kAdded || kind == Vocabulary::Kind::kSpecial;
}

int32_t Tokenizer::vocab_size() const { return parts_->vocabulary.size(); }
std::optional<int32_t> Tokenizer::bos_id() const { return parts_->bos_id; }
std::optional<int32_t> Tokenizer::eos_id() const { return parts_->eos_id; }
bool Tokenizer::add_bos() const { return !parts_->prefix.empty(); }

}  // namespace ferry::text
