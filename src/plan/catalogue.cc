// See catalogue.h.
#include "plan/catalogue.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <set>

#include "base/quote_name.h"
#include "plan/data.h"

namespace ferry::plan {
namespace {

constexpr size_t kMaxChips = 10000;
constexpr size_t kMaxName = 200;

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t above = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1])});
      diagonal = above;
    }
  }
  return row[b.size()];
}

Result<Known> read_known(const Json& value, std::string_view key, double max, const Chip& chip) {
  Known known{.source = chip.source, .confidence = chip.confidence};
  if (value.is_object()) {
    FERRY_TRY(known.value, json_number(value, "value"));
    FERRY_TRY(known.low, json_number_or(value, "low", known.value));
    FERRY_TRY(known.high, json_number_or(value, "high", known.value));
    FERRY_TRY(known.source, json_string_or(value, "source", chip.source));
    FERRY_TRY(known.confidence, json_string_or(value, "confidence", chip.confidence));
  } else if (value.is_number()) {
    known.value = known.low = known.high = value.get<double>();
  } else {
    return invalid_input("{}: expected a number or an object with a value, found {}", key,
                         json_type_name(value));
  }
  if (!(known.low > 0) || !(known.high <= max) || known.low > known.value ||
      known.value > known.high) {
    return invalid_input("{}: expected 0 < low <= value <= high <= {}, found {} <= {} <= {}", key,
                         max, known.low, known.value, known.high);
  }
  return known;
}

// Names are printed as they are: in tables, messages and lists of what is known.
Status check_printable(std::string_view key, std::string_view name) {
  if (is_one_line(name)) return {};
  return invalid_input("{}: control characters in {}", key, quote_name(name, kMaxName));
}

Status read_strings(const Json& json, Chip& chip) {
  FERRY_TRY(chip.vendor, json_string_or(json, "vendor", "unknown"));
  FERRY_TRY(chip.kind, json_string(json, "kind"));
  if (chip.kind != "gpu" && chip.kind != "npu" && chip.kind != "cpu") {
    return invalid_input("kind: expected gpu, npu or cpu, found {}",
                         quote_name(chip.kind, kMaxName));
  }
  FERRY_TRY(chip.memory_type, json_string_or(json, "memory_type", "unknown"));
  FERRY_TRY(chip.link, json_string_or(json, "link", "unknown"));
  FERRY_TRY(chip.source, json_string_or(json, "source", "user"));
  FERRY_TRY(chip.confidence, json_string_or(json, "confidence", "not stated"));
  FERRY_TRY(chip.notes, json_string_or(json, "notes", ""));
  if (const Json* aliases = json_find(json, "aliases")) {
    if (!aliases->is_array()) return invalid_input("aliases: expected an array");
    for (const Json& alias : *aliases) {
      if (!alias.is_string()) return invalid_input("aliases: expected strings");
      chip.aliases.push_back(alias.get<std::string>());
      FERRY_TRY_VOID(check_printable("aliases", chip.aliases.back()));
    }
  }
  return {};
}

Result<Chip> read_chip(const Json& json) {
  Chip chip;
  FERRY_TRY(chip.name, json_string(json, "name"));
  if (chip.name.empty() || chip.name.size() > kMaxName) return invalid_input("name: bad length");
  FERRY_TRY_VOID(check_printable("name", chip.name));
  FERRY_TRY_VOID(read_strings(json, chip));
  FERRY_TRY(chip.year, json_int_or(json, "year", 0));
  FERRY_TRY(chip.node_chips, json_int_or(json, "node_chips", 8));
  if (chip.node_chips < 1 || chip.node_chips > 100000) {
    return invalid_input("node_chips: expected 1 to 100000, found {}", chip.node_chips);
  }
  for (const auto& [key, field] : {std::pair{"devices", &Chip::devices}, {"cores", &Chip::cores}}) {
    FERRY_TRY(chip.*field, json_int_or(json, key, chip.*field));
    if (chip.*field < (field == &Chip::devices) || chip.*field > 1024) {
      return invalid_input("{}: expected 1 to 1024, found {}", key, chip.*field);
    }
  }
  FERRY_TRY(chip.mx_scales_only, json_bool_or(json, "mx_scales_only", false));
  FERRY_TRY(chip.unpacks_in_memory, json_bool_or(json, "unpacks_in_memory", false));
  FERRY_TRY(chip.datacentre, json_bool_or(json, "datacentre", true));
  FERRY_TRY(chip.prc_designed, json_bool_or(json, "prc_designed", false));
  FERRY_TRY(chip.named_in_gp10, json_bool_or(json, "named_in_gp10", false));
  if (const Json* value = json_find(json, "measured")) {
    auto measured = read_measured(*value);
    if (!measured.ok()) return measured.error().in("measured");
    chip.measured = std::make_shared<const MeasuredKernels>(std::move(*measured));
  }
  for (const ChipField& field : chip_fields()) {
    const Json* value = json_find(json, field.key);
    if (value == nullptr) continue;
    FERRY_TRY(chip.*field.field, read_known(*value, field.key, field.max, chip));
  }
  return chip;
}

}  // namespace

