// HDF5 files: named arrays, groups and attributes in one file that h5ls, h5dump
// and h5py read. RAII over the C library, Status out; data/hdf5_*
// is the only code that includes hdf5.h.
//
// Bytes go through a FileSystem, so a test can make any of them fail; after the
// first failure of a disk the file is poisoned: every later call, and Close(),
// returns that failure. Metadata is in the newest format of the library
// (checksummed) and holds no times: same calls, same bytes.
//
// Damaged files: the library may crash on metadata that was changed on disk,
// and data has no checksum. Who must find every flipped bit compares a digest
// of the whole file first (data/digest.h), as checkpoints do.
//
// Names are paths from the root, "a/b"; "" is the root. Parent groups are made
// when needed. A dataset stays open inside after its first use.
//
// Threads: the library is not thread-safe; one lock for the process guards all
// files, so calls may come from any thread, and wait for each other.

#ifndef RTPURBO_DATA_HDF5_FILE_H_
#define RTPURBO_DATA_HDF5_FILE_H_

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "data/file_system.h"
#include "kernels/core/bf16.h"
#include "kernels/core/tensor.h"

namespace rtpurbo {

// Element types. All are little-endian on disk. HDF5 has no bf16: it is stored
// as u16 with the attribute dtype = "bf16".
enum class Hdf5Type : std::uint8_t {
  kF32,
  kF64,
  kBF16,
  kI32,
  kI64,
  kU8,
  kU16,
  kU32,
  kU64,
};
const char* Name(Hdf5Type type);
std::int64_t SizeOf(Hdf5Type type);

namespace internal {
constexpr Hdf5Type TypeOf(const float*) {
  return Hdf5Type::kF32;
}
constexpr Hdf5Type TypeOf(const double*) {
  return Hdf5Type::kF64;
}
constexpr Hdf5Type TypeOf(const BFloat16*) {
  return Hdf5Type::kBF16;
}
constexpr Hdf5Type TypeOf(const std::int32_t*) {
  return Hdf5Type::kI32;
}
constexpr Hdf5Type TypeOf(const std::int64_t*) {
  return Hdf5Type::kI64;
}
constexpr Hdf5Type TypeOf(const std::uint8_t*) {
  return Hdf5Type::kU8;
}
constexpr Hdf5Type TypeOf(const std::uint16_t*) {
  return Hdf5Type::kU16;
}
constexpr Hdf5Type TypeOf(const std::uint32_t*) {
  return Hdf5Type::kU32;
}
constexpr Hdf5Type TypeOf(const std::uint64_t*) {
  return Hdf5Type::kU64;
}
}  // namespace internal
template <typename T>
constexpr Hdf5Type Hdf5TypeOf() {
  return internal::TypeOf(static_cast<const T*>(nullptr));
}

struct Hdf5DatasetInfo {
  Hdf5Type type;
  Shape shape;  // dimension 0 counts the rows; {} is one value, one row
  bool extendable;
};

class Hdf5Storage;

// One open file. Life: Create or Open, use, Close; destroyed without Close, a
// written file is closed, but not synced, and errors are lost.
// Errors of every call: NotFound (no such file, dataset or attribute),
// FailedPrecondition (it is there with another type or shape), OutOfRange
// (rows that are not there), DataLoss (not an HDF5 file, or a damaged one), and
// those of FileSystem.
// REQUIRES: a file that is open for writing is open nowhere else.
class Hdf5File {
 public:
  // An empty file; what was there is gone.
  static absl::StatusOr<std::unique_ptr<Hdf5File>> Create(
      FileSystem& files, const std::string& path);
  static absl::StatusOr<std::unique_ptr<Hdf5File>> OpenForRead(
      FileSystem& files, const std::string& path);
  static absl::StatusOr<std::unique_ptr<Hdf5File>> OpenForWrite(
      FileSystem& files, const std::string& path);
  ~Hdf5File();
  Hdf5File(const Hdf5File&) = delete;
  Hdf5File& operator=(const Hdf5File&) = delete;

  // Writes what is held in memory. A reader still refuses the file until it is
  // closed: the format marks a file that is being written.
  absl::Status Flush();
  // Flushes, syncs to the device and closes. No call may follow.
  absl::Status Close();
  const std::string& path() const { return path_; }

  absl::Status CreateGroup(const std::string& name);
  // A group or dataset of that name.
  absl::StatusOr<bool> Exists(const std::string& name);
  // Names of what is in a group, sorted.
  absl::StatusOr<std::vector<std::string>> List(const std::string& group);

