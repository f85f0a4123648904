#include "data/document_stream.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "data/digest.h"
#include "data/permutation.h"
#include "kernels/core/check.h"
#include "kernels/core/rng.h"
#include "kernels/core/status_macros.h"

namespace rtpurbo {
namespace {

constexpr std::int64_t kMillion = 1'000'000;
constexpr std::int64_t kLengthMultiple = 64;

// The last label span that lies in the run; empty if none does.
Interval LastSpanIn(const std::vector<Interval>& spans, const Interval& run) {
  Interval last;
  for (const Interval& span : spans) {
    if (span.begin >= run.begin && span.end <= run.end) {
      last = span;
    }
  }
  return last;
}

std::int64_t PlaceInPart(std::int64_t index) {
  return index >= kFirstHeldOut ? index - kFirstHeldOut : index;
}

StorePart PartOf(std::int64_t index) {
  return index >= kFirstHeldOut ? StorePart::kHeldOut : StorePart::kTraining;
}

// A place of the part as an index again, so that random streams of the two
// parts are apart.
std::int64_t IndexOf(StorePart part, std::int64_t place) {
  return part == StorePart::kHeldOut ? kFirstHeldOut + place : place;
}

}  // namespace

DocumentStream::DocumentStream(const TokenStore& store, QuestionMaker questions,
                               const DocumentStreamOptions& options)
    : store_(store),
      questions_(std::move(questions)),
      options_(options),
      share_ppm_(std::llround(options.question_share * kMillion)),
      training_{TokenPool(store, StorePart::kTraining), {}, {}},
      held_out_{TokenPool(store, StorePart::kHeldOut), {}, {}} {
  if (options_.min_tokens == 0) {
    options_.min_tokens = options_.tokens;
  }
  AddText(&training_);
  AddText(&held_out_);
}

absl::StatusOr<std::unique_ptr<DocumentStream>> DocumentStream::Create(
    const TokenStore& store, const std::string& tokenizer_fingerprint,
    QuestionMaker questions, const DocumentStreamOptions& options) {
  RETURN_IF_ERROR(CheckOptions(options));
  if (store.tokenizer_fingerprint() != tokenizer_fingerprint) {
    return absl::FailedPreconditionError(absl::StrCat(
        "cannot use the tokens in ", store.path(), ": they are of a tokenizer ",
        "with fingerprint ", store.tokenizer_fingerprint(),
        ", but the model's is ", tokenizer_fingerprint,
        "; prepare the text again with the model's tokenizer"));
  }
  std::unique_ptr<DocumentStream> stream(
      new DocumentStream(store, std::move(questions), options));
  RETURN_IF_ERROR(stream->CheckParts());
  return stream;
}

absl::Status DocumentStream::CheckParts() const {
  for (const Part* part : {&training_, &held_out_}) {
    if (share_ppm_ > 0 || part->summary.sequences == 0) {
      RETURN_IF_ERROR(part->pool.CheckLongEnough(options_.tokens));
    }
    if (share_ppm_ < kMillion && part->summary.sequences == 0) {
      return absl::FailedPreconditionError(absl::StrCat(
          "the ", StorePartName(part->pool.part()), " part of ", store_.path(),
          " has no text to learn from: none of its documents has a label span "
          "there with a token before it; prepare other text, or set ",
          "question_share to 1"));
    }
  }
  if (share_ppm_ > 0) {
    for (const QuestionKind kind : options_.kinds) {
      RETURN_IF_ERROR(MakeQuestion(training_.pool, kind, options_.min_tokens,
                                   StreamOf(Use::kTraining, 0), nullptr)
                          .status());
    }
  }
  return absl::OkStatus();
}

void DocumentStream::AddText(Part* part) const {
  TextSummary& summary = part->summary;
  for (const TokenRun& run : part->pool.runs()) {
    const TokenDocumentInfo& info = store_.document(run.document);
    TextRun text{run, LastSpanIn(info.label_spans, run.tokens),
                 summary.sequences, 0};
    std::int64_t tokens = 0;
    if (info.label_spans.empty()) {
      text.sequences = run.tokens.size() / options_.tokens;
      tokens = text.sequences * options_.tokens;
    } else if (text.label.end - run.tokens.begin >= 2) {
      text.sequences = 1;
      tokens = std::min(text.label.end - run.tokens.begin, options_.tokens);
    }
    if (text.sequences == 0) {
      ++summary.unused_documents;
      summary.unused_tokens += run.tokens.size();
      continue;
    }
    summary.sequences += text.sequences;
    summary.tokens += tokens;
    part->text.push_back(text);
  }
}

// The top 6 bits say what for, the next 8 which stream.
std::uint64_t DocumentStream::StreamOf(Use use, std::int64_t index) const {
  constexpr int kIndexBits = 50;
  CHECK(index >= 0 && index < std::int64_t{1} << kIndexBits) << index;
  const bool of_stage = use != Use::kEvaluation &&
                        use != Use::kCalibrationQuestion &&
                        use != Use::kCalibrationDocument;
  const auto stream =
      static_cast<std::uint64_t>(of_stage ? options_.stream : 0);
  return static_cast<std::uint64_t>(use) << (kIndexBits + 8) |
         stream << kIndexBits | static_cast<std::uint64_t>(index);
}

std::int64_t DocumentStream::QuestionsBefore(std::int64_t i) const {
  return i * share_ppm_ / kMillion;  // i < 2^40: no overflow
}

std::int64_t DocumentStream::LengthOf(std::int64_t index) const {
  const auto least = static_cast<double>(options_.min_tokens);
  const auto most = static_cast<double>(options_.tokens);
  Rng rng(options_.seed, StreamOf(Use::kLengths, index));
  const auto length =
      static_cast<std::int64_t>(least * std::pow(most / least, rng.Uniform()));
  return std::clamp(length / kLengthMultiple * kLengthMultiple,
                    options_.min_tokens, options_.tokens);
}

QuestionKind DocumentStream::KindOf(StorePart part,
                                    std::int64_t question) const {
  const auto count = static_cast<std::int64_t>(options_.kinds.size());
  const std::int64_t turn = IndexOf(part, question / count);
  const std::int64_t place = Permute(
      count, options_.seed, StreamOf(Use::kKinds, turn), question % count);
  return options_.kinds[static_cast<std::size_t>(place)];
}

absl::StatusOr<Question> DocumentStream::MakeQuestion(const TokenPool& pool,
                                                      QuestionKind kind,
                                                      std::int64_t num_tokens,
                                                      std::uint64_t stream,
                                                      Sequence* source) const {
  return questions_.Make(
      kind, num_tokens, options_.seed, stream,
      [&](Rng& rng,
          std::int64_t count) -> absl::StatusOr<std::vector<std::int32_t>> {
        ASSIGN_OR_RETURN(TokenWindow window, pool.Draw(rng, count));
        if (source != nullptr) {
          source->document = window.document;
          source->source = {window.begin, window.begin + count};
        }
        return std::move(window.tokens_T);
      });
}

absl::StatusOr<Sequence> DocumentStream::At(std::int64_t index) const {
  CHECK(index >= 0 && index - kFirstHeldOut < kFirstHeldOut) << index;
  const std::int64_t place = PlaceInPart(index);
  const std::int64_t questions = QuestionsBefore(place);
  return QuestionsBefore(place + 1) > questions
             ? QuestionAt(index, questions)
             : TextAt(index, place - questions);
}

absl::StatusOr<Sequence> DocumentStream::QuestionAt(
    std::int64_t index, std::int64_t question) const {
  const StorePart part = PartOf(index);
  Sequence sequence;
  sequence.index = index;
  sequence.kind = SequenceKind::kQuestion;
  sequence.question_kind = KindOf(part, question);
  ASSIGN_OR_RETURN(
      Question made,
      MakeQuestion(part_of(part).pool, sequence.question_kind, LengthOf(index),
                   StreamOf(part == StorePart::kTraining ? Use::kTraining
                                                         : Use::kHeldOut,
                            index),
                   &sequence));
  sequence.id =
      absl::StrCat(QuestionKindName(sequence.question_kind), " question in ",
                   store_.document(sequence.document).name);
  const auto prompt = static_cast<std::int64_t>(made.prompt_T.size());
  sequence.tokens_T = std::move(made.prompt_T);
  sequence.tokens_T.insert(sequence.tokens_T.end(), made.answer_T.begin(),
                           made.answer_T.end());
  sequence.label_begin =
      std::max(prompt, sequence.num_tokens() - options_.label_tokens);
  return sequence;
}

absl::StatusOr<Sequence> DocumentStream::TextAt(std::int64_t index,
                                                std::int64_t text) const {
  const StorePart store_part = PartOf(index);
  const Part& part = part_of(store_part);
  const std::int64_t per_epoch = part.summary.sequences;
  const std::int64_t epoch = IndexOf(store_part, text / per_epoch);
  const std::int64_t place = Permute(
      per_epoch, options_.seed, StreamOf(Use::kOrder, epoch), text % per_epoch);
  const TextRun& found = *std::prev(std::upper_bound(
      part.text.begin(), part.text.end(), place,
      [](std::int64_t p, const TextRun& run) { return p < run.first; }));
  const Interval& run = found.run.tokens;
  const std::int64_t length = LengthOf(index);
  Sequence sequence;
  sequence.index = index;
  sequence.document = found.run.document;
  std::int64_t label_begin = 0;  // in the document
  if (found.label.empty()) {
    Rng rng(RandomBits(options_.seed, StreamOf(Use::kOffsets, epoch),
                       static_cast<std::uint64_t>(found.run.document)),
            0);
    const std::int64_t slack = run.size() - found.sequences * options_.tokens;
    const std::int64_t begin = run.begin + rng.Below(slack + 1) +
                               (place - found.first) * options_.tokens;
    sequence.source = {begin + options_.tokens - length,
                       begin + options_.tokens};
    label_begin = sequence.source.end - options_.text_label_tokens;
  } else {
    sequence.kind = SequenceKind::kLabelledText;
    sequence.source = {std::max(run.begin, found.label.end - length),
                       found.label.end};
    label_begin =
        std::max(found.label.begin, found.label.end - options_.label_tokens);
  }
  sequence.label_begin =
      std::max(label_begin - sequence.source.begin, std::int64_t{1});
  sequence.id =
      absl::StrCat(store_.document(sequence.document).name, " [",
                   sequence.source.begin, ", ", sequence.source.end, ")");
  ASSIGN_OR_RETURN(sequence.tokens_T,
                   store_.Read(sequence.document, sequence.source));
  return sequence;
}

absl::StatusOr<Question> DocumentStream::EvaluationQuestion(
    QuestionKind kind, std::int64_t num_tokens, std::int64_t index) const {
  const std::int64_t place =
      index * static_cast<std::int64_t>(QuestionKind::kForeign) +
      static_cast<std::int64_t>(kind);
  ASSIGN_OR_RETURN(Question question,
                   MakeQuestion(held_out_.pool, kind, num_tokens,
                                StreamOf(Use::kEvaluation, place), nullptr));
  question.id =
      absl::StrCat(QuestionKindName(kind), "/", num_tokens, "/", index);
  return question;
}

absl::StatusOr<Question> DocumentStream::CalibrationQuestion(
    QuestionKind kind, std::int64_t num_tokens, std::int64_t index) const {
  const std::int64_t place =
      index * static_cast<std::int64_t>(QuestionKind::kForeign) +
      static_cast<std::int64_t>(kind);
  ASSIGN_OR_RETURN(
      Question question,
      MakeQuestion(training_.pool, kind, num_tokens,
                   StreamOf(Use::kCalibrationQuestion, place), nullptr));
  question.id = absl::StrCat("calibration/", QuestionKindName(kind), "/",
                             num_tokens, "/", index);
  return question;
}

absl::StatusOr<NeedleDocument> DocumentStream::CalibrationDocument(
    const NeedleDocumentOptions& options, std::int64_t index) const {
  return MakeNeedleDocument(training_.pool, options, options_.seed,
                            StreamOf(Use::kCalibrationDocument, index));
}

std::string DocumentStream::Fingerprint() const {
  const std::string kinds = absl::StrJoin(
      options_.kinds, " ", [](std::string* out, QuestionKind kind) {
        absl::StrAppend(out, QuestionKindName(kind));
      });
  return Sha256Hex(absl::StrCat(
      "rtpurbo stream 1\nstore ", store_.digest(), "\nseed ", options_.seed,
      "\nstream ", options_.stream, "\ntokens ", options_.tokens,
      "\nmin_tokens ", options_.min_tokens, "\nquestion_ppm ", share_ppm_,
      "\nkinds ", kinds, "\nlabel_tokens ", options_.label_tokens,
      "\ntext_label_tokens ", options_.text_label_tokens, "\nwindow ",
      questions_.places().window, "\nfirst_needle ",
      questions_.places().first_needle, "\nneedle_margin ",
      questions_.places().margin, "\nend_token ", questions_.end_token(),
      "\n"));
}

}  // namespace rtpurbo
