#include "data/prepare_tokens.h"

#include <memory>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "data/encode_pieces.h"
#include "data/text_reader.h"
#include "kernels/core/status_macros.h"

namespace rtpurbo {
namespace {

constexpr std::int64_t kBatchBytes = std::int64_t{1} << 22U;

// The next documents, at least kBatchBytes of text in all unless it ends.
absl::StatusOr<std::vector<TextDocument>> ReadBatch(TextReader& reader,
                                                    std::int64_t* num_bytes) {
  std::vector<TextDocument> batch;
  std::int64_t bytes = 0;
  while (bytes < kBatchBytes) {
    ASSIGN_OR_RETURN(std::optional<TextDocument> document, reader.Next());
    if (!document.has_value()) {
      break;
    }
    bytes += static_cast<std::int64_t>(document->text.size());
    batch.push_back(*std::move(document));
  }
  *num_bytes += bytes;
  return batch;
}

}  // namespace

absl::StatusOr<PrepareCounts> PrepareTokens(
    FileSystem& files, const std::vector<std::string>& inputs,
    const Tokenizer& tokenizer, const std::string& tokenizer_fingerprint,
    const HeldOutRule& rule, const std::string& path,
    const std::function<absl::Status(const PrepareCounts&)>& progress) {
  ASSIGN_OR_RETURN(const std::unique_ptr<TextReader> reader,
                   TextReader::Create(files, inputs));
  ASSIGN_OR_RETURN(
      const std::unique_ptr<TokenStoreWriter> writer,
      TokenStoreWriter::Create(files, path, tokenizer_fingerprint, rule));
  PrepareCounts counts;
  counts.all_files = reader->num_files();
  counts.passed_over = static_cast<std::int64_t>(reader->passed_over().size());
  for (;;) {
    ASSIGN_OR_RETURN(const std::vector<TextDocument> batch,
                     ReadBatch(*reader, &counts.text_bytes));
    if (batch.empty()) {
      break;
    }
    for (const TokenDocument& document : EncodeDocuments(tokenizer, batch)) {
      RETURN_IF_ERROR(writer->Append(document));
    }
    counts.files = reader->num_files_opened();
    counts.documents = writer->num_documents();
    counts.tokens = writer->num_tokens();
    counts.held_out_tokens = writer->num_held_out();
    RETURN_IF_ERROR(progress(counts));
  }
  RETURN_IF_ERROR(writer->Finish());
  return counts;
}

}  // namespace rtpurbo
