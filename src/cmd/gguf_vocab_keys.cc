#include "cmd/gguf_vocab_keys.h"

#include <algorithm>

#include "base/quote_name.h"
#include "engine/model_text.h"
#include "text/tokenizer.h"

namespace ferry::cmd {
namespace {

constexpr int32_t kNormal = 1, kControl = 3, kUserDefined = 4, kUnused = 5;
constexpr const char* kBos = "<｜begin▁of▁sentence｜>";
constexpr const char* kEos = "<｜end▁of▁sentence｜>";
// A plain chat format: random weights answer nonsense in any.
constexpr const char* kChatTemplate =
    "{{ bos_token }}{% for m in messages %}{{ m['role'] + ': ' + (m['content'] or '') + '\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}";
constexpr const char* kMerges[] = {"t h", "h e", "i n", "e r",  "a n",  "r e",
                                   "o n", "Ġ a", "Ġ t", "th e", "an d", "in g"};

std::string utf8(char32_t code) {
  if (code < 0x80) return {static_cast<char>(code)};
  return {static_cast<char>(0xc0 | (code >> 6)), static_cast<char>(0x80 | (code & 0x3f))};
}

// GPT-2's alphabet: printable bytes stand for themselves, the others for U+0100 and on.
std::vector<std::string> byte_alphabet() {
  std::vector<std::string> out;
  char32_t next = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    const bool printable =
        (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    out.push_back(utf8(printable ? static_cast<char32_t>(byte) : next++));
  }
  return out;
}

std::string without_space(std::string merge) {
  merge.erase(merge.find(' '), 1);
  return merge;
}

// GGUF's names of pre-tokenizers, the likeliest for this model first.
std::vector<std::string> pre_candidates(const std::string& model_type) {
  std::vector<std::string> names = {"deepseek-v3",  "qwen2",          "llama-bpe",
                                    "deepseek-llm", "deepseek-coder", "gpt-2"};
  const std::string first = model_type == "deepseek_v2"      ? "deepseek-llm"
                            : model_type == "llama"          ? "llama-bpe"
                            : model_type.starts_with("qwen") ? "qwen2"
                                                             : "deepseek-v3";
  std::stable_partition(names.begin(), names.end(),
                        [&](const auto& name) { return name == first; });
  return names;
}

Status read_tokens(const Json& model, const Json* added, Vocabulary& out) {
  const Json* vocab = json_find(model, "vocab");
  if (vocab == nullptr || !vocab->is_object())
    return invalid_input("model.vocab: expected an object");
  const auto size = static_cast<int64_t>(out.tokens.size());
  auto place = [&](const std::string& token, const Json& id, int32_t type) -> Status {
    if (!id.is_number_integer() || id.get<int64_t>() < 0 || id.get<int64_t>() >= size) {
      return invalid_input("token {}: its id is not in [0, {})", quote_name(token), size);
    }
    out.tokens[id.get<size_t>()] = token;
    out.token_types[id.get<size_t>()] = type;
    return {};
  };
  for (const auto& [token, id] : vocab->items()) FERRY_TRY_VOID(place(token, id, kNormal));
  if (added == nullptr) return {};
  for (const Json& token : *added) {
    FERRY_TRY(const std::string content, json_string(token, "content"));
    FERRY_TRY(const bool special, json_bool_or(token, "special", false));
    FERRY_TRY_VOID(place(content, token.value("id", Json()), special ? kControl : kUserDefined));
  }
  return {};
}

Status read_merges(const Json& model, Vocabulary& out) {
  const Json* merges = json_find(model, "merges");
  if (merges == nullptr || !merges->is_array())
    return invalid_input("model.merges: expected an array");
  for (const Json& merge : *merges) {
    if (merge.is_string()) {
      out.merges.push_back(merge.get<std::string>());
    } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() &&
               merge[1].is_string()) {
      out.merges.push_back(merge[0].get<std::string>() + " " + merge[1].get<std::string>());
    } else {
      return invalid_input("model.merges: expected \"a b\" or [\"a\", \"b\"]");
    }
  }
  return {};
}

// GGUF only names its pre-tokenizer: does that name mean what tokenizer.json spells out?
Result<bool> proved(const text::Tokenizer& original, const Vocabulary& vocabulary) {
  FERRY_TRY(const text::Tokenizer written,
            text::Tokenizer::from_gguf({.model = "gpt2",
                                        .pre = vocabulary.pre,
                                        .tokens = vocabulary.tokens,
                                        .token_types = vocabulary.token_types,
                                        .merges = vocabulary.merges,
                                        .bos_id = vocabulary.bos_id,
                                        .eos_id = vocabulary.eos_id,
                                        .add_bos = vocabulary.add_bos}));
  for (const char* sample :
       {"Hello, world! It's 12345 o'clock.", "  spaces\t\tand\n\n\nlines \r\n end ",
        "snake_case(x)[3]", "Größe ½ ٣ 中文字符 日本語 한국어 привет",
        "emoji 👍🏽 e\u0301 no\u00a0break", "{\"a\": [1, 2.5]}"}) {
    if (original.encode(sample) != written.encode(sample)) return false;
  }
  return true;
}

}  // namespace

