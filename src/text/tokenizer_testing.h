// For tests: a small byte-level tokenizer.json to start from. Ids 0–255 are the bytes in order,
// then one token per merge.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"
#include "text/tokenizer.h"
#include "text/utf8.h"

namespace ferry::text {

// Merges are given as raw bytes.
inline Json tiny_tokenizer(const std::vector<std::pair<std::string, std::string>>& merges = {}) {
  Json vocab = Json::object();
  for (int byte = 0; byte < 256; ++byte) {
    vocab[bytes_to_alphabet(std::string(1, static_cast<char>(byte)))] = byte;
  }
  Json list = Json::array();
  int id = 256;
  for (const auto& [left, right] : merges) {
    const std::string joined = bytes_to_alphabet(left + right);
    if (!vocab.contains(joined)) vocab[joined] = id++;
    list.push_back(bytes_to_alphabet(left) + " " + bytes_to_alphabet(right));
  }
  Json byte_level = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}};
  Json out;
  out["version"] = "1.0";
  out["added_tokens"] = Json::array();
  out["normalizer"] = nullptr;
  out["pre_tokenizer"] = byte_level;
  out["post_processor"] = nullptr;
  out["decoder"] = byte_level;
  out["model"] = {{"type", "BPE"}, {"vocab", vocab}, {"merges", list}};
  return out;
}

inline Json added_token(int id, std::string_view content, bool special) {
  return {{"id", id},        {"content", content},  {"single_word", false}, {"lstrip", false},
          {"rstrip", false}, {"normalized", false}, {"special", special}};
}

inline Result<Tokenizer> load(const Json& tokenizer, std::string_view config = "") {
  return Tokenizer::from_json(tokenizer.dump(), config);
}

}  // namespace ferry::text
