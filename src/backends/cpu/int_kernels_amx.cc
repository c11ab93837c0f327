// The integer matmuls of amx: tiles for blocks of many tokens, the vectors of avx512vnni for few.
// Compiled with the flags of avx512vnni (cmake/Library.cmake), the tile instructions are assembly.
#if defined(__x86_64__)
#include "backends/cpu/vec_avx512.h"
//
#include "backends/cpu/bytes_avx512vnni.h"
//
#include "backends/cpu/int_quantize.h"
//
#include "backends/cpu/tiles_amx.h"
//
#include "backends/cpu/tile_matmul.h"
//
#include "backends/cpu/packed_rows.h"

namespace ferry::cpu {

extern const IntKernels int_kernels_avx512vnni;
extern const IntKernels int_kernels_amx;  // chosen in level.cc

namespace avx512 {
namespace {

template <typename A, typename B>
constexpr bool kSame = false;
template <typename A>
constexpr bool kSame<A, A> = true;

template <typename Format, typename... Formats>
constexpr int index_in(FormatList<Formats...>) {
  int index = 0;
  static_cast<void>(((kSame<Format, Formats> || (++index, false)) || ...));
  return index;
}

template <typename Format>
void matmul_block(const IntMatmulBlock& block) {
  if (block.tokens >= kMinTileTokens) return tile_matmul_block<Format, InFile>(block);
  int_kernels_avx512vnni.formats[index_in<Format>(IntFormats{})].matmul_block(block);
}

template <typename Format, typename... Formats>
constexpr int index_in(PackedList<Formats...>) {
  return index_in<Format>(FormatList<Formats...>{});
}
template <typename Format>
void packed_matmul_block(const IntMatmulBlock& block) {
  if (block.tokens >= kMinTileTokens) return tile_matmul_block<Format, InStrips>(block);
  const PackedKernels& vectors = *int_kernels_avx512vnni.packed;
  vectors.formats[index_in<Format>(PackedFormats{})].matmul_block(block);
}

template <typename List>
struct TileTable;
template <typename... Formats>
struct TileTable<FormatList<Formats...>> {
  static constexpr IntFormat kFormats[] = {{Formats::kName, matmul_block<Formats>}...};
  static constexpr int kCount = sizeof...(Formats);
};
template <typename... Formats>
struct TileTable<PackedList<Formats...>> {
  static constexpr PackedFormat kFormats[] = {
      {Formats::kName, packed_matmul_block<Formats>, pack_strip<Formats>}...};
  static constexpr PackedKernels kKernels{kFormats, sizeof...(Formats)};
};

// One product of each kind against plain sums: whatever this program believes of the instructions
// and the machine underneath (an emulator, a hypervisor) does not, shows here and not in an answer.
bool tiles_agree(int group, int64_t ragged) {
  constexpr int64_t kCount = 3, kStride = 128;
  alignas(64) uint8_t x[kTileTokens * kStride], w[kCount * 32 * kTileRows];
  alignas(64) int32_t products[kCount * kTileTokens * kTileRows];
  uint32_t state = 1;
  auto fill = [&state](uint8_t* data, int64_t bytes) {
    for (int64_t i = 0; i < bytes; ++i)
      data[i] = static_cast<uint8_t>((state = state * 1664525 + 1013904223) >> 24);
  };
  fill(x, sizeof x);
  fill(w, sizeof w);
  Int8Tiles tiles(group, ragged);
  bool agree = true;
  for (int64_t tokens : {int64_t{kTileTokens}, ragged}) {
    if (tokens == kTileTokens) {
      tiles.multiply(x, kStride, w, kCount, products);
    } else {
      tiles.multiply_ragged(x, kStride, w, kCount, products);
    }
    for (int64_t i = 0; i < kCount * tokens * kTileRows; ++i) {
      const int64_t n = i % kTileRows, t = i / kTileRows % tokens, product = i / kTileRows / tokens;
      int32_t sum = 0;
      for (int k = 0; k < group; ++k) {
        const uint8_t weight = w[(product * group + k / 4 * 4) * kTileRows + 4 * n + k % 4];
        sum +=
            static_cast<int8_t>(x[t * kStride + product * group + k]) * static_cast<int8_t>(weight);
      }
      agree = agree && products[(product * kTileTokens + t) * kTileRows + n] == sum;
    }
  }
  return agree;
}

}  // namespace
}  // namespace avx512

constinit const IntKernels int_kernels_amx{
    "amx",
    avx512::TileTable<avx512::IntFormats>::kFormats,
    avx512::TileTable<avx512::IntFormats>::kCount,
    avx512::quantize_row,
    [] { return avx512::tiles_agree(32, 5) && avx512::tiles_agree(16, 11); },
    &avx512::TileTable<avx512::PackedFormats>::kKernels,
};

}  // namespace ferry::cpu
#endif
