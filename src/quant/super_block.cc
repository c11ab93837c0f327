// The affine half of super_block.h: sub-blocks with a scale and a minimum, neither negative.
#include "quant/super_block.h"

namespace ferry::quant {
namespace {

struct AffineFit {
  float scale = 0;
  float minimum = 0;  // subtracted, ≥ 0
};

// Scale and minimum of least squared error for given codes, and that error up to the constant Σx².
struct LeastSquares {
  double n = 0, q = 0, qq = 0, x = 0, xq = 0;

  void add(double x_value, double q_value) {
    n += 1;
    q += q_value;
    qq += q_value * q_value;
    x += x_value;
    xq += x_value * q_value;
  }
  // False when the codes are all equal or the best scale is not positive.
  bool solve(AffineFit* fit, double* error) const {
    const double determinant = n * qq - q * q;
    if (determinant <= 0) return false;
    double scale = (n * xq - x * q) / determinant;
    double offset = (qq * x - q * xq) / determinant;
    if (offset > 0) {  // a minimum can't be negative: the best line through the origin instead
      offset = 0;
      scale = xq / qq;
    }
    if (scale <= 0) return false;
    fit->scale = static_cast<float>(scale);
    fit->minimum = static_cast<float>(-offset);
    *error = scale * scale * qq + offset * offset * n +
             2 * (scale * offset * q - scale * xq - offset * x);
    return true;
  }
};

AffineFit fit_affine(const float* x, int n, int max_q) {
  constexpr int kSteps = 20;
  const auto [low_end, high_end] = std::minmax_element(x, x + n);
  const float low = std::min(0.0f, *low_end);
  const double range = static_cast<double>(*high_end) - low;
  if (range < 0x1p-100) return {0.0f, -low};
  AffineFit best{static_cast<float>(range / max_q), -low};
  double best_error = HUGE_VAL;
  // From steps that reach past the ends to steps that clip up to an eighth of the range at the top.
  for (int step = 0; step <= kSteps; ++step) {
    const double steps_in_range = max_q + (step - kSteps / 2) * (0.1 + 0.0125 * max_q) * 0.5;
    const float inverse = static_cast<float>(steps_in_range / range);
    LeastSquares sums;
    for (int i = 0; i < n; ++i) sums.add(x[i], nearest_in((x[i] - low) * inverse, 0, max_q));
    AffineFit fit;
    double error;
    if (sums.solve(&fit, &error) && error < best_error) {
      best = fit;
      best_error = error;
    }
  }
  return best;
}

// Σ (x − (scale · q − minimum))², each x at the code that an encoder would give it.
double affine_error(const float* x, int n, int max_q, float scale, float minimum) {
  const float inverse = inverse_or_zero(scale);
  double sum = 0;
  for (int i = 0; i < n; ++i) {
    const int32_t q = nearest_in((x[i] + minimum) * inverse, 0, max_q);
    const double difference = x[i] - (scale * static_cast<float>(q) - minimum);
    sum += difference * difference;
  }
  return sum;
}

float nearest_half(float value) { return f16_to_f32(f32_to_f16(std::min(value, kF16Max))); }

}  // namespace

AffineSuperBlock encode_affine(const float* x, int sub_size, int max_q, int max_code) {
  AffineSuperBlock out;
  const int num_subs = kSuperBlock / sub_size;
  std::array<AffineFit, 16> fits;
  AffineFit largest;
  for (int s = 0; s < num_subs; ++s) {
    fits[s] = fit_affine(x + s * sub_size, sub_size, max_q);
    largest.scale = std::max(largest.scale, fits[s].scale);
    largest.minimum = std::max(largest.minimum, fits[s].minimum);
  }
  out.d = nearest_half(largest.scale / static_cast<float>(max_code));
  out.dmin = nearest_half(largest.minimum / static_cast<float>(max_code));
  for (int s = 0; s < num_subs; ++s) {
    const float* sub = x + s * sub_size;
    const int scale = nearest_in(fits[s].scale * inverse_or_zero(out.d), 0, max_code);
    const int minimum = nearest_in(fits[s].minimum * inverse_or_zero(out.dmin), 0, max_code);
    double best_error = HUGE_VAL;
    for (int a = std::max(0, scale - 1); a <= std::min(max_code, scale + 1); ++a) {
      for (int b = std::max(0, minimum - 1); b <= std::min(max_code, minimum + 1); ++b) {
        const double error = affine_error(sub, sub_size, max_q, out.d * static_cast<float>(a),
                                          out.dmin * static_cast<float>(b));
        if (error < best_error) {
          best_error = error;
          out.scale[s] = static_cast<uint8_t>(a);
          out.minimum[s] = static_cast<uint8_t>(b);
        }
      }
    }
    const float inverse = inverse_or_zero(out.d * static_cast<float>(out.scale[s]));
    const float offset = out.dmin * static_cast<float>(out.minimum[s]);
    for (int i = 0; i < sub_size; ++i) {
      out.q[s * sub_size + i] =
          static_cast<uint8_t>(nearest_in((sub[i] + offset) * inverse, 0, max_q));
    }
  }
  return out;
}

}  // namespace ferry::quant
