// Export-control arithmetic per chip and date: TPP, performance density, the paragraph of 3A090
// they lead to (or the set of possible ones where a value is unknown), and dated facts. Arithmetic
// and dates only; no classification, no legal advice, nothing about later than kFactsEnd.
//
//   TPP = max over formats of (dense T operations/s × bits per operand)
//   PD  = TPP / applicable die area in mm²
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "plan/catalogue.h"

namespace ferry::plan {

inline constexpr std::string_view kFactsEnd = "2026-01-31";
inline constexpr std::string_view kNoLegalAdvice =
    "Arithmetic and dates only: no classification and no legal advice; what came after 2026-01-31 "
    "is not known here.";

struct Position {
  std::string as_of;
  std::optional<double> tpp;  // nullopt: no peak is known
  std::optional<double> pd;   // nullopt: no TPP or no die area
  std::string tpp_format;     // that gives the TPP: "fp8"
  // "3A090.a.1", …, "none", "unknown"; several if the known values leave it open.
  std::vector<std::string> paragraphs;
  std::string rule;             // in force at as_of
  bool named_in_gp10 = false;   // by the guidance of 2025-05-13, if as_of is not before
  bool gp10_may_apply = false;  // designed in the PRC and possibly 3A090, not named
  // The two figures of the rule of January 2026; nullopt: not in force yet, or unknown.
  std::optional<bool> case_by_case_figures;
  std::vector<std::string> notes;
};

struct RuleEvent {
  std::string_view date;
  std::string_view text;
};
// Ascending.
const std::vector<RuleEvent>& rule_events();

// "YYYY-MM-DD" of the calendar, years 2000 to 2099.
Status check_date(std::string_view date);

// Paragraph under the rule in force since 2023-11-17. REQUIRES: tpp >= 0, pd >= 0
std::string_view paragraph_of(double tpp, double pd, bool datacentre);

// REQUIRES: check_date(as_of)
Position position_of(const Chip& chip, std::string_view as_of);

}  // namespace ferry::plan
