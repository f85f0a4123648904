#include "data/questions.h"

#include <cstdint>
#include <map>
#include <numeric>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/data/token_fixture.h"
#include "tests/status_matchers.h"

namespace rtpurbo {
namespace {

using ::rtpurbo::testing::StatusIs;
using ::rtpurbo::testing::TinyTokenizer;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;

constexpr std::int64_t kWindow = 256;
constexpr std::int32_t kHaystack = 1'000'000;  // no id of the tokenizer

// kHaystack, kHaystack + 1, ...
absl::StatusOr<std::vector<std::int32_t>> DrawNumbers(Rng& /*rng*/,
                                                      std::int64_t count) {
  std::vector<std::int32_t> tokens_T(static_cast<std::size_t>(count));
  std::iota(tokens_T.begin(), tokens_T.end(), kHaystack);
  return tokens_T;
}

std::string TextOf(const Question& question, const Interval& range) {
  return TinyTokenizer().Decode(
      std::vector<std::int32_t>(question.prompt_T.begin() + range.begin,
                                question.prompt_T.begin() + range.end));
}

class QuestionsTest : public ::testing::Test {
 protected:
  Question Make(QuestionKind kind, std::int64_t num_tokens,
                std::uint64_t stream) {
    return maker_.Make(kind, num_tokens, 7, stream, DrawNumbers).value();
  }
  static std::vector<std::string> Needles(const Question& question) {
    std::vector<std::string> needles;
    needles.reserve(question.needles.size());
    for (const Interval& needle : question.needles) {
      needles.push_back(TextOf(question, needle));
    }
    return needles;
  }
  static std::string Asked(const Question& question) {
    return TextOf(question, question.question);
  }
  // Key and value of "\nOne of the special magic values for K is: V.\n".
  static std::pair<std::string, std::string> KeyAndValue(
      const std::string& needle) {
    EXPECT_THAT(needle,
                MatchesRegex("\nOne of the special magic values for "
                             "[a-z]{4,10}-[a-z]{4,10} is: [0-9]{7}[.]\n"));
    const std::vector<std::string> words = absl::StrSplit(needle, ' ');
    const std::string& value = words.back();
    return {words[words.size() - 3], value.substr(0, 7)};
  }

