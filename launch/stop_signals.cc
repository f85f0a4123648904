#include "launch/stop_signals.h"

#include <unistd.h>

#include <csignal>
#include <initializer_list>

namespace rtpurbo {
namespace {

constinit StopRequest the_request;
volatile std::sig_atomic_t was_interrupted = 0;

// Runs in the handler of a signal: only calls that may be made there.
void Handle(int signal) {
  if (signal == SIGINT) {
    if (was_interrupted != 0) {
      _exit(128 + SIGINT);
    }
    was_interrupted = 1;
  }
  the_request.Set();
}

}  // namespace

StopRequest& StopOnSignals() {
  struct sigaction action = {};
  action.sa_handler = Handle;
  action.sa_flags = SA_RESTART;  // what reads or writes is not cut short
  sigemptyset(&action.sa_mask);
  for (const int signal : {SIGUSR1, SIGTERM, SIGINT}) {
    sigaction(signal, &action, nullptr);
  }
  return the_request;
}

}  // namespace rtpurbo
