#include "data/checkpoint.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "data/checkpoint_layout.h"
#include "data/digest.h"
#include "data/hdf5_file.h"
#include "data/manifest.h"
#include "kernels/core/check.h"
#include "kernels/core/interval.h"
#include "kernels/core/status_macros.h"

namespace rtpurbo {
namespace {

Hdf5Type StoredType(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return Hdf5Type::kF32;
    case DType::kBF16:
      return Hdf5Type::kBF16;
    case DType::kI32:
      return Hdf5Type::kI32;
  }
  CHECK(false) << "no such type";
  return Hdf5Type::kF32;
}

std::string ShapeText(const Shape& shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
}

std::string DatasetName(const TensorPart& part) {
  const bool is_whole =
      part.begin == 0 && part.end == NumElements(part.global_shape);
  return is_whole ? part.name : absl::StrCat(part.name, "@", part.begin);
}

void CheckPart(const TensorPart& part) {
  CHECK(part.begin >= 0 && part.begin <= part.end &&
        part.end <= NumElements(part.global_shape))
      << part.name << " [" << part.begin << ", " << part.end << ") of "
      << part.global_shape;
  CHECK(part.local.defined() && part.local.size() == part.end - part.begin)
      << part.name << " holds " << part.local.shape() << ", not [" << part.begin
      << ", " << part.end << ')';
}

Bytes LocalBytes(const TensorPart& part) {
  return {part.local.bytes(), static_cast<std::size_t>(part.local.num_bytes())};
}

// Makes the file with a place for each part, and notes the places.
absl::Status MakeDatasets(FileSystem& files, const std::string& path,
                          std::span<const TensorPart> parts,
                          CheckpointFile* record) {
  ASSIGN_OR_RETURN(const auto file, Hdf5File::Create(files, path));
  for (const TensorPart& part : parts) {
    CheckPart(part);
    CheckpointPart* const noted = record->add_parts();
    noted->set_name(part.name);
    noted->set_dtype(Name(part.local.dtype()));
    noted->mutable_shape()->Assign(part.global_shape.begin(),
                                   part.global_shape.end());
    noted->set_begin(part.begin);
    noted->set_end(part.end);
    if (part.begin == part.end) {
      continue;
    }
    const std::string name = DatasetName(part);
    const bool is_whole = name == part.name;
    RETURN_IF_ERROR(file->CreateDataset(
        name, StoredType(part.local.dtype()),
        is_whole ? part.global_shape : Shape{part.end - part.begin}));
    if (!is_whole) {
      RETURN_IF_ERROR(file->SetInt(name, "begin", part.begin));
      RETURN_IF_ERROR(
          file->SetText(name, "shape", ShapeText(part.global_shape)));
    }
    ASSIGN_OR_RETURN(const std::int64_t offset, file->DatasetOffset(name));
    noted->set_offset(offset);
  }
  return file->Close();
}

// Writes the bytes of the parts to their places and syncs; then takes the size
// and check sums of what is in the file.
absl::Status FillDatasets(FileSystem& files, const std::string& path,
                          std::span<const TensorPart> parts,
                          CheckpointFile* record) {
  ASSIGN_OR_RETURN(const auto file,
                   files.OpenForWrite(path, WriteMode::kExisting));
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (parts[i].begin != parts[i].end) {
      RETURN_IF_ERROR(file->WriteAt(record->parts(static_cast<int>(i)).offset(),
                                    LocalBytes(parts[i])));
    }
  }
  RETURN_IF_ERROR(file->Sync());
  ASSIGN_OR_RETURN(const std::int64_t size, file->Size());
  record->set_size(size);
  RETURN_IF_ERROR(ForEachBlock(
      [&](std::int64_t offset, std::span<std::byte> out) {
        return file->ReadAt(offset, out);
      },
      size, kBlockBytes, [](std::int64_t) { return true; },
      [&](std::int64_t, std::int64_t, Bytes bytes) {
        record->add_crc32c(Crc32c(bytes));
        return absl::OkStatus();
      }));
  return file->Close();
}

absl::Status CheckSizes(FileSystem& files, const std::string& dir,
                        const Manifest& manifest) {
  for (const CheckpointFile& file : manifest.files()) {
    const std::string path = JoinPath(dir, file.name());
    const absl::StatusOr<std::int64_t> size = files.Size(path);
    if (absl::IsNotFound(size.status())) {
      return absl::DataLossError(absl::StrCat(
          path, " of the checkpoint is not there; use another checkpoint"));
    }
    RETURN_IF_ERROR(size.status());
    if (*size != file.size()) {
      return absl::DataLossError(
          absl::StrCat(path, " has ", *size, " bytes, but ", file.size(),
                       " were written; use another checkpoint"));
    }
  }
  return absl::OkStatus();
}

