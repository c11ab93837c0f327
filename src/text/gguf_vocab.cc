// Tokenizer::from_gguf. A GGUF file names its pre-tokenizer; this is the table of what the names
// mean, with the expressions of the models they were named for.
#include <array>
#include <utility>

#include "base/quote_name.h"
#include "text/tokenizer.h"
#include "text/tokenizer_parts.h"

namespace ferry::text {
namespace {

constexpr std::string_view kDeepseekV3Words =
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+)"
    R"(| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kQwen2Words =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*)"
    R"(|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kLlama3Words =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*)"
    R"(|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kDeepseekPunctuation =
    R"(\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+)";
constexpr std::string_view kDeepseekCjk = R"([\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+)";
constexpr std::string_view kKana = R"([\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+)";

// The letters of deepseek-llm's tokenizer: cased letters, less some scripts (Armenian small
// letters, Georgian Mkhedruli and Nuskhuri, later Latin extensions). First and last code point of
// each range.
constexpr std::array<char32_t, 2> kDeepseekLetters[] = {
    {0x41, 0x5A},       {0x61, 0x7A},       {0xB5, 0xB5},       {0xC0, 0xD6},
    {0xD8, 0xF6},       {0xF8, 0x1BA},      {0x1BC, 0x1BF},     {0x1C4, 0x293},
    {0x295, 0x2AF},     {0x370, 0x373},     {0x376, 0x377},     {0x37B, 0x37D},
    {0x37F, 0x37F},     {0x386, 0x386},     {0x388, 0x38A},     {0x38C, 0x38C},
    {0x38E, 0x3A1},     {0x3A3, 0x3F5},     {0x3F7, 0x481},     {0x48A, 0x52F},
    {0x531, 0x556},     {0x10A0, 0x10C5},   {0x13A0, 0x13F5},   {0x13F8, 0x13FD},
    {0x1C90, 0x1CBA},   {0x1CBD, 0x1CBF},   {0x1D00, 0x1D2B},   {0x1D6B, 0x1D77},
    {0x1D79, 0x1D9A},   {0x1E00, 0x1F15},   {0x1F18, 0x1F1D},   {0x1F20, 0x1F45},
    {0x1F48, 0x1F4D},   {0x1F50, 0x1F57},   {0x1F59, 0x1F59},   {0x1F5B, 0x1F5B},
    {0x1F5D, 0x1F5D},   {0x1F5F, 0x1F7D},   {0x1F80, 0x1FB4},   {0x1FB6, 0x1FBC},
    {0x1FBE, 0x1FBE},   {0x1FC2, 0x1FC4},   {0x1FC6, 0x1FCC},   {0x1FD0, 0x1FD3},
    {0x1FD6, 0x1FDB},   {0x1FE0, 0x1FEC},   {0x1FF2, 0x1FF4},   {0x1FF6, 0x1FFC},
    {0x2102, 0x2102},   {0x2107, 0x2107},   {0x210A, 0x2113},   {0x2115, 0x2115},
    {0x2119, 0x211D},   {0x2124, 0x2124},   {0x2126, 0x2126},   {0x2128, 0x2128},
    {0x212A, 0x212D},   {0x212F, 0x2134},   {0x2139, 0x2139},   {0x213C, 0x213F},
    {0x2145, 0x2149},   {0x214E, 0x214E},   {0x2183, 0x2184},   {0x2C00, 0x2C7B},
    {0x2C7E, 0x2CE4},   {0x2CEB, 0x2CEE},   {0x2CF2, 0x2CF3},   {0xA640, 0xA66D},
    {0xA680, 0xA69B},   {0xA722, 0xA76F},   {0xA771, 0xA787},   {0xA78B, 0xA78E},
    {0xAB70, 0xABBF},   {0xFB00, 0xFB06},   {0xFB13, 0xFB17},   {0xFF21, 0xFF3A},
    {0xFF41, 0xFF5A},   {0x10400, 0x1044F}, {0x104B0, 0x104D3}, {0x104D8, 0x104FB},
    {0x10C80, 0x10CB2}, {0x10CC0, 0x10CF2}, {0x118A0, 0x118DF}, {0x1E900, 0x1E943},
};

std::string deepseek_letters() {
  std::string out = "\\s?[";
  for (const auto& [first, last] : kDeepseekLetters) {
    out += fmt::format("\\x{{{:x}}}-\\x{{{:x}}}", static_cast<uint32_t>(first),
                       static_cast<uint32_t>(last));
  }
  return out + "]+";
}

struct Recipe {
  std::vector<std::string> splits;  // each isolates its matches
  bool gpt2_words = false;
  bool nfc = false;
  bool ignore_merges = false;
  bool add_bos = false;
};

constexpr std::string_view kKnownNames =
    "deepseek-coder, deepseek-llm, deepseek-r1-qwen, deepseek-v3, gpt-2, llama-bpe, qwen2";

Result<Recipe> recipe_for(std::string_view name) {
  Recipe recipe;
  if (name == "deepseek-llm") {
    recipe.splits = {"[\\r\\n]", deepseek_letters(),        std::string(kDeepseekPunctuation),
                     "\\s+$",    std::string(kDeepseekCjk), "\\p{N}"};
  } else if (name == "deepseek-coder") {
    recipe.splits = {"[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", std::string(kDeepseekCjk), "\\p{N}"};
  } else if (name == "deepseek-v3") {
    recipe.splits = {"\\p{N}{1,3}", std::string(kKana), std::string(kDeepseekV3Words)};
  } else if (name == "qwen2" || name == "deepseek-r1-qwen") {
    recipe.splits = {std::string(kQwen2Words)};
    recipe.nfc = true;
  } else if (name == "llama-bpe" || name == "llama3" || name == "llama-v3") {
    recipe.splits = {std::string(kLlama3Words)};
    recipe.ignore_merges = true;
    recipe.add_bos = true;
  } else if (name == "gpt-2") {
    recipe.gpt2_words = true;
  } else {
    return unsupported("tokenizer.ggml.pre: {} is not known; known are {}", quote_name(name),
                       kKnownNames);
  }
  return recipe;
}

// Types of tokenizer.ggml.token_type.
enum GgufTokenType : int32_t {
  kTypeNormal = 1,
  kTypeUnknown = 2,
  kTypeControl = 3,
  kTypeUserDefined = 4,
  kTypeUnused = 5,
  kTypeByte = 6,
};

Status read_tokens(const GgufVocab& vocab, TokenizerParts& parts) {
  if (!vocab.token_types.empty() && vocab.token_types.size() != vocab.tokens.size()) {
    return invalid_input("tokenizer.ggml.token_type: {} entries for {} tokens",
                         vocab.token_types.size(), vocab.tokens.size());
  }
  parts.vocabulary.reserve(vocab.tokens.size());
  for (size_t id = 0; id < vocab.tokens.size(); ++id) {
    const int32_t type = vocab.token_types.empty() ? kTypeNormal : vocab.token_types[id];
    const bool is_marker = type == kTypeControl || type == kTypeUserDefined;
    if (type < kTypeNormal || type > kTypeByte) {
      return invalid_input("tokenizer.ggml.token_type[{}]: {}, expected 1 to 6", id, type);
    }
    if (is_marker || type == kTypeUnused || type == kTypeUnknown) {
      const bool special = type != kTypeUserDefined;
      auto status = parts.vocabulary.add_added(id, vocab.tokens[id], special);
      if (!status.ok()) return status.error().in("tokenizer.ggml.tokens");
    } else {
      auto status = parts.vocabulary.add_normal(id, vocab.tokens[id]);
      if (!status.ok()) return status.error().in("tokenizer.ggml.tokens");
    }
    if (is_marker) {
      AddedToken token;
      token.id = static_cast<int32_t>(id);
      token.content = vocab.tokens[id];
      token.special = type == kTypeControl;
      parts.add_matcher(std::move(token));
    }
  }
  parts.vocabulary.finish();
  return {};
}

Result<std::optional<int32_t>> marker(std::string_view key, const std::optional<int64_t>& id,
                                      Vocabulary& vocabulary) {
  if (!id) return std::optional<int32_t>();
  if (!vocabulary.has(*id)) {
    return invalid_input("tokenizer.ggml.{}: {} is not in the vocabulary of {} tokens", key, *id,
                         vocabulary.size());
  }
  vocabulary.make_special(static_cast<int32_t>(*id));
  return std::optional(static_cast<int32_t>(*id));
}

}  // namespace