  QuestionMaker maker_ =
      QuestionMaker::Create(TinyTokenizer(), 0, kWindow).value();
};

// All parts of `question` hold what their text is by itself; the tokens between
// them are DrawNumbers().
void ExpectPartsAreEncodedApart(const Question& question) {
  std::vector<std::int32_t> haystack_T;
  std::int64_t at = 0;
  std::vector<Interval> parts = question.needles;
  parts.push_back(question.question);
  for (const Interval& part : parts) {
    const auto begin = question.prompt_T.begin();
    haystack_T.insert(haystack_T.end(), begin + at, begin + part.begin);
    EXPECT_THAT(TinyTokenizer().Encode(TextOf(question, part)),
                ElementsAreArray(begin + part.begin, begin + part.end));
    at = part.end;
  }
  EXPECT_EQ(at, question.prompt_T.size());
  Rng unused(0, 0);
  EXPECT_EQ(haystack_T,
            DrawNumbers(unused, static_cast<std::int64_t>(haystack_T.size()))
                .value());
}

TEST_F(QuestionsTest, PartsAreEncodedApartAndMakeUpAllTokens) {
  for (const QuestionKind kind : kNeedleKinds) {
    for (std::uint64_t stream = 0; stream < 40; ++stream) {
      const Question question = Make(kind, 1500, stream);
      EXPECT_EQ(question.prompt_T.size() + question.answer_T.size(), 1500);
      ExpectPartsAreEncodedApart(question);
    }
  }
}

TEST_F(QuestionsTest, NeedlesAreBehindTheSinksAndBeforeTheWindow) {
  std::int64_t earliest = 1500;
  std::int64_t latest = 0;
  for (const QuestionKind kind : kNeedleKinds) {
    for (std::uint64_t stream = 0; stream < 200; ++stream) {
      const Question question = Make(kind, 1500, stream);
      EXPECT_GE(question.needles.front().begin, 64);
      EXPECT_GT(question.question.begin - question.needles.back().end,
                kWindow + 100);
      earliest = std::min(earliest, question.needles.front().begin);
      latest = std::max(latest,
                        question.needles.back().end - question.question.begin);
    }
  }
  EXPECT_LE(earliest, 66);  // the bounds are reached
  EXPECT_GE(latest, -kWindow - 104);
}

TEST_F(QuestionsTest, WhereNeedlesMayBeIsAnOption) {
  const NeedlePlaces places{32, 8, 16};
  const QuestionMaker maker =
      QuestionMaker::Create(TinyTokenizer(), 0, places).value();
  std::int64_t first = 1 << 20;
  std::int64_t margin = 1 << 20;
  for (std::uint64_t stream = 0; stream < 200; ++stream) {
    const Question question =
        maker.Make(QuestionKind::kSingle, 256, 7, stream, DrawNumbers).value();
    first = std::min(first, question.needles[0].begin);
    margin = std::min(margin,
                      question.question.begin - question.needles[0].end - 32);
  }
  EXPECT_GE(first, 8);
  EXPECT_LE(first, 16);
  EXPECT_GT(margin, 16);
  EXPECT_LE(margin, 24);
}

TEST_F(QuestionsTest, ASingleQuestionAsksForItsOneValue) {
  const Question question = Make(QuestionKind::kSingle, 900, 1);
  ASSERT_EQ(question.needles.size(), 1);
  const auto [key, value] = KeyAndValue(Needles(question)[0]);
  EXPECT_EQ(Asked(question),
            absl::StrCat("\nQuestion: What are all the special magic values "
                         "for ",
                         key, " mentioned in the text above?\nAnswer: "));
  EXPECT_THAT(question.answers, ::testing::ElementsAre(value));
  std::vector<std::int32_t> answer_T = TinyTokenizer().Encode(value);
  answer_T.push_back(0);
  EXPECT_EQ(question.answer_T, answer_T);
}

TEST_F(QuestionsTest, MultiKeyHidesTheValueAmongFourOthers) {
  std::set<std::size_t> places;
  for (std::uint64_t stream = 0; stream < 60; ++stream) {
    const Question question = Make(QuestionKind::kMultiKey, 900, stream);
    ASSERT_EQ(question.needles.size(), 5);
    std::map<std::string, std::string> value_of;
    std::set<std::string> values;
    for (std::size_t i = 0; i < 5; ++i) {
      const auto [key, value] = KeyAndValue(Needles(question)[i]);
      value_of[key] = value;
      values.insert(value);
      if (absl::StrContains(Asked(question), " for " + key + " ")) {
        places.insert(i);
        EXPECT_THAT(question.answers, ::testing::ElementsAre(value));
      }
    }
    EXPECT_EQ(value_of.size(), 5);
    EXPECT_EQ(values.size(), 5);
  }
  EXPECT_EQ(places.size(), 5);
}

TEST_F(QuestionsTest, MultiValueAsksForThreeValuesOfOneKeyInTextOrder) {
  const Question question = Make(QuestionKind::kMultiValue, 900, 3);
  ASSERT_EQ(question.needles.size(), 3);
  std::set<std::string> keys;
  std::vector<std::string> values;
  for (const std::string& needle : Needles(question)) {
    const auto [key, value] = KeyAndValue(needle);
    keys.insert(key);
    values.push_back(value);
  }
  EXPECT_EQ(keys.size(), 1);
  EXPECT_EQ(question.answers, values);
  EXPECT_EQ(JoinAnswers(question),
            absl::StrCat(values[0], ", ", values[1], ", ", values[2]));
}

TEST_F(QuestionsTest, MultiQueryAnswersInTheOrderOfAsking) {
  bool some_against_text_order = false;
  for (std::uint64_t stream = 0; stream < 20; ++stream) {
    const Question question = Make(QuestionKind::kMultiQuery, 900, stream);
    ASSERT_EQ(question.needles.size(), 5);
    std::map<std::string, std::string> value_of;
    std::vector<std::string> in_text;
    for (const std::string& needle : Needles(question)) {
      const auto [key, value] = KeyAndValue(needle);
      value_of[key] = value;
      in_text.push_back(value);
    }
    const std::vector<std::string> words =
        absl::StrSplit(Asked(question), absl::ByAnyChar(" ,"));
    std::vector<std::string> expected;
    for (const std::string& word : words) {
      if (value_of.contains(word)) {
        expected.push_back(value_of[word]);
      }
    }
    EXPECT_EQ(expected.size(), 2);
    EXPECT_EQ(question.answers, expected);
    some_against_text_order |=
        std::find(in_text.begin(), in_text.end(), expected[0]) >
        std::find(in_text.begin(), in_text.end(), expected[1]);
  }
  EXPECT_TRUE(some_against_text_order);
}

TEST_F(QuestionsTest, VariableTrackingIsAChainOfThree) {
  const Question question = Make(QuestionKind::kVariableTracking, 900, 5);
  const std::vector<std::string> needles = Needles(question);
  ASSERT_EQ(needles.size(), 3);
  const std::vector<std::string>& names = question.answers;
  ASSERT_EQ(names.size(), 3);
  EXPECT_THAT(names, ::testing::Each(MatchesRegex("[A-Z]{5}")));
  ASSERT_THAT(needles[0], MatchesRegex("\nVAR [A-Z]{5} = [0-9]{5}\n"));
  const std::string value = needles[0].substr(needles[0].size() - 6, 5);
  EXPECT_EQ(needles[0], absl::StrCat("\nVAR ", names[0], " = ", value, "\n"));
  EXPECT_EQ(needles[1],
            absl::StrCat("\nVAR ", names[1], " = VAR ", names[0], "\n"));
  EXPECT_EQ(needles[2],
            absl::StrCat("\nVAR ", names[2], " = VAR ", names[1], "\n"));
  EXPECT_EQ(Asked(question),
            absl::StrCat("\nQuestion: Find all variables that are assigned the "
                         "value ",
                         value, " in the text above.\nAnswer: "));
  EXPECT_EQ(JoinAnswers(question),
            absl::StrCat(names[0], " ", names[1], " ", names[2]));
}

TEST_F(QuestionsTest, AQuestionIsAFunctionOfSeedAndStream) {
  std::set<std::vector<std::int32_t>> prompts;
  for (const QuestionKind kind : kNeedleKinds) {
    const auto make = [&](std::uint64_t seed, std::uint64_t stream) {
      return maker_.Make(kind, 900, seed, stream, DrawNumbers).value().prompt_T;
    };
    EXPECT_EQ(make(1, 2), make(1, 2));
    prompts.insert({make(1, 2), make(2, 1), make(1, 3)});
  }
  EXPECT_EQ(prompts.size(), 15);
}

TEST_F(QuestionsTest, TooFewTokensAreRefusedAndTheLeastIsNamedExactly) {
  for (const QuestionKind kind : kNeedleKinds) {
    const absl::Status status =
        maker_.Make(kind, 300, 7, 1, DrawNumbers).status();
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument,
                                 HasSubstr("window of 256")));
    const std::vector<std::string> words =
        absl::StrSplit(std::string(status.message()), ' ');
    const std::int64_t least = std::stoll(words[words.size() - 2]);
    EXPECT_OK(maker_.Make(kind, least, 7, 1, DrawNumbers));
    EXPECT_FALSE(maker_.Make(kind, least - 1, 7, 1, DrawNumbers).ok());
  }
}

