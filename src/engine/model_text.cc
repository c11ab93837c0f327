// See model_text.h.
#include "engine/model_text.h"

#include <algorithm>

#include "base/quote_name.h"
#include "sample/params.h"

namespace ferry::engine {
namespace {

constexpr double kDefaultTemperature = 0.7;
constexpr double kDefaultTopP = 0.95;

Result<text::GgufVocab> read_gguf_vocab(const disk::GgufMetadata& gguf) {
  text::GgufVocab vocab;
  FERRY_TRY(vocab.model, gguf.get_string("tokenizer.ggml.model"));
  FERRY_TRY(vocab.pre, gguf.get_string_or("tokenizer.ggml.pre", "default"));
  FERRY_TRY(const auto tokens, gguf.get_strings("tokenizer.ggml.tokens"));
  vocab.tokens.assign(tokens.begin(), tokens.end());
  if (gguf.has("tokenizer.ggml.token_type")) {
    FERRY_TRY(const auto types, gguf.get_ints("tokenizer.ggml.token_type"));
    // A type that no 32 bits hold is no type the tokenizer knows either.
    for (int64_t type : types) {
      vocab.token_types.push_back(static_cast<int32_t>(std::clamp<int64_t>(type, -1, INT32_MAX)));
    }
  }
  if (gguf.has("tokenizer.ggml.merges")) {
    FERRY_TRY(const auto merges, gguf.get_strings("tokenizer.ggml.merges"));
    vocab.merges.assign(merges.begin(), merges.end());
  }
  if (gguf.has("tokenizer.ggml.bos_token_id")) {
    FERRY_TRY(vocab.bos_id, gguf.get_i64("tokenizer.ggml.bos_token_id"));
  }
  if (gguf.has("tokenizer.ggml.eos_token_id")) {
    FERRY_TRY(vocab.eos_id, gguf.get_i64("tokenizer.ggml.eos_token_id"));
  }
  if (gguf.has("tokenizer.ggml.add_bos_token")) {
    FERRY_TRY(vocab.add_bos, gguf.get_bool("tokenizer.ggml.add_bos_token"));
  }
  return vocab;
}

// "eos_token_id": 1, or [1, 2].
Status append_ids(const Json& object, const char* where, std::vector<int32_t>& ids) {
  const Json* value = json_find(object, "eos_token_id");
  if (value == nullptr) return {};
  const Json list = value->is_array() ? *value : Json::array({*value});
  for (const Json& id : list) {
    if (!id.is_number_integer() || id < 0 || id > INT32_MAX) {
      return invalid_input("{}: eos_token_id: expected a token id, found {}", where,
                           one_line(id.dump()));
    }
    ids.push_back(id.get<int32_t>());
  }
  return {};
}

}  // namespace

Result<text::Tokenizer> read_tokenizer(const disk::ModelSource& source) {
  if (source.gguf.has_value()) {
    FERRY_TRY(const text::GgufVocab vocab, read_gguf_vocab(*source.gguf));
    Result<text::Tokenizer> tokenizer = text::Tokenizer::from_gguf(vocab);
    if (!tokenizer.ok()) return tokenizer.error().in(source.path);
    return tokenizer;
  }
  if (source.tokenizer_json.empty()) {
    return not_found("{}: has no tokenizer.json; the tokenizer is needed to turn text into tokens",
                     source.path);
  }
  const std::string config =
      source.tokenizer_config.empty() ? std::string() : source.tokenizer_config.dump();
  Result<text::Tokenizer> tokenizer = text::Tokenizer::from_json(source.tokenizer_json, config);
  if (!tokenizer.ok()) return tokenizer.error().in(source.tokenizer_path);
  return tokenizer;
}

Result<std::vector<int32_t>> read_eos_token_ids(const disk::ModelSource& source,
                                                const text::Tokenizer& tokenizer) {
  std::vector<int32_t> ids;
  FERRY_TRY_VOID(append_ids(source.generation_config, "generation_config.json", ids));
  FERRY_TRY_VOID(append_ids(source.config, "config", ids));
  if (tokenizer.eos_id().has_value()) ids.push_back(*tokenizer.eos_id());
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  std::erase_if(ids, [&](int32_t id) { return id < 0 || id >= tokenizer.vocab_size(); });
  return ids;
}

Result<SamplingParams> read_default_sampling(const disk::ModelSource& source) {
  const Json& config = source.generation_config;
  const auto read = [&]() -> Result<SamplingParams> {
    SamplingParams params;
    const bool says_something = json_find(config, "temperature") != nullptr ||
                                json_find(config, "top_p") != nullptr ||
                                json_find(config, "top_k") != nullptr;
    FERRY_TRY(const bool do_sample, json_bool_or(config, "do_sample", true));
    const bool silent = do_sample && !says_something;
    FERRY_TRY(params.temperature,
              json_number_or(config, "temperature", silent ? kDefaultTemperature : 1.0));
    FERRY_TRY(params.top_p, json_number_or(config, "top_p", silent ? kDefaultTopP : 1.0));
    FERRY_TRY(params.top_k, json_int_or(config, "top_k", 0));
    FERRY_TRY(params.min_p, json_number_or(config, "min_p", 0.0));
    FERRY_TRY(params.repetition_penalty, json_number_or(config, "repetition_penalty", 1.0));
    if (!do_sample) params.temperature = 0;
    if (params.top_k < 0) params.top_k = 0;  // some files write -1 for "off"
    FERRY_TRY_VOID(sample::validate(params, 0));
    return params;
  };
  Result<SamplingParams> params = read();
  if (!params.ok()) return params.error().in(source.path + ": generation_config.json");
  return params;
}

}  // namespace ferry::engine
