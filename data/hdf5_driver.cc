#include "data/hdf5_driver.h"

#include <hdf5.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "kernels/core/status_macros.h"

namespace rtpurbo {

absl::StatusOr<std::unique_ptr<Hdf5Storage>> Hdf5Storage::OpenForRead(
    FileSystem& files, const std::string& path) {
  std::unique_ptr<Hdf5Storage> storage(new Hdf5Storage);
  ASSIGN_OR_RETURN(storage->reader_, files.OpenForRead(path));
  storage->size_ = storage->reader_->size();
  return storage;
}

absl::StatusOr<std::unique_ptr<Hdf5Storage>> Hdf5Storage::OpenForWrite(
    FileSystem& files, const std::string& path, WriteMode mode) {
  std::unique_ptr<Hdf5Storage> storage(new Hdf5Storage);
  ASSIGN_OR_RETURN(storage->writer_, files.OpenForWrite(path, mode));
  ASSIGN_OR_RETURN(storage->size_, storage->writer_->Size());
  return storage;
}

void Hdf5Storage::Remember(absl::Status status) {
  if (status_.ok()) {
    status_ = std::move(status);
  }
}

bool Hdf5Storage::ReadAt(std::int64_t offset, std::span<std::byte> out) {
  if (!status_.ok()) {
    return false;
  }
  const std::int64_t there = std::clamp<std::int64_t>(
      size_ - offset, 0, static_cast<std::int64_t>(out.size()));
  const std::span<std::byte> front = out.first(static_cast<std::size_t>(there));
  if (!front.empty()) {
    Remember(writer_ != nullptr ? writer_->ReadAt(offset, front)
                                : reader_->ReadAt(offset, front));
  }
  std::ranges::fill(out.subspan(front.size()), std::byte{0});
  return status_.ok();
}

void Hdf5Storage::WriteAt(std::int64_t offset, Bytes bytes) {
  if (status_.ok()) {
    Remember(writer_->WriteAt(offset, bytes));
  }
  size_ = std::max(size_, offset + static_cast<std::int64_t>(bytes.size()));
}

void Hdf5Storage::Resize(std::int64_t size) {
  if (status_.ok() && size != size_) {
    Remember(writer_->Truncate(size));
  }
  size_ = size;
}

absl::Status Hdf5Storage::Close() {
  if (writer_ != nullptr) {
    if (status_.ok()) {
      Remember(writer_->Sync());
    }
    Remember(writer_->Close());
  }
  return status_;
}

namespace {

// What the library holds for an open file. It starts with the library's part.
struct DriverFile {
  H5FD_t library;
  Hdf5Storage* storage;
  haddr_t end_of_allocation;
};

// The driver's part of a file access property list.
struct DriverAccess {
  Hdf5Storage* storage;
};

constexpr auto kMaxAddress =
    static_cast<haddr_t>(std::numeric_limits<std::int64_t>::max());

Hdf5Storage& StorageOf(const H5FD_t* file) {
  return *reinterpret_cast<const DriverFile*>(file)->storage;
}

bool Fits(haddr_t address, std::size_t size) {
  return address <= kMaxAddress && size <= kMaxAddress - address;
}

H5FD_t* Open(const char* /*name*/, unsigned /*flags*/, hid_t access,
             haddr_t /*max_address*/) {
  const auto* info =
      static_cast<const DriverAccess*>(H5Pget_driver_info(access));
  if (info == nullptr) {
    return nullptr;
  }
  return &(new DriverFile{
               .library = {}, .storage = info->storage, .end_of_allocation = 0})
              ->library;
}

herr_t Close(H5FD_t* file) {
  delete reinterpret_cast<DriverFile*>(file);
  return 0;
}

int Compare(const H5FD_t* a, const H5FD_t* b) {
  const Hdf5Storage* const x = &StorageOf(a);
  const Hdf5Storage* const y = &StorageOf(b);
  return static_cast<int>(std::less<>()(y, x)) -
         static_cast<int>(std::less<>()(x, y));
}

// NOLINTNEXTLINE(google-runtime-int): the library's type.
herr_t Query(const H5FD_t* /*file*/, unsigned long* flags) {
  *flags = H5FD_FEAT_AGGREGATE_METADATA | H5FD_FEAT_ACCUMULATE_METADATA |
           H5FD_FEAT_DATA_SIEVE | H5FD_FEAT_AGGREGATE_SMALLDATA |
           H5FD_FEAT_DEFAULT_VFD_COMPATIBLE;
  return 0;
}

haddr_t GetEndOfAllocation(const H5FD_t* file, H5FD_mem_t /*type*/) {
  return reinterpret_cast<const DriverFile*>(file)->end_of_allocation;
}

herr_t SetEndOfAllocation(H5FD_t* file, H5FD_mem_t /*type*/, haddr_t end) {
  reinterpret_cast<DriverFile*>(file)->end_of_allocation = end;
  return 0;
}

haddr_t GetEndOfFile(const H5FD_t* file, H5FD_mem_t /*type*/) {
  return static_cast<haddr_t>(StorageOf(file).size());
}

herr_t Read(H5FD_t* file, H5FD_mem_t /*type*/, hid_t /*transfer*/,
            haddr_t address, std::size_t size, void* to) {
  const bool ok = Fits(address, size) &&
                  StorageOf(file).ReadAt(static_cast<std::int64_t>(address),
                                         {static_cast<std::byte*>(to), size});
  return ok ? 0 : -1;
}

herr_t Write(H5FD_t* file, H5FD_mem_t /*type*/, hid_t /*transfer*/,
             haddr_t address, std::size_t size, const void* from) {
  if (!Fits(address, size) || !StorageOf(file).writable()) {
    return -1;
  }
  StorageOf(file).WriteAt(static_cast<std::int64_t>(address),
                          {static_cast<const std::byte*>(from), size});
  return 0;
}

herr_t Truncate(H5FD_t* file, hid_t /*transfer*/, hbool_t /*closing*/) {
  if (StorageOf(file).writable()) {
    StorageOf(file).Resize(static_cast<std::int64_t>(
        reinterpret_cast<const DriverFile*>(file)->end_of_allocation));
  }
  return 0;
}

// Locks nothing. But only for a driver that has this does the library mark a
// file that is open for writing, and refuse one that its writer left half done.
herr_t Lock(H5FD_t* /*file*/, hbool_t /*for_writing*/) {
  return 0;
}
herr_t Unlock(H5FD_t* /*file*/) {
  return 0;
}

hid_t RegisterDriver() {
  H5FD_class_t driver = {};
#if H5_VERSION_GE(1, 14, 0)
  driver.version = H5FD_CLASS_VERSION;
  driver.value = static_cast<H5FD_class_value_t>(512);  // unregistered range
#endif
  driver.name = "rtpurbo";
  driver.maxaddr = kMaxAddress;
  driver.fc_degree = H5F_CLOSE_STRONG;
  driver.fapl_size = sizeof(DriverAccess);
  driver.open = &Open;
  driver.close = &Close;
  driver.cmp = &Compare;
  driver.query = &Query;
  driver.get_eoa = &GetEndOfAllocation;
  driver.set_eoa = &SetEndOfAllocation;
  driver.get_eof = &GetEndOfFile;
  driver.read = &Read;
  driver.write = &Write;
  driver.truncate = &Truncate;
  driver.lock = &Lock;
  driver.unlock = &Unlock;
  constexpr H5FD_mem_t kKinds[H5FD_MEM_NTYPES] = H5FD_FLMAP_DICHOTOMY;
  std::ranges::copy(kKinds, driver.fl_map);
  return H5FDregister(&driver);
}

}  // namespace

std::int64_t NewHdf5FileAccess(Hdf5Storage* storage) {
  static const hid_t driver = RegisterDriver();
  const DriverAccess info = {.storage = storage};
  const hid_t access = H5Pcreate(H5P_FILE_ACCESS);
  // The newest format checksums its metadata. Closing the file closes what is
  // open in it.
  if (access >= 0 &&
      (H5Pset_driver(access, driver, &info) < 0 ||
       H5Pset_libver_bounds(access, H5F_LIBVER_LATEST, H5F_LIBVER_LATEST) < 0 ||
       H5Pset_fclose_degree(access, H5F_CLOSE_STRONG) < 0)) {
    H5Pclose(access);
    return -1;
  }
  return access;
}

}  // namespace rtpurbo
