// What loading a model costs one rank: rtpurbo inspect --load.

#ifndef RTPURBO_LAUNCH_COMMANDS_LOAD_WEIGHTS_H_
#define RTPURBO_LAUNCH_COMMANDS_LOAD_WEIGHTS_H_

#include <string>

#include "absl/status/status.h"

namespace rtpurbo {

// Loads the weights of the model in `folder`, frozen and sharded over all ranks
// of this start, or as rank R of N if `pretended` is "R/N", and prints for each
// rank
//   rank R of N: holds B bytes of weights, grew by B bytes at most, S seconds
// where what it grew by is its peak resident memory beyond what it had before.
// Returns InvalidArgument for a `pretended` that is none; what loading returns.
absl::Status LoadWeights(const std::string& folder,
                         const std::string& pretended);

}  // namespace rtpurbo

#endif  // RTPURBO_LAUNCH_COMMANDS_LOAD_WEIGHTS_H_
