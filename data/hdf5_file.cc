#include "data/hdf5_file.h"

#include <hdf5.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "data/hdf5_driver.h"
#include "data/hdf5_library.h"
#include "kernels/core/check.h"
#include "kernels/core/status_macros.h"

namespace rtpurbo {

using internal::Hdf5Error;
using internal::Hdf5Handle;
using internal::Hdf5Lock;
using internal::Hdf5PathOf;

Hdf5File::Hdf5File(std::string path, std::unique_ptr<Hdf5Storage> storage)
    : path_(std::move(path)), storage_(std::move(storage)) {}

Hdf5File::~Hdf5File() {
  if (storage_ != nullptr) {
    const Hdf5Lock lock;
    CloseLibraryFile().IgnoreError();
  }
}

absl::Status Hdf5File::Failure(absl::string_view what,
                               absl::string_view object) {
  const std::string why = Hdf5Error();
  RETURN_IF_ERROR(storage_->status());
  return {created_ ? absl::StatusCode::kInternal : absl::StatusCode::kDataLoss,
          absl::StrCat("cannot ", what, " ", Of(object), ": ", why,
                       created_ ? ""
                                : "; it is not an HDF5 file, was not "
                                  "closed by its writer, or is damaged: "
                                  "copy or make it again")};
}

// "tokens of prepare/tokens.h5", for messages.
std::string Hdf5File::Of(absl::string_view object) const {
  return object.empty() ? path_ : absl::StrCat(object, " of ", path_);
}

absl::Status Hdf5File::Check(Id result, absl::string_view what,
                             absl::string_view object) {
  RETURN_IF_ERROR(storage_->status());
  return result < 0 ? Failure(what, object) : absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Hdf5File>> Hdf5File::Create(
    FileSystem& files, const std::string& path) {
  ASSIGN_OR_RETURN(auto storage,
                   Hdf5Storage::OpenForWrite(files, path, WriteMode::kCreate));
  return Open(path, std::move(storage), true);
}

absl::StatusOr<std::unique_ptr<Hdf5File>> Hdf5File::OpenForRead(
    FileSystem& files, const std::string& path) {
  ASSIGN_OR_RETURN(auto storage, Hdf5Storage::OpenForRead(files, path));
  return Open(path, std::move(storage), false);
}

absl::StatusOr<std::unique_ptr<Hdf5File>> Hdf5File::OpenForWrite(
    FileSystem& files, const std::string& path) {
  ASSIGN_OR_RETURN(auto storage, Hdf5Storage::OpenForWrite(
                                     files, path, WriteMode::kExisting));
  return Open(path, std::move(storage), false);
}

absl::StatusOr<std::unique_ptr<Hdf5File>> Hdf5File::Open(
    const std::string& path, std::unique_ptr<Hdf5Storage> storage,
    bool create) {
  const bool writable = storage->writable();
  std::unique_ptr<Hdf5File> file(new Hdf5File(path, std::move(storage)));
  file->created_ = create;
  const Hdf5Lock lock;
  const Hdf5Handle access(NewHdf5FileAccess(file->storage_.get()), &H5Pclose);
  const Hdf5Handle creation(H5Pcreate(H5P_FILE_CREATE), &H5Pclose);
  // No times in the root group, so that the same calls give the same bytes.
  RETURN_IF_ERROR(file->Check(
      std::min<Id>(access.id(), H5Pset_obj_track_times(creation.id(), false)),
      "prepare", ""));
  file->file_ =
      create
          ? H5Fcreate(path.c_str(), H5F_ACC_TRUNC, creation.id(), access.id())
          : H5Fopen(path.c_str(), writable ? H5F_ACC_RDWR : H5F_ACC_RDONLY,
                    access.id());
  RETURN_IF_ERROR(file->Check(file->file_, create ? "create" : "open", ""));
  return file;
}

absl::Status Hdf5File::CloseLibraryFile() {
  for (const auto& [name, dataset] : datasets_) {
    H5Dclose(dataset.id);
  }
  datasets_.clear();
  const herr_t result = file_ < 0 ? 0 : H5Fclose(std::exchange(file_, -1));
  absl::Status status = Check(result, "close", "");
  if (result < 0) {  // the library still holds the file, and so what it lies in
    status.Update(storage_.release()->Close());
  }
  return status;
}

absl::Status Hdf5File::Close() {
  const Hdf5Lock lock;
  absl::Status status = CloseLibraryFile();
  if (storage_ != nullptr) {
    status.Update(storage_->Close());
    storage_ = nullptr;
  }
  return status;
}

absl::Status Hdf5File::Flush() {
  const Hdf5Lock lock;
  return Check(H5Fflush(file_, H5F_SCOPE_GLOBAL), "write", "");
}

absl::StatusOr<bool> Hdf5File::IsThere(const std::string& name) {
  // The library wants each part of the path asked for in turn.
  for (std::size_t end = 0; end < name.size();) {
    end = std::min(name.find('/', end + 1), name.size());
    const htri_t found =
        H5Lexists(file_, name.substr(0, end).c_str(), H5P_DEFAULT);
    RETURN_IF_ERROR(Check(found, "look for", name));
    if (found == 0) {
      return false;
    }
  }
  return true;
}

absl::Status Hdf5File::MustBeThere(const std::string& name) {
  ASSIGN_OR_RETURN(const bool there, IsThere(name));
  if (!there) {
    return absl::NotFoundError(
        absl::StrCat(path_, " has no '", name,
                     "'; it is not the file that was meant, or "
                     "of another version: make it again"));
  }
  return absl::OkStatus();
}

absl::Status Hdf5File::MustBeNew(const std::string& name) {
  CHECK(storage_->writable()) << path_ << " is open for reading";
  CHECK(!name.empty()) << path_;
  ASSIGN_OR_RETURN(const bool there, IsThere(name));
  return there ? absl::AlreadyExistsError(
                     absl::StrCat(path_, " already has a '", name, "'"))
               : absl::OkStatus();
}

absl::StatusOr<bool> Hdf5File::Exists(const std::string& name) {
  const Hdf5Lock lock;
  return IsThere(name);
}

absl::StatusOr<std::vector<std::string>> Hdf5File::List(
    const std::string& group) {
  const Hdf5Lock lock;
  RETURN_IF_ERROR(MustBeThere(group));
  const Hdf5Handle object(H5Gopen2(file_, Hdf5PathOf(group), H5P_DEFAULT),
                          &H5Gclose);
  std::vector<std::string> names;
  hsize_t index = 0;
  const auto keep = [](hid_t /*group*/, const char* name,
                       const H5L_info_t* /*info*/, void* to) {
    static_cast<std::vector<std::string>*>(to)->emplace_back(name);
    return herr_t{0};
  };
  RETURN_IF_ERROR(Check(object.id(), "open the group", group));
  RETURN_IF_ERROR(Check(
      H5Literate(object.id(), H5_INDEX_NAME, H5_ITER_INC, &index, keep, &names),
      "list", group));
  std::sort(names.begin(), names.end());
  return names;
}

absl::Status Hdf5File::MakeGroup(const std::string& name) {
  const Hdf5Handle creation(H5Pcreate(H5P_GROUP_CREATE), &H5Pclose);
  H5Pset_obj_track_times(creation.id(), false);
  const Hdf5Handle group(
      H5Gcreate2(file_, name.c_str(), H5P_DEFAULT, creation.id(), H5P_DEFAULT),
      &H5Gclose);
  return Check(group.id(), "create the group", name);
}

absl::Status Hdf5File::MakeParents(const std::string& name) {
  // Not by the library's own option: the groups that it makes hold times.
  for (std::size_t end = name.find('/'); end != std::string::npos;
       end = name.find('/', end + 1)) {
    const std::string parent = name.substr(0, end);
    ASSIGN_OR_RETURN(const bool there, IsThere(parent));
    if (!there) {
      RETURN_IF_ERROR(MakeGroup(parent));
    }
  }
  return absl::OkStatus();
}

absl::Status Hdf5File::CreateGroup(const std::string& name) {
  const Hdf5Lock lock;
  RETURN_IF_ERROR(MustBeNew(name));
  RETURN_IF_ERROR(MakeParents(name));
  return MakeGroup(name);
}

absl::Status Hdf5File::SetAttribute(const std::string& object,
                                    const std::string& key, Id file_type,
                                    Id memory_type, const void* value) {
  CHECK(storage_->writable()) << path_ << " is open for reading";
  RETURN_IF_ERROR(MustBeThere(object));
  const std::string what = absl::StrCat("set the attribute ", key, " of");
  const Hdf5Handle owner(H5Oopen(file_, Hdf5PathOf(object), H5P_DEFAULT),
                         &H5Oclose);
  RETURN_IF_ERROR(Check(owner.id(), what, object));
  const htri_t there = H5Aexists(owner.id(), key.c_str());
  RETURN_IF_ERROR(Check(there, what, object));
  if (there > 0) {
    RETURN_IF_ERROR(Check(H5Adelete(owner.id(), key.c_str()), what, object));
  }
  const Hdf5Handle space(H5Screate(H5S_SCALAR), &H5Sclose);
  const Hdf5Handle attribute(H5Acreate2(owner.id(), key.c_str(), file_type,
                                        space.id(), H5P_DEFAULT, H5P_DEFAULT),
                             &H5Aclose);
  RETURN_IF_ERROR(Check(attribute.id(), what, object));
  return Check(H5Awrite(attribute.id(), memory_type, value), what, object);
}

absl::Status Hdf5File::WriteText(const std::string& object,
                                 const std::string& key,
                                 absl::string_view text) {
  // A fixed length with a final zero: texts of variable length would lie in a
  // heap without checksum.
  const std::string value(text);
  const Hdf5Handle type(H5Tcopy(H5T_C_S1), &H5Tclose);
  const herr_t set = std::min(H5Tset_size(type.id(), value.size() + 1),
                              H5Tset_cset(type.id(), H5T_CSET_UTF8));
  RETURN_IF_ERROR(Check(set, "prepare a text for", object));
  return SetAttribute(object, key, type.id(), type.id(), value.c_str());
}

absl::StatusOr<Hdf5File::Id> Hdf5File::OpenAttribute(const std::string& object,
                                                     const std::string& key) {
  RETURN_IF_ERROR(MustBeThere(object));
  const char* const owner = Hdf5PathOf(object);
  const std::string what = absl::StrCat("read the attribute ", key, " of");
  const htri_t there =
      H5Aexists_by_name(file_, owner, key.c_str(), H5P_DEFAULT);
  RETURN_IF_ERROR(Check(there, what, object));
  if (there == 0) {
    return absl::NotFoundError(absl::StrCat(
        Of(object), " has no attribute '", key,
        "'; it is not the file that was meant, or of another version: make it "
        "again"));
  }
  const Id attribute =
      H5Aopen_by_name(file_, owner, key.c_str(), H5P_DEFAULT, H5P_DEFAULT);
  RETURN_IF_ERROR(Check(attribute, what, object));
  return attribute;
}

absl::StatusOr<std::string> Hdf5File::ReadText(const std::string& object,
                                               const std::string& key) {
  ASSIGN_OR_RETURN(const Id id, OpenAttribute(object, key));
  const Hdf5Handle attribute(id, &H5Aclose);
  const Hdf5Handle type(H5Aget_type(id), &H5Tclose);
  const Hdf5Handle space(H5Aget_space(id), &H5Sclose);
  if (H5Tget_class(type.id()) != H5T_STRING ||
      H5Tis_variable_str(type.id()) != 0 ||
      H5Sget_simple_extent_npoints(space.id()) != 1) {
    H5Eclear2(H5E_DEFAULT);
    return absl::FailedPreconditionError(
        absl::StrCat("the attribute ", key, " of ", Of(object),
                     " is not one text of fixed length"));
  }
  std::string text(H5Tget_size(type.id()), '\0');
  RETURN_IF_ERROR(
      Check(H5Aread(id, type.id(), text.data()), "read the text of", object));
  if (H5Tget_strpad(type.id()) == H5T_STR_NULLTERM && !text.empty()) {
    text.pop_back();
  }
  return text;
}

absl::Status Hdf5File::ReadNumber(const std::string& object,
                                  const std::string& key, bool is_integer,
                                  void* value) {
  ASSIGN_OR_RETURN(const Id id, OpenAttribute(object, key));
  const Hdf5Handle attribute(id, &H5Aclose);
  const Hdf5Handle type(H5Aget_type(id), &H5Tclose);
  const Hdf5Handle space(H5Aget_space(id), &H5Sclose);
  if (H5Tget_class(type.id()) != (is_integer ? H5T_INTEGER : H5T_FLOAT) ||
      H5Sget_simple_extent_npoints(space.id()) != 1) {
    H5Eclear2(H5E_DEFAULT);
    return absl::FailedPreconditionError(
        absl::StrCat("the attribute ", key, " of ", Of(object), " is not one ",
                     is_integer ? "integer" : "floating-point number"));
  }
  return Check(
      H5Aread(id, is_integer ? H5T_NATIVE_INT64 : H5T_NATIVE_DOUBLE, value),
      "read the number of", object);
}

absl::Status Hdf5File::SetText(const std::string& object,
                               const std::string& key, absl::string_view text) {
  const Hdf5Lock lock;
  return WriteText(object, key, text);
}

absl::Status Hdf5File::SetInt(const std::string& object, const std::string& key,
                              std::int64_t value) {
  const Hdf5Lock lock;
  return SetAttribute(object, key, H5T_STD_I64LE, H5T_NATIVE_INT64, &value);
}

absl::Status Hdf5File::SetDouble(const std::string& object,
                                 const std::string& key, double value) {
  const Hdf5Lock lock;
  return SetAttribute(object, key, H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, &value);
}

absl::StatusOr<std::string> Hdf5File::Text(const std::string& object,
                                           const std::string& key) {
  const Hdf5Lock lock;
  return ReadText(object, key);
}

absl::StatusOr<std::int64_t> Hdf5File::Int(const std::string& object,
                                           const std::string& key) {
  const Hdf5Lock lock;
  std::int64_t value = 0;
  RETURN_IF_ERROR(ReadNumber(object, key, true, &value));
  return value;
}

absl::StatusOr<double> Hdf5File::Double(const std::string& object,
                                        const std::string& key) {
  const Hdf5Lock lock;
  double value = 0;
  RETURN_IF_ERROR(ReadNumber(object, key, false, &value));
  return value;
}

}  // namespace rtpurbo
