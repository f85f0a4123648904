#include "data/answer_score.h"

#include <optional>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/data/token_fixture.h"

namespace rtpurbo {
namespace {

using ::rtpurbo::testing::TinyTokenizer;

constexpr std::int32_t kEnd = 0;

Question MakeQuestion(QuestionKind kind, std::vector<std::string> answers) {
  Question question;
  question.kind = kind;
  question.answers = std::move(answers);
  question.answer_T = TinyTokenizer().Encode(JoinAnswers(question));
  question.answer_T.push_back(kEnd);
  return question;
}

// The score of an output with its end token, and of one without.
AnswerScore Score(const Question& question, const std::string& output) {
  std::vector<std::int32_t> output_T = TinyTokenizer().Encode(output);
  output_T.push_back(kEnd);
  return ScoreAnswer(question, TinyTokenizer(), output_T);
}
AnswerScore ScoreUnended(const Question& question, const std::string& output) {
  return ScoreAnswer(question, TinyTokenizer(), TinyTokenizer().Encode(output));
}

TEST(AnswerScoreTest, ExactIsTheJoinedAnswersAndTheEnd) {
  const Question values =
      MakeQuestion(QuestionKind::kMultiQuery, {"1234567", "7654321"});
  EXPECT_EQ(Score(values, "1234567, 7654321").exact, true);
  EXPECT_EQ(Score(values, "7654321, 1234567").exact, false);
  EXPECT_EQ(Score(values, "1234567 7654321").exact, false);
  EXPECT_EQ(Score(values, " 1234567, 7654321").exact, false);
  EXPECT_EQ(Score(values, "1234567, 7654321.").exact, false);
  EXPECT_EQ(ScoreUnended(values, "1234567, 7654321").exact, false);
  const Question variables =
      MakeQuestion(QuestionKind::kVariableTracking, {"ABCDE", "FGHIJ"});
  EXPECT_EQ(Score(variables, "ABCDE FGHIJ").exact, true);
  EXPECT_EQ(Score(variables, "ABCDE, FGHIJ").exact, false);
  EXPECT_EQ(ScoreAnswer(variables, TinyTokenizer(), variables.answer_T).exact,
            true);
}

TEST(AnswerScoreTest, WhatFollowsTheEndTokenIsIgnored) {
  const Question question = MakeQuestion(QuestionKind::kSingle, {"1234567"});
  std::vector<std::int32_t> output_T = question.answer_T;
  const std::vector<std::int32_t> more = TinyTokenizer().Encode(" and more");
  output_T.insert(output_T.end(), more.begin(), more.end());
  const AnswerScore score = ScoreAnswer(question, TinyTokenizer(), output_T);
  EXPECT_EQ(score.output, "1234567");
  EXPECT_EQ(score.exact, true);
  const AnswerScore none =
      ScoreAnswer(question, TinyTokenizer(), std::vector<std::int32_t>{kEnd});
  EXPECT_EQ(none.output, "");
  EXPECT_EQ(none.exact, false);
  EXPECT_EQ(none.contains, 0);
}

TEST(AnswerScoreTest, ContainsIsTheShareOfAnswersFoundInAnyOrderAndCase) {
  const Question question =
      MakeQuestion(QuestionKind::kForeign, {"Paris", "the Seine", "42", "x"});
  EXPECT_EQ(Score(question, "THE SEINE runs through paris, 42 x").contains, 1);
  EXPECT_EQ(Score(question, "paris and nothing else").contains, 0.25);
  EXPECT_EQ(ScoreUnended(question, "Paris 142").contains, 0.5);
  EXPECT_EQ(Score(question, "").contains, 0);
  EXPECT_EQ(Score(question, "Paris").exact, std::nullopt);
}

TEST(AnswerScoreTest, CaseIsComparedBeyondAscii) {
  const Question question =
      MakeQuestion(QuestionKind::kForeign, {"\xc3\x89"
                                            "CLAIR \xce\xa9"});
  EXPECT_EQ(Score(question,
                  "un \xc3\xa9"
                  "clair \xcf\x89")
                .contains,
            1);
  EXPECT_EQ(Score(question, "un eclair \xcf\x89").contains, 0);
}

}  // namespace
}  // namespace rtpurbo
