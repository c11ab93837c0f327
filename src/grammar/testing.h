// For the tests of this folder: a vocabulary, and walks through a grammar that hold the promises of
// grammar.h against each other at every step.
#pragma once

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "grammar/compile.h"

namespace ferry::grammar {

inline constexpr int32_t kEndToken = 256;

// All single bytes (id = byte), the end token, two control tokens, and longer tokens of the kind
// that cross the borders of strings, numbers and objects.
inline VocabularyRef test_vocabulary() {
  static const VocabularyRef vocabulary = [] {
    std::vector<VocabularyToken> tokens;
    for (int byte = 0; byte < 256; ++byte)
      tokens.push_back({std::string(1, static_cast<char>(byte))});
    tokens.push_back({"<end>", true});
    tokens.push_back({"</think>", true});
    tokens.push_back({"<call>", true});
    for (const char* text :
         {"{\"",  "\":",   "\": ",     "\",",   "\", \"",    "\"}",  "},",   "}, {",
          "[\"",  "\"]",   "]}",       "}}",    "[]",        "{}",   " ",    "  ",
          "\n",   "\n  ",  "\n    \"", "true",  "false",     "null", "tr",   "12",
          "123",  "00",    "0.",       ".5",    "-1",        "1,",   "2}",   "e+",
          "name", "a\": ", "ab",       "abc",   "abcabc",    "é",    "日本", "\\n",
          "\\\"", "\\u00", "\": \"",   "\": [", ", \"b\": ", "</th", "ink>", "a",
          "b\"",  "x\"}",  "\"\"",     "<call", "{\"a\": 1}"}) {
      tokens.push_back({text});
    }
    tokens.push_back({"\xE6\x97"});  // the beginning of a character
    tokens.push_back({""});          // no token at all
    const std::vector<int32_t> ends{kEndToken};
    return std::make_shared<const Vocabulary>(std::move(tokens), ends);
  }();
  return vocabulary;
}

inline bool allowed(const std::vector<uint32_t>& mask, int32_t token) {
  return (mask[token / 32] >> (token % 32)) & 1;
}

inline std::vector<uint32_t> mask_of(Matcher& matcher) {
  std::vector<uint32_t> mask(matcher.grammar().vocabulary().mask_words(), 0xFFFFFFFF);
  matcher.fill_mask(mask);
  return mask;
}

// Every token: the mask says what accept() does.
inline void expect_mask_is_exact(Matcher& matcher) {
  const std::vector<uint32_t> mask = mask_of(matcher);
  for (int32_t token = 0; token < matcher.grammar().vocabulary().size(); ++token) {
    const bool accepted = matcher.accept(token);
    ASSERT_EQ(allowed(mask, token), accepted)
        << "token " << token << " \"" << matcher.grammar().vocabulary().bytes(token) << '"';
    if (accepted) matcher.rollback(1);
  }
}

struct Walk {
  std::string text;
  bool finished = false;  // by an end token
};

// Chooses allowed tokens at random; the end wherever it can be, more and more willingly.
inline Walk random_walk(const GrammarRef& grammar, std::mt19937& random, int max_tokens,
                        bool check_masks = false) {
  Matcher matcher(grammar);
  const Vocabulary& vocabulary = grammar->vocabulary();
  Walk walk;
  for (int i = 0; i < max_tokens; ++i) {
    if (check_masks) expect_mask_is_exact(matcher);
    const std::vector<uint32_t> mask = mask_of(matcher);
    std::vector<int32_t> choices;
    for (int32_t token = 0; token < vocabulary.size(); ++token) {
      if (allowed(mask, token)) choices.push_back(token);
    }
    EXPECT_FALSE(choices.empty()) << "stuck after: " << walk.text;
    if (choices.empty()) return walk;
    int32_t token = choices[random() % choices.size()];
    // Texts come to an end sooner or later: closing tokens are preferred after a while.
    if (i > 40 && random() % 2 == 0) {
      for (const char close : {'"', '}', ']'}) {
        if (allowed(mask, close)) token = close;
      }
    }
    if (allowed(mask, kEndToken) && random() % 3 == 0) token = kEndToken;
    EXPECT_TRUE(matcher.accept(token));
    if (token == kEndToken) {
      walk.finished = true;
      return walk;
    }
    walk.text += vocabulary.bytes(token);
  }
  return walk;
}

// Whether `text` is led through from start to end, byte by byte.
inline bool matches(const GrammarRef& grammar, std::string_view text) {
  Matcher matcher(grammar);
  for (char c : text) {
    if (!matcher.accept(static_cast<uint8_t>(c))) return false;
  }
  return matcher.can_end();
}

inline GrammarRef compiled(const ConstraintText& constraint) {
  Result<GrammarRef> grammar = compile(constraint, test_vocabulary());
  if (grammar.ok()) return *grammar;
  ADD_FAILURE() << grammar.error().message;
  std::abort();  // nothing in the test makes sense without it
}

inline GrammarRef compiled_schema(const std::string& schema) {
  return compiled({.kind = ConstraintText::Kind::kJsonSchema, .text = schema});
}

inline GrammarRef compiled_regex(const std::string& regex) {
  return compiled({.kind = ConstraintText::Kind::kRegex, .text = regex});
}

// The message of what must not compile.
inline std::string refusal(ConstraintText::Kind kind, const std::string& text) {
  Result<GrammarRef> grammar = compile({.kind = kind, .text = text}, test_vocabulary());
  return grammar.ok() ? "accepted" : grammar.error().message;
}

}  // namespace ferry::grammar
