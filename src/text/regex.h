// A compiled regular expression over valid UTF-8, matched by PCRE2 (compiled to machine code where
// PCRE2 can).
//
// Limits: a search that exceeds PCRE2's match, depth or heap limit ends the iteration; the rest of
// the text then counts as unmatched. The limits are counts, not clocks, so the outcome is the same
// on every machine. Real tokenizers do not come near them. Thread safety: a Regex may be used from
// many threads, a RegexScratch by one at a time.
#pragma once

#include <cstddef>
#include <memory>
#include <string_view>
#include <vector>

#include "base/result.h"

struct pcre2_real_code_8;
struct pcre2_real_match_context_8;
struct pcre2_real_match_data_8;
struct pcre2_real_jit_stack_8;

namespace ferry::text {

struct RegexMatch {
  size_t begin;
  size_t end;
};

// What a search needs besides the expression; made once per encode() and reused for every piece.
class RegexScratch {
 public:
  RegexScratch();
  ~RegexScratch();
  RegexScratch(const RegexScratch&) = delete;
  RegexScratch& operator=(const RegexScratch&) = delete;

 private:
  friend class Regex;
  pcre2_real_match_data_8* match_data_;
  pcre2_real_match_context_8* context_;
  pcre2_real_jit_stack_8* jit_stack_ = nullptr;  // only once the machine stack was too small
};

class Regex {
 public:
  // From tokenizer.json's dialect (regex_dialect.h). Errors name the construct and its place.
  static Result<Regex> from_oniguruma(std::string_view pattern);
  // Matches exactly `text`. REQUIRES: valid UTF-8, not empty
  static Result<Regex> from_literal(std::string_view text);

  // Appends all matches from left to right, none overlapping; an empty match is not reported right
  // after another match. REQUIRES: `text` is valid UTF-8
  void find_all(std::string_view text, RegexScratch& scratch, std::vector<RegexMatch>& out) const;

 private:
  explicit Regex(std::shared_ptr<pcre2_real_code_8> code) : code_(std::move(code)) {}
  static Result<Regex> compile(std::string_view pcre2_pattern);
  // False if there is no further match, or a limit was hit.
  bool find(std::string_view text, size_t start, RegexScratch& scratch, RegexMatch& match) const;

  std::shared_ptr<pcre2_real_code_8> code_;
};

}  // namespace ferry::text