Result<Tokenizer> Tokenizer::from_gguf(const GgufVocab& vocab) {
  if (vocab.model != "gpt2") {
    return unsupported("tokenizer.ggml.model: {} is not supported, only gpt2 (byte-level BPE)",
                       quote_name(vocab.model));
  }
  FERRY_TRY(const Recipe recipe, recipe_for(vocab.pre));
  auto parts = std::make_shared<TokenizerParts>();
  if (recipe.nfc) parts->normal_forms.push_back(NormalForm::kNfc);
  FERRY_TRY_VOID(read_tokens(vocab, *parts));
  FERRY_TRY(parts->bos_id, marker("bos_token_id", vocab.bos_id, parts->vocabulary));
  FERRY_TRY(parts->eos_id, marker("eos_token_id", vocab.eos_id, parts->vocabulary));
  BpeBuilder builder(parts->vocabulary, vocab.merges.size());
  for (const std::string& merge : vocab.merges) {
    auto status = builder.add_merge(merge);
    if (!status.ok()) return status.error().in("tokenizer.ggml.merges");
  }
  auto bpe = builder.finish(recipe.ignore_merges);
  if (!bpe.ok()) return bpe.error().in("tokenizer.ggml.tokens");
  parts->bpe.emplace(std::move(bpe).value());
  for (const std::string& expression : recipe.splits) {
    FERRY_TRY(Regex regex, Regex::from_oniguruma(expression));
    parts->pre_tokenizer.add_split({std::move(regex)});
  }
  FERRY_TRY_VOID(parts->pre_tokenizer.set_byte_level(false, recipe.gpt2_words));
  // Only a file that asks for BOS must have one.
  if (vocab.add_bos.value_or(recipe.add_bos && parts->bos_id)) {
    if (!parts->bos_id) return invalid_input("tokenizer.ggml.add_bos_token: no bos_token_id");
    parts->prefix.push_back(*parts->bos_id);
  }
  return Tokenizer(std::move(parts));
}

}  // namespace ferry::text
