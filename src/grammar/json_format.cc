// See json_format.h.
#include "grammar/json_format.h"

#include <algorithm>
#include <array>
#include <utility>

namespace ferry::grammar {
namespace {

#define FERRY_YEAR "(?:000[1-9]|00[1-9][0-9]|0[1-9][0-9]{2}|[1-9][0-9]{3})"
#define FERRY_TWO_DIGIT_LEAP "(?:0[48]|[2468][048]|[13579][26])"
// Months of 31, of 30 and of 28 days, and the 29th of February of leap years.
#define FERRY_DATE                                                      \
  "(?:" FERRY_YEAR                                                      \
  "-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|"                  \
  "(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))|" \
  "(?:[0-9]{2}" FERRY_TWO_DIGIT_LEAP "|" FERRY_TWO_DIGIT_LEAP "00)-02-29)"
#define FERRY_TIME                                               \
  "(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\\.[0-9]{1,6})?" \
  "(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
#define FERRY_LABEL "[A-Za-z0-9](?:[A-Za-z0-9-]{0,30}[A-Za-z0-9])?"
#define FERRY_HOST FERRY_LABEL "(?:\\." FERRY_LABEL "){0,5}"
#define FERRY_BYTE "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
#define FERRY_IPV4 FERRY_BYTE "(?:\\." FERRY_BYTE "){3}"
#define FERRY_HEX4 "[0-9A-Fa-f]{1,4}"
#define FERRY_URI_CHAR "(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})"

constexpr std::array kFormats = std::to_array<std::pair<std::string_view, std::string_view>>({
    {"date", FERRY_DATE},
    {"time", FERRY_TIME},
    {"date-time", FERRY_DATE "T" FERRY_TIME},
    {"duration",
     "P(?:[0-9]{1,6}W|(?:[0-9]{1,6}Y(?:[0-9]{1,6}M(?:[0-9]{1,6}D)?)?|[0-9]{1,6}M(?:[0-9]{1,6}D)?|"
     "[0-9]{1,6}D)(?:T(?:[0-9]{1,6}H(?:[0-9]{1,6}M(?:[0-9]{1,6}S)?)?|[0-9]{1,6}M(?:[0-9]{1,6}S)?|"
     "[0-9]{1,6}S))?|T(?:[0-9]{1,6}H(?:[0-9]{1,6}M(?:[0-9]{1,6}S)?)?|[0-9]{1,6}M(?:[0-9]{1,6}S)?|"
     "[0-9]{1,6}S))"},
    {"uuid", "[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}"},
    {"email",
     "[A-Za-z0-9_+-]{1,32}(?:\\.[A-Za-z0-9_+-]{1,30})?@" FERRY_LABEL "(?:\\." FERRY_LABEL "){1,3}"},
    {"hostname", FERRY_HOST},
    {"ipv4", FERRY_IPV4},
    {"ipv6",
     "(?:" FERRY_HEX4 "(?::" FERRY_HEX4 "){7}|::|::" FERRY_HEX4 "(?::" FERRY_HEX4
     "){0,5}|" FERRY_HEX4 "(?::" FERRY_HEX4 "){0,2}::(?:" FERRY_HEX4 "(?::" FERRY_HEX4 "){0,3})?)"},
    {"uri", "[A-Za-z][A-Za-z0-9+.-]{0,15}://" FERRY_HOST "(?::[0-9]{1,4})?(?:/" FERRY_URI_CHAR
            "*)*(?:\\?(?:" FERRY_URI_CHAR "|[/?])*)?(?:#(?:" FERRY_URI_CHAR "|[/?])*)?"},
});

constexpr std::array kStorageFormats =
    std::to_array<std::string_view>({"binary", "byte", "password", "float", "double"});

}  // namespace

std::optional<std::string_view> format_regex(std::string_view format) {
  for (const auto& [name, regex] : kFormats) {
    if (name == format) return regex;
  }
  return std::nullopt;
}

bool is_storage_format(std::string_view format) {
  return std::find(kStorageFormats.begin(), kStorageFormats.end(), format) != kStorageFormats.end();
}

}  // namespace ferry::grammar
