#include "quant/codebook_encoder.h"

#include <numeric>
#include <utility>

namespace ferry::quant {
namespace {

constexpr float kShift = 0.125f;
constexpr int kFitSteps = 14;

bool has_shift(WordSigns signs) {
  return signs == WordSigns::kShiftOfSub || signs == WordSigns::kShiftOfWord;
}

// Magnitudes of 8 elements and the signs that they may have. Where the number of minuses must be
// even, the smallest magnitude takes the wrong sign, and is negative in `y`.
uint8_t split_signs(float* y, bool even) {
  uint32_t signs = 0;
  int smallest = 0;
  for (int j = 0; j < 8; ++j) {
    if (y[j] < 0) signs |= 1u << j;
    y[j] = std::fabs(y[j]);
    if (y[j] < y[smallest]) smallest = j;
  }
  if (even && (std::popcount(signs) & 1) != 0) {
    signs ^= 1u << smallest;
    y[smallest] = -y[smallest];
  }
  return static_cast<uint8_t>(signs);
}

}  // namespace

// A sub-block and the best words of every class for each of its targets.
struct CodebookEncoder::Sub {
  int num_words = 0;
  std::array<float, 8> sum{};  // of each target
  float largest = 0;           // magnitude of its elements
  std::vector<Match> matches;  // [num_words, num_classes]
};

struct CodebookEncoder::Choice {
  float cost = 0;  // squared error, less the part that no choice changes
  float product = 0;
  float squares = 0;
  std::array<float, 8> costs{};
  std::array<Match, 8> match{};  // its product includes the shift
  std::array<float, 8> word_squares{};
  std::array<bool, 8> minus{};

