// The learning rate of a step.

#ifndef RTPURBO_TRAINER_SCHEDULE_H_
#define RTPURBO_TRAINER_SCHEDULE_H_

#include <cstdint>

namespace rtpurbo {

struct Schedule {
  enum class Kind : std::uint8_t { kConstant, kCosine };
  Kind kind = Kind::kConstant;
  double peak = 0;
  std::int64_t warmup_steps = 0;
  std::int64_t total_steps = 1;

  // Step s counts from 0. Linear from 0 in the warm-up: peak (s + 1) / warmup;
  // then peak, or peak (1 + cos(pi f)) / 2 with f the share of the remaining
  // steps that are done.
  double At(std::int64_t step) const;
};

}  // namespace rtpurbo

#endif  // RTPURBO_TRAINER_SCHEDULE_H_
