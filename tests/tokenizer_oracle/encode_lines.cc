// Test tool: encodes lines with ferry's tokenizer.
//
//   encode_lines TOKENIZER_JSON          from_json
//   encode_lines TOKENIZER_JSON PRE      from_gguf: the same vocabulary and merges as a GGUF file
//                                        with tokenizer.ggml.pre = PRE would have them
// Each line of standard input is the bytes of a text in hexadecimal; each line of output the JSON
// {"ids": [...], "text": ...} with the ids and what they decode to.
#include <cstdio>
#include <fstream>
#include <iostream>
#include <sstream>

#include "base/json.h"
#include "text/tokenizer.h"

namespace ferry::text {
namespace {

GgufVocab as_gguf(const Json& json, std::string pre) {
  GgufVocab vocab;
  vocab.model = "gpt2";
  vocab.pre = std::move(pre);
  const auto put = [&](int id, const std::string& content, int type) {
    if (static_cast<size_t>(id) >= vocab.tokens.size()) {
      vocab.tokens.resize(id + 1, "[unused]");
      vocab.token_types.resize(id + 1, 5);
    }
    vocab.tokens[id] = content;
    vocab.token_types[id] = type;
  };
  for (const auto& [content, id] : json["model"]["vocab"].items()) put(id, content, 1);
  for (const Json& token : json["added_tokens"]) {
    put(token["id"], token["content"], token["special"].get<bool>() ? 3 : 4);
  }
  for (const Json& merge : json["model"]["merges"]) vocab.merges.push_back(merge);
  return vocab;
}

std::string from_hex(const std::string& hex) {
  std::string bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  }
  return bytes;
}

int run(int argc, char** argv) {
  if (argc < 2 || argc > 3) return 2;
  std::ostringstream text;
  text << std::ifstream(argv[1], std::ios::binary).rdbuf();
  auto tokenizer = argc == 2 ? Tokenizer::from_json(text.str(), "")
                             : Tokenizer::from_gguf(as_gguf(Json::parse(text.str()), argv[2]));
  if (!tokenizer.ok()) {
    std::fprintf(stderr, "%s: %s\n", argv[1], tokenizer.error().message.c_str());
    return 1;
  }
  for (std::string line; std::getline(std::cin, line);) {
    Json out;
    out["ids"] = tokenizer->encode(from_hex(line));
    out["text"] = tokenizer->decode(out["ids"].get<std::vector<int32_t>>(), false);
    std::cout << out.dump() << '\n';
  }
  return 0;
}

}  // namespace
}  // namespace ferry::text

int main(int argc, char** argv) { return ferry::text::run(argc, argv); }
