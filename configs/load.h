// Reads a run's configuration: one text file of a Run message, and edits of it.
//
// The text is parsed (an unknown field is an error), edited, completed with
// defaults and validated. Every problem is said at once, each with the line or
// the edit that it comes from.

#ifndef RTPURBO_CONFIGS_LOAD_H_
#define RTPURBO_CONFIGS_LOAD_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "configs/schema/run.pb.h"

namespace rtpurbo {

// Reads the file `path`. `edits` are PATH=VALUE (configs/edit.h), in order;
// `world_size` is the number of processes of the run. The result has every
// default filled in (configs/defaults.h).
// Returns NotFound if there is no such file; InvalidArgument with all problems,
// one a line, if it can't be read or does not hold (configs/validate.h).
absl::StatusOr<configs::Run> LoadRun(const std::string& path,
                                     const std::vector<std::string>& edits,
                                     std::int64_t world_size);

// The same for a text in memory; `name` stands for it in messages.
absl::StatusOr<configs::Run> ParseRun(const std::string& text,
                                      const std::string& name,
                                      const std::vector<std::string>& edits,
                                      std::int64_t world_size);

// What is logged and stored: parsing it gives the same run.
std::string ResolvedText(const configs::Run& run);

}  // namespace rtpurbo

#endif  // RTPURBO_CONFIGS_LOAD_H_
