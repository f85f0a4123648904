// What a field that nobody wrote is.

#ifndef RTPURBO_CONFIGS_DEFAULTS_H_
#define RTPURBO_CONFIGS_DEFAULTS_H_

#include <cstdint>

#include "configs/schema/run.pb.h"

namespace rtpurbo {

// Sets every field that is not set: to the default in the schema, or to what
// its comment there says (2 window, data.tokens, `world_size` processes as
// shards, ...). Afterwards only
// model.path, data.paths and calibration.map can be unset. Doing it twice
// changes nothing.
void FillDefaults(std::int64_t world_size, configs::Run* run);

}  // namespace rtpurbo

#endif  // RTPURBO_CONFIGS_DEFAULTS_H_
