// The words of codebooks.h as plain bytes, one word behind the other: for kernels compiled for one
// instruction set, which may not share inline functions with the rest of the program.
#pragma once

#include <cstdint>

namespace ferry::quant {

extern const int8_t* const kIq2XxsBytes;  // 256 words of 8
extern const int8_t* const kIq2XsBytes;   // 512 words of 8
extern const int8_t* const kIq2SBytes;    // 1024 words of 8
extern const int8_t* const kIq3XxsBytes;  // 256 words of 4
extern const int8_t* const kIq3SBytes;    // 512 words of 4
extern const int8_t* const kIq1Bytes;     // 2048 words of 8

}  // namespace ferry::quant
