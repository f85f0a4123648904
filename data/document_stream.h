// What a stage trains on: an endless stream of sequences, each a pure function
// of the store, the options and its index. No state: any number of ranks read
// the same stream, and a resumed run goes on with the next index.
//
// Index i >= 0 is training, from the training part of the store alone. Index
// kFirstHeldOut + i is made in the same way from the held-out part alone, and
// so are the questions of an evaluation; the random streams of all of them are
// apart. So nothing that a model is measured on was trained on.
//
// Of the first n sequences, floor(n * question_share) are needle questions
// (questions.h), which take the kinds in turn, in a new order each turn. The
// others are text, in a new order each epoch, without repetition in an epoch:
//   - of a document with label spans, what ends with its last span in the part:
//     at most `tokens` tokens, labelled by that span;
//   - of one without, windows of exactly `tokens` tokens, end to end from a
//     place that changes with the epoch, labelled at their end.
// Documents that are too short for that are left out (and counted).
//
// Labels are always the last tokens: those from label_begin on. The logits row
// of token t is row t - 1, so the label rows are [label_begin - 1, T - 1).

#ifndef RTPURBO_DATA_DOCUMENT_STREAM_H_
#define RTPURBO_DATA_DOCUMENT_STREAM_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "data/document_stream_options.h"
#include "data/needle_document.h"
#include "data/questions.h"
#include "data/token_pool.h"
#include "data/token_store.h"
#include "kernels/core/interval.h"

namespace rtpurbo {

// The first index of the held-out sequences.
inline constexpr std::int64_t kFirstHeldOut = std::int64_t{1} << 40U;

enum class SequenceKind : std::uint8_t { kText, kLabelledText, kQuestion };

// T counts tokens.
struct Sequence {
  std::int64_t index = 0;
  std::string id;  // what it is, for people
  SequenceKind kind = SequenceKind::kText;
  QuestionKind question_kind = QuestionKind::kSingle;  // if it is a question
  std::vector<std::int32_t> tokens_T;
  std::int64_t label_begin = 0;  // 1 to T - 1
  // What of the store is in it.
  std::int64_t document = 0;
  Interval source;

  std::int64_t num_tokens() const {
    return static_cast<std::int64_t>(tokens_T.size());
  }
  std::int64_t num_labels() const { return num_tokens() - label_begin; }
  bool operator==(const Sequence&) const = default;
};

// The text of a part that a stream can use.
struct TextSummary {
  std::int64_t sequences = 0;  // in an epoch
  std::int64_t tokens = 0;     // in an epoch
  std::int64_t unused_documents = 0;
  std::int64_t unused_tokens = 0;
};

// Any number of threads.
class DocumentStream {
 public:
  // `store` must outlive it.
  // Returns InvalidArgument, naming the option, if one is out of its range or
  // the tokens too few for a question; FailedPrecondition if a part of the
  // store has no text long enough, or if it was made with another tokenizer.
  static absl::StatusOr<std::unique_ptr<DocumentStream>> Create(
      const TokenStore& store, const std::string& tokenizer_fingerprint,
      QuestionMaker questions, const DocumentStreamOptions& options);

  // The sequence of an index, training or held out.
  // REQUIRES: 0 <= index, and index - kFirstHeldOut < 2^40.
  absl::StatusOr<Sequence> At(std::int64_t index) const;

  // Question `index` of a kind and length for evaluation, from the held-out
  // part. The same for all values of options().stream.
  absl::StatusOr<Question> EvaluationQuestion(QuestionKind kind,
                                              std::int64_t num_tokens,
                                              std::int64_t index) const;
  // For calibration, from the training part.
  absl::StatusOr<Question> CalibrationQuestion(QuestionKind kind,
                                               std::int64_t num_tokens,
                                               std::int64_t index) const;
  absl::StatusOr<NeedleDocument> CalibrationDocument(
      const NeedleDocumentOptions& options, std::int64_t index) const;

  const TextSummary& summary(StorePart part) const {
    return part_of(part).summary;
  }
  const DocumentStreamOptions& options() const { return options_; }
  // SHA-256 of all that decides what At() returns.
  std::string Fingerprint() const;

 private:
  // Text of one run that makes `sequences` sequences of an epoch.
  struct TextRun {
    TokenRun run;
    Interval label;          // the labelled span; empty if there is none
    std::int64_t first = 0;  // its first sequence, of those of the part
    std::int64_t sequences = 0;
  };
  struct Part {
    TokenPool pool;
    std::vector<TextRun> text;
    TextSummary summary;
  };
  // What a random stream is for. In its top bits, so that streams are apart.
  enum class Use : std::uint64_t {
    kTraining = 1,
    kHeldOut,
    kEvaluation,
    kCalibrationQuestion,
    kCalibrationDocument,
    kKinds,
    kLengths,
    kOrder,
    kOffsets,
  };

  DocumentStream(const TokenStore& store, QuestionMaker questions,
                 const DocumentStreamOptions& options);
  absl::Status CheckParts() const;
  void AddText(Part* part) const;
  const Part& part_of(StorePart part) const {
    return part == StorePart::kTraining ? training_ : held_out_;
  }
  std::uint64_t StreamOf(Use use, std::int64_t index) const;
  std::int64_t QuestionsBefore(std::int64_t i) const;
  std::int64_t LengthOf(std::int64_t index) const;
  QuestionKind KindOf(StorePart part, std::int64_t question) const;
  absl::StatusOr<Question> MakeQuestion(const TokenPool& pool,
                                        QuestionKind kind,
                                        std::int64_t num_tokens,
                                        std::uint64_t stream,
                                        Sequence* source) const;
  absl::StatusOr<Sequence> QuestionAt(std::int64_t index,
                                      std::int64_t question) const;
  absl::StatusOr<Sequence> TextAt(std::int64_t index, std::int64_t text) const;

  const TokenStore& store_;
  QuestionMaker questions_;
  DocumentStreamOptions options_;
  std::int64_t share_ppm_;
  Part training_;
  Part held_out_;
};

}  // namespace rtpurbo

#endif  // RTPURBO_DATA_DOCUMENT_STREAM_H_
