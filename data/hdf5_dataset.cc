// The datasets of data/hdf5_file.h.

#include <hdf5.h>

#include <algorithm>
#include <array>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "data/hdf5_driver.h"
#include "data/hdf5_file.h"
#include "data/hdf5_library.h"
#include "kernels/core/check.h"
#include "kernels/core/status_macros.h"

namespace rtpurbo {

using internal::Hdf5Handle;
using internal::Hdf5Lock;

namespace {

constexpr std::array<const char*, 9> kTypeNames = {
    "f32", "f64", "bf16", "i32", "i64", "u8", "u16", "u32", "u64"};
constexpr std::array<std::int64_t, 9> kTypeSizes = {4, 8, 2, 4, 8, 1, 2, 4, 8};
constexpr std::size_t kNumTypes = kTypeNames.size();
constexpr char kDTypeKey[] = "dtype";
constexpr char kBF16Text[] = "bf16";

// The library's names for our types: little-endian, which is also the order of
// every processor that this runs on. They exist only once the library runs.
hid_t LibraryType(Hdf5Type type) {
  static const std::array<hid_t, kNumTypes> types = {
      H5T_IEEE_F32LE, H5T_IEEE_F64LE, H5T_STD_U16LE,
      H5T_STD_I32LE,  H5T_STD_I64LE,  H5T_STD_U8LE,
      H5T_STD_U16LE,  H5T_STD_U32LE,  H5T_STD_U64LE};
  return types.at(static_cast<std::size_t>(type));
}

std::vector<hsize_t> Extent(const Shape& shape) {
  return {shape.begin(), shape.end()};
}

hid_t NewSpace(const Shape& shape, bool extendable) {
  const std::vector<hsize_t> now = Extent(shape);
  std::vector<hsize_t> max = now;
  if (extendable) {
    max.at(0) = H5S_UNLIMITED;
  }
  return shape.empty() ? H5Screate(H5S_SCALAR)
                       : H5Screate_simple(static_cast<int>(now.size()),
                                          now.data(), max.data());
}

std::string ShapeText(const Shape& shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
}

}  // namespace

const char* Name(Hdf5Type type) {
  return kTypeNames.at(static_cast<std::size_t>(type));
}
std::int64_t SizeOf(Hdf5Type type) {
  return kTypeSizes.at(static_cast<std::size_t>(type));
}

absl::Status Hdf5File::MakeDataset(const std::string& name,
                                   const Hdf5DatasetInfo& info, Id properties) {
  RETURN_IF_ERROR(MustBeNew(name));
  RETURN_IF_ERROR(MakeParents(name));
  const Hdf5Handle space(NewSpace(info.shape, info.extendable), &H5Sclose);
  Hdf5Handle dataset(
      H5Dcreate2(file_, name.c_str(), LibraryType(info.type), space.id(),
                 H5P_DEFAULT, properties, H5P_DEFAULT),
      &H5Dclose);
  RETURN_IF_ERROR(Check(dataset.id(), "create the dataset", name));
  if (info.type == Hdf5Type::kBF16) {
    RETURN_IF_ERROR(WriteText(name, kDTypeKey, kBF16Text));
  }
  return absl::OkStatus();
}

absl::Status Hdf5File::CreateDataset(const std::string& name, Hdf5Type type,
                                     const Shape& shape) {
  const Hdf5Lock lock;
  const Hdf5Handle properties(H5Pcreate(H5P_DATASET_CREATE), &H5Pclose);
  const herr_t set =
      std::min({H5Pset_obj_track_times(properties.id(), false),
                H5Pset_layout(properties.id(), H5D_CONTIGUOUS),
                H5Pset_alloc_time(properties.id(), H5D_ALLOC_TIME_EARLY),
                H5Pset_fill_time(properties.id(), H5D_FILL_TIME_NEVER)});
  RETURN_IF_ERROR(Check(set, "prepare the dataset", name));
  return MakeDataset(name, {type, shape, false}, properties.id());
}

absl::Status Hdf5File::CreateExtendable(const std::string& name, Hdf5Type type,
                                        const Shape& row_shape,
                                        std::int64_t chunk_rows) {
  const Hdf5Lock lock;
  Shape shape = {chunk_rows};
  shape.insert(shape.end(), row_shape.begin(), row_shape.end());
  CHECK(*std::min_element(shape.begin(), shape.end()) >= 1) << shape;
  const std::vector<hsize_t> chunk = Extent(shape);
  shape.front() = 0;
  const Hdf5Handle properties(H5Pcreate(H5P_DATASET_CREATE), &H5Pclose);
  const herr_t set =
      std::min(H5Pset_obj_track_times(properties.id(), false),
               H5Pset_chunk(properties.id(), static_cast<int>(chunk.size()),
                            chunk.data()));
  RETURN_IF_ERROR(Check(set, "prepare the dataset", name));
  return MakeDataset(name, {type, shape, true}, properties.id());
}

absl::StatusOr<Hdf5DatasetInfo> Hdf5File::ReadInfo(const std::string& name,
                                                   Id dataset) {
  const Hdf5Handle space(H5Dget_space(dataset), &H5Sclose);
  const Hdf5Handle type(H5Dget_type(dataset), &H5Tclose);
  const Hdf5Handle properties(H5Dget_create_plist(dataset), &H5Pclose);
  const int num_dims = H5Sget_simple_extent_ndims(space.id());
  std::vector<hsize_t> dims(static_cast<std::size_t>(std::max(num_dims, 0)));
  RETURN_IF_ERROR(Check(std::min<Id>({num_dims, type.id(), properties.id(),
                                      H5Sget_simple_extent_dims(
                                          space.id(), dims.data(), nullptr)}),
                        "look at the dataset", name));
  Hdf5DatasetInfo info = {
      .type = Hdf5Type::kF32,
      .shape = Shape(dims.begin(), dims.end()),
      .extendable = H5Pget_layout(properties.id()) == H5D_CHUNKED};
  constexpr std::array kStored = {
      Hdf5Type::kF32, Hdf5Type::kF64, Hdf5Type::kI32, Hdf5Type::kI64,
      Hdf5Type::kU8,  Hdf5Type::kU16, Hdf5Type::kU32, Hdf5Type::kU64};
  const auto* const found =
      std::find_if(kStored.begin(), kStored.end(), [&](Hdf5Type stored) {
        return H5Tequal(type.id(), LibraryType(stored)) > 0;
      });
  if (found == kStored.end()) {
    return absl::FailedPreconditionError(
        absl::StrCat(Of(name),
                     " has an element type that is not supported "
                     "(big-endian, a string or a compound)"));
  }
  info.type = *found;
  if (info.type == Hdf5Type::kU16) {
    const auto dtype = ReadText(name, kDTypeKey);
    if (dtype.ok() && *dtype == kBF16Text) {
      info.type = Hdf5Type::kBF16;
    }
  }
  return info;
}

absl::StatusOr<Hdf5File::Dataset*> Hdf5File::Find(const std::string& name) {
  if (const auto at = datasets_.find(name); at != datasets_.end()) {
    return &at->second;
  }
  RETURN_IF_ERROR(MustBeThere(name));
  // Room for two of the largest pieces, so that small appends and reads touch
  // a piece in memory.
  constexpr std::size_t kSlots = 521;
  constexpr std::size_t kCacheBytes = std::size_t{8} << 20U;
  const Hdf5Handle access(H5Pcreate(H5P_DATASET_ACCESS), &H5Pclose);
  H5Pset_chunk_cache(access.id(), kSlots, kCacheBytes, 1.0);
  Hdf5Handle dataset(H5Dopen2(file_, name.c_str(), access.id()), &H5Dclose);
  RETURN_IF_ERROR(Check(dataset.id(), "open the dataset", name));
  ASSIGN_OR_RETURN(Hdf5DatasetInfo info, ReadInfo(name, dataset.id()));
  Shape row = info.shape;
  if (!row.empty()) {
    row.erase(row.begin());
  }
  const std::int64_t row_bytes = NumElements(row) * SizeOf(info.type);
  return &datasets_
              .emplace(name,
                       Dataset{dataset.Release(), std::move(info), row_bytes})
              .first->second;
}

absl::StatusOr<Hdf5File::Dataset*> Hdf5File::FindTyped(const std::string& name,
                                                       Hdf5Type type) {
  ASSIGN_OR_RETURN(Dataset * dataset, Find(name));
  if (dataset->info.type != type) {
    return absl::FailedPreconditionError(
        absl::StrCat(Of(name), " holds ", Name(dataset->info.type), ", but ",
                     Name(type), " was asked for"));
  }
  return dataset;
}

absl::StatusOr<Hdf5DatasetInfo> Hdf5File::Describe(const std::string& name) {
  const Hdf5Lock lock;
  ASSIGN_OR_RETURN(const Dataset* dataset, Find(name));
  return dataset->info;
}

absl::StatusOr<std::int64_t> Hdf5File::DatasetOffset(const std::string& name) {
  const Hdf5Lock lock;
  ASSIGN_OR_RETURN(const Dataset* dataset, Find(name));
  const haddr_t offset = H5Dget_offset(dataset->id);
  if (offset == HADDR_UNDEF) {
    H5Eclear2(H5E_DEFAULT);
    return absl::FailedPreconditionError(
        absl::StrCat(Of(name), " ", ShapeText(dataset->info.shape),
                     " has no place of its own: it is extendable or empty"));
  }
  return static_cast<std::int64_t>(offset);
}

absl::Status Hdf5File::Resize(const std::string& name, Dataset& dataset,
                              std::int64_t num_rows) {
  CHECK(storage_->writable()) << path_ << " is open for reading";
  if (!dataset.info.extendable) {
    return absl::FailedPreconditionError(
        absl::StrCat(Of(name), " ", ShapeText(dataset.info.shape),
                     " has a fixed size: it cannot grow or shrink"));
  }
  Shape shape = dataset.info.shape;
  shape.front() = num_rows;
  RETURN_IF_ERROR(Check(H5Dset_extent(dataset.id, Extent(shape).data()),
                        "set the size of", name));
  dataset.info.shape = std::move(shape);
  return absl::OkStatus();
}

absl::Status Hdf5File::SetNumRows(const std::string& name,
                                  std::int64_t num_rows) {
  const Hdf5Lock lock;
  CHECK(num_rows >= 0) << num_rows;
  ASSIGN_OR_RETURN(Dataset * dataset, Find(name));
  return Resize(name, *dataset, num_rows);
}

absl::Status Hdf5File::Transfer(const std::string& name, const Dataset& dataset,
                                std::int64_t begin, std::size_t num_bytes,
                                const void* from, void* to) {
  if (num_bytes == 0) {
    return absl::OkStatus();
  }
  const Shape& shape = dataset.info.shape;
  CHECK(dataset.row_bytes > 0 &&
        static_cast<std::int64_t>(num_bytes) % dataset.row_bytes == 0)
      << num_bytes << " bytes are no rows of " << shape;
  const std::int64_t num_rows =
      static_cast<std::int64_t>(num_bytes) / dataset.row_bytes;
  const std::int64_t there = shape.empty() ? 1 : shape.front();
  if (begin < 0 || num_rows > there || begin > there - num_rows) {
    return absl::OutOfRangeError(
        absl::StrCat(Of(name), " has ", there, " rows; rows [", begin, ", ",
                     begin + num_rows, ") were asked for"));
  }
  const Hdf5Handle file_space(H5Dget_space(dataset.id), &H5Sclose);
  const hsize_t num_elements =
      num_bytes / static_cast<hsize_t>(SizeOf(dataset.info.type));
  const Hdf5Handle memory_space(H5Screate_simple(1, &num_elements, nullptr),
                                &H5Sclose);
  if (!shape.empty()) {
    std::vector<hsize_t> start(shape.size());
    start.front() = static_cast<hsize_t>(begin);
    std::vector<hsize_t> count = Extent(shape);
    count.front() = static_cast<hsize_t>(num_rows);
    RETURN_IF_ERROR(
        Check(H5Sselect_hyperslab(file_space.id(), H5S_SELECT_SET, start.data(),
                                  nullptr, count.data(), nullptr),
              "select rows of", name));
  }
  const hid_t type = LibraryType(dataset.info.type);
  const herr_t done = to != nullptr
                          ? H5Dread(dataset.id, type, memory_space.id(),
                                    file_space.id(), H5P_DEFAULT, to)
                          : H5Dwrite(dataset.id, type, memory_space.id(),
                                     file_space.id(), H5P_DEFAULT, from);
  return Check(done, to != nullptr ? "read" : "write", name);
}

absl::Status Hdf5File::AppendRaw(const std::string& name, Hdf5Type type,
                                 Bytes rows) {
  const Hdf5Lock lock;
  ASSIGN_OR_RETURN(Dataset * dataset, FindTyped(name, type));
  const std::int64_t begin =
      dataset->info.shape.empty() ? 0 : dataset->info.shape.front();
  RETURN_IF_ERROR(Resize(
      name, *dataset,
      begin + static_cast<std::int64_t>(rows.size()) / dataset->row_bytes));
  return Transfer(name, *dataset, begin, rows.size(), rows.data(), nullptr);
}

absl::Status Hdf5File::WriteRaw(const std::string& name, Hdf5Type type,
                                std::int64_t begin, Bytes rows) {
  const Hdf5Lock lock;
  CHECK(storage_->writable()) << path_ << " is open for reading";
  ASSIGN_OR_RETURN(const Dataset* dataset, FindTyped(name, type));
  return Transfer(name, *dataset, begin, rows.size(), rows.data(), nullptr);
}

absl::Status Hdf5File::ReadRaw(const std::string& name, Hdf5Type type,
                               std::int64_t begin, std::span<std::byte> rows) {
  const Hdf5Lock lock;
  ASSIGN_OR_RETURN(const Dataset* dataset, FindTyped(name, type));
  return Transfer(name, *dataset, begin, rows.size(), nullptr, rows.data());
}
}  // namespace rtpurbo
