// Numbers out of bytes of any alignment, little-endian. Included after the words of the platform.
#pragma once

namespace ferry::cuda {

FERRY_DEVICE uint32_t half_word_at(const uint8_t* p) { return p[0] | p[1] << 8; }
FERRY_DEVICE uint32_t word_at(const uint8_t* p) {
  return half_word_at(p) | half_word_at(p + 2) << 16;
}
FERRY_DEVICE float half_at(const uint8_t* p) {
  return half_to_float(static_cast<uint16_t>(half_word_at(p)));
}

}  // namespace ferry::cuda
