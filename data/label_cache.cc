#include "data/label_cache.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <span>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "data/digest.h"
#include "kernels/core/check.h"
#include "kernels/core/status_macros.h"

namespace rtpurbo {
namespace {

static_assert(std::endian::native == std::endian::little);

constexpr const char* kFormat = "rtpurbo labels";
constexpr std::int64_t kVersion = 1;
constexpr std::int64_t kRowBytes = kTopLabels * 8 + 4;
constexpr std::int64_t kRecordHeadBytes = 16;  // index and number of rows
constexpr std::int64_t kCrcBytes = 4;

template <typename T>
void Put(T value, std::string* bytes) {
  bytes->append(reinterpret_cast<const char*>(&value), sizeof(T));
}

template <typename T>
void PutAll(const std::vector<T>& values, std::string* bytes) {
  bytes->append(reinterpret_cast<const char*>(values.data()),
                values.size() * sizeof(T));
}

// Takes a T, or count of them, off the front. REQUIRES: they are there.
template <typename T>
T Take(absl::string_view* bytes) {
  T value;
  std::memcpy(&value, bytes->data(), sizeof(T));
  bytes->remove_prefix(sizeof(T));
  return value;
}

template <typename T>
std::vector<T> TakeAll(std::int64_t count, absl::string_view* bytes) {
  std::vector<T> values(static_cast<std::size_t>(count));
  std::memcpy(values.data(), bytes->data(), values.size() * sizeof(T));
  bytes->remove_prefix(values.size() * sizeof(T));
  return values;
}

std::array<std::pair<const char*, const std::string*>, 3> Named(
    const LabelFingerprints& fingerprints) {
  return {{{"weights", &fingerprints.weights},
           {"config", &fingerprints.config},
           {"stream", &fingerprints.stream}}};
}

// How a journal opens: the format, then name and value of each fingerprint, a
// line each.
std::string JournalHead(const LabelFingerprints& fingerprints) {
  std::string head = absl::StrCat(kFormat, " ", kVersion, "\n");
  for (const auto& [name, value] : Named(fingerprints)) {
    absl::StrAppend(&head, name, " ", *value, "\n");
  }
  return head;
}

absl::Status Mismatch(absl::string_view path, absl::string_view name,
                      absl::string_view found, absl::string_view expected) {
  return absl::FailedPreconditionError(absl::StrCat(
      "cannot use the labels in ", path, ": their ", name, " fingerprint is ",
      found, ", but the ", name, " of this run have ", expected,
      "; remove the file to make them again, or go back to what they are of"));
}

std::int64_t RecordBytes(std::int64_t num_rows) {
  return kRecordHeadBytes + num_rows * kRowBytes + kCrcBytes;
}

// Fills `bytes` from a place of the file on.
absl::Status ReadBytes(const WritableFile& file, std::int64_t offset,
                       std::string* bytes) {
  return file.ReadAt(offset, std::as_writable_bytes(std::span(*bytes)));
}

// Why a journal does not open as `head` does.
absl::Status ExplainHead(const std::string& path, absl::string_view found,
                         const LabelFingerprints& expected) {
  const auto next_line = [&found]() {
    const absl::string_view line = found.substr(0, found.find('\n'));
    found.remove_prefix(std::min(line.size() + 1, found.size()));
    return line;
  };
  const absl::string_view format = next_line();
  if (format == absl::StrCat(kFormat, " ", kVersion)) {
    for (const auto& [name, value] : Named(expected)) {
      absl::string_view line = next_line();
      if (!absl::ConsumePrefix(&line, absl::StrCat(name, " "))) {
        break;
      }
      if (line != *value) {
        return Mismatch(path, name, line, *value);
      }
    }
  }
  return absl::DataLossError(absl::StrCat(
      "cannot continue ", path, ": it does not begin as a journal of labels ",
      "of version ", kVersion, "; remove it to make the labels again"));
}

}  // namespace

// A record of the journal without its CRC.
std::string EncodeLabels(const Labels& labels) {
  std::string bytes;
  Put(labels.index, &bytes);
  Put(labels.num_rows(), &bytes);
  PutAll(labels.ids_LK, &bytes);
  PutAll(labels.logits_LK, &bytes);
  PutAll(labels.lse_L, &bytes);
  return bytes;
}

Labels DecodeLabels(absl::string_view bytes) {
  Labels labels;
  labels.index = Take<std::int64_t>(&bytes);
  const auto num_rows = Take<std::int64_t>(&bytes);
  labels.ids_LK = TakeAll<std::uint32_t>(num_rows * kTopLabels, &bytes);
  labels.logits_LK = TakeAll<float>(num_rows * kTopLabels, &bytes);
  labels.lse_L = TakeAll<float>(num_rows, &bytes);
  return labels;
}

absl::StatusOr<std::unique_ptr<LabelCacheWriter>> LabelCacheWriter::Open(
    FileSystem& files, const std::string& path,
    const LabelFingerprints& fingerprints) {
  for (const auto& [name, value] : Named(fingerprints)) {
    CHECK(!absl::StrContains(*value, "\n")) << name;
  }
  std::unique_ptr<LabelCacheWriter> writer(
      new LabelCacheWriter(files, path, fingerprints));
  RETURN_IF_ERROR(writer->Start());
  return writer;
}

absl::Status LabelCacheWriter::Start() {
  ASSIGN_OR_RETURN(journal_,
                   files_.OpenForWrite(JournalPath(), WriteMode::kAppend));
  ASSIGN_OR_RETURN(size_, journal_->Size());
  const std::string head = JournalHead(fingerprints_);
  const auto head_size = static_cast<std::int64_t>(head.size());
  // A head is short: a longer one of other fingerprints is seen well enough.
  std::string found(static_cast<std::size_t>(std::min(size_, head_size)), ' ');
  RETURN_IF_ERROR(ReadBytes(*journal_, 0, &found));
  if (found == head) {
    return FindRecords(head_size);
  }
  if (!absl::StartsWith(head, found)) {
    return ExplainHead(JournalPath(), found, fingerprints_);
  }
  RETURN_IF_ERROR(journal_->Truncate(0));  // cut off before the first record
  RETURN_IF_ERROR(journal_->WriteAt(0, AsBytes(head)));
  size_ = head_size;
  return absl::OkStatus();
}

absl::Status LabelCacheWriter::FindRecords(std::int64_t begin) {
  std::int64_t offset = begin;
  while (size_ - offset >= RecordBytes(1)) {
    std::array<std::int64_t, 2> head{};
    RETURN_IF_ERROR(
        journal_->ReadAt(offset, std::as_writable_bytes(std::span(head))));
    const auto [index, num_rows] = head;
    if (num_rows < 1 || num_rows > size_ / kRowBytes ||
        RecordBytes(num_rows) > size_ - offset) {
      break;
    }
    std::string bytes;
    const absl::Status read = ReadRecord(offset, num_rows, &bytes);
    if (absl::IsDataLoss(read) || record_of_index_.contains(index)) {
      break;
    }
    RETURN_IF_ERROR(read);
    record_of_index_[index] = num_records();
    records_.push_back({index, offset, num_rows});
    offset += RecordBytes(num_rows);
  }
  if (offset != size_) {
    RETURN_IF_ERROR(journal_->Truncate(offset));
    size_ = offset;
  }
  return absl::OkStatus();
}

absl::Status LabelCacheWriter::ReadRecord(std::int64_t offset,
                                          std::int64_t num_rows,
                                          std::string* bytes) const {
  bytes->resize(static_cast<std::size_t>(RecordBytes(num_rows)));
  RETURN_IF_ERROR(ReadBytes(*journal_, offset, bytes));
  absl::string_view end = *bytes;
  end.remove_prefix(bytes->size() - kCrcBytes);
  const auto crc = Take<std::uint32_t>(&end);
  bytes->resize(bytes->size() - kCrcBytes);
  if (Crc32c(AsBytes(*bytes)) != crc) {
    return absl::DataLossError(absl::StrCat(
        "the record at byte ", offset, " of ", JournalPath(),
        " is not what was written; start again to go on before it"));
  }
  return absl::OkStatus();
}

bool LabelCacheWriter::Contains(std::int64_t index) const {
  return record_of_index_.contains(index);
}

absl::Status LabelCacheWriter::Append(const Labels& labels) {
  const std::int64_t num_rows = labels.num_rows();
  CHECK_LE(1, num_rows);
  CHECK_EQ(static_cast<std::int64_t>(labels.ids_LK.size()),
           num_rows * kTopLabels);
  CHECK_EQ(labels.logits_LK.size(), labels.ids_LK.size());
  CHECK(!Contains(labels.index)) << labels.index;
  std::string bytes = EncodeLabels(labels);
  Put(Crc32c(AsBytes(bytes)), &bytes);
  // Not at the end of the file: half a record may be there, if the last call
  // failed.
  RETURN_IF_ERROR(journal_->WriteAt(size_, AsBytes(bytes)));
  record_of_index_[labels.index] = num_records();
  records_.push_back({labels.index, size_, num_rows});
  size_ += static_cast<std::int64_t>(bytes.size());
  return absl::OkStatus();
}

absl::Status LabelCacheWriter::Finish() {
  if (records_.empty()) {
    return absl::FailedPreconditionError(
        absl::StrCat("cannot write ", path_, ": there are no labels"));
  }
  const std::string temporary = path_ + ".tmp";
  RETURN_IF_ERROR(WriteHdf5(temporary));
  RETURN_IF_ERROR(files_.Rename(temporary, path_));
  RETURN_IF_ERROR(files_.SyncDirectory(ParentDirectory(path_)));
  RETURN_IF_ERROR(journal_->Close());
  return files_.Remove(JournalPath());
}

absl::Status LabelCacheWriter::WriteHdf5(const std::string& path) const {
  std::int64_t num_rows = 0;
  for (const Record& record : records_) {
    num_rows += record.num_rows;
  }
  ASSIGN_OR_RETURN(const auto file, Hdf5File::Create(files_, path));
  RETURN_IF_ERROR(file->SetText("", "format", kFormat));
  RETURN_IF_ERROR(file->SetInt("", "version", kVersion));
  for (const auto& [name, value] : Named(fingerprints_)) {
    RETURN_IF_ERROR(file->SetText("", name, *value));
  }
  const Shape rows_LK = {num_rows, kTopLabels};
  RETURN_IF_ERROR(file->CreateDataset("ids", Hdf5Type::kU32, rows_LK));
  RETURN_IF_ERROR(file->CreateDataset("logits", Hdf5Type::kF32, rows_LK));
  RETURN_IF_ERROR(file->CreateDataset("lse", Hdf5Type::kF32, {num_rows}));
  std::vector<std::int64_t> indices;
  std::vector<std::int64_t> ends;
  std::vector<std::uint32_t> crcs;
  std::int64_t row = 0;
  for (const Record& record : records_) {
    std::string bytes;
    RETURN_IF_ERROR(ReadRecord(record.offset, record.num_rows, &bytes));
    const Labels labels = DecodeLabels(bytes);
    RETURN_IF_ERROR(file->Write<std::uint32_t>("ids", row, labels.ids_LK));
    RETURN_IF_ERROR(file->Write<float>("logits", row, labels.logits_LK));
    RETURN_IF_ERROR(file->Write<float>("lse", row, labels.lse_L));
    row += record.num_rows;
    indices.push_back(record.index);
    ends.push_back(row);
    crcs.push_back(Crc32c(AsBytes(bytes)));
  }
  const Shape records = {num_records()};
  RETURN_IF_ERROR(file->CreateDataset("index", Hdf5Type::kI64, records));
  RETURN_IF_ERROR(file->CreateDataset("end", Hdf5Type::kI64, records));
  RETURN_IF_ERROR(file->CreateDataset("crc", Hdf5Type::kU32, records));
  RETURN_IF_ERROR(file->Write<std::int64_t>("index", 0, indices));
  RETURN_IF_ERROR(file->Write<std::int64_t>("end", 0, ends));
  RETURN_IF_ERROR(file->Write<std::uint32_t>("crc", 0, crcs));
  return file->Close();
}

absl::StatusOr<std::unique_ptr<LabelCache>> LabelCache::Open(
    FileSystem& files, const std::string& path,
    const LabelFingerprints& expected) {
  return OpenAny(files, path, &expected);
}

absl::Status LabelCache::Verify(FileSystem& files, const std::string& path) {
  ASSIGN_OR_RETURN(const auto cache, OpenAny(files, path, nullptr));
  for (const auto& [index, record] : cache->records_) {
    RETURN_IF_ERROR(cache->Read(index).status());
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<LabelCache>> LabelCache::OpenAny(
    FileSystem& files, const std::string& path,
    const LabelFingerprints* expected) {
  ASSIGN_OR_RETURN(const bool exists, files.Exists(path));
  if (!exists) {
    ASSIGN_OR_RETURN(const bool started, files.Exists(path + ".part"));
    return absl::NotFoundError(absl::StrCat(
        "cannot read the labels in ", path, ": they are ",
        started ? "not finished" : "not there", "; let the teacher make them"));
  }
  ASSIGN_OR_RETURN(std::unique_ptr<Hdf5File> file,
                   Hdf5File::OpenForRead(files, path));
  const absl::StatusOr<std::string> format = file->Text("", "format");
  const absl::StatusOr<std::int64_t> version = file->Int("", "version");
  if (!format.ok() || *format != kFormat || !version.ok() ||
      *version != kVersion) {
    return absl::FailedPreconditionError(
        absl::StrCat("cannot read ", path, ": it is no label cache of version ",
                     kVersion, "; remove it to make the labels again"));
  }
  const LabelFingerprints any;
  for (const auto& [name, value] :
       Named(expected == nullptr ? any : *expected)) {
    ASSIGN_OR_RETURN(const std::string found, file->Text("", name));
    if (expected != nullptr && found != *value) {
      return Mismatch(path, name, found, *value);
    }
  }
  std::unique_ptr<LabelCache> cache(new LabelCache(std::move(file)));
  RETURN_IF_ERROR(cache->ReadRecords());
  return cache;
}

absl::Status LabelCache::ReadRecords() {
  ASSIGN_OR_RETURN(const Hdf5DatasetInfo records, file_->Describe("index"));
  ASSIGN_OR_RETURN(const Hdf5DatasetInfo rows, file_->Describe("lse"));
  const auto count = static_cast<std::size_t>(records.shape.at(0));
  std::vector<std::int64_t> indices(count);
  std::vector<std::int64_t> ends(count);
  std::vector<std::uint32_t> crcs(count);
  RETURN_IF_ERROR(file_->Read<std::int64_t>("index", 0, indices));
  RETURN_IF_ERROR(file_->Read<std::int64_t>("end", 0, ends));
  RETURN_IF_ERROR(file_->Read<std::uint32_t>("crc", 0, crcs));
  bool ascending = true;
  for (std::size_t i = 0; i < count; ++i) {
    const Interval interval = {num_rows_, ends[i]};
    ascending = ascending && !interval.empty();
    records_[indices[i]] = {interval, crcs[i]};
    num_rows_ = ends[i];
  }
  if (!ascending || records_.size() != count || num_rows_ != rows.shape.at(0)) {
    return absl::DataLossError(absl::StrCat(
        "the label cache ", file_->path(), " is damaged: its tables contradict",
        " each other; remove it to make the labels again"));
  }
  return absl::OkStatus();
}

absl::StatusOr<Labels> LabelCache::Read(std::int64_t index) const {
  const auto found = records_.find(index);
  if (found == records_.end()) {
    return absl::NotFoundError(absl::StrCat("the label cache ", file_->path(),
                                            " has no labels of sequence ",
                                            index));
  }
  const Record& record = found->second;
  const auto num_rows = static_cast<std::size_t>(record.rows.size());
  Labels labels;
  labels.index = index;
  labels.ids_LK.resize(num_rows * kTopLabels);
  labels.logits_LK.resize(num_rows * kTopLabels);
  labels.lse_L.resize(num_rows);
  RETURN_IF_ERROR(
      file_->Read<std::uint32_t>("ids", record.rows.begin, labels.ids_LK));
  RETURN_IF_ERROR(
      file_->Read<float>("logits", record.rows.begin, labels.logits_LK));
  RETURN_IF_ERROR(file_->Read<float>("lse", record.rows.begin, labels.lse_L));
  if (Crc32c(AsBytes(EncodeLabels(labels))) != record.crc) {
    return absl::DataLossError(absl::StrCat(
        "the labels of sequence ", index, " in ", file_->path(),
        " are not what was written; remove the file to make them again"));
  }
  return labels;
}

}  // namespace rtpurbo
