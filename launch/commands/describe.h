// Files as text for a person.

#ifndef RTPURBO_LAUNCH_COMMANDS_DESCRIBE_H_
#define RTPURBO_LAUNCH_COMMANDS_DESCRIBE_H_

#include <string>

#include "absl/status/statusor.h"

namespace rtpurbo {

// A heads.*.textproto: method, share, window and a line for each layer with the
// number of its retrieval heads and a '#' for each of them, '.' for the others.
absl::StatusOr<std::string> DescribeHeadMap(const std::string& path);

// A safetensors file: its metadata and a line for each tensor, in the order of
// the data.
absl::StatusOr<std::string> DescribeWeights(const std::string& path);

}  // namespace rtpurbo

#endif  // RTPURBO_LAUNCH_COMMANDS_DESCRIBE_H_
