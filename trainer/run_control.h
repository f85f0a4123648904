// What whoever started a run says to it while it works.

#ifndef RTPURBO_TRAINER_RUN_CONTROL_H_
#define RTPURBO_TRAINER_RUN_CONTROL_H_

#include <cstdint>

namespace rtpurbo {

struct RunControl {
  // Of this start of the run (data/run_lock.h); 0: there is no lock.
  std::int64_t incarnation = 0;
};

}  // namespace rtpurbo

#endif  // RTPURBO_TRAINER_RUN_CONTROL_H_