  void add_up(int num_words) {
    cost = product = squares = 0;
    for (int w = 0; w < num_words; ++w) {
      cost += costs[w];
      product += match[w].product;
      squares += word_squares[w];
    }
  }
};

CodebookEncoder::CodebookEncoder(const int8_t* words, int length, int count, CodebookRules rules)
    : rules_(rules), length_(length), count_(count) {
  std::vector<std::pair<int, int>> key(count);  // squared length, sum
  for (int w = 0; w < count; ++w) {
    for (int j = 0; j < length; ++j) {
      const int value = words[w * length + j];
      key[w].first += value * value;
      key[w].second += value;
      largest_ = std::max(largest_, static_cast<float>(value));
      if (value > 0) smallest_ = std::min(smallest_, static_cast<float>(value));
    }
  }
  order_.resize(count);
  std::iota(order_.begin(), order_.end(), uint16_t{0});
  std::stable_sort(order_.begin(), order_.end(),
                   [&key](uint16_t a, uint16_t b) { return key[a] < key[b]; });
  columns_.resize(static_cast<size_t>(length) * count);
  for (int i = 0; i < count; ++i) {
    const auto& [squares, sum] = key[order_[i]];
    if (i == 0 || key[order_[i]] != key[order_[i - 1]]) {
      classes_.push_back({i, i, static_cast<float>(squares), static_cast<float>(sum)});
    }
    classes_.back().end = i + 1;
    for (int j = 0; j < length; ++j) columns_[j * count + i] = words[order_[i] * length + j];
  }
  if (has_shift(rules.signs)) largest_ += kShift;
}

void CodebookEncoder::load_sub(const float* y, Sub* sub) const {
  const int num_classes = static_cast<int>(classes_.size());
  sub->num_words = rules_.sub_size / length_;
  sub->matches.resize(static_cast<size_t>(sub->num_words) * num_classes);
  sub->largest = std::fabs(signed_max(y, rules_.sub_size));
  std::vector<float> products(count_);
  for (int w = 0; w < sub->num_words; ++w) {
    const float* target = y + w * length_;
    std::fill(products.begin(), products.end(), 0.0f);
    sub->sum[w] = 0;
    for (int j = 0; j < length_; ++j) {
      const float factor = target[j];
      const float* column = columns_.data() + j * count_;
      sub->sum[w] += factor;
      for (int i = 0; i < count_; ++i) products[i] += factor * column[i];
    }
    for (int c = 0; c < num_classes; ++c) {
      int best = classes_[c].begin;
      for (int i = best + 1; i < classes_[c].end; ++i) {
        if (products[i] > products[best]) best = i;
      }
      sub->matches[w * num_classes + c] = {products[best], order_[best]};
    }
  }
}

// Every word shifted by `shift`.
CodebookEncoder::Choice CodebookEncoder::choose_shifted(const Sub& sub, float scale,
                                                        float shift) const {
  const int num_classes = static_cast<int>(classes_.size());
  Choice choice;
  for (int w = 0; w < sub.num_words; ++w) {
    const Match* matches = sub.matches.data() + w * num_classes;
    for (int c = 0; c < num_classes; ++c) {
      const float squares = classes_[c].squares + 2 * shift * classes_[c].sum +
                            static_cast<float>(length_) * shift * shift;
      const float product = matches[c].product + shift * sub.sum[w];
      const float cost = scale * (scale * squares - 2 * product);
      if (c != 0 && cost >= choice.costs[w]) continue;
      choice.costs[w] = cost;
      choice.match[w] = {product, matches[c].word};
      choice.word_squares[w] = squares;
      choice.minus[w] = shift < 0;
    }
  }
  choice.add_up(sub.num_words);
  return choice;
}

CodebookEncoder::Choice CodebookEncoder::choose(const Sub& sub, float scale) const {
  if (!has_shift(rules_.signs)) return choose_shifted(sub, scale, 0);
  Choice plus = choose_shifted(sub, scale, kShift);
  const Choice minus = choose_shifted(sub, scale, -kShift);
  if (rules_.signs == WordSigns::kShiftOfSub) return minus.cost < plus.cost ? minus : plus;
  for (int w = 0; w < sub.num_words; ++w) {
    if (minus.costs[w] >= plus.costs[w]) continue;
    plus.costs[w] = minus.costs[w];
    plus.match[w] = minus.match[w];
    plus.word_squares[w] = minus.word_squares[w];
    plus.minus[w] = true;
  }
  plus.add_up(sub.num_words);
  return plus;
}

// The scale of least squared error over a range below and just above the one that brings the
// largest element to the largest value of a word, and the one that brings it to the smallest: not
// every codebook has a word of eight large values for a flat sub-block.
float CodebookEncoder::fit(const Sub& sub) const {
  float best_scale = 0;
  float best_gain = 0;
  for (int step = 0; step <= kFitSteps; ++step) {
    const float reach = 0.35f + 0.9f * static_cast<float>(step) / kFitSteps;
    const Choice choice =
        choose(sub, step < kFitSteps ? sub.largest / largest_ * reach : sub.largest / smallest_);
    // With these words the best scale is product / squares.
    if (choice.product <= 0 || choice.squares <= 0) continue;
    const float gain = choice.product * choice.product / choice.squares;
    if (gain <= best_gain) continue;
    best_gain = gain;
    best_scale = choice.product / choice.squares;
  }
  return best_scale;
}

CodebookBlock CodebookEncoder::encode(const float* x) const {
  CodebookBlock block;
  const float largest = std::fabs(signed_max(x, kSuperBlock));
  if (largest < 0x1p-100f) return block;  // no half times a code is this small
  // In units of the largest magnitude, so that no product below leaves the range of f32.
  std::array<float, kSuperBlock> y;
  for (int i = 0; i < kSuperBlock; ++i) y[i] = x[i] / largest;
  if (!has_shift(rules_.signs)) {
    for (int g = 0; g < kSuperBlock / 8; ++g) {
      block.signs[g] = split_signs(y.data() + 8 * g, rules_.signs == WordSigns::kEven);
    }
  }
  const int num_subs = kSuperBlock / rules_.sub_size;
  std::array<Sub, 16> subs;
  std::array<float, 16> fits{};
  float largest_fit = 0;
  for (int s = 0; s < num_subs; ++s) {
    load_sub(y.data() + s * rules_.sub_size, &subs[s]);
    fits[s] = fit(subs[s]);
    largest_fit = std::max(largest_fit, fits[s]);
  }
  const float steps = static_cast<float>(2 * rules_.max_code + 1);
  const float wanted = largest_fit / steps / rules_.unit * largest;
  block.d = f16_to_f32(f32_to_f16(std::min(wanted, kF16Max)));
  const float unit = block.d / largest * rules_.unit;
  for (int s = 0; s < num_subs; ++s) {
    const int middle = nearest_in(0.5f * (fits[s] * inverse_or_zero(unit) - 1), 0, rules_.max_code);
    Choice best = choose(subs[s], unit * static_cast<float>(2 * middle + 1));
    block.scale[s] = static_cast<uint8_t>(middle);
    for (int code : {middle - 1, middle + 1}) {
      if (code < 0 || code > rules_.max_code) continue;
      const Choice choice = choose(subs[s], unit * static_cast<float>(2 * code + 1));
      if (choice.cost >= best.cost) continue;
      best = choice;
      block.scale[s] = static_cast<uint8_t>(code);
    }
    for (int w = 0; w < subs[s].num_words; ++w) {
      const int place = s * subs[s].num_words + w;
      block.word[place] = best.match[w].word;
      if (has_shift(rules_.signs)) block.minus[place] = best.minus[w];
    }
  }
  return block;
}

}  // namespace ferry::quant