// A piece of a file that goes to memory.
struct Piece {
  Interval bytes;  // of the file
  std::byte* to;
};

// Reads the blocks of one file that hold the pieces, checks and copies them.
// All blocks if `everything`.
absl::Status ReadBlocks(FileSystem& files, const std::string& dir,
                        const CheckpointFile& record, std::int64_t block_bytes,
                        const std::vector<Piece>& pieces, bool everything) {
  const std::string path = JoinPath(dir, record.name());
  ASSIGN_OR_RETURN(const auto file, files.OpenForRead(path));
  std::vector<bool> wanted(
      static_cast<std::size_t>(NumBlocks(record.size(), block_bytes)),
      everything);
  for (const Piece& piece : pieces) {
    const auto first = piece.bytes.begin / block_bytes;
    const auto end = NumBlocks(piece.bytes.end, block_bytes);
    std::fill(wanted.begin() + first, wanted.begin() + end, true);
  }
  return ForEachBlock(
      [&](std::int64_t offset, std::span<std::byte> out) {
        return file->ReadAt(offset, out);
      },
      record.size(), block_bytes,
      [&](std::int64_t i) { return wanted[static_cast<std::size_t>(i)]; },
      [&](std::int64_t i, std::int64_t begin, Bytes bytes) -> absl::Status {
        if (Crc32c(bytes) != record.crc32c(static_cast<int>(i))) {
          return absl::DataLossError(absl::StrCat(
              path, ": bytes [", begin, ", ", begin + std::ssize(bytes),
              ") are not what was written (check sum); use another "
              "checkpoint"));
        }
        for (const Piece& piece : pieces) {
          const Interval common =
              Intersect(piece.bytes, {begin, begin + std::ssize(bytes)});
          if (!common.empty()) {
            std::memcpy(piece.to + (common.begin - piece.bytes.begin),
                        bytes.data() + (common.begin - begin),
                        static_cast<std::size_t>(common.size()));
          }
        }
        return absl::OkStatus();
      });
}

// Whether `wanted` can be filled from the tensor of which `stored` is a part.
absl::Status CheckFits(const TensorPart& wanted, const CheckpointPart& stored,
                       const std::string& dir) {
  const Shape shape(stored.shape().begin(), stored.shape().end());
  const absl::string_view dtype = Name(wanted.local.dtype());
  if (shape != wanted.global_shape || stored.dtype() != dtype) {
    return absl::FailedPreconditionError(
        absl::StrCat(dir, ": tensor '", wanted.name, "' is ", stored.dtype(),
                     " ", ShapeText(shape), " there, but ", dtype, " ",
                     ShapeText(wanted.global_shape),
                     " is needed; the checkpoint is of another model"));
  }
  return absl::OkStatus();
}

// Bytes of `stored` that `wanted` needs, and where they go.
std::optional<Piece> PieceFor(const TensorPart& wanted,
                              const CheckpointPart& stored) {
  const Interval common =
      Intersect({wanted.begin, wanted.end}, {stored.begin(), stored.end()});
  if (common.empty()) {
    return std::nullopt;
  }
  const std::int64_t size = SizeOf(wanted.local.dtype());
  const std::int64_t begin =
      stored.offset() + (common.begin - stored.begin()) * size;
  return Piece{{begin, begin + common.size() * size},
               wanted.local.bytes() + (common.begin - wanted.begin) * size};
}

using PartsByName = std::multimap<std::string, const TensorPart*>;

