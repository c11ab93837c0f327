// See normalizer.h; the algorithm is that of Unicode Standard Annex 15.
#include "text/normalizer.h"

#include <utf8proc.h>

#include <algorithm>
#include <vector>

#include "base/check.h"
#include "text/utf8.h"

namespace ferry::text {
namespace {

int combining_class(utf8proc_int32_t code_point) {
  return utf8proc_get_property(code_point)->combining_class;
}

void order_marks(std::vector<utf8proc_int32_t>& chars) {
  for (size_t begin = 0; begin < chars.size();) {
    if (combining_class(chars[begin]) == 0) {
      ++begin;
      continue;
    }
    size_t end = begin;
    while (end < chars.size() && combining_class(chars[end]) != 0) ++end;
    std::stable_sort(chars.begin() + begin, chars.begin() + end,
                     [](auto a, auto b) { return combining_class(a) < combining_class(b); });
    begin = end;
  }
}

bool all_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

}  // namespace

std::string normalize(std::string_view text, NormalForm form) {
  if (all_ascii(text)) return std::string(text);
  const bool compat = form == NormalForm::kNfkc || form == NormalForm::kNfkd;
  const bool compose = form == NormalForm::kNfc || form == NormalForm::kNfkc;
  const auto decompose_options = static_cast<utf8proc_option_t>(
      UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | (compat ? UTF8PROC_COMPAT : 0));

  std::vector<utf8proc_int32_t> chars;
  chars.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const Utf8Step step = utf8_step(text, at);
    CHECK(step.kind == Utf8Step::Kind::kValid);
    utf8proc_int32_t parts[32];  // the longest decomposition has 18 characters
    int boundary = 0;
    const auto count = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(step.code_point),
                                               parts, 32, decompose_options, &boundary);
    CHECK(count >= 0 && count <= 32);
    chars.insert(chars.end(), parts, parts + count);
    at += step.length;
  }
  order_marks(chars);
  auto length = static_cast<utf8proc_ssize_t>(chars.size());
  if (compose) {
    length = utf8proc_normalize_utf32(
        chars.data(), length, static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
    CHECK(length >= 0);
  }
  std::string out;
  out.reserve(text.size());
  for (utf8proc_ssize_t i = 0; i < length; ++i) append_utf8(static_cast<char32_t>(chars[i]), out);
  return out;
}

}  // namespace ferry::text
