// Cost and energy of a chip-hour; see search.h.
#include "plan/search.h"

namespace ferry::plan {
namespace {

constexpr double kHoursPerYear = 8760;

}  // namespace

std::optional<double> wall_watts(const Chip& chip, const CostOptions& options) {
  if (chip.system_w) return chip.system_w->value * options.pue;
  if (chip.tdp_w) return chip.tdp_w->value * options.host_power * options.pue;
  return std::nullopt;
}

std::optional<HourlyCost> hourly_cost(const Chip& chip, const CostOptions& options) {
  const double paid = 1 / options.utilisation;
  if (chip.rental_usd_h) {
    const Known& rental = *chip.rental_usd_h;
    return HourlyCost{{rental.value * paid, rental.low * paid, rental.high * paid}, "rental"};
  }
  if (!chip.price_usd) return std::nullopt;
  const double per_usd = options.server_factor / (options.years * kHoursPerYear) * paid;
  const std::optional<double> watts = wall_watts(chip, options);
  const double power = watts ? *watts / 1000 * options.usd_per_kwh : 0;
  const Known& price = *chip.price_usd;
  return HourlyCost{
      {price.value * per_usd + power, price.low * per_usd + power, price.high * per_usd + power},
      watts ? "price and power" : "price, power unknown"};
}

}  // namespace ferry::plan
