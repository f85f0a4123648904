// The rules that a complete configuration keeps, beyond its types.

#ifndef RTPURBO_CONFIGS_VALIDATE_H_
#define RTPURBO_CONFIGS_VALIDATE_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "configs/origins.h"
#include "configs/schema/run.pb.h"

namespace rtpurbo {

// Checks each number against its range in the schema, that no enum is
// unspecified, that what is required is there, and what fields must be to each
// other. `run` has its defaults (configs/defaults.h); `world_size` is the
// number of processes. Returns InvalidArgument with all problems, one a line,
// each beginning with where the field was written.
absl::Status Validate(const configs::Run& run, const FieldOrigins& origins,
                      std::int64_t world_size);

// Whether a value lies in an interval as the schema writes them: "(0, 1]".
bool IsInRange(double value, const std::string& range);

}  // namespace rtpurbo

#endif  // RTPURBO_CONFIGS_VALIDATE_H_
