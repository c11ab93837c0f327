// Level: which instruction set the kernels are taken from. Chosen once, when the backend is opened:
// the best that the processor has, or what FERRY_CPU names.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "backends/cpu/bf16_kernels.h"
#include "backends/cpu/int8_kernels.h"
#include "backends/cpu/kernels.h"
#include "base/cpu_info.h"
#include "base/result.h"

namespace ferry::cpu {

enum class Level { kGeneric, kAvx2, kAvx512, kAmx, kNeon, kDotprod };
// Those of the processors that this program was built for, each with all that is before it.
#if defined(__aarch64__)
inline constexpr Level kLevels[] = {Level::kGeneric, Level::kNeon, Level::kDotprod};
#else
inline constexpr Level kLevels[] = {Level::kGeneric, Level::kAvx2, Level::kAvx512, Level::kAmx};
#endif

// "generic", "avx2", "avx512", "amx", "neon", "dotprod"
std::string_view level_name(Level level);

// What the level needs and the processor or the system lacks: "avx512f, avx512bw"; "" if nothing.
std::string missing_features(Level level, const CpuFeatures& features);

// `forced` is the value of FERRY_CPU, nullptr or "" when it is not set. Errors: an unknown name, a
// level that this processor can't run.
Result<Level> choose_level(const char* forced, const CpuFeatures& features);

// One line about the level for DeviceSpec::detail. `integer` and `tiles` are what was chosen by
// select_int_kernels() and select_bf16_tiles().
std::string describe_level(Level level, const CpuFeatures& features, const IntKernels* integer,
                           const Bf16Tiles* tiles);

// REQUIRES: missing_features(level) is empty. The amx and dotprod levels have integer matmuls of
// their own, and amx tiles for bf16; the rest is that of avx512 and neon.
const Kernels& select_kernels(Level level);

// The integer matmuls, nullptr where the level has none: from avx512 on they need VNNI as well, and
// are those of avx2 without it. Those of amx are tried first (IntKernels::works) and not chosen if
// they fail. REQUIRES: missing_features(level) is empty
const IntKernels* select_int_kernels(Level level, const CpuFeatures& features);

// Those of attention over a bf16 or int8 cache: from avx512 on, where the processor has AVX512_BF16
// or VNNI. nullptr otherwise: the cache is turned into f32 tile by tile.
const Bf16Kernels* select_bf16_kernels(Level level, const CpuFeatures& features);
const Int8Kernels* select_int8_kernels(Level level, const CpuFeatures& features);

// Tiles for attention of prompt tokens over a bf16 or int8 cache and for bf16 weights: at the amx
// level, where the processor has AMX-BF16 beside AMX-INT8 and they work (tried first, like the
// integer matmuls). nullptr otherwise: select_bf16_kernels() and f32 multiply.
const Bf16Tiles* select_bf16_tiles(Level level, const CpuFeatures& features);

}  // namespace ferry::cpu
