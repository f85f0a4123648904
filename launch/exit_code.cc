#include "launch/exit_code.h"

namespace rtpurbo {

ExitCode ExitCodeOf(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return kExitDone;
    case absl::StatusCode::kInvalidArgument:
      return kExitUsage;
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kAlreadyExists:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kOutOfRange:
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kUnimplemented:
      return kExitInput;
    case absl::StatusCode::kDataLoss:
      return kExitDamaged;
    case absl::StatusCode::kAborted:
      return kExitNumbers;
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kResourceExhausted:
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kInternal:
      return kExitMachine;
    case absl::StatusCode::kCancelled:
      return kExitRequeue;
    default:
      return kExitBug;
  }
}

const char kExitCodeHelp[] =
    "Exit codes:\n"
    "   0  done\n"
    "   1  a bug: please report it\n"
    "   2  usage or configuration\n"
    "   3  an input is missing, refused or unfit\n"
    "   4  damaged data\n"
    "   5  the loss is no number, for the third step in a row\n"
    "   6  device, peer or disk\n"
    "  75  saved: start it again\n";

}  // namespace rtpurbo
