// The signals that ask a program to stop where nothing is lost: SIGUSR1,
// SIGTERM and SIGINT. A second SIGINT ends it at once, with exit code 130.

#ifndef RTPURBO_LAUNCH_STOP_SIGNALS_H_
#define RTPURBO_LAUNCH_STOP_SIGNALS_H_

#include "kernels/core/stop_request.h"

namespace rtpurbo {

// Takes the signals from now on, for the rest of the process. What they set is
// returned; it is the same in every call.
StopRequest& StopOnSignals();

}  // namespace rtpurbo

#endif  // RTPURBO_LAUNCH_STOP_SIGNALS_H_
