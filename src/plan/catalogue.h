// The chip catalogue: what is known of each chip, with source and confidence per value, from
// data/plan/chips.json and a user's own file of the same layout.
//
// {"chips": [{"name": "H20 96GB", "vendor": "NVIDIA", "kind": "gpu", "source": "…",
//             "confidence": "high", "memory_gb": 96,
//             "price_usd": {"value": 12000, "low": 9000, "high": 15000, "source": "…"}}]}
//
// A plain number has the source and confidence of its chip. A value that is absent is unknown:
// never zero, never guessed.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "plan/measured.h"

namespace ferry::plan {

// A number from outside: best value, the range it is known within, and where it comes from.
struct Known {
  double value = 0;
  double low = 0;
  double high = 0;
  std::string source;
  std::string confidence;
};
using MaybeKnown = std::optional<Known>;

struct Chip {
  std::string name;
  std::vector<std::string> aliases;
  std::string vendor;
  std::string kind;  // "gpu", "npu" or "cpu"
  std::string memory_type;
  std::string link;
  std::string source;
  std::string confidence;
  std::string notes;
  int64_t year = 0;        // 0: unknown
  int64_t node_chips = 8;  // that the link joins; beyond is scale-out
  int64_t devices = 1;     // that software sees in one chip, each with its share of everything
  int64_t cores = 0;       // of a CPU; 0: unknown
  // FP8 is multiplied at full rate with MX scales only, not with those of 128 × 128 blocks.
  bool mx_scales_only = false;
  // What unpacks weights and what multiplies them meet in memory only.
  bool unpacks_in_memory = false;
  bool datacentre = true;
  bool prc_designed = false;
  bool named_in_gp10 = false;

  // Dense peaks, T operations/s.
  MaybeKnown fp16_tflops, bf16_tflops, fp8_tflops, int8_tops, fp4_tflops, int4_tops;
  MaybeKnown vector_int8_tops;         // of a CPU with matrix units, without them
  MaybeKnown memory_gb, memory_gbs;    // decimal
  MaybeKnown link_gbs, scaleout_gbs;   // one direction, per chip
  MaybeKnown tdp_w, system_w;          // of the chip; of the system per chip
  MaybeKnown price_usd, rental_usd_h;  // per chip
  MaybeKnown die_mm2;                  // applicable area

  // Of a machine that was calibrated: what its kernels take; nullptr of all others.
  std::shared_ptr<const MeasuredKernels> measured;
};

// Every value of a chip by its key in the file, in the file's order.
struct ChipField {
  std::string_view key;
  MaybeKnown Chip::*field;
  double max;  // what is larger is a mistake of units
};
const std::vector<ChipField>& chip_fields();

struct Catalogue {
  std::string as_of;  // of the facts, YYYY-MM-DD
  std::vector<Chip> chips;

  // By name or alias, without regard to case. Error: kNotFound with the nearest names.
  Result<const Chip*> find(std::string_view name) const;
  // Adds the chips of another file; one of the same name takes the old one's place.
  void add(Catalogue other);
};

// Errors name the chip, the key and what is wrong with the value.
Result<Catalogue> read_catalogue(std::string_view text);
Result<Catalogue> builtin_catalogue();

// "; did you mean A, B or C?" of the nearest names, or "" if none is near. Shared with the other
// names a user gives to the planner.
std::string nearest_names(std::string_view wanted, const std::vector<std::string>& names);
bool same_name(std::string_view a, std::string_view b);

}  // namespace ferry::plan
