// Threads of our own beside those of the program.

#ifndef RTPURBO_DIST_QUIET_THREAD_H_
#define RTPURBO_DIST_QUIET_THREAD_H_

#include <pthread.h>

#include <csignal>
#include <functional>
#include <thread>
#include <utility>

namespace rtpurbo::internal {

// A thread that takes no signals: they are for the program's own.
inline std::thread ThreadWithoutSignals(std::function<void()> run) {
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread thread(std::move(run));
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return thread;
}

}  // namespace rtpurbo::internal

#endif  // RTPURBO_DIST_QUIET_THREAD_H_
