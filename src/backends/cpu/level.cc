#include "backends/cpu/level.h"

#include <utility>

#include "base/check.h"

namespace ferry::cpu {

extern const Kernels kernels_generic;
#if defined(__x86_64__)
extern const Kernels kernels_avx2;
extern const Kernels kernels_avx512;
extern const IntKernels int_kernels_avx2;
extern const IntKernels int_kernels_avx512vnni;
extern const Bf16Kernels bf16_kernels_avx512;
extern const Int8Kernels int8_kernels_avx512vnni;
extern const IntKernels int_kernels_amx;
extern const Bf16Tiles bf16_tiles_amx;
#elif defined(__aarch64__)
extern const Kernels kernels_neon;
extern const IntKernels int_kernels_neon;
extern const IntKernels int_kernels_dotprod;
#endif

std::string_view level_name(Level level) {
  static constexpr std::string_view kNames[] = {"generic", "avx2", "avx512",
                                                "amx",     "neon", "dotprod"};
  return kNames[static_cast<int>(level)];
}

std::string missing_features(Level level, const CpuFeatures& features) {
  struct Need {
    Level from;
    const char* name;
    bool present;
  };
  const Need needs[] = {
      {Level::kAvx2, "avx2", features.avx2},
      {Level::kAvx2, "fma", features.fma},
      {Level::kAvx2, "f16c", features.f16c},
      {Level::kAvx2, "bmi2", features.bmi2},
      {Level::kAvx512, "avx512f", features.avx512f},
      {Level::kAvx512, "avx512bw", features.avx512bw},
      {Level::kAvx512, "avx512dq", features.avx512dq},
      {Level::kAvx512, "avx512vl", features.avx512vl},
      {Level::kAmx, "amx_tile", features.amx_tile},
      {Level::kAmx, "amx_int8", features.amx_int8},
  };
  if (level == Level::kDotprod && !features.dotprod) return "dotprod";
  std::string missing;
  if (level >= Level::kNeon) return missing;  // part of the baseline where it is listed
  for (const Need& need : needs) {
    if (level < need.from || need.present) continue;
    missing += (missing.empty() ? "" : ", ") + std::string(need.name);
  }
  return missing;
}

Result<Level> choose_level(const char* forced, const CpuFeatures& features) {
  if (forced == nullptr || *forced == '\0') {
    Level best = Level::kGeneric;
    for (Level level : kLevels) {
      if (missing_features(level, features).empty()) best = level;
    }
    return best;
  }
  std::string known;
  for (Level level : kLevels) {
    known += (known.empty() ? "" : ", ") + std::string(level_name(level));
    if (level_name(level) != forced) continue;
    const std::string missing = missing_features(level, features);
    if (missing.empty()) return level;
    return unsupported("FERRY_CPU={}: this processor or its operating system lacks {}", forced,
                       missing);
  }
  return invalid_input("FERRY_CPU={}: unknown; the values are: {}", forced, known);
}

std::string describe_level(Level level, const CpuFeatures& features, const IntKernels* integer,
                           const Bf16Tiles* tiles) {
  std::string text(level_name(level));
  // More than one set goes with a level: what the processor has decides, and whether it works.
  if (integer != nullptr) text += "; integer matmuls: " + std::string(integer->name);
  if (tiles != nullptr) text += "; bf16 tiles: " + std::string(tiles->name);
  std::string extras;
  for (const auto& [name, present] :
       {std::pair("vnni", features.avx512_vnni), std::pair("bf16", features.avx512_bf16),
        std::pair("amx", features.amx_tile)}) {
    if (present) extras += (extras.empty() ? "" : ", ") + std::string(name);
  }
  if (!extras.empty()) text += "; the processor also has " + extras;
  return text;
}

const Kernels& select_kernels(Level level) {
#if defined(__x86_64__)
  if (level == Level::kAvx2) return kernels_avx2;
  if (level == Level::kAvx512 || level == Level::kAmx) return kernels_avx512;
#elif defined(__aarch64__)
  if (level >= Level::kNeon) return kernels_neon;
#endif
  CHECK(level == Level::kGeneric);
  return kernels_generic;
}

const IntKernels* select_int_kernels(Level level, const CpuFeatures& features) {
#if defined(__x86_64__)
  if (level == Level::kAmx && features.avx512_vnni && int_kernels_amx.works()) {
    return &int_kernels_amx;
  }
  if (level >= Level::kAvx512 && features.avx512_vnni) return &int_kernels_avx512vnni;
  if (level >= Level::kAvx2) return &int_kernels_avx2;
#elif defined(__aarch64__)
  if (level == Level::kDotprod) return &int_kernels_dotprod;
  if (level == Level::kNeon) return &int_kernels_neon;
#endif
  static_cast<void>(level);
  static_cast<void>(features);
  return nullptr;
}

const Bf16Kernels* select_bf16_kernels(Level level, const CpuFeatures& features) {
#if defined(__x86_64__)
  if (level >= Level::kAvx512 && features.avx512_bf16) return &bf16_kernels_avx512;
#endif
  static_cast<void>(level);
  static_cast<void>(features);
  return nullptr;
}

const Int8Kernels* select_int8_kernels(Level level, const CpuFeatures& features) {
#if defined(__x86_64__)
  if (level >= Level::kAvx512 && features.avx512_vnni) return &int8_kernels_avx512vnni;
#endif
  static_cast<void>(level);
  static_cast<void>(features);
  return nullptr;
}

const Bf16Tiles* select_bf16_tiles(Level level, const CpuFeatures& features) {
#if defined(__x86_64__)
  if (level == Level::kAmx && features.amx_bf16 &&
      select_bf16_kernels(level, features) != nullptr && bf16_tiles_amx.works()) {
    return &bf16_tiles_amx;
  }
#endif
  static_cast<void>(level);
  static_cast<void>(features);
  return nullptr;
}

}  // namespace ferry::cpu
