// What whoever started a run says to it while it works.

#ifndef RTPURBO_TRAINER_RUN_CONTROL_H_
#define RTPURBO_TRAINER_RUN_CONTROL_H_

#include <cstdint>
#include <functional>

namespace rtpurbo {

struct RunControl {
  // Of this start of the run (data/run_lock.h); 0: there is no lock.
  std::int64_t incarnation = 0;
  // Called between two pieces of work, as a sign that it goes on. False: the
  // run was asked to stop where nothing is lost. Null: never.
  std::function<bool()> may_go_on;
  // How many steps of each training stage to trace.
  std::int64_t profile_steps = 0;

  bool MayGoOn() const { return may_go_on == nullptr || may_go_on(); }
  // Where a rank cannot stop alone: only that it is busy, not stuck.
  void GiveSignOfLife() const { MayGoOn(); }
};

}  // namespace rtpurbo

#endif  // RTPURBO_TRAINER_RUN_CONTROL_H_
