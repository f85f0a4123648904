#include "data/foreign_questions.h"

#include <optional>
#include <string>
#include <vector>

#include "data/file_system.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/data/token_fixture.h"
#include "tests/status_matchers.h"
#include "tests/temporary_directory.h"

namespace rtpurbo {
namespace {

using ::rtpurbo::testing::StatusIs;
using ::rtpurbo::testing::TinyTokenizer;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class ForeignQuestionsTest : public ::testing::Test {
 protected:
  absl::StatusOr<std::vector<Question>> Read(const std::string& contents) {
    RETURN_IF_ERROR(files_.WriteFileAtomically(path_, contents));
    ASSIGN_OR_RETURN(const auto reader,
                     ForeignQuestions::Open(files_, path_, TinyTokenizer(), 0));
    std::vector<Question> questions;
    for (;;) {
      ASSIGN_OR_RETURN(std::optional<Question> question, reader->Next());
      if (!question.has_value()) {
        return questions;
      }
      questions.push_back(*std::move(question));
    }
  }
  void ExpectRefused(const std::string& line, const std::string& reason) {
    EXPECT_THAT(Read(kGood + line),
                StatusIs(absl::StatusCode::kFailedPrecondition,
                         AllOf(HasSubstr(path_ + ":2: "), HasSubstr(reason))))
        << line;
  }

  const std::string kGood =
      R"({"id": "q1", "kind": "niah", "prompt": "Which? ", "answers": ["a"]})"
      "\n";
  FileSystem& files_ = RealFileSystem();
  testing::TemporaryDirectory directory_;
  std::string path_ = directory_ / "questions.jsonl";
};

TEST_F(ForeignQuestionsTest, ALineIsAQuestion) {
  ASSERT_OK_AND_ASSIGN(
      const auto questions,
      Read(kGood +
           R"({"prompt": "x", "answers": ["b", "c"], "kind": "qa", "id": 17,)"
           R"( "length": 3})"));
  ASSERT_EQ(questions.size(), 2);
  EXPECT_EQ(questions[0].id, "q1");
  EXPECT_EQ(questions[0].kind, QuestionKind::kForeign);
  EXPECT_EQ(questions[0].foreign_kind, "niah");
  EXPECT_EQ(questions[0].prompt_T, TinyTokenizer().Encode("Which? "));
  EXPECT_TRUE(questions[0].needles.empty());
  EXPECT_EQ(questions[1].id, "17");
  EXPECT_THAT(questions[1].answers, ElementsAre("b", "c"));
  std::vector<std::int32_t> answer_T = TinyTokenizer().Encode("b, c");
  answer_T.push_back(0);
  EXPECT_EQ(questions[1].answer_T, answer_T);
}

TEST_F(ForeignQuestionsTest, BadLinesAreRefusedWithFileAndLine) {
  const auto refused = [this](const std::string& id, const std::string& kind,
                              const std::string& prompt,
                              const std::string& answers,
                              const std::string& reason) {
    ExpectRefused("{" + id + kind + prompt + answers + ", \"end\": 0}", reason);
  };
  const std::string id = R"("id": "q2", )";
  const std::string kind = R"("kind": "k", )";
  const std::string prompt = R"("prompt": "p", )";
  const std::string answers = R"("answers": ["a"])";
  refused("", kind, prompt, answers, "has no \"id\"");
  refused(R"("id": 1.5, )", kind, prompt, answers, "\"id\" is a JSON number");
  refused(id, "", prompt, answers, "has no \"kind\"");
  refused(id, kind, R"("prompt": "", )", answers, "\"prompt\" is empty");
  refused(id, kind, R"("prompt": ["p"], )", answers, "must be a string");
  refused(id, kind, prompt, R"("answers": [])", "at least one");
  refused(id, kind, prompt, R"("answers": "a")", "list of strings");
  refused(id, kind, prompt, R"("answers": ["a", 3])", "the entry 3");
  refused(id, kind, prompt, R"("answers": [""])", "not empty");
  ExpectRefused("{\"id\": ", "not JSON");
}

TEST_F(ForeignQuestionsTest, ARepeatedIdNamesTheOtherLine) {
  ExpectRefused(kGood, "\"id\" is \"q1\", as in line 1");
}

TEST_F(ForeignQuestionsTest, AMissingFileIsNotFound) {
  EXPECT_THAT(
      ForeignQuestions::Open(files_, directory_ / "no", TinyTokenizer(), 0),
      StatusIs(absl::StatusCode::kNotFound));
}

}  // namespace
}  // namespace rtpurbo
