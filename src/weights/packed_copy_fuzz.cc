// Fuzzes the reader of packed copies: the input is what lies behind the header, and gets the
// checksum that belongs to it, so that what is behind the checksum is reached.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "weights/packed_copy_testing.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  constexpr std::string_view kStart = "ferry packed copy 1\n";
  std::vector<uint8_t> file(4096);
  std::copy(kStart.begin(), kStart.end(), file.begin());
  file.insert(file.end(), data, data + size);
  ferry::weights::exercise(ferry::weights::with_checksum(std::move(file)));
  return 0;
}