TEST_F(QuestionsTest, AHaystackThatCannotBeDrawnIsReported) {
  const DrawHaystack fail = [](Rng& /*rng*/, std::int64_t /*count*/) {
    return absl::StatusOr<std::vector<std::int32_t>>(
        absl::FailedPreconditionError("too short"));
  };
  EXPECT_THAT(maker_.Make(QuestionKind::kSingle, 900, 7, 1, fail),
              StatusIs(absl::StatusCode::kFailedPrecondition));
}

TEST_F(QuestionsTest, WordsAreOfTheVocabulary) {
  EXPECT_GT(maker_.words().size(), 1000);
  EXPECT_TRUE(std::is_sorted(maker_.words().begin(), maker_.words().end()));
  for (const std::string& word : maker_.words()) {
    EXPECT_THAT(word, MatchesRegex("[a-z]{4,10}"));
    EXPECT_TRUE(TinyTokenizer().TokenId(word).has_value() ||
                TinyTokenizer().TokenId("\xc4\xa0" + word).has_value())
        << word;
  }
}

TEST_F(QuestionsTest, KindsHaveNames) {
  for (int i = 0; i <= static_cast<int>(QuestionKind::kForeign); ++i) {
    const auto kind = static_cast<QuestionKind>(i);
    ASSERT_OK_AND_ASSIGN(const QuestionKind parsed,
                         ParseQuestionKind(QuestionKindName(kind)));
    EXPECT_EQ(parsed, kind);
  }
  EXPECT_THAT(
      ParseQuestionKind("multikey"),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("multi_key")));
}

}  // namespace
}  // namespace rtpurbo
