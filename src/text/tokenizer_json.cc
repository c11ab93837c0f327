// Tokenizer::from_json: the model, the added tokens and the configuration; the other stages are in
// tokenizer_stages.cc. The keys "truncation" and "padding" shape batches for training and are not
// read.
#include "text/tokenizer_json.h"

#include <utility>

#include "base/quote_name.h"
#include "text/tokenizer.h"

namespace ferry::text {
namespace {

Status refuse_text(const Json& model, std::string_view key) {
  FERRY_TRY(const std::string value, json_string_or(model, key, ""));
  if (!value.empty()) return unsupported("{} {} is not supported", key, quote_name(value));
  return {};
}

Status check_model(const Json& model) {
  FERRY_TRY(const std::string type, type_of(model));
  if (type != "BPE") return unsupported("type {} is not supported, only BPE", quote_name(type));
  FERRY_TRY(const bool byte_fallback, json_bool_or(model, "byte_fallback", false));
  if (byte_fallback) return unsupported("byte_fallback is not supported: bytes need no fallback");
  if (json_find(model, "dropout") != nullptr) {
    FERRY_TRY(const double dropout, json_number(model, "dropout"));
    if (dropout != 0) return unsupported("dropout {} is not supported", dropout);
  }
  FERRY_TRY_VOID(refuse_text(model, "continuing_subword_prefix"));
  return refuse_text(model, "end_of_word_suffix");
}

Status read_vocab(const Json& model, Vocabulary& vocabulary) {
  const Json* vocab = json_find(model, "vocab");
  if (vocab == nullptr || !vocab->is_object()) return invalid_input("vocab: expected an object");
  vocabulary.reserve(vocab->size());
  for (const auto& [spelling, id] : vocab->items()) {
    if (!id.is_number_integer()) {
      return invalid_input("vocab: expected integers, found {}", json_type_name(id));
    }
    auto status = vocabulary.add_normal(id.get<int64_t>(), spelling);
    if (!status.ok()) return status.error().in("vocab");
  }
  return {};
}

Status read_merges(const Json& model, TokenizerParts& parts) {
  const Json* merges = json_find(model, "merges");
  if (merges == nullptr || !merges->is_array()) return invalid_input("merges: expected an array");
  BpeBuilder builder(parts.vocabulary, merges->size());
  for (const Json& merge : *merges) {
    Status status;
    if (merge.is_string()) {
      status = builder.add_merge(merge.get_ref<const std::string&>());
    } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() &&
               merge[1].is_string()) {
      status = builder.add_merge(merge[0].get_ref<const std::string&>(),
                                 merge[1].get_ref<const std::string&>());
    } else {
      return invalid_input("merges: expected \"left right\" or [left, right], found {}",
                           json_type_name(merge));
    }
    FERRY_TRY_VOID(std::move(status));
  }
  FERRY_TRY(const bool ignore_merges, json_bool_or(model, "ignore_merges", false));
  FERRY_TRY(Bpe bpe, builder.finish(ignore_merges));
  parts.bpe.emplace(std::move(bpe));
  return {};
}

Result<AddedToken> read_added_token(const Json& element, Vocabulary& vocabulary) {
  if (!element.is_object()) return invalid_input("expected an object");
  AddedToken token;
  FERRY_TRY(const int64_t id, json_int(element, "id"));
  FERRY_TRY(token.content, json_string(element, "content"));
  FERRY_TRY(token.special, json_bool_or(element, "special", false));
  FERRY_TRY(token.normalized, json_bool_or(element, "normalized", !token.special));
  FERRY_TRY(token.lstrip, json_bool_or(element, "lstrip", false));
  FERRY_TRY(token.rstrip, json_bool_or(element, "rstrip", false));
  FERRY_TRY(token.single_word, json_bool_or(element, "single_word", false));
  FERRY_TRY_VOID(vocabulary.add_added(id, token.content, token.special));
  token.id = static_cast<int32_t>(id);
  return token;
}

Status read_added_tokens(const Json* list, TokenizerParts& parts) {
  if (list == nullptr) return {};
  if (!list->is_array()) return invalid_input("expected an array");
  size_t index = 0;
  for (const Json& element : *list) {
    auto token = read_added_token(element, parts.vocabulary);
    if (!token.ok()) return token.error().in(fmt::format("[{}]", index));
    parts.add_matcher(std::move(token).value());
    ++index;
  }
  return {};
}

// bos_token and eos_token: the text of a token, or an object that has it as its content.
Result<std::optional<int32_t>> named_token(const Json& config, std::string_view key,
                                           const Vocabulary& vocabulary) {
  const Json* value = json_find(config, key);
  if (value == nullptr) return std::optional<int32_t>();
  std::string content;
  if (value->is_object()) {
    auto inner = json_string(*value, "content");
    if (!inner.ok()) return inner.error().in(std::string(key));
    content = std::move(inner).value();
  } else {
    FERRY_TRY(content, json_string(config, key));
  }
  return vocabulary.find(content);
}

Status read_config(std::string_view text, TokenizerParts& parts) {
  FERRY_TRY(const Json config, parse_json(text));
  if (!config.is_object()) return invalid_input("expected an object");
  FERRY_TRY(parts.bos_id, named_token(config, "bos_token", parts.vocabulary));
  FERRY_TRY(parts.eos_id, named_token(config, "eos_token", parts.vocabulary));
  FERRY_TRY(const bool add_bos, json_bool_or(config, "add_bos_token", false));
  FERRY_TRY(const bool add_eos, json_bool_or(config, "add_eos_token", false));
  // A template of tokenizer.json says everything; the flags are for files without one.
  if (!parts.prefix.empty() || !parts.suffix.empty()) return {};
  if (add_bos) {
    if (!parts.bos_id) return invalid_input("add_bos_token: no bos_token in the vocabulary");
    parts.prefix.push_back(*parts.bos_id);
  }
  if (add_eos) {
    if (!parts.eos_id) return invalid_input("add_eos_token: no eos_token in the vocabulary");
    parts.suffix.push_back(*parts.eos_id);
  }
  return {};
}

Status within(const std::string& place, Status status) {
  return status.ok() ? Status() : status.error().in(place);
}

Status read_all(const Json& json, TokenizerParts& parts) {
  if (!json.is_object()) return invalid_input("expected an object");
  const Json* model = json_find(json, "model");
  if (model == nullptr) return invalid_input("model: expected an object, found nothing");
  FERRY_TRY_VOID(within("model", check_model(*model)));
  FERRY_TRY_VOID(within("normalizer", read_normalizer(json_find(json, "normalizer"), parts)));
  FERRY_TRY_VOID(within("model", read_vocab(*model, parts.vocabulary)));
  FERRY_TRY_VOID(within("added_tokens", read_added_tokens(json_find(json, "added_tokens"), parts)));
  parts.vocabulary.finish();
  FERRY_TRY_VOID(within("model", read_merges(*model, parts)));
  FERRY_TRY_VOID(
      within("pre_tokenizer", read_pre_tokenizer(json_find(json, "pre_tokenizer"), parts)));
  FERRY_TRY_VOID(
      within("post_processor", read_post_processor(json_find(json, "post_processor"), parts)));
  return within("decoder", check_decoder(json_find(json, "decoder")));
}

}  // namespace

Result<Tokenizer> Tokenizer::from_json(std::string_view tokenizer_json,
                                       std::string_view tokenizer_config_json) {
  auto parts = std::make_shared<TokenizerParts>();
  {
    auto json = parse_json(tokenizer_json);
    if (!json.ok()) return json.error().in("tokenizer.json");
    FERRY_TRY_VOID(within("tokenizer.json", read_all(*json, *parts)));
  }
  if (!tokenizer_config_json.empty()) {
    FERRY_TRY_VOID(within("tokenizer_config.json", read_config(tokenizer_config_json, *parts)));
  }
  if (!parts->bos_id && !parts->prefix.empty()) parts->bos_id = parts->prefix.front();
  return Tokenizer(std::move(parts));
}

}  // namespace ferry::text
