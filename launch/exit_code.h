// What the program's exit code says.

#ifndef RTPURBO_LAUNCH_EXIT_CODE_H_
#define RTPURBO_LAUNCH_EXIT_CODE_H_

#include "absl/status/status.h"

namespace rtpurbo {

enum ExitCode {
  kExitDone = 0,
  kExitBug = 1,       // a CHECK failed
  kExitUsage = 2,     // command line or configuration
  kExitInput = 3,     // an input is missing, refused or unfit
  kExitDamaged = 4,   // damaged data
  kExitNumbers = 5,   // the loss is no number, again and again
  kExitMachine = 6,   // device, peer or disk
  kExitRequeue = 75,  // saved: start it again
};

// The one place where the codes of Status become exit codes:
//   InvalidArgument                                          2
//   NotFound, AlreadyExists, FailedPrecondition,
//   OutOfRange, PermissionDenied, Unimplemented              3
//   DataLoss                                                 4
//   Aborted                                                  5
//   Unavailable, ResourceExhausted, DeadlineExceeded,
//   Internal                                                 6
//   Cancelled                                               75
//   anything else                                            1
ExitCode ExitCodeOf(const absl::Status& status);

// The same as a table for --help.
extern const char kExitCodeHelp[];

}  // namespace rtpurbo

#endif  // RTPURBO_LAUNCH_EXIT_CODE_H_
