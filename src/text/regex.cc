// See regex.h.
#include "text/regex.h"

#include <string>

#include "base/check.h"
#include "text/regex_dialect.h"
#include "text/utf8.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

namespace ferry::text {
namespace {

constexpr uint32_t kMatchLimit = 10'000'000;
constexpr uint32_t kDepthLimit = 10'000'000;
constexpr uint32_t kHeapLimit_kib = 512 << 10;
constexpr size_t kJitStackStart_bytes = 64 << 10;
constexpr size_t kJitStackMax_bytes = 256 << 20;
constexpr uint32_t kMaxParenthesesDepth = 500;

Error compile_error(int code, size_t offset) {
  PCRE2_UCHAR message[200];
  pcre2_get_error_message(code, message, sizeof(message));
  return invalid_input("regex: {} (at {} of its PCRE2 form)",
                       reinterpret_cast<const char*>(message), offset);
}

}  // namespace

RegexScratch::RegexScratch()
    : match_data_(pcre2_match_data_create(1, nullptr)),
      context_(pcre2_match_context_create(nullptr)) {
  CHECK(match_data_ != nullptr && context_ != nullptr);
  pcre2_set_match_limit(context_, kMatchLimit);
  pcre2_set_depth_limit(context_, kDepthLimit);
  pcre2_set_heap_limit(context_, kHeapLimit_kib);
}

RegexScratch::~RegexScratch() {
  if (jit_stack_ != nullptr) pcre2_jit_stack_free(jit_stack_);
  pcre2_match_context_free(context_);
  pcre2_match_data_free(match_data_);
}

Result<Regex> Regex::from_oniguruma(std::string_view pattern) {
  FERRY_TRY(std::string converted, pcre2_from_oniguruma(pattern));
  return compile(converted);
}

Result<Regex> Regex::from_literal(std::string_view text) {
  return compile(pcre2_from_literal(text));
}

Result<Regex> Regex::compile(std::string_view pcre2_pattern) {
  std::unique_ptr<pcre2_compile_context, decltype(&pcre2_compile_context_free)> context(
      pcre2_compile_context_create(nullptr), pcre2_compile_context_free);
  CHECK(context != nullptr);
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  pcre2_set_parens_nest_limit(context.get(), kMaxParenthesesDepth);
  int code = 0;
  size_t offset = 0;
  pcre2_code* compiled =
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pcre2_pattern.data()), pcre2_pattern.size(),
                    PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, &code,
                    &offset, context.get());
  if (compiled == nullptr) return compile_error(code, offset);
  std::shared_ptr<pcre2_code> owned(compiled, pcre2_code_free);
  // Where there is no JIT for this machine or expression, pcre2_match interprets.
  pcre2_jit_compile(compiled, PCRE2_JIT_COMPLETE);
  return Regex(std::move(owned));
}

bool Regex::find(std::string_view text, size_t start, RegexScratch& scratch,
                 RegexMatch& match) const {
  const auto subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  const auto run = [&](uint32_t options) {
    return pcre2_match(code_.get(), subject, text.size(), start, options | PCRE2_NO_UTF_CHECK,
                       scratch.match_data_, scratch.context_);
  };
  int rc = run(0);
  if (rc == PCRE2_ERROR_JIT_STACKLIMIT && scratch.jit_stack_ == nullptr) {
    scratch.jit_stack_ = pcre2_jit_stack_create(kJitStackStart_bytes, kJitStackMax_bytes, nullptr);
    pcre2_jit_stack_assign(scratch.context_, nullptr, scratch.jit_stack_);
    rc = run(0);
  }
  if (rc == PCRE2_ERROR_JIT_STACKLIMIT) rc = run(PCRE2_NO_JIT);
  if (rc < 0) return false;
  const size_t* ends = pcre2_get_ovector_pointer(scratch.match_data_);
  // A look-behind can move the start of a match past its end; there is nothing to cut out then.
  if (ends[0] > ends[1]) return false;
  match = {ends[0], ends[1]};
  return true;
}

void Regex::find_all(std::string_view text, RegexScratch& scratch,
                     std::vector<RegexMatch>& out) const {
  bool any = false;
  size_t last_end = 0;
  for (size_t start = 0; start <= text.size();) {
    RegexMatch match;
    if (!find(text, start, scratch, match)) return;
    const bool empty = match.begin == match.end;
    if (empty && any && match.end == last_end) {
      if (start >= text.size()) return;
      start += utf8_step(text, start).length;
      continue;
    }
    out.push_back(match);
    any = true;
    start = last_end = match.end;
  }
}

}  // namespace ferry::text
