// An events.out.tfevents.* file: scalars for TensorBoard.
//
// Records, one behind the other: u64 length, u32 masked CRC-32C of the length,
// an Event (trainer/event.proto), u32 masked CRC-32C of it; little-endian. The
// mask is ((crc >> 15) | (crc << 17)) + 0xa282ead8 (TFRecord).

#ifndef RTPURBO_TRAINER_EVENT_FILE_H_
#define RTPURBO_TRAINER_EVENT_FILE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "data/file_system.h"

namespace rtpurbo {

struct Scalar {
  std::string tag;  // "align/loss"
  double value = 0;
};

class EventFile {
 public:
  // Makes a new file in `folder`, named after `wall_time` (seconds since 1970)
  // and `stage`. Viewers drop what older files say of steps after
  // `first_step`: that is what a resumed run computes again.
  static absl::StatusOr<std::unique_ptr<EventFile>> Create(
      FileSystem& files, const std::string& folder, const std::string& stage,
      double wall_time, std::int64_t first_step);

  absl::Status Write(double wall_time, std::int64_t step,
                     const std::vector<Scalar>& scalars);

 private:
  explicit EventFile(std::unique_ptr<WritableFile> file)
      : file_(std::move(file)) {}
  absl::Status WriteRecord(const std::string& bytes);

  std::unique_ptr<WritableFile> file_;
};

}  // namespace rtpurbo

#endif  // RTPURBO_TRAINER_EVENT_FILE_H_