Vocabulary make_vocabulary(int64_t vocab_size, int64_t bos_id, int64_t eos_id) {
  Vocabulary out{.pre = "qwen2", .bos_id = bos_id, .eos_id = eos_id, .add_bos = bos_id >= 0};
  out.tokens.resize(vocab_size);
  out.token_types.resize(vocab_size, kUnused);
  auto place = [&](int64_t id, const std::string& token, int32_t type) {
    if (id < 0 || id >= vocab_size) return;
    out.tokens[id] = token;
    out.token_types[id] = type;
  };
  place(bos_id, kBos, kControl);
  if (eos_id != bos_id) place(eos_id, kEos, kControl);
  std::vector<std::string> words = byte_alphabet();
  for (const char* merge : kMerges) {
    out.merges.push_back(merge);
    words.push_back(without_space(merge));
  }
  size_t next = 0;
  for (int64_t id = 0; id < vocab_size; ++id) {
    if (!out.tokens[id].empty()) continue;
    if (next < words.size()) {
      place(id, words[next++], kNormal);
    } else {
      place(id, fmt::format("<|unused_{}|>", id), kUnused);
    }
  }
  out.chat_template = kChatTemplate;
  return out;
}

Result<Vocabulary> vocabulary_of(const disk::ModelSource& source, int64_t vocab_size) {
  FERRY_TRY(const text::Tokenizer tokenizer, engine::read_tokenizer(source));
  FERRY_TRY(const Json json, parse_json(source.tokenizer_json));
  const Json* model = json_find(json, "model");
  if (model == nullptr || !model->is_object()) {
    return invalid_input("{}: model: expected an object", source.tokenizer_path);
  }
  FERRY_TRY(const std::string model_type, json_string(source.config, "model_type"));
  Vocabulary out{.bos_id = tokenizer.bos_id().value_or(-1),
                 .eos_id = tokenizer.eos_id().value_or(-1),
                 .add_bos = tokenizer.add_bos()};
  out.tokens.resize(std::max<int64_t>(vocab_size, tokenizer.vocab_size()));
  out.token_types.resize(out.tokens.size(), kUnused);
  if (auto status = read_tokens(*model, json_find(json, "added_tokens"), out); !status.ok()) {
    return status.error().in(source.tokenizer_path);
  }
  if (auto status = read_merges(*model, out); !status.ok()) {
    return status.error().in(source.tokenizer_path);
  }
  for (size_t id = 0; id < out.tokens.size(); ++id) {
    if (out.tokens[id].empty()) out.tokens[id] = fmt::format("<|unused_{}|>", id);
  }
  if (!source.chat_templates.empty()) out.chat_template = source.chat_templates[0].second;
  for (const std::string& name : pre_candidates(model_type)) {
    out.pre = name;
    FERRY_TRY(const bool same, proved(tokenizer, out));
    if (same) return out;
  }
  return unsupported("{}: GGUF has no name for its pre-tokenizer", source.tokenizer_path);
}

void add_vocabulary(disk::GgufKeyValues& keys, const Vocabulary& vocabulary) {
  keys.add_string("tokenizer.ggml.model", "gpt2");
  keys.add_string("tokenizer.ggml.pre", vocabulary.pre);
  keys.add_strings("tokenizer.ggml.tokens", vocabulary.tokens);
  keys.add_i32s("tokenizer.ggml.token_type", vocabulary.token_types);
  keys.add_strings("tokenizer.ggml.merges", vocabulary.merges);
  if (vocabulary.bos_id >= 0) {
    keys.add_u32("tokenizer.ggml.bos_token_id", static_cast<uint32_t>(vocabulary.bos_id));
  }
  if (vocabulary.eos_id >= 0) {
    keys.add_u32("tokenizer.ggml.eos_token_id", static_cast<uint32_t>(vocabulary.eos_id));
  }
  keys.add_bool("tokenizer.ggml.add_bos_token", vocabulary.add_bos);
  if (!vocabulary.chat_template.empty()) {
    keys.add_string("tokenizer.chat_template", vocabulary.chat_template);
  }
}

std::vector<std::pair<std::string, std::string>> tokenizer_files(const Vocabulary& vocabulary) {
  Json vocab = Json::object(), added = Json::array();
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    if (vocabulary.token_types[id] == kNormal) vocab[vocabulary.tokens[id]] = id;
    if (vocabulary.token_types[id] == kControl) {
      added.push_back({{"id", id},
                       {"content", vocabulary.tokens[id]},
                       {"single_word", false},
                       {"lstrip", false},
                       {"rstrip", false},
                       {"normalized", false},
                       {"special", true}});
    }
  }
  const Json byte_level = {{"type", "ByteLevel"},
                           {"add_prefix_space", false},
                           {"trim_offsets", true},
                           {"use_regex", true}};
  const Json tokenizer = {
      {"version", "1.0"},
      {"added_tokens", added},
      {"normalizer", nullptr},
      {"pre_tokenizer", byte_level},
      {"post_processor", nullptr},
      {"decoder", byte_level},
      {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", vocabulary.merges}}}};
  Json config = {{"add_bos_token", vocabulary.add_bos},
                 {"chat_template", vocabulary.chat_template}};
  if (vocabulary.bos_id >= 0) config["bos_token"] = kBos;
  if (vocabulary.eos_id >= 0) config["eos_token"] = kEos;
  return {{"tokenizer.json", tokenizer.dump()}, {"tokenizer_config.json", config.dump(2)}};
}

}  // namespace ferry::cmd
