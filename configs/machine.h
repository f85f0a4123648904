// Reads a machine's constants: one text file of a Machine message.

#ifndef RTPURBO_CONFIGS_MACHINE_H_
#define RTPURBO_CONFIGS_MACHINE_H_

#include <string>

#include "absl/status/statusor.h"
#include "configs/schema/machine.pb.h"

namespace rtpurbo {

// `name` stands for the text in messages. The result has every default.
// Returns InvalidArgument, with the line or all the fields at fault, if it
// can't be read, a required field is missing or a number is out of its range.
absl::StatusOr<configs::Machine> ParseMachine(const std::string& text,
                                              const std::string& name);

}  // namespace rtpurbo

#endif  // RTPURBO_CONFIGS_MACHINE_H_
