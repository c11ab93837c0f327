// Cuts a template into tokens: text between tags, and inside tags names, literals and operators.
//
// White space control is decided here, as jinja2 does with trim_blocks and lstrip_blocks on: a
// newline after a block or comment tag goes, blanks between a line's start and a block or comment
// tag go, `-` strips all white space on its side and `+` keeps it.
#pragma once

#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "text/jinja_value.h"

namespace ferry::text::jinja {

enum class TokenType : uint8_t {
  kData,
  kVariableBegin,
  kVariableEnd,
  kBlockBegin,
  kBlockEnd,
  kName,
  kString,
  kInteger,
  kFloat,
  kOperator,
  kEnd,
};

struct Token {
  TokenType type = TokenType::kEnd;
  int line = 0;
  std::string_view text;  // data, name, operator, or the string's value
  Int integer = 0;
  double real = 0;
};

struct TokenizedTemplate {
  std::string source;               // newlines normalised; tokens point into it
  std::deque<std::string> strings;  // values of string literals
  std::vector<Token> tokens;        // the last one is kEnd
};

// Throws JinjaError. The result must stay where it is: tokens point into it.
void tokenize(std::string_view source, TokenizedTemplate* out);

}  // namespace ferry::text::jinja
