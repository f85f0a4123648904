#include "data/token_store.h"

#include <array>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "kernels/core/check.h"
#include "kernels/core/status_macros.h"

namespace rtpurbo {
namespace {

constexpr const char* kFormat = "rtpurbo tokens";
constexpr std::int64_t kVersion = 1;
constexpr std::int64_t kChunkTokens = 65536;  // 256 KiB
constexpr std::int64_t kChunkRows = 4096;     // of all other tables

constexpr const char* kTokens = "tokens";
constexpr const char* kEnd = "documents/end";
constexpr const char* kHeldOut = "documents/held_out";
constexpr const char* kHash = "documents/hash";
constexpr const char* kNameEnd = "documents/name_end";
constexpr const char* kSpanEnd = "documents/span_end";
constexpr const char* kNames = "names";
constexpr const char* kLabelSpans = "label_spans";

absl::string_view BytesOf(const void* data, std::size_t size) {
  return {static_cast<const char*>(data), size};
}

template <typename T>
absl::string_view BytesOf(const std::vector<T>& values) {
  return BytesOf(values.data(), values.size() * sizeof(T));
}

std::uint64_t HashOf(const std::vector<std::int32_t>& tokens_T) {
  std::uint64_t hash = 0;
  const std::string hex = Sha256Hex(BytesOf(tokens_T)).substr(0, 16);
  CHECK(absl::SimpleHexAtoi(hex, &hash)) << hex;
  return hash;
}

std::vector<std::int64_t> Flatten(const std::vector<Interval>& intervals) {
  std::vector<std::int64_t> flat;
  flat.reserve(2 * intervals.size());
  for (const Interval& interval : intervals) {
    flat.push_back(interval.begin);
    flat.push_back(interval.end);
  }
  return flat;
}

// Whether intervals are ascending, apart, none empty, within [0, size).
bool AreApart(const std::vector<Interval>& intervals, std::int64_t size) {
  std::int64_t last_end = 0;
  for (const Interval& interval : intervals) {
    if (interval.empty() || interval.begin < last_end || interval.end > size) {
      return false;
    }
    last_end = interval.end;
  }
  return true;
}

// Everything that belongs to the content, with sizes, so that no two contents
// give the same sequence of bytes.
void DigestHeader(const std::string& tokenizer, const HeldOutRule& rule,
                  Sha256* digest) {
  digest->Update(absl::StrCat(kFormat, " ", kVersion, "\n", tokenizer, "\n",
                              rule.long_document, " ", rule.one_in, "\n"));
}

void DigestDocument(const std::string& name,
                    const std::vector<std::int32_t>& tokens_T,
                    const std::vector<Interval>& label_spans, Sha256* digest) {
  digest->Update(absl::StrCat(name.size(), " ", tokens_T.size(), " ",
                              label_spans.size(), "\n", name));
  digest->Update(BytesOf(tokens_T));
  digest->Update(BytesOf(Flatten(label_spans)));
}

template <typename T>
absl::Status AppendOne(Hdf5File& file, const std::string& name, T value) {
  return file.Append<T>(name, std::span<const T>(&value, 1));
}

}  // namespace

Interval HeldOutTokens(const HeldOutRule& rule, std::int64_t num_tokens,
                       std::uint64_t hash) {
  if (num_tokens >= rule.long_document) {
    return {num_tokens - num_tokens / rule.one_in, num_tokens};
  }
  const bool whole = hash % static_cast<std::uint64_t>(rule.one_in) == 0;
  return {whole ? 0 : num_tokens, num_tokens};
}

absl::StatusOr<std::unique_ptr<TokenStoreWriter>> TokenStoreWriter::Create(
    FileSystem& files, const std::string& path,
    const std::string& tokenizer_fingerprint, const HeldOutRule& rule) {
  CHECK_LE(1, rule.long_document);
  CHECK_LE(2, rule.one_in);
  std::unique_ptr<TokenStoreWriter> writer(
      new TokenStoreWriter(files, path, rule));
  ASSIGN_OR_RETURN(writer->file_,
                   Hdf5File::Create(files, writer->TemporaryPath()));
  RETURN_IF_ERROR(writer->CreateDatasets());
  RETURN_IF_ERROR(
      writer->file_->SetText("", "tokenizer", tokenizer_fingerprint));
  DigestHeader(tokenizer_fingerprint, rule, &writer->digest_);
  return writer;
}

TokenStoreWriter::~TokenStoreWriter() {
  if (!finished_) {
    file_ = nullptr;
    files_.Remove(TemporaryPath()).IgnoreError();  // there may be none
  }
}

absl::Status TokenStoreWriter::CreateDatasets() {
  RETURN_IF_ERROR(file_->SetText("", "format", kFormat));
  RETURN_IF_ERROR(file_->SetInt("", "version", kVersion));
  RETURN_IF_ERROR(file_->SetInt("", "long_document", rule_.long_document));
  RETURN_IF_ERROR(file_->SetInt("", "one_in", rule_.one_in));
  RETURN_IF_ERROR(
      file_->CreateExtendable(kTokens, Hdf5Type::kI32, Shape{}, kChunkTokens));
  for (const char* name : {kEnd, kNameEnd, kSpanEnd}) {
    RETURN_IF_ERROR(
        file_->CreateExtendable(name, Hdf5Type::kI64, Shape{}, kChunkRows));
  }
  for (const char* name : {kHeldOut, kLabelSpans}) {
    RETURN_IF_ERROR(
        file_->CreateExtendable(name, Hdf5Type::kI64, Shape{2}, kChunkRows));
  }
  RETURN_IF_ERROR(
      file_->CreateExtendable(kHash, Hdf5Type::kU64, Shape{}, kChunkRows));
  return file_->CreateExtendable(kNames, Hdf5Type::kU8, Shape{}, kChunkRows);
}

absl::Status TokenStoreWriter::Append(const TokenDocument& document) {
  const auto size = static_cast<std::int64_t>(document.tokens_T.size());
  CHECK_LT(0, size) << document.name;
  CHECK(AreApart(document.label_spans, size)) << document.name;
  const std::uint64_t hash = HashOf(document.tokens_T);
  const Interval held_out = HeldOutTokens(rule_, size, hash);
  num_tokens_ += size;
  num_held_out_ += held_out.size();
  num_name_bytes_ += static_cast<std::int64_t>(document.name.size());
  num_spans_ += static_cast<std::int64_t>(document.label_spans.size());
  ++num_documents_;
  DigestDocument(document.name, document.tokens_T, document.label_spans,
                 &digest_);
  RETURN_IF_ERROR(file_->Append<std::int32_t>(kTokens, document.tokens_T));
  RETURN_IF_ERROR(AppendOne(*file_, kEnd, num_tokens_));
  RETURN_IF_ERROR(file_->Append<std::int64_t>(kHeldOut, Flatten({held_out})));
  RETURN_IF_ERROR(AppendOne(*file_, kHash, hash));
  RETURN_IF_ERROR(
      file_->AppendRaw(kNames, Hdf5Type::kU8, AsBytes(document.name)));
  RETURN_IF_ERROR(AppendOne(*file_, kNameEnd, num_name_bytes_));
  RETURN_IF_ERROR(
      file_->Append<std::int64_t>(kLabelSpans, Flatten(document.label_spans)));
  return AppendOne(*file_, kSpanEnd, num_spans_);
}

absl::Status TokenStoreWriter::Finish() {
  if (num_documents_ == 0) {
    return absl::FailedPreconditionError(
        absl::StrCat("cannot write ", path_, ": there is no document"));
  }
  RETURN_IF_ERROR(file_->SetText("", "digest", digest_.Finish()));
  RETURN_IF_ERROR(file_->Close());
  RETURN_IF_ERROR(files_.Rename(TemporaryPath(), path_));
  finished_ = true;
  return files_.SyncDirectory(ParentDirectory(path_));
}

absl::StatusOr<std::unique_ptr<TokenStore>> TokenStore::Open(
    FileSystem& files, const std::string& path) {
  ASSIGN_OR_RETURN(std::unique_ptr<Hdf5File> file,
                   Hdf5File::OpenForRead(files, path));
  std::unique_ptr<TokenStore> store(new TokenStore(std::move(file)));
  RETURN_IF_ERROR(store->ReadAttributes());
  RETURN_IF_ERROR(store->ReadDocuments());
  return store;
}

absl::Status TokenStore::ReadAttributes() {
  const absl::StatusOr<std::string> format = file_->Text("", "format");
  if (!format.ok() || *format != kFormat) {
    return absl::FailedPreconditionError(
        absl::StrCat("cannot read ", path(),
                     ": it is no token store; make one with `prepare`"));
  }
  ASSIGN_OR_RETURN(const std::int64_t version, file_->Int("", "version"));
  if (version != kVersion) {
    return absl::FailedPreconditionError(absl::StrCat(
        "cannot read ", path(), ": it is a token store of version ", version,
        ", and this program reads version ", kVersion,
        "; make it again with `prepare`"));
  }
  ASSIGN_OR_RETURN(tokenizer_, file_->Text("", "tokenizer"));
  ASSIGN_OR_RETURN(digest_, file_->Text("", "digest"));
  ASSIGN_OR_RETURN(rule_.long_document, file_->Int("", "long_document"));
  ASSIGN_OR_RETURN(rule_.one_in, file_->Int("", "one_in"));
  return absl::OkStatus();
}

absl::Status TokenStore::Damaged(const std::string& what) const {
  return absl::DataLossError(absl::StrCat("the token store ", path(),
                                          " is damaged: ", what,
                                          "; make it again with `prepare`"));
}

absl::StatusOr<std::int64_t> TokenStore::NumRows(
    const std::string& name) const {
  ASSIGN_OR_RETURN(const Hdf5DatasetInfo info, file_->Describe(name));
  return info.shape.empty() ? 1 : info.shape[0];
}

absl::StatusOr<std::vector<std::int64_t>> TokenStore::ReadEnds(
    const std::string& name, std::int64_t num_items) const {
  ASSIGN_OR_RETURN(const std::int64_t num_rows, NumRows(name));
  std::vector<std::int64_t> ends(static_cast<std::size_t>(num_rows));
  RETURN_IF_ERROR(file_->Read<std::int64_t>(name, 0, ends));
  std::int64_t last = 0;
  for (const std::int64_t end : ends) {
    if (end < last) {
      return Damaged(absl::StrCat(name, " descends"));
    }
    last = end;
  }
  if (last != num_items) {
    return Damaged(absl::StrCat(name, " ends at ", last, ", not ", num_items));
  }
  return ends;
}

absl::StatusOr<std::vector<Interval>> TokenStore::ReadIntervals(
    const std::string& name) const {
  ASSIGN_OR_RETURN(const std::int64_t num_rows, NumRows(name));
  std::vector<std::int64_t> flat(static_cast<std::size_t>(2 * num_rows));
  RETURN_IF_ERROR(file_->Read<std::int64_t>(name, 0, flat));
  std::vector<Interval> intervals;
  intervals.reserve(static_cast<std::size_t>(num_rows));
  for (std::size_t i = 0; i < flat.size(); i += 2) {
    intervals.push_back({flat[i], flat[i + 1]});
  }
  return intervals;
}

absl::Status TokenStore::CheckDocument(
    const TokenDocumentInfo& document) const {
  const Interval& held_out = document.held_out;
  if (document.num_tokens < 1 || held_out.begin < 0 ||
      held_out.begin > held_out.end || held_out.end != document.num_tokens ||
      !AreApart(document.label_spans, document.num_tokens)) {
    return Damaged(absl::StrCat("the table of documents is wrong for \"",
                                document.name, "\""));
  }
  return absl::OkStatus();
}

absl::Status TokenStore::ReadDocuments() {
  ASSIGN_OR_RETURN(num_tokens_, NumRows(kTokens));
  ASSIGN_OR_RETURN(const std::int64_t num_name_bytes, NumRows(kNames));
  std::string names(static_cast<std::size_t>(num_name_bytes), '\0');
  RETURN_IF_ERROR(file_->ReadRaw(kNames, Hdf5Type::kU8, 0,
                                 std::as_writable_bytes(std::span(names))));
  ASSIGN_OR_RETURN(const std::vector<Interval> held_out,
                   ReadIntervals(kHeldOut));
  ASSIGN_OR_RETURN(const std::vector<Interval> spans,
                   ReadIntervals(kLabelSpans));
  ASSIGN_OR_RETURN(const auto ends, ReadEnds(kEnd, num_tokens_));
  ASSIGN_OR_RETURN(const auto name_ends, ReadEnds(kNameEnd, num_name_bytes));
  ASSIGN_OR_RETURN(const auto span_ends,
                   ReadEnds(kSpanEnd, static_cast<std::int64_t>(spans.size())));
  if (ends.empty() || ends.size() != held_out.size() ||
      ends.size() != name_ends.size() || ends.size() != span_ends.size()) {
    return Damaged("its tables of documents differ in length");
  }
  std::int64_t begin = 0;
  std::int64_t name_begin = 0;
  std::int64_t span_begin = 0;
  for (std::size_t i = 0; i < ends.size(); ++i) {
    TokenDocumentInfo document;
    document.name =
        names.substr(static_cast<std::size_t>(name_begin),
                     static_cast<std::size_t>(name_ends[i] - name_begin));
    document.num_tokens = ends[i] - begin;
    document.held_out = held_out[i];
    document.training = {0, held_out[i].begin};
    document.label_spans.assign(spans.begin() + span_begin,
                                spans.begin() + span_ends[i]);
    RETURN_IF_ERROR(CheckDocument(document));
    begins_.push_back(begin);
    documents_.push_back(std::move(document));
    begin = ends[i];
    name_begin = name_ends[i];
    span_begin = span_ends[i];
  }
  return absl::OkStatus();
}

const TokenDocumentInfo& TokenStore::document(std::int64_t document) const {
  CHECK(document >= 0 && document < num_documents()) << document;
  return documents_[static_cast<std::size_t>(document)];
}

absl::StatusOr<std::vector<std::int32_t>> TokenStore::Read(
    std::int64_t document, const Interval& range) const {
  const std::int64_t size = this->document(document).num_tokens;
  CHECK(range.begin >= 0 && range.begin <= range.end && range.end <= size)
      << '[' << range.begin << ", " << range.end << ") of " << size;
  std::vector<std::int32_t> tokens_T(static_cast<std::size_t>(range.size()));
  RETURN_IF_ERROR(file_->Read<std::int32_t>(
      kTokens, begins_[static_cast<std::size_t>(document)] + range.begin,
      tokens_T));
  return tokens_T;
}

absl::Status TokenStore::Verify() const {
  Sha256 digest;
  DigestHeader(tokenizer_, rule_, &digest);
  std::vector<std::uint64_t> hashes(documents_.size());
  RETURN_IF_ERROR(file_->Read<std::uint64_t>(kHash, 0, hashes));
  for (std::int64_t i = 0; i < num_documents(); ++i) {
    const TokenDocumentInfo& info = document(i);
    ASSIGN_OR_RETURN(const std::vector<std::int32_t> tokens_T,
                     Read(i, {0, info.num_tokens}));
    DigestDocument(info.name, tokens_T, info.label_spans, &digest);
    const std::uint64_t hash = HashOf(tokens_T);
    if (hash != hashes[static_cast<std::size_t>(i)] ||
        HeldOutTokens(rule_, info.num_tokens, hash) != info.held_out) {
      return Damaged(absl::StrCat("the tokens of \"", info.name,
                                  "\" are not what was written"));
    }
  }
  if (digest.Finish() != digest_) {
    return Damaged("its content is not what was written");
  }
  return absl::OkStatus();
}

}  // namespace rtpurbo
