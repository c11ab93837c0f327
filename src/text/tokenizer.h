// Text to token ids and back, for byte-level BPE vocabularies: an interpreter for tokenizer.json,
// and the vocabularies of GGUF files, which name their pre-tokenizer instead of spelling it out.
//
// Thread safety: a Tokenizer is immutable; copies share one vocabulary and may be used from any
// number of threads.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace ferry::text {

struct EncodeOptions {
  bool add_special = false;   // what the model's files put around a text: BOS, for most
  bool parse_special = true;  // false: the spelling of a special token is ordinary text
};

// tokenizer.ggml.* of a GGUF file.
struct GgufVocab {
  std::string model;                 // tokenizer.ggml.model: must be "gpt2"
  std::string pre;                   // tokenizer.ggml.pre: names the pre-tokenizer
  std::vector<std::string> tokens;   // by id
  std::vector<int32_t> token_types;  // by id, or empty: 1 normal, 3 control, 4 user defined, 6 byte
  std::vector<std::string> merges;   // "left right", by rank
  std::optional<int64_t> bos_id;
  std::optional<int64_t> eos_id;
  std::optional<bool> add_bos;  // absent: the habit of the pre-tokenizer's family
};

struct TokenizerParts;

class Tokenizer {
 public:
  // From the texts of tokenizer.json and tokenizer_config.json (empty if the model has none).
  // Errors name the construct: what is not understood is refused, never guessed.
  static Result<Tokenizer> from_json(std::string_view tokenizer_json,
                                     std::string_view tokenizer_config_json);
  static Result<Tokenizer> from_gguf(const GgufVocab& vocab);

  // Invalid UTF-8 is read as U+FFFD, one per maximal invalid subpart.
  std::vector<int32_t> encode(std::string_view text, const EncodeOptions& options = {}) const;

  // The text of `ids`; bytes that make no valid UTF-8 become U+FFFD. Ids without a token are empty.
  std::string decode(std::span<const int32_t> ids, bool skip_special) const;

  // The bytes a token stands for: not always whole characters. Empty for an id without a token.
  std::string_view token_bytes(int32_t id) const;

  // The id of the token that stands for `content`: an added token, else one of the vocabulary.
  std::optional<int32_t> token_id(std::string_view content) const;

  // A control token such as BOS: never part of a text.
  bool is_special(int32_t id) const;

  // A token that was added to the vocabulary as a whole (<think>), control tokens included.
  bool is_added(int32_t id) const;

  // Largest id + 1. A model may have more logits than that: those must not be sampled.
  int32_t vocab_size() const;
  std::optional<int32_t> bos_id() const;
  std::optional<int32_t> eos_id() const;
  // Whether add_special puts anything in front of a text.
  bool add_bos() const;

 private:
  explicit Tokenizer(std::shared_ptr<const TokenizerParts> parts) : parts_(std::move(parts)) {}

  std::shared_ptr<const TokenizerParts> parts_;
};

}  // namespace ferry::text
