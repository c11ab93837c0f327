// Encoding of super-blocks of 256 numbers by codebook (codebooks.h): sub-blocks with a scale code s
// that share one half d,
//   value = ± d · (2s + 1) · unit · word[j]            (IQ2, IQ3)
//   value = d · (2s + 1) · unit · (word[j] ± 1/8)      (IQ1)
// in the steps of super_block.h: fit every sub-block alone over a range of scales, take d from the
// largest fit, then try the neighbouring codes. For a given scale the words are those of least
// squared error. Not weighted by importance, as files made with calibration data are.
//
// Deterministic; thread-safe once built.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "quant/codebooks.h"
#include "quant/super_block.h"

namespace ferry::quant {

enum class WordSigns : uint8_t {
  kEven,         // apart, an even number of minuses in every 8 elements
  kFree,         // apart
  kShiftOfSub,   // in the word; the ± 1/8 belongs to the sub-block
  kShiftOfWord,  // in the word; the ± 1/8 belongs to the word
};

struct CodebookRules {
  WordSigns signs = WordSigns::kFree;
  int sub_size = 32;
  int max_code = 15;
  float unit = 1;
};

struct CodebookBlock {
  float d = 0;  // a half exactly
  std::array<uint8_t, 16> scale{};
  std::array<uint16_t, 64> word{};  // in order of their elements
  std::array<uint8_t, 32> signs{};  // of 8 elements each; bit j negates element j
  std::array<bool, 32> minus{};     // of a word of 8: the shift is −1/8
};

class CodebookEncoder {
 public:
  template <size_t kLength, size_t kCount>
  CodebookEncoder(const Codebook<kLength, kCount>& words, CodebookRules rules)
      : CodebookEncoder(words[0].data(), int{kLength}, int{kCount}, rules) {}

  // REQUIRES: 256 finite numbers
  CodebookBlock encode(const float* x) const;

 private:
  // Words of one squared length and one sum: the best of them is the one with the largest product
  // with the target, whatever the scale.
  struct WordClass {
    int begin, end;
    float squares, sum;
  };
  struct Match {
    float product = 0;
    uint16_t word = 0;
  };
  struct Sub;
  struct Choice;

  CodebookEncoder(const int8_t* words, int length, int count, CodebookRules rules);
  void load_sub(const float* y, Sub* sub) const;
  Choice choose(const Sub& sub, float scale) const;
  Choice choose_shifted(const Sub& sub, float scale, float shift) const;
  float fit(const Sub& sub) const;

  CodebookRules rules_;
  int length_;
  int count_;
  float largest_ = 0;            // value in any word
  float smallest_ = 127;         // above 0
  std::vector<uint16_t> order_;  // words by class
  std::vector<WordClass> classes_;
  std::vector<float> columns_;  // [length, count], in the order of order_
};

}  // namespace ferry::quant
