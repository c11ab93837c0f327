// See regex_properties.h.
#include "text/regex_properties.h"

#include <string>
#include <utility>

#include "base/quote_name.h"

namespace ferry::text {
namespace {

constexpr std::string_view kCategories[] = {
    "L",  "Lu", "Ll", "Lt", "Lm", "Lo", "M",  "Mn", "Mc", "Me", "N",  "Nd", "Nl",
    "No", "P",  "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "S",  "Sm", "Sc", "Sk",
    "So", "Z",  "Zs", "Zl", "Zp", "C",  "Cc", "Cf", "Cs", "Co", "Cn"};

// Long name, folded → PCRE2's name.
constexpr std::pair<std::string_view, std::string_view> kLongNames[] = {
    {"lc", "L&"},
    {"casedletter", "L&"},
    {"letter", "L"},
    {"uppercaseletter", "Lu"},
    {"lowercaseletter", "Ll"},
    {"titlecaseletter", "Lt"},
    {"modifierletter", "Lm"},
    {"otherletter", "Lo"},
    {"mark", "M"},
    {"nonspacingmark", "Mn"},
    {"spacingmark", "Mc"},
    {"enclosingmark", "Me"},
    {"number", "N"},
    {"decimalnumber", "Nd"},
    {"digit", "Nd"},
    {"letternumber", "Nl"},
    {"othernumber", "No"},
    {"punctuation", "P"},
    {"connectorpunctuation", "Pc"},
    {"dashpunctuation", "Pd"},
    {"openpunctuation", "Ps"},
    {"closepunctuation", "Pe"},
    {"initialpunctuation", "Pi"},
    {"finalpunctuation", "Pf"},
    {"otherpunctuation", "Po"},
    {"symbol", "S"},
    {"mathsymbol", "Sm"},
    {"currencysymbol", "Sc"},
    {"modifiersymbol", "Sk"},
    {"othersymbol", "So"},
    {"separator", "Z"},
    {"spaceseparator", "Zs"},
    {"lineseparator", "Zl"},
    {"paragraphseparator", "Zp"},
    {"other", "C"},
    {"control", "Cc"},
    {"format", "Cf"},
    {"privateuse", "Co"},
    {"unassigned", "Cn"},
    {"any", "Any"},
    {"alpha", "Alphabetic"},
    {"alphabetic", "Alphabetic"},
    {"lower", "Lowercase"},
    {"lowercase", "Lowercase"},
    {"upper", "Uppercase"},
    {"uppercase", "Uppercase"},
    {"ideographic", "Ideographic"},
    {"emoji", "Emoji"},
    {"extendedpictographic", "Extended_Pictographic"},
};

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

}  // namespace

Result<std::string> property_items(std::string_view name, bool negated) {
  std::string folded;
  for (char c : name) {
    if (c == ' ' || c == '_' || c == '-') continue;
    if (!is_letter(c)) return unsupported("regex property \\p{{{}}}", one_line(name));
    folded += static_cast<char>(c | 0x20);
  }
  if (folded.empty()) return invalid_input("regex property with an empty name");
  if (folded == "space" || folded == "whitespace") {
    // \S is PCRE2's set without U+180E, which is no white space to Unicode.
    return negated ? std::string("\\S\\x{180e}") : std::string(kSpaceItems);
  }
  const std::string_view escape = negated ? "\\P{" : "\\p{";
  for (std::string_view category : kCategories) {
    if (category.size() == folded.size() && (category[0] | 0x20) == folded[0] &&
        (category.size() == 1 || category[1] == folded[1])) {
      return fmt::format("{}{}}}", escape, category);
    }
  }
  for (const auto& [long_name, pcre2_name] : kLongNames) {
    if (long_name == folded) return fmt::format("{}{}}}", escape, pcre2_name);
  }
  return fmt::format("{}sc:{}}}", escape, folded);
}

}  // namespace ferry::text
