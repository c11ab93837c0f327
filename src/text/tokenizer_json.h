// The stages of tokenizer.json, each read by a function of its own. Every one refuses what it does
// not know by the name of the construct.
#pragma once

#include "base/json.h"
#include "base/result.h"
#include "text/tokenizer_parts.h"

namespace ferry::text {

// "normalizer": null, NFC, NFD, NFKC, NFKD, Sequence.
Status read_normalizer(const Json* normalizer, TokenizerParts& parts);

// "pre_tokenizer": Split, Digits, Punctuation, WhitespaceSplit, Sequence, and ByteLevel at the end.
Status read_pre_tokenizer(const Json* pre_tokenizer, TokenizerParts& parts);

// "post_processor": null, ByteLevel, TemplateProcessing, Sequence. What TemplateProcessing puts
// around one text goes to prefix and suffix. REQUIRES: the vocabulary is finished
Status read_post_processor(const Json* post_processor, TokenizerParts& parts);

// "decoder": ByteLevel or a Sequence of it.
Status check_decoder(const Json* decoder);

// element["type"], with an error that names a missing one. REQUIRES: nothing of `element`
Result<std::string> type_of(const Json& element);

}  // namespace ferry::text