// Adds what `wanted` needs of `stored`, a part in the checkpoint `dir`.
absl::Status AddPieces(const PartsByName& wanted, const CheckpointPart& stored,
                       const std::string& dir, std::vector<Piece>* pieces) {
  const auto [first, last] = wanted.equal_range(stored.name());
  for (auto at = first; at != last; ++at) {
    RETURN_IF_ERROR(CheckFits(*at->second, stored, dir));
    if (const auto piece = PieceFor(*at->second, stored)) {
      pieces->push_back(*piece);
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status PrepareCheckpoint(FileSystem& files, const std::string& root,
                               std::int64_t step, std::int64_t incarnation) {
  const std::string dir = internal::TemporaryDir(root, step, incarnation);
  RETURN_IF_ERROR(files.CreateDirectories(root));
  RETURN_IF_ERROR(files.RemoveTree(dir));
  return files.CreateDirectories(dir);
}

absl::StatusOr<CheckpointFile> WriteCheckpointFile(
    FileSystem& files, const std::string& root, std::int64_t step, int rank,
    std::span<const TensorPart> parts, std::int64_t incarnation) {
  CheckpointFile record;
  record.set_name(absl::StrCat("rank_", rank, ".h5"));
  const std::string path =
      JoinPath(internal::TemporaryDir(root, step, incarnation), record.name());
  RETURN_IF_ERROR(MakeDatasets(files, path, parts, &record));
  RETURN_IF_ERROR(FillDatasets(files, path, parts, &record));
  return record;
}

absl::Status CommitCheckpoint(FileSystem& files, const std::string& root,
                              const CheckpointContents& contents) {
  Manifest manifest;
  manifest.set_version(kManifestVersion);
  manifest.set_step(contents.step);
  manifest.set_block_bytes(kBlockBytes);
  manifest.set_config(contents.config);
  for (const auto& [key, value] : contents.state) {
    ManifestEntry* const entry = manifest.add_state();
    entry->set_key(key);
    entry->set_value(value);
  }
  for (const CheckpointFile& file : contents.files) {
    *manifest.add_files() = file;
  }
  const std::string dir =
      internal::TemporaryDir(root, contents.step, contents.incarnation);
  RETURN_IF_ERROR(CheckPartsCover(manifest));
  RETURN_IF_ERROR(CheckSizes(files, dir, manifest));
  RETURN_IF_ERROR(files.WriteFileAtomically(JoinPath(dir, kManifestName),
                                            FormatManifest(manifest)));
  // From here on the folder is whole, and only needs its name.
  const std::string name = internal::CommittedDir(root, contents.step);
  const std::string replaced = internal::ReplacedDir(root, contents.step);
  ASSIGN_OR_RETURN(const bool there, files.Exists(name));
  if (there) {
    RETURN_IF_ERROR(files.RemoveTree(replaced));
    RETURN_IF_ERROR(files.Rename(name, replaced));
  }
  RETURN_IF_ERROR(files.Rename(dir, name));
  RETURN_IF_ERROR(files.SyncDirectory(root));
  return there ? files.RemoveTree(replaced) : absl::OkStatus();
}

absl::StatusOr<Checkpoint> Checkpoint::Open(FileSystem& files,
                                            const std::string& dir) {
  ASSIGN_OR_RETURN(Manifest manifest, ReadManifest(files, dir));
  RETURN_IF_ERROR(CheckSizes(files, dir, manifest));
  return Checkpoint(files, dir, std::move(manifest));
}

absl::StatusOr<std::string> Checkpoint::State(const std::string& key) const {
  for (const ManifestEntry& entry : manifest_.state()) {
    if (entry.key() == key) {
      return entry.value();
    }
  }
  return absl::NotFoundError(
      absl::StrCat(dir_, "/", kManifestName, " has no state '", key,
                   "'; it was written by another program or stage"));
}

std::map<std::string, Shape> Checkpoint::Tensors() const {
  std::map<std::string, Shape> tensors;
  for (const CheckpointFile& file : manifest_.files()) {
    for (const CheckpointPart& part : file.parts()) {
      tensors[part.name()] = {part.shape().begin(), part.shape().end()};
    }
  }
  return tensors;
}

absl::Status Checkpoint::Load(std::span<const TensorPart> parts) const {
  PartsByName wanted;
  for (const TensorPart& part : parts) {
    CheckPart(part);
    wanted.emplace(part.name, &part);
  }
  std::vector<std::vector<Piece>> pieces(
      static_cast<std::size_t>(manifest_.files_size()));
  std::set<std::string> found;
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    for (const CheckpointPart& stored :
         manifest_.files(static_cast<int>(i)).parts()) {
      found.insert(stored.name());
      RETURN_IF_ERROR(AddPieces(wanted, stored, dir_, &pieces[i]));
    }
  }
  for (const TensorPart& part : parts) {
    if (!found.contains(part.name)) {
      return absl::NotFoundError(
          absl::StrCat(dir_, " has no tensor '", part.name,
                       "'; the checkpoint is of another model or stage"));
    }
  }
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    if (!pieces[i].empty()) {
      RETURN_IF_ERROR(ReadBlocks(*files_, dir_,
                                 manifest_.files(static_cast<int>(i)),
                                 manifest_.block_bytes(), pieces[i], false));
    }
  }
  return absl::OkStatus();
}

absl::Status Checkpoint::Verify() const {
  for (const CheckpointFile& file : manifest_.files()) {
    RETURN_IF_ERROR(
        ReadBlocks(*files_, dir_, file, manifest_.block_bytes(), {}, true));
  }
  return absl::OkStatus();
}

absl::Status VerifyCheckpoint(FileSystem& files, const std::string& dir) {
  ASSIGN_OR_RETURN(const Checkpoint checkpoint, Checkpoint::Open(files, dir));
  return checkpoint.Verify();
}

}  // namespace rtpurbo
