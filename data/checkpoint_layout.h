// The names in a folder of checkpoints. For data/checkpoint*.cc alone.

#ifndef RTPURBO_DATA_CHECKPOINT_LAYOUT_H_
#define RTPURBO_DATA_CHECKPOINT_LAYOUT_H_

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace rtpurbo::internal {

inline constexpr char kTemporarySuffix[] = ".tmp";
inline constexpr char kReplacedSuffix[] = ".old";

std::string CommittedDir(const std::string& root, std::int64_t step);
// Of an incarnation of the run; 0 if there is no lock.
std::string TemporaryDir(const std::string& root, std::int64_t step,
                         std::int64_t incarnation);
std::string ReplacedDir(const std::string& root, std::int64_t step);

// The step of "step_00000040" + suffix; -1 if `name` is something else.
std::int64_t StepOf(absl::string_view name, absl::string_view suffix);
// The same for the temporary folder of any incarnation.
std::int64_t StepOfTemporary(absl::string_view name);

}  // namespace rtpurbo::internal

#endif  // RTPURBO_DATA_CHECKPOINT_LAYOUT_H_
