// One level of the parser's recursion; shared by its two source files.
#pragma once

#include "text/jinja_parser.h"

namespace ferry::text::jinja {

inline constexpr int kMaxNesting = 150;

class Parser::Nesting {
 public:
  explicit Nesting(Parser& parser) : parser_(parser) {
    if (++parser_.depth_ > kMaxNesting) {
      fail_at(parser_.current().line, "nested deeper than {} levels", kMaxNesting);
    }
  }
  ~Nesting() { --parser_.depth_; }
  Nesting(const Nesting&) = delete;
  Nesting& operator=(const Nesting&) = delete;

 private:
  Parser& parser_;
};

}  // namespace ferry::text::jinja
