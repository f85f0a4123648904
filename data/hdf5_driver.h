// What an HDF5 file lies in: a file of a FileSystem, seen by the HDF5 library
// through a driver of our own.
//
// The library goes through its errors in ways that leave memory and handles
// behind when a write fails late, in a flush or a close. So it never sees one:
// the first failed write is remembered here, later writes go nowhere, and who
// calls the library asks status() after each call. There are no file locks,
// which network file systems often refuse.

#ifndef RTPURBO_DATA_HDF5_DRIVER_H_
#define RTPURBO_DATA_HDF5_DRIVER_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "data/file_system.h"

namespace rtpurbo {

// An open file and the first thing that went wrong with it. One thread at a
// time.
class Hdf5Storage {
 public:
  static absl::StatusOr<std::unique_ptr<Hdf5Storage>> OpenForRead(
      FileSystem& files, const std::string& path);
  static absl::StatusOr<std::unique_ptr<Hdf5Storage>> OpenForWrite(
      FileSystem& files, const std::string& path, WriteMode mode);

  const absl::Status& status() const { return status_; }
  bool writable() const { return writer_ != nullptr; }
  std::int64_t size() const { return size_; }
  // Bytes beyond the end are zeros. Returns status().ok().
  bool ReadAt(std::int64_t offset, std::span<std::byte> out);
  void WriteAt(std::int64_t offset, Bytes bytes);
  void Resize(std::int64_t size);
  // Syncs and closes; returns the first failure of its life.
  absl::Status Close();

 private:
  Hdf5Storage() = default;
  void Remember(absl::Status status);

  std::unique_ptr<ReadableFile> reader_;
  std::unique_ptr<WritableFile> writer_;
  std::int64_t size_ = 0;
  absl::Status status_;
};

// A new file access property list (hid_t) with which the library opens
// `storage`, whatever name it is given; negative if the library fails. The
// caller closes it, and keeps `storage` until the library's file is closed.
std::int64_t NewHdf5FileAccess(Hdf5Storage* storage);

}  // namespace rtpurbo

#endif  // RTPURBO_DATA_HDF5_DRIVER_H_
