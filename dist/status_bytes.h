// A Status as bytes, for a message to another rank.

#ifndef RTPURBO_DIST_STATUS_BYTES_H_
#define RTPURBO_DIST_STATUS_BYTES_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "kernels/core/check.h"

namespace rtpurbo::internal {

// One byte, its code, and its message, which a receiver may find cut off.
inline std::string EncodeStatus(const absl::Status& status) {
  return absl::StrCat(std::string(1, static_cast<char>(status.code())),
                      status.message());
}
// REQUIRES: at least the code is there.
inline absl::Status DecodeStatus(absl::string_view bytes) {
  CHECK(!bytes.empty());
  return absl::Status(static_cast<absl::StatusCode>(bytes[0]), bytes.substr(1));
}

}  // namespace rtpurbo::internal

#endif  // RTPURBO_DIST_STATUS_BYTES_H_
