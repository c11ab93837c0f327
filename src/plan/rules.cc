// See rules.h.
#include "plan/rules.h"

#include <algorithm>

#include "base/quote_name.h"

namespace ferry::plan {
namespace {

constexpr std::string_view kFirstRule = "2022-10-07";
constexpr std::string_view kDensityRule = "2023-11-17";
constexpr std::string_view kGuidance = "2025-05-13";
constexpr std::string_view kCaseByCase = "2026-01-15";
constexpr double kCaseByCaseTpp = 21000;
constexpr double kCaseByCaseGbs = 6500;

struct Peak {
  const char* format;
  MaybeKnown Chip::*field;
  int bits;
};
constexpr Peak kPeaks[] = {
    {"fp16", &Chip::fp16_tflops, 16}, {"bf16", &Chip::bf16_tflops, 16},
    {"fp8", &Chip::fp8_tflops, 8},    {"int8", &Chip::int8_tops, 8},
    {"fp4", &Chip::fp4_tflops, 4},    {"int4", &Chip::int4_tops, 4},
};

void add_paragraph(Position& position, std::string_view paragraph) {
  auto& all = position.paragraphs;
  if (std::find(all.begin(), all.end(), paragraph) == all.end()) all.emplace_back(paragraph);
}

struct TppRange {
  double low = 0;
  double high = 0;
};

TppRange total_performance(const Chip& chip, Position& position) {
  TppRange range;
  double best = 0;
  for (const Peak& peak : kPeaks) {
    const MaybeKnown& known = chip.*peak.field;
    if (!known) continue;
    range.low = std::max(range.low, known->low * peak.bits);
    range.high = std::max(range.high, known->high * peak.bits);
    if (known->value * peak.bits > best) {
      best = known->value * peak.bits;
      position.tpp_format = peak.format;
    }
  }
  if (best > 0) position.tpp = best;
  return range;
}

// Every paragraph that some value within the known ranges leads to.
void add_density_paragraphs(const Chip& chip, const TppRange& tpp, Position& position) {
  for (double value : {*position.tpp, tpp.low, tpp.high}) {
    if (chip.die_mm2) {
      for (double area : {chip.die_mm2->value, chip.die_mm2->low, chip.die_mm2->high}) {
        add_paragraph(position, paragraph_of(value, value / area, chip.datacentre));
      }
    } else {
      for (double pd : {0.0, 1.6, 3.2, 5.92}) {
        add_paragraph(position, paragraph_of(value, pd, chip.datacentre));
      }
    }
  }
  std::sort(position.paragraphs.begin(), position.paragraphs.end());
}

void add_first_rule(const Chip& chip, const TppRange& tpp, Position& position) {
  position.rule = "87 FR 62186: TPP >= 4800 and bidirectional I/O >= 600 GB/s";
  if (tpp.high < 4800) return add_paragraph(position, "none");
  if (!chip.link_gbs) {
    add_paragraph(position, "3A090");
    add_paragraph(position, "none");
    position.notes.push_back("the chip's I/O rate is not known");
    return;
  }
  add_paragraph(position, 2 * chip.link_gbs->value >= 600 ? "3A090" : "none");
}

void add_paragraphs(const Chip& chip, const TppRange& tpp, Position& position) {
  const std::string_view as_of = position.as_of;
  if (as_of < kFirstRule) {
    position.rule = "before 3A090 (7 October 2022)";
    return add_paragraph(position, "none");
  }
  const bool first = as_of < kDensityRule;
  position.rule = "88 FR 73458: TPP and performance density";
  if (chip.kind == "cpu") {
    add_paragraph(position, "vendor's own");
    position.notes.push_back("a CPU: its vendor's classification governs, TPP is informative");
  } else if (!position.tpp) {
    add_paragraph(position, "unknown");
    position.notes.push_back("no dense peak is known");
  } else if (first) {
    add_first_rule(chip, tpp, position);
  } else {
    add_density_paragraphs(chip, tpp, position);
  }
  if (!first && !chip.die_mm2) position.notes.push_back("die area unknown: no density");
}

bool may_be_controlled(const Position& position) {
  return std::any_of(position.paragraphs.begin(), position.paragraphs.end(),
                     [](const std::string& p) { return p.starts_with("3A090") || p == "unknown"; });
}

}  // namespace

const std::vector<RuleEvent>& rule_events() {
  static const std::vector<RuleEvent> events = {
      {"2022-10-07", "87 FR 62186 creates 3A090/4A090: TPP 4800 and 600 GB/s of I/O"},
      {"2023-10-17", "88 FR 73458 is released: TPP and performance density, wider destinations"},
      {"2023-11-17", "88 FR 73458 takes effect"},
      {"2024-04-04", "89 FR 23876: corrections; NAC is split into NAC and ACA"},
      {"2024-12-02", "89 FR 96790: 3A090.c for HBM, new foreign direct product rules"},
      {"2025-01-13", "90 FR 4544, AI Diffusion framework, takes effect (compliance 15 May 2025)"},
      {"2025-01-15", "foundry due diligence: logic ICs at 16/14 nm or below presumed 3A090.a"},
      {"2025-04-09", "H20 (and MI308) need a licence by letter, whatever the arithmetic says"},
      {"2025-05-13", "BIS guidance: GP10 and Ascend 910B/910C/910D; AI Diffusion not enforced"},
      {"2025-08-08", "licences for H20 and MI308 begin to be issued, as reported"},
      {"2025-12-08", "H200 sales to approved customers in China announced"},
      {"2026-01-14", "Section 232 proclamation: 25 % tariff in bands of TPP and bandwidth"},
      {"2026-01-15",
       "91 FR 1684: case-by-case review if TPP < 21,000 and DRAM < 6,500 GB/s, and "
       "further conditions"},
  };
  return events;
}

Status check_date(std::string_view date) {
  auto digits = [date](size_t begin, size_t count) {
    int value = 0;
    for (size_t i = begin; i < begin + count; ++i) {
      if (date[i] < '0' || date[i] > '9') return -1;
      value = value * 10 + (date[i] - '0');
    }
    return value;
  };
  const auto bad = [date] {
    return invalid_input("date {}: expected YYYY-MM-DD, 2000 to 2099", quote_name(date, 40));
  };
  if (date.size() != 10 || date[4] != '-' || date[7] != '-') return bad();
  const int year = digits(0, 4), month = digits(5, 2), day = digits(8, 2);
  constexpr int kDays[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  if (year < 2000 || year > 2099 || month < 1 || month > 12 || day < 1) return bad();
  if (day > kDays[month - 1] + (month == 2 && year % 4 == 0)) return bad();
  return {};
}

std::string_view paragraph_of(double tpp, double pd, bool datacentre) {
  if (!datacentre) return tpp >= 4800 ? "3A090.a (NAC/ACA)" : "none (Note 2)";
  if (tpp >= 4800) return "3A090.a.1";
  if (tpp >= 1600 && pd >= 5.92) return "3A090.a.2";
  if (tpp >= 2400 && pd >= 1.6 && pd < 5.92) return "3A090.b.1";
  if (tpp >= 1600 && pd >= 3.2 && pd < 5.92) return "3A090.b.2";
  return "none";
}

Position position_of(const Chip& chip, std::string_view as_of) {
  Position position{.as_of = std::string(as_of)};
  const TppRange tpp = total_performance(chip, position);
  if (position.tpp && chip.die_mm2) position.pd = *position.tpp / chip.die_mm2->value;
  add_paragraphs(chip, tpp, position);
  if (as_of >= kGuidance) {
    position.named_in_gp10 = chip.named_in_gp10;
    if (chip.named_in_gp10) {
      position.notes.push_back("named in the BIS guidance on GP10 of 13 May 2025");
    } else if (chip.prc_designed && chip.kind != "cpu" && may_be_controlled(position)) {
      position.gp10_may_apply = true;
      position.notes.push_back(
          "not named; the guidance of 13 May 2025 speaks of all PRC ICs meeting 3A090: its "
          "presumption may apply");
    }
  }
  if (as_of >= kCaseByCase && position.tpp && chip.memory_gbs && chip.kind != "cpu") {
    position.case_by_case_figures =
        *position.tpp < kCaseByCaseTpp && chip.memory_gbs->value < kCaseByCaseGbs;
  }
  if (as_of >= "2025-04-09" && chip.name.starts_with("H20 ")) {
    position.notes.push_back("subject to a licence letter since 9 April 2025");
  }
  if (as_of > kFactsEnd) {
    position.notes.push_back("the facts end at 2026-01-31: later changes are unknown");
  }
  return position;
}

}  // namespace ferry::plan