const std::vector<ChipField>& chip_fields() {
  static const std::vector<ChipField> fields = {
      {"fp16_tflops", &Chip::fp16_tflops, 1e6},
      {"bf16_tflops", &Chip::bf16_tflops, 1e6},
      {"fp8_tflops", &Chip::fp8_tflops, 1e6},
      {"int8_tops", &Chip::int8_tops, 1e6},
      {"fp4_tflops", &Chip::fp4_tflops, 1e6},
      {"int4_tops", &Chip::int4_tops, 1e6},
      {"vector_int8_tops", &Chip::vector_int8_tops, 1e6},
      {"memory_gb", &Chip::memory_gb, 1e5},
      {"memory_gbs", &Chip::memory_gbs, 1e6},
      {"link_gbs", &Chip::link_gbs, 1e6},
      {"scaleout_gbs", &Chip::scaleout_gbs, 1e6},
      {"tdp_w", &Chip::tdp_w, 1e5},
      {"system_w", &Chip::system_w, 1e5},
      {"price_usd", &Chip::price_usd, 1e7},
      {"rental_usd_h", &Chip::rental_usd_h, 1e4},
      {"die_mm2", &Chip::die_mm2, 1e5},
  };
  return fields;
}

bool same_name(std::string_view a, std::string_view b) { return lower(a) == lower(b); }

std::string nearest_names(std::string_view wanted, const std::vector<std::string>& names) {
  const std::string key = lower(wanted.substr(0, kMaxName));
  std::vector<std::pair<double, std::string>> ranked;
  for (const std::string& name : names) {
    const std::string other = lower(name);
    const bool inside = key.size() > 1 && other.find(key) != std::string::npos;
    const double distance = static_cast<double>(edit_distance(key, other)) /
                            static_cast<double>(std::max<size_t>({key.size(), other.size(), 1}));
    if (inside || distance <= 0.6) ranked.emplace_back(inside ? distance - 1 : distance, name);
  }
  std::sort(ranked.begin(), ranked.end());
  if (ranked.size() > 3) ranked.resize(3);
  std::string text;
  for (size_t i = 0; i < ranked.size(); ++i) {
    text += i == 0 ? "; did you mean " : i + 1 == ranked.size() ? " or " : ", ";
    text += ranked[i].second;
  }
  return text.empty() ? text : text + "?";
}

Result<const Chip*> Catalogue::find(std::string_view name) const {
  std::vector<std::string> names;
  for (const Chip& chip : chips) {
    if (same_name(chip.name, name)) return &chip;
    for (const std::string& alias : chip.aliases) {
      if (same_name(alias, name)) return &chip;
      names.push_back(alias);
    }
    if (chip.aliases.empty()) names.push_back(chip.name);
  }
  return not_found("chip {}: not in the catalogue{}", quote_name(name, kMaxName),
                   nearest_names(name, names));
}

void Catalogue::add(Catalogue other) {
  for (Chip& chip : other.chips) {
    const auto same = std::find_if(chips.begin(), chips.end(), [&chip](const Chip& old) {
      return same_name(old.name, chip.name);
    });
    if (same != chips.end()) {
      *same = std::move(chip);
    } else {
      chips.push_back(std::move(chip));
    }
  }
}

Result<Catalogue> read_catalogue(std::string_view text) {
  FERRY_TRY(const Json json, parse_json(text, {.max_bytes = 16 << 20, .max_depth = 8}));
  const Json* list = json.is_object() ? json_find(json, "chips") : nullptr;
  if (list == nullptr || !list->is_array()) {
    return invalid_input("catalogue: expected an object with an array \"chips\"");
  }
  if (list->size() > kMaxChips) return invalid_input("chips: more than {}", kMaxChips);
  Catalogue catalogue;
  FERRY_TRY(catalogue.as_of, json_string_or(json, "as_of", ""));
  std::set<std::string> seen;
  for (const Json& entry : *list) {
    if (!entry.is_object()) return invalid_input("chips: expected objects");
    auto chip = read_chip(entry);
    if (!chip.ok()) {
      const Json* name = json_find(entry, "name");
      const std::string where = name != nullptr && name->is_string()
                                    ? one_line(name->get_ref<const std::string&>(), kMaxName)
                                    : "chip " + std::to_string(catalogue.chips.size() + 1);
      return chip.error().in(where);
    }
    if (!seen.insert(lower(chip->name)).second) {
      return invalid_input("chips: {} is there twice", quote_name(chip->name));
    }
    catalogue.chips.push_back(std::move(*chip));
  }
  return catalogue;
}

Result<Catalogue> builtin_catalogue() { return read_catalogue(chips_json()); }

}  // namespace ferry::plan
