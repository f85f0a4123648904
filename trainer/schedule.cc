#include "trainer/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace rtpurbo {

double Schedule::At(std::int64_t step) const {
  if (step < warmup_steps) {
    return peak * static_cast<double>(step + 1) /
           static_cast<double>(warmup_steps);
  }
  if (kind == Kind::kConstant) {
    return peak;
  }
  const double done = static_cast<double>(step - warmup_steps) /
                      static_cast<double>(std::max<std::int64_t>(
                          1, total_steps - warmup_steps));
  return peak * (1 + std::cos(std::numbers::pi * std::min(1.0, done))) / 2;
}

}  // namespace rtpurbo
