#include "data/document_stream.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "data/questions.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/data/token_fixture.h"
#include "tests/status_matchers.h"

namespace rtpurbo {
namespace {

using ::rtpurbo::testing::FirstToken;
using ::rtpurbo::testing::IsFromStore;
using ::rtpurbo::testing::IsFromTraining;
using ::rtpurbo::testing::MadeStore;
using ::rtpurbo::testing::StatusIs;
using ::rtpurbo::testing::TinyTokenizer;
using ::testing::HasSubstr;

constexpr std::int64_t kWindow = 64;
constexpr HeldOutRule kRule = {.long_document = 1000, .one_in = 10};

// Two long documents without labels and one too short to be of use.
std::vector<testing::MadeDocument> PlainDocuments() {
  return {{21'000, {}}, {13'500, {}}, {400, {}}};
}

DocumentStreamOptions Options() {
  return {.seed = 11, .tokens = 640, .question_share = 0.6};
}

class DocumentStreamTest : public ::testing::Test {
 protected:
  static absl::StatusOr<std::unique_ptr<DocumentStream>> Create(
      const TokenStore& store, const DocumentStreamOptions& options) {
    return DocumentStream::Create(
        store, "tok",
        QuestionMaker::Create(TinyTokenizer(), 0, kWindow).value(), options);
  }
  static std::unique_ptr<DocumentStream> MustCreate(
      const TokenStore& store, const DocumentStreamOptions& options) {
    return Create(store, options).value();
  }
  static std::vector<Sequence> First(const DocumentStream& stream,
                                     std::int64_t count,
                                     std::int64_t begin = 0) {
    std::vector<Sequence> sequences;
    for (std::int64_t i = begin; i < begin + count; ++i) {
      sequences.push_back(stream.At(i).value());
    }
    return sequences;
  }
};

TEST_F(DocumentStreamTest, AnyNumberOfRanksReadsTheSameStream) {
  const MadeStore store(PlainDocuments(), kRule);
  const auto expected = First(*MustCreate(*store, Options()), 48);
  for (const int num_ranks : {1, 2, 3, 4}) {
    std::vector<Sequence> seen(48);
    const auto read = [&](int rank) {
      const auto stream = MustCreate(*store, Options());
      for (int i = 47 - rank; i >= 0; i -= num_ranks) {  // in any order
        seen[static_cast<std::size_t>(i)] = stream->At(i).value();
      }
    };
    std::vector<std::thread> ranks;
    ranks.reserve(static_cast<std::size_t>(num_ranks));
    for (int rank = 0; rank < num_ranks; ++rank) {
      ranks.emplace_back(read, rank);
    }
    for (std::thread& rank : ranks) {
      rank.join();
    }
    EXPECT_TRUE(seen == expected) << num_ranks;
  }
}

TEST_F(DocumentStreamTest, TrainingAndWhatIsMeasuredShareNothing) {
  const MadeStore store(PlainDocuments(), kRule);
  const auto stream = MustCreate(*store, Options());
  std::set<std::int32_t> training;
  std::set<std::int32_t> measured;
  const auto add = [](const std::vector<std::int32_t>& tokens_T,
                      std::set<std::int32_t>* to) {
    std::copy_if(tokens_T.begin(), tokens_T.end(),
                 std::inserter(*to, to->end()), IsFromStore);
  };
  for (const Sequence& sequence : First(*stream, 500)) {
    add(sequence.tokens_T, &training);
  }
  const NeedleDocumentOptions needle = {.num_tokens = 640, .window = kWindow};
  for (std::int64_t i = 0; i < 10; ++i) {
    add(stream->CalibrationDocument(needle, i).value().tokens_T, &training);
    add(stream->CalibrationQuestion(QuestionKind::kSingle, 640, i)
            .value()
            .prompt_T,
        &training);
    add(stream->EvaluationQuestion(QuestionKind::kMultiKey, 700, i)
            .value()
            .prompt_T,
        &measured);
  }
  for (const Sequence& sequence : First(*stream, 200, kFirstHeldOut)) {
    add(sequence.tokens_T, &measured);
  }
  EXPECT_GT(training.size(), 25'000);
  EXPECT_GT(measured.size(), 2'500);
  for (const std::int32_t token : training) {
    ASSERT_TRUE(IsFromTraining(*store, token)) << token;
  }
  for (const std::int32_t token : measured) {
    ASSERT_FALSE(IsFromTraining(*store, token)) << token;
  }
}

TEST_F(DocumentStreamTest, TheShareOfQuestionsIsExactAndKindsTakeTurns) {
  const MadeStore store(PlainDocuments(), kRule);
  const auto stream = MustCreate(*store, Options());
  std::map<QuestionKind, int> times;
  int questions = 0;
  for (std::int64_t i = 0; i < 100; ++i) {
    ASSERT_OK_AND_ASSIGN(const Sequence sequence, stream->At(i));
    EXPECT_EQ(sequence.index, i);
    if (sequence.kind == SequenceKind::kQuestion) {
      ++questions;
      ++times[sequence.question_kind];
    }
    EXPECT_EQ(questions, (i + 1) * 6 / 10);
  }
  for (const QuestionKind kind : kNeedleKinds) {
    EXPECT_EQ(times[kind], 12) << QuestionKindName(kind);
  }
}

TEST_F(DocumentStreamTest, ASequenceEndsWithItsLabels) {
  const MadeStore store(PlainDocuments(), kRule);
  DocumentStreamOptions options = Options();
  options.text_label_tokens = 50;
  options.label_tokens = 50;
  for (const Sequence& sequence : First(*MustCreate(*store, options), 60)) {
    EXPECT_EQ(sequence.num_tokens(), 640);
    const std::vector<std::int32_t> label_T(
        sequence.tokens_T.begin() + sequence.label_begin,
        sequence.tokens_T.end());
    if (sequence.kind == SequenceKind::kText) {
      EXPECT_EQ(sequence.num_labels(), 50);
      EXPECT_EQ(sequence.source.size(), 640);
    } else {
      EXPECT_EQ(label_T.back(), 0);
      const std::string answer = TinyTokenizer().Decode(label_T);
      EXPECT_THAT(answer, ::testing::MatchesRegex(
                              "([0-9, ]+|[A-Z ]+)<[|]endoftext[|]>"));
      const std::vector<std::int32_t> prompt_T(
          sequence.tokens_T.begin(),
          sequence.tokens_T.begin() + sequence.label_begin);
      EXPECT_TRUE(
          absl::EndsWith(TinyTokenizer().Decode(prompt_T), "\nAnswer: "));
    }
  }
  options.label_tokens = 4;
  options.text_label_tokens = 3;
  for (const Sequence& sequence : First(*MustCreate(*store, options), 20)) {
    EXPECT_EQ(sequence.num_labels(),
              sequence.kind == SequenceKind::kText ? 3 : 4);
  }
}

TEST_F(DocumentStreamTest, AnEpochReadsEveryWindowOnceInANewOrder) {
  const MadeStore store(PlainDocuments(), kRule);
  DocumentStreamOptions options = Options();
  options.question_share = 0;
  const auto stream = MustCreate(*store, options);
  // Training: 18,900 and 12,150 tokens, 29 and 18 windows of 640; 400 or none.
  const TextSummary& summary = stream->summary(StorePart::kTraining);
  ASSERT_EQ(summary.sequences, 47);
  EXPECT_EQ(summary.tokens, 47 * 640);
  EXPECT_EQ(summary.unused_documents,
            store->document(2).training.empty() ? 0 : 1);
  std::set<std::vector<std::int64_t>> orders;
  std::set<std::int64_t> offsets;
  for (std::int64_t epoch = 0; epoch < 4; ++epoch) {
    std::vector<std::int64_t> order;
    std::set<std::int32_t> read;
    std::int64_t first = 1'000'000;
    for (const Sequence& sequence : First(*stream, 47, 47 * epoch)) {
      order.push_back(sequence.document * 1'000'000 + sequence.source.begin);
      for (const std::int32_t token : sequence.tokens_T) {
        EXPECT_TRUE(read.insert(token).second);
      }
      if (sequence.document == 0) {
        first = std::min(first, sequence.source.begin);
      }
    }
    EXPECT_EQ(read.size(), 47 * 640);
    orders.insert(order);
    offsets.insert(first);
  }
  EXPECT_EQ(orders.size(), 4);
  EXPECT_GT(offsets.size(), 1);
}

TEST_F(DocumentStreamTest, LabelledTextEndsWithItsLastSpanInThePart) {
  // 3000 tokens: 2700 train. The last span there is [1000, 1040); the one
  // across the border is in neither part.
  const MadeStore store(
      {{3000, {{5, 20}, {1000, 1040}, {2650, 2720}, {2900, 2990}}},
       {1200, {{0, 3}, {700, 1060}}},
       {1100, {{0, 2}}},
       {1100, {{0, 1}}}},
      kRule);
  DocumentStreamOptions options = Options();
  options.question_share = 0;
  const auto stream = MustCreate(*store, options);
  EXPECT_EQ(stream->summary(StorePart::kTraining).sequences, 3);
  EXPECT_EQ(stream->summary(StorePart::kTraining).unused_documents, 1);
  EXPECT_EQ(stream->summary(StorePart::kHeldOut).sequences, 1);
  std::map<std::int64_t, Sequence> of_document;
  for (const Sequence& sequence : First(*stream, 3)) {
    EXPECT_EQ(sequence.kind, SequenceKind::kLabelledText);
    of_document[sequence.document] = sequence;
  }
  ASSERT_EQ(of_document.size(), 3);
  const Sequence& first = of_document[0];
  EXPECT_EQ(first.source, (Interval{400, 1040}));
  EXPECT_EQ(first.label_begin, 600);
  EXPECT_EQ(first.tokens_T.front(), FirstToken(0) + 400);
  EXPECT_EQ(first.tokens_T.back(), FirstToken(0) + 1039);
  // A span of 360 is cut to its last 300.
  const Sequence& cut = of_document[1];
  EXPECT_EQ(cut.source, (Interval{420, 1060}));
  EXPECT_EQ(cut.num_labels(), 300);
  // A label needs a token before it.
  const Sequence& short_one = of_document[2];
  EXPECT_EQ(short_one.source, (Interval{0, 2}));
  EXPECT_EQ(short_one.label_begin, 1);
  ASSERT_OK_AND_ASSIGN(const Sequence held_out, stream->At(kFirstHeldOut));
  EXPECT_EQ(held_out.source, (Interval{2700, 2990}));
  EXPECT_EQ(held_out.num_labels(), 90);
}

TEST_F(DocumentStreamTest, LengthsMaySpread) {
  const MadeStore store(PlainDocuments(), kRule);
  DocumentStreamOptions options = Options();
  options.min_tokens = 600;
  options.tokens = 1200;
  const auto stream = MustCreate(*store, options);
  double sum = 0;
  std::set<std::int64_t> lengths;
  for (const Sequence& sequence : First(*stream, 300)) {
    const std::int64_t length = sequence.num_tokens();
    EXPECT_GE(length, 600);
    EXPECT_LE(length, 1200);
    EXPECT_TRUE(length % 64 == 0 || length == 600) << length;
    lengths.insert(length);
    sum += std::log(static_cast<double>(length));
  }
  EXPECT_EQ(lengths.size(), 10);  // 600, 640, 704, ..., 1152
  // Uniform in the logarithm, less what rounding down takes (32 tokens).
  EXPECT_NEAR(sum / 300, std::log(600 * std::sqrt(2.0) - 32), 0.05);
}

TEST_F(DocumentStreamTest, QuestionsForMeasuringAreNumbered) {
  const MadeStore store(PlainDocuments(), kRule);
  const auto stream = MustCreate(*store, Options());
  DocumentStreamOptions options = Options();
  options.stream = 3;
  const auto other_stage = MustCreate(*store, options);
  std::set<std::vector<std::int32_t>> prompts;
  for (const QuestionKind kind : kNeedleKinds) {
    for (std::int64_t i = 0; i < 5; ++i) {
      const Question question =
          stream->EvaluationQuestion(kind, 640, i).value();
      EXPECT_EQ(question.kind, kind);
      EXPECT_EQ(question.id, std::string(QuestionKindName(kind)) + "/640/" +
                                 std::to_string(i));
      EXPECT_EQ(question.prompt_T,
                other_stage->EvaluationQuestion(kind, 640, i).value().prompt_T);
      prompts.insert(question.prompt_T);
      prompts.insert(
          stream->CalibrationQuestion(kind, 640, i).value().prompt_T);
    }
  }
  EXPECT_EQ(prompts.size(), 50);
  EXPECT_NE(stream->At(0).value().tokens_T,
            other_stage->At(0).value().tokens_T);
}

// The answers of training, held-out, evaluation and calibration questions: 7
// random digits that none of them shares.
TEST_F(DocumentStreamTest, QuestionsOfAllUsesDiffer) {
  const MadeStore store(PlainDocuments(), kRule);
  DocumentStreamOptions options = Options();
  options.question_share = 1;
  options.kinds = {QuestionKind::kSingle};
  const auto stream = MustCreate(*store, options);
  std::multiset<std::string> answers;
  const auto add = [&](const std::vector<std::int32_t>& answer_T) {
    answers.insert(TinyTokenizer().Decode(answer_T));
  };
  for (std::int64_t i = 0; i < 100; ++i) {
    for (const std::int64_t index : {i, kFirstHeldOut + i}) {
      const Sequence sequence = stream->At(index).value();
      add({sequence.tokens_T.begin() + sequence.label_begin,
           sequence.tokens_T.end()});
    }
    add(stream->EvaluationQuestion(QuestionKind::kSingle, 640, i)
            .value()
            .answer_T);
    add(stream->CalibrationQuestion(QuestionKind::kSingle, 640, i)
            .value()
            .answer_T);
  }
  const std::set<std::string> distinct(answers.begin(), answers.end());
  EXPECT_EQ(answers.size(), 400);
  EXPECT_GE(distinct.size(), 399);  // one in a hundred runs would have a pair
}

TEST_F(DocumentStreamTest, TheFingerprintChangesWithEveryOption) {
  const MadeStore store(PlainDocuments(), kRule);
  const MadeStore other_store({{21'000, {}}, {13'501, {}}}, kRule);
  std::set<std::string> fingerprints;
  int count = 0;
  const auto add = [&](const TokenStore& in,
                       const DocumentStreamOptions& options,
                       std::int64_t window, std::int32_t end_token) {
    ++count;
    fingerprints.insert(
        DocumentStream::Create(
            in, "tok",
            QuestionMaker::Create(TinyTokenizer(), end_token, window).value(),
            options)
            .value()
            ->Fingerprint());
  };
  add(*store, Options(), 64, 0);
  add(*other_store, Options(), 64, 0);
  add(*store, Options(), 65, 0);
  add(*store, Options(), 64, 1);
  const auto change = [&](auto set) {
    DocumentStreamOptions options = Options();
    set(options);
    add(*store, options, 64, 0);
  };
  change([](auto& o) { o.seed = 12; });
  change([](auto& o) { o.stream = 1; });
  change([](auto& o) { o.tokens = 641; });
  change([](auto& o) { o.min_tokens = 639; });
  change([](auto& o) { o.question_share = 0.5; });
  change([](auto& o) { o.kinds.pop_back(); });
  change([](auto& o) { o.label_tokens = 299; });
  change([](auto& o) { o.text_label_tokens = 63; });
  EXPECT_EQ(fingerprints.size(), count);
  EXPECT_EQ(MustCreate(*store, Options())->Fingerprint(),
            MustCreate(*store, Options())->Fingerprint());
}

TEST_F(DocumentStreamTest, UnfitOptionsAndStoresAreRefused) {
  const MadeStore store(PlainDocuments(), kRule);
  const auto maker = QuestionMaker::Create(TinyTokenizer(), 0, 64).value();
  EXPECT_THAT(
      DocumentStream::Create(*store, "other", maker, Options()),
      StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("tokenizer")));
  DocumentStreamOptions options = Options();
  options.tokens = 3000;  // held out are 2100 and 1350 in a row
  EXPECT_THAT(Create(*store, options),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       HasSubstr("held-out part")));
  options.question_share = 0;
  EXPECT_THAT(Create(*store, options),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       HasSubstr("held-out part")));
  options = Options();
  options.min_tokens = 200;
  EXPECT_THAT(Create(*store, options),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("it takes at least")));
  options.kinds = {};
  EXPECT_THAT(Create(*store, options),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("kinds is empty")));
  const MadeStore unlabelled({{20'000, {{19'000, 19'010}}}}, kRule);
  EXPECT_THAT(Create(*unlabelled, Options()),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       HasSubstr("has no text to learn from")));
}

}  // namespace
}  // namespace rtpurbo
