// JSON for files whose mistakes must not pass: a name that comes twice in an
// object is an error, where most parsers keep the last.

#ifndef RTPURBO_DATA_STRICT_JSON_H_
#define RTPURBO_DATA_STRICT_JSON_H_

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"

namespace rtpurbo {

// Returns DataLoss, "<where>: ..." with the place in the text, if it is not
// JSON, not UTF-8, followed by something else or has a repeated name.
absl::StatusOr<nlohmann::json> ParseStrictJson(absl::string_view text,
                                               absl::string_view where);

}  // namespace rtpurbo

#endif  // RTPURBO_DATA_STRICT_JSON_H_
