// See tokenizer_json.h: normalizer, pre-tokenizer, post-processor and decoder of tokenizer.json.
#include <optional>
#include <utility>

#include "base/quote_name.h"
#include "text/tokenizer_json.h"

namespace ferry::text {
namespace {

constexpr int kMaxSequenceDepth = 8;

// Calls read(element) for a lone stage or for every element of nested Sequences.
template <typename Read>
Status for_each_stage(const Json& stage, std::string_view list_key, int depth, Read& read) {
  const auto type = type_of(stage);
  if (!type.ok()) return type.error();
  if (*type != "Sequence") {
    auto status = read(stage, *type);
    return status.ok() ? Status() : status.error().in(one_line(*type));
  }
  if (depth >= kMaxSequenceDepth) {
    return unsupported("Sequence nested deeper than {} levels", kMaxSequenceDepth);
  }
  const Json* list = json_find(stage, list_key);
  if (list == nullptr || !list->is_array()) {
    return invalid_input("Sequence.{}: expected an array", list_key);
  }
  size_t index = 0;
  for (const Json& element : *list) {
    auto status = for_each_stage(element, list_key, depth + 1, read);
    if (!status.ok()) return status.error().in(fmt::format("{}[{}]", list_key, index));
    ++index;
  }
  return {};
}

Result<SplitBehavior> behavior_of(std::string_view name) {
  constexpr std::pair<std::string_view, SplitBehavior> kBehaviors[] = {
      {"Isolated", SplitBehavior::kIsolated},
      {"Removed", SplitBehavior::kRemoved},
      {"MergedWithPrevious", SplitBehavior::kMergedWithPrevious},
      {"MergedWithNext", SplitBehavior::kMergedWithNext},
      {"Contiguous", SplitBehavior::kContiguous},
  };
  for (const auto& [known, behavior] : kBehaviors) {
    if (known == name) return behavior;
  }
  return unsupported("behavior {}", quote_name(name));
}

Result<Regex> pattern_of(const Json& split) {
  const Json* pattern = json_find(split, "pattern");
  if (pattern == nullptr || !pattern->is_object() || pattern->size() != 1) {
    return invalid_input("pattern: expected {{\"Regex\": ...}} or {{\"String\": ...}}");
  }
  if (json_find(*pattern, "Regex") != nullptr) {
    FERRY_TRY(const std::string expression, json_string(*pattern, "Regex"));
    return Regex::from_oniguruma(expression);
  }
  FERRY_TRY(const std::string text, json_string(*pattern, "String"));
  if (text.empty()) return invalid_input("pattern: an empty String");
  return Regex::from_literal(text);
}

Status add_split(PreTokenizer& pre_tokenizer, std::string_view expression, SplitBehavior behavior) {
  FERRY_TRY(Regex regex, Regex::from_oniguruma(expression));
  pre_tokenizer.add_split({std::move(regex), behavior, false});
  return {};
}

Status read_pre_tokenizer_stage(const Json& stage, std::string_view type, PreTokenizer& out) {
  if (out.has_byte_level()) return unsupported("a stage after ByteLevel");
  if (type == "ByteLevel") {
    FERRY_TRY(const bool add_prefix_space, json_bool(stage, "add_prefix_space"));
    FERRY_TRY(const bool use_regex, json_bool_or(stage, "use_regex", true));
    return out.set_byte_level(add_prefix_space, use_regex);
  }
  if (type == "Split") {
    FERRY_TRY(Regex regex, pattern_of(stage));
    FERRY_TRY(const std::string behavior_name, json_string(stage, "behavior"));
    FERRY_TRY(const SplitBehavior behavior, behavior_of(behavior_name));
    FERRY_TRY(const bool invert, json_bool_or(stage, "invert", false));
    out.add_split({std::move(regex), behavior, invert});
    return {};
  }
  if (type == "Digits") {
    FERRY_TRY(const bool individual, json_bool_or(stage, "individual_digits", false));
    return add_split(out, "\\p{N}",
                     individual ? SplitBehavior::kIsolated : SplitBehavior::kContiguous);
  }
  if (type == "Punctuation") {
    FERRY_TRY(const std::string name, json_string_or(stage, "behavior", "Isolated"));
    FERRY_TRY(const SplitBehavior behavior, behavior_of(name));
    return add_split(out, R"([!-/:-@\[-`{-~\p{P}])", behavior);
  }
  if (type == "WhitespaceSplit") return add_split(out, "\\s", SplitBehavior::kRemoved);
  return unsupported("this pre-tokenizer is not supported");
}

// One element of TemplateProcessing.single: nullopt for the text itself, else the ids of a special
// token.
Result<std::optional<std::vector<int32_t>>> template_item(const Json& item, const Json* special,
                                                          const Vocabulary& vocabulary) {
  if (!item.is_object()) return invalid_input("expected an object");
  if (const Json* sequence = json_find(item, "Sequence")) {
    if (!sequence->is_object()) return invalid_input("Sequence: expected an object");
    FERRY_TRY(const std::string id, json_string(*sequence, "id"));
    if (id != "A") return unsupported("Sequence {} for a single text", quote_name(id));
    return std::optional<std::vector<int32_t>>();
  }
  const Json* token = json_find(item, "SpecialToken");
  if (token == nullptr || !token->is_object()) {
    return invalid_input("expected {{\"Sequence\": ...}} or {{\"SpecialToken\": ...}}");
  }
  FERRY_TRY(const std::string name, json_string(*token, "id"));
  const Json* entry =
      special != nullptr && special->is_object() ? json_find(*special, name) : nullptr;
  const Json* ids = entry != nullptr && entry->is_object() ? json_find(*entry, "ids") : nullptr;
  if (ids == nullptr || !ids->is_array()) {
    return invalid_input("special_tokens.{}.ids: expected an array", one_line(name));
  }
  std::vector<int32_t> out;
  for (const Json& id : *ids) {
    const bool known = id.is_number_integer() && vocabulary.has(id.get<int64_t>());
    if (!known) {
      return invalid_input("special_tokens.{}.ids: not in the vocabulary", one_line(name));
    }
    out.push_back(id.get<int32_t>());
  }
  return std::optional(std::move(out));
}

Status read_template(const Json& stage, TokenizerParts& parts) {
  const Json* single = json_find(stage, "single");
  if (single == nullptr || !single->is_array()) {
    return invalid_input("single: expected an array");
  }
  bool text_seen = false;
  size_t index = 0;
  for (const Json& item : *single) {
    auto ids = template_item(item, json_find(stage, "special_tokens"), parts.vocabulary);
    if (!ids.ok()) return ids.error().in(fmt::format("single[{}]", index));
    ++index;
    if (ids->has_value()) {
      auto& side = text_seen ? parts.suffix : parts.prefix;
      side.insert(side.end(), (*ids)->begin(), (*ids)->end());
    } else if (text_seen) {
      return unsupported("single: the text twice");
    } else {
      text_seen = true;
    }
  }
  if (!text_seen) return invalid_input("single: the text is missing");
  return {};
}

}  // namespace

Result<std::string> type_of(const Json& element) {
  if (!element.is_object()) {
    return invalid_input("expected an object with a type, found {}", json_type_name(element));
  }
  return json_string(element, "type");
}

Status read_normalizer(const Json* normalizer, TokenizerParts& parts) {
  if (normalizer == nullptr) return {};
  auto read = [&](const Json&, std::string_view type) -> Status {
    if (type == "NFC") {
      parts.normal_forms.push_back(NormalForm::kNfc);
    } else if (type == "NFD") {
      parts.normal_forms.push_back(NormalForm::kNfd);
    } else if (type == "NFKC") {
      parts.normal_forms.push_back(NormalForm::kNfkc);
    } else if (type == "NFKD") {
      parts.normal_forms.push_back(NormalForm::kNfkd);
    } else {
      return unsupported("this normalizer is not supported");
    }
    return {};
  };
  return for_each_stage(*normalizer, "normalizers", 0, read);
}

Status read_pre_tokenizer(const Json* pre_tokenizer, TokenizerParts& parts) {
  if (pre_tokenizer != nullptr) {
    auto read = [&](const Json& stage, std::string_view type) {
      return read_pre_tokenizer_stage(stage, type, parts.pre_tokenizer);
    };
    FERRY_TRY_VOID(for_each_stage(*pre_tokenizer, "pretokenizers", 0, read));
  }
  if (!parts.pre_tokenizer.has_byte_level()) {
    return unsupported("expected a ByteLevel stage: only byte-level vocabularies are supported");
  }
  return {};
}

Status read_post_processor(const Json* post_processor, TokenizerParts& parts) {
  if (post_processor == nullptr) return {};
  bool has_template = false;
  auto read = [&](const Json& stage, std::string_view type) -> Status {
    if (type == "ByteLevel") return {};  // it moves offsets, never ids
    if (type != "TemplateProcessing") return unsupported("this post-processor is not supported");
    if (std::exchange(has_template, true)) return unsupported("a second template");
    return read_template(stage, parts);
  };
  return for_each_stage(*post_processor, "processors", 0, read);
}

Status check_decoder(const Json* decoder) {
  if (decoder == nullptr) return unsupported("expected ByteLevel, found none");
  auto read = [](const Json&, std::string_view type) -> Status {
    return type == "ByteLevel" ? Status() : unsupported("this decoder is not supported");
  };
  return for_each_stage(*decoder, "decoders", 0, read);
}

}  // namespace ferry::text
