#include "trainer/event_file.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "data/digest.h"
#include "kernels/core/status_macros.h"
#include "trainer/event.pb.h"

namespace rtpurbo {
namespace {

// `size` bytes of x, the lowest first.
std::string LittleEndian(std::uint64_t x, int size) {
  std::string bytes;
  for (int i = 0; i < size; ++i) {
    bytes.push_back(static_cast<char>(x >> (8 * i)));
  }
  return bytes;
}

std::string MaskedCrc(const std::string& bytes) {
  const std::uint32_t crc = Crc32c(AsBytes(bytes));
  return LittleEndian(((crc >> 15U) | (crc << 17U)) + 0xa282ead8U, 4);
}

}  // namespace

absl::StatusOr<std::unique_ptr<EventFile>> EventFile::Create(
    FileSystem& files, const std::string& folder, const std::string& stage,
    double wall_time, std::int64_t first_step) {
  const std::string path = JoinPath(
      folder,
      absl::StrFormat("events.out.tfevents.%010.0f.%s", wall_time, stage));
  ASSIGN_OR_RETURN(std::unique_ptr<WritableFile> out,
                   files.OpenForWrite(path, WriteMode::kCreate));
  std::unique_ptr<EventFile> file(new EventFile(std::move(out)));
  events::Event version;
  version.set_wall_time(wall_time);
  version.set_file_version("brain.Event:2");
  RETURN_IF_ERROR(file->WriteRecord(version.SerializeAsString()));
  events::Event start;
  start.set_wall_time(wall_time);
  start.set_step(first_step);
  start.mutable_session_log()->set_status(events::SessionLog::START);
  RETURN_IF_ERROR(file->WriteRecord(start.SerializeAsString()));
  return file;
}

absl::Status EventFile::Write(double wall_time, std::int64_t step,
                              const std::vector<Scalar>& scalars) {
  events::Event event;
  event.set_wall_time(wall_time);
  event.set_step(step);
  for (const Scalar& scalar : scalars) {
    events::Summary::Value* value = event.mutable_summary()->add_value();
    value->set_tag(scalar.tag);
    value->set_simple_value(static_cast<float>(scalar.value));
  }
  return WriteRecord(event.SerializeAsString());
}

absl::Status EventFile::WriteRecord(const std::string& bytes) {
  const std::string length = LittleEndian(bytes.size(), 8);
  return file_->Append(AsBytes(
      absl::StrCat(length, MaskedCrc(length), bytes, MaskedCrc(bytes))));
}

}  // namespace rtpurbo
