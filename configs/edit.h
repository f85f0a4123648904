// Edits of a configuration from the command line: --set align.steps=3.

#ifndef RTPURBO_CONFIGS_EDIT_H_
#define RTPURBO_CONFIGS_EDIT_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "configs/origins.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/message.h"

namespace rtpurbo {

// Replaces one field of `message`. `edit` is PATH=VALUE, with VALUE as in the
// text format: 3, 1e-3, true, EFFECT; quotes around a string may be left out; a
// repeated field takes one value or a list, [1, 2]. The field's origin becomes
// "--set " + edit.
// Returns InvalidArgument, naming the edit, if there is no such field, if it is
// a message, or if the value does not fit.
absl::Status ApplyEdit(const std::string& edit,
                       google::protobuf::Message* message,
                       FieldOrigins* origins);

// The names of the fields of a message type, for suggestions.
std::vector<std::string> FieldNames(
    const google::protobuf::Descriptor& descriptor);

}  // namespace rtpurbo

#endif  // RTPURBO_CONFIGS_EDIT_H_