  // A dataset of fixed shape whose bytes have their place in the file at once,
  // in one piece, and are not written: zeros if the file system gives zeros.
  absl::Status CreateDataset(const std::string& name, Hdf5Type type,
                             const Shape& shape);
  // A dataset of [0, row_shape...] that grows by whole rows, and is stored in
  // pieces of `chunk_rows` rows: what is read together, 64 KiB to 4 MiB.
  // REQUIRES: chunk_rows >= 1; row_shape all >= 1.
  absl::Status CreateExtendable(const std::string& name, Hdf5Type type,
                                const Shape& row_shape,
                                std::int64_t chunk_rows);
  absl::StatusOr<Hdf5DatasetInfo> Describe(const std::string& name);
  // Where the bytes of a CreateDataset() dataset start in the file. Nobody but
  // the caller knows what is then written there past the library: close this
  // file first. FailedPrecondition if it is extendable or has no elements.
  absl::StatusOr<std::int64_t> DatasetOffset(const std::string& name);
  // Cuts an extendable dataset, or extends it with zeros.
  absl::Status SetNumRows(const std::string& name, std::int64_t num_rows);

  // Rows at the end of an extendable dataset.
  // REQUIRES (here and below): values are a whole number of rows.
  template <typename T>
  absl::Status Append(const std::string& name, std::span<const T> rows) {
    return AppendRaw(name, Hdf5TypeOf<T>(), std::as_bytes(rows));
  }
  // Rows [begin, begin + number of rows).
  template <typename T>
  absl::Status Write(const std::string& name, std::int64_t begin,
                     std::span<const T> rows) {
    return WriteRaw(name, Hdf5TypeOf<T>(), begin, std::as_bytes(rows));
  }
  // Rows [begin, begin + number of rows) into `rows`.
  template <typename T>
  absl::Status Read(const std::string& name, std::int64_t begin,
                    std::span<T> rows) {
    return ReadRaw(name, Hdf5TypeOf<T>(), begin, std::as_writable_bytes(rows));
  }

  // Attributes of a group or dataset. Setting one again replaces it.
  absl::Status SetText(const std::string& object, const std::string& key,
                       absl::string_view text);
  absl::Status SetInt(const std::string& object, const std::string& key,
                      std::int64_t value);
  absl::Status SetDouble(const std::string& object, const std::string& key,
                         double value);
  absl::StatusOr<std::string> Text(const std::string& object,
                                   const std::string& key);
  absl::StatusOr<std::int64_t> Int(const std::string& object,
                                   const std::string& key);
  absl::StatusOr<double> Double(const std::string& object,
                                const std::string& key);

  // Untyped forms of the above.
  absl::Status AppendRaw(const std::string& name, Hdf5Type type, Bytes rows);
  absl::Status WriteRaw(const std::string& name, Hdf5Type type,
                        std::int64_t begin, Bytes rows);
  absl::Status ReadRaw(const std::string& name, Hdf5Type type,
                       std::int64_t begin, std::span<std::byte> rows);

 private:
  using Id = std::int64_t;  // hid_t
  struct Dataset {
    Id id;
    Hdf5DatasetInfo info;
    std::int64_t row_bytes;
  };

  Hdf5File(std::string path, std::unique_ptr<Hdf5Storage> storage);
  static absl::StatusOr<std::unique_ptr<Hdf5File>> Open(
      const std::string& path, std::unique_ptr<Hdf5Storage> storage,
      bool create);

  std::string Of(absl::string_view object) const;
  // All below: the lock is held.
  absl::Status Failure(absl::string_view what, absl::string_view object);
  // OK if the library said yes (result >= 0) and the storage has not failed.
  absl::Status Check(Id result, absl::string_view what,
                     absl::string_view object);
  absl::StatusOr<bool> IsThere(const std::string& name);
  absl::Status MustBeThere(const std::string& name);
  absl::Status MustBeNew(const std::string& name);
  absl::Status MakeGroup(const std::string& name);
  absl::Status MakeParents(const std::string& name);
  absl::Status MakeDataset(const std::string& name, const Hdf5DatasetInfo& info,
                           Id properties);
  absl::StatusOr<Dataset*> Find(const std::string& name);
  absl::StatusOr<Dataset*> FindTyped(const std::string& name, Hdf5Type type);
  absl::StatusOr<Hdf5DatasetInfo> ReadInfo(const std::string& name, Id dataset);
  absl::Status Resize(const std::string& name, Dataset& dataset,
                      std::int64_t num_rows);
  absl::Status Transfer(const std::string& name, const Dataset& dataset,
                        std::int64_t begin, std::size_t num_bytes,
                        const void* from, void* to);
  absl::Status SetAttribute(const std::string& object, const std::string& key,
                            Id file_type, Id memory_type, const void* value);
  absl::Status WriteText(const std::string& object, const std::string& key,
                         absl::string_view text);
  absl::StatusOr<Id> OpenAttribute(const std::string& object,
                                   const std::string& key);
  absl::StatusOr<std::string> ReadText(const std::string& object,
                                       const std::string& key);
  absl::Status ReadNumber(const std::string& object, const std::string& key,
                          bool is_integer, void* value);
  absl::Status CloseLibraryFile();

  std::string path_;
  std::unique_ptr<Hdf5Storage> storage_;
  Id file_ = -1;
  bool created_ = false;  // by us, so that it cannot be damaged
  std::map<std::string, Dataset> datasets_;
};

}  // namespace rtpurbo

#endif  // RTPURBO_DATA_HDF5_FILE_H_
