#include "trainer/evaluation/question_run.h"

#include <algorithm>
#include <cerrno>

#include "absl/strings/str_split.h"
#include "dist/solo_communicator.h"
#include "gmock/gmock.h"
#include "kernels/core/parallel.h"
#include "model/generator.h"
#include "nlohmann/json.hpp"
#include "tests/data/failing_file_system.h"
#include "tests/data/token_fixture.h"
#include "tests/device_test.h"
#include "tests/model/random_model.h"
#include "tests/status_matchers.h"
#include "tests/temporary_directory.h"

namespace rtpurbo::testing {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;
using Json = nlohmann::json;

constexpr std::int64_t kMaxTokens = 6;

// Models of two sets of weights: four of the first, of which three share a
// prefill, and one of the second.
class QuestionRunTest : public ::testing::Test {
 protected:
  QuestionRunTest() : directory_(TemporaryDirectory::Where::kInMemory) {
    const SparseMode sparse = Sparse();
    SparseMode by_token = sparse;
    by_token.selection.block = 1;
    SparseMode dense_heads = sparse;
    dense_heads.projections = nullptr;
    first_ = {{"dense", &*teacher_, DenseMode(SmallConfig())},
              {"effect map", &*teacher_, dense_heads},
              {"indexer", &*teacher_, sparse},
              {"stage 1", &*teacher_, by_token}};
    second_ = {{"stage 2", &*student_, sparse}};
    for (std::uint64_t i = 0; i < 3; ++i) {
      Question question;
      question.id = "q" + std::to_string(i);
      question.kind = QuestionKind::kSingle;
      question.prompt_T = RandomTokens(50 + 7 * static_cast<int>(i), 20 + i);
      question.answers = {"1"};
      question.answer_T = {19, 0};
      questions_.push_back(std::move(question));
    }
    questions_[2].kind = QuestionKind::kForeign;
  }

  SparseMode Sparse() {
    SparseMode mode;
    mode.map = LocalMap(SmallConfig());
    mode.map.window = 9;
    mode.map.sinks = 2;
    mode.map.layers[1].retrieval_H[0] = true;
    mode.map.layers[1].retrieval_H[3] = true;
    mode.selection.block = 8;
    mode.selection.recent = 8;
    mode.selection.top_p = 0.3;
    auto projections = std::make_shared<IndexProjections>(
        ZeroProjections(teacher_.ctx(), SmallConfig(), mode.map, 4));
    IndexProjections::Layer& layer = projections->layers[1];
    const Shape shape = layer.wq_SRC.shape();
    layer.wq_SRC = Random(teacher_.ctx(), DType::kF32, shape, 5);
    layer.wk_SRC = Random(teacher_.ctx(), DType::kF32, shape, 6);
    mode.projections = projections;
    return mode;
  }

  absl::Status Ask(const std::vector<AskedModel>& models,
                   const std::string& path,
                   FileSystem& files = RealFileSystem()) {
    done_.clear();
    return AskQuestions(
        teacher_.ctx(), files, alone_,
        {models, questions_, &TinyTokenizer(), kMaxTokens, path},
        [&](std::int64_t done) {
          done_.push_back(done);
          return done == stop_at_ ? absl::CancelledError("asked to stop")
                                  : absl::OkStatus();
        });
  }
  std::string Path(const std::string& name) const { return directory_ / name; }
  static std::string Contents(const std::string& path) {
    return RealFileSystem().ReadFile(path).value();
  }
  static std::vector<Json> Lines(const std::string& path) {
    std::vector<Json> lines;
    for (const auto& line :
         absl::StrSplit(Contents(path), '\n', absl::SkipEmpty())) {
      lines.push_back(Json::parse(std::string(line)));
    }
    return lines;
  }
  // The file without what may differ.
  static std::string WithoutSeconds(const std::string& path) {
    std::string all;
    for (Json line : Lines(path)) {
      EXPECT_EQ(line.erase("seconds"), 1U);
      all += line.dump() + "\n";
    }
    return all;
  }
  // Both passes, uninterrupted.
  std::string Whole() {
    std::string path = Path("whole");
    EXPECT_OK(Ask(first_, path));
    EXPECT_OK(Ask(second_, path));
    return path;
  }

  RandomModel teacher_;
  RandomModel student_{SmallConfig(), kAllRoles, 100};
  std::vector<AskedModel> first_;
  std::vector<AskedModel> second_;
  std::vector<Question> questions_;
  TemporaryDirectory directory_;
  SoloCommunicator alone_;
  std::vector<std::int64_t> done_;
  std::int64_t stop_at_ = -1;
};

TEST_F(QuestionRunTest, WritesALineForEachQuestionAndModelInOrder) {
  const std::string path = Path("e");
  ASSERT_OK(Ask(first_, path));
  EXPECT_THAT(done_, ElementsAre(0, 1, 2, 3));
  const std::vector<Json> lines = Lines(path);
  ASSERT_THAT(lines, SizeIs(12));
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const Question& question = questions_[i / 4];
    EXPECT_EQ(lines[i]["id"], question.id);
    EXPECT_EQ(lines[i]["model"], first_[i % 4].name);
    EXPECT_EQ(lines[i]["tokens"], question.prompt_T.size() + 2);
    EXPECT_EQ(lines[i]["answers"], question.answers);
    EXPECT_GT(lines[i]["seconds"].get<double>(), 0);
    EXPECT_EQ(lines[i]["exact"].is_null(), i / 4 == 2);
  }
  EXPECT_THAT(Contents(path), ::testing::StartsWith(
                                  "{\"id\":\"q0\",\"model\":\"dense\",\"kind\":"
                                  "\"single\",\"tokens\":52,\"output\":"));
}

TEST_F(QuestionRunTest, AnswersAreThoseOfEachModelAlone) {
  const std::vector<Json> lines = Lines(Whole());
  ASSERT_THAT(lines, SizeIs(15));
  std::vector<AskedModel> all = first_;
  all.push_back(second_[0]);
  for (const Json& line : lines) {
    for (const AskedModel& asked : all) {
      if (line["model"].get<std::string>() != asked.name) {
        continue;
      }
      const auto& prompt =
          questions_[line["id"].get<std::string>()[1] - '0'].prompt_T;
      GenerateOptions options;
      options.max_tokens = kMaxTokens;
      options.end_tokens = {0};
      ASSERT_OK_AND_ASSIGN(
          Generated generated,
          Generate(*asked.model, asked.mode, prompt, options, {}));
      if (generated.ended) {
        generated.token_T.pop_back();
      }
      EXPECT_EQ(line["output"], TinyTokenizer().Decode(generated.token_T));
      const auto rows = static_cast<double>(generated.counts.rows);
      EXPECT_EQ(line["tokens_kept"],
                static_cast<double>(generated.counts.tokens) / rows);
      EXPECT_EQ(line["blocks_kept"],
                static_cast<double>(generated.counts.blocks) / rows);
    }
  }
  // Dense heads see all of their steps' keys, selecting ones less.
  EXPECT_GE(lines[0]["tokens_kept"].get<double>(), 50);
  EXPECT_LT(lines[3]["tokens_kept"].get<double>(), 50);
}

TEST_F(QuestionRunTest, ARightAnswerIsExact) {
  // What the model says until a token that it has not said before, which is
  // then its end token, another one than the question's.
  std::vector<std::int32_t> said;
  auto end = said.end();
  for (std::uint64_t seed = 0; end == said.end(); ++seed) {
    questions_[0].prompt_T = RandomTokens(40, seed);
    GenerateOptions options;
    options.max_tokens = kMaxTokens;
    ASSERT_OK_AND_ASSIGN(const Generated generated,
                         Generate(*teacher_, first_[0].mode,
                                  questions_[0].prompt_T, options, {}));
    said = generated.token_T;
    end = std::find_if(said.begin(), said.end(),
                       [&](std::int32_t token) { return token != said[0]; });
  }
  ModelConfig config = SmallConfig();
  config.end_tokens = {*end};
  RandomModel same(config);
  questions_[0].answers = {
      TinyTokenizer().Decode(std::vector(said.begin(), end))};
  questions_[0].answer_T = {1, 8000};
  const std::string path = Path("e");
  ASSERT_OK(Ask({{"dense", &*same, DenseMode(config)}}, path));
  EXPECT_EQ(Lines(path)[0]["exact"], true);
  EXPECT_EQ(Lines(path)[0]["contains"], 1.0);
  questions_[0].answers[0] += "x";
  ASSERT_OK(Ask({{"dense", &*same, DenseMode(config)}}, Path("f")));
  EXPECT_EQ(Lines(Path("f"))[0]["exact"], false);
}

// Cut at many bytes of either pass, it goes on to the same file.
TEST_F(QuestionRunTest, AnInterruptedFileIsContinuedToTheSameBytes) {
  const std::string whole = Contents(Whole());
  const std::string expected = WithoutSeconds(Path("whole"));
  const std::size_t after_first =
      whole.find("{\"id\":\"q0\",\"model\":\"stage 2");
  for (std::size_t cut = 0; cut <= whole.size(); cut += 171) {
    const std::string path = Path("cut");
    ASSERT_OK(RealFileSystem().WriteFileAtomically(path, whole.substr(0, cut)));
    if (cut < after_first) {
      ASSERT_OK(Ask(first_, path));
    }
    ASSERT_OK(Ask(second_, path));
    EXPECT_EQ(WithoutSeconds(path), expected) << "cut at " << cut;
  }
}

TEST_F(QuestionRunTest, QuestionsThatAreDoneAreNotAskedAgain) {
  const std::string path = Whole();
  const std::string before = Contents(path);
  ASSERT_OK(Ask(first_, path));
  EXPECT_THAT(done_, ElementsAre(3));
  ASSERT_OK(Ask(second_, path));
  EXPECT_EQ(Contents(path), before);
  // The last of the first pass's lines is gone with all of the second's.
  const std::size_t cut = before.find("{\"id\":\"q2\",\"model\":\"stage 1");
  ASSERT_OK(RealFileSystem().Truncate(path, static_cast<std::int64_t>(cut)));
  ASSERT_OK(Ask(first_, path));
  EXPECT_THAT(done_, ElementsAre(2, 3));
  const std::size_t kept = before.find("{\"id\":\"q2\"");
  EXPECT_EQ(Contents(path).substr(0, kept), before.substr(0, kept));
}

TEST_F(QuestionRunTest, StoppedAfterAnyQuestionItGoesOn) {
  const std::string expected = WithoutSeconds(Whole());
  const std::string path = Path("stopped");
  for (const std::int64_t done : {0, 1, 2}) {
    stop_at_ = done;
    EXPECT_THAT(Ask(first_, path), StatusIs(absl::StatusCode::kCancelled));
    EXPECT_EQ(done_.back(), done);
  }
  stop_at_ = -1;
  ASSERT_OK(Ask(first_, path));
  ASSERT_OK(Ask(second_, path));
  EXPECT_EQ(WithoutSeconds(path), expected);
}

TEST_F(QuestionRunTest, AFailingDiskLeavesAFileToContinue) {
  const std::string expected = WithoutSeconds(Whole());
  const std::string path = Path("fails");
  int failures = 0;
  for (std::int64_t k = 1; k < 12; ++k) {
    ASSERT_OK(RealFileSystem().RemoveTree(path));
    FailingFileSystem files(RealFileSystem());
    files.FailFrom(k, ENOSPC);
    if (!Ask(first_, path, files).ok()) {
      ++failures;
    }
    ASSERT_OK(Ask(first_, path));
    ASSERT_OK(Ask(second_, path));
    EXPECT_EQ(WithoutSeconds(path), expected) << "call " << k;
  }
  EXPECT_GE(failures, 8);
}

TEST_F(QuestionRunTest, ThreadsDoNotChangeTheLines) {
  const int before = NumThreads();
  SetNumThreads(1);
  ASSERT_OK(Ask(first_, Path("one")));
  SetNumThreads(2);
  ASSERT_OK(Ask(first_, Path("two")));
  SetNumThreads(before);
  EXPECT_EQ(WithoutSeconds(Path("one")), WithoutSeconds(Path("two")));
}

TEST_F(QuestionRunTest, OtherQuestionsOrModelsAreRefused) {
  const std::string path = Whole();
  const auto expect_refusal = [&](const std::vector<AskedModel>& models,
                                  const std::string& message) {
    const std::string before = Contents(path);
    EXPECT_THAT(Ask(models, path),
                StatusIs(absl::StatusCode::kFailedPrecondition,
                         AllOf(HasSubstr(path), HasSubstr(message),
                               HasSubstr("Remove it"))));
    EXPECT_EQ(Contents(path), before);
  };
  expect_refusal({first_[0], first_[1]},
                 ":3: the answer of \"indexer\" to question \"q0\"");
  expect_refusal({first_[1], first_[0], first_[2], first_[3]},
                 ":1: the answer of \"dense\" to question \"q0\"");
  questions_.push_back(questions_[0]);
  questions_.back().id = "q3";
  expect_refusal(first_, ":13: the answer of \"stage 2\"");
  questions_.resize(2);
  expect_refusal(first_, ":9: the answer of \"dense\" to question \"q2\"");
  questions_[0].id = "p";
  expect_refusal(first_, ":1: the answer of \"dense\" to question \"q0\"");
}

TEST_F(QuestionRunTest, ADamagedLineIsNamed) {
  const std::string path = Path("e");
  ASSERT_OK(Ask(second_, path));
  ASSERT_OK(RealFileSystem().AppendToFile(path, "{\"id\": 7\n"));
  EXPECT_THAT(Ask(second_, path),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr(path + ":4")));
  ASSERT_OK(RealFileSystem().WriteFileAtomically(path, "[1]\n"));
  EXPECT_THAT(Ask(second_, path),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr(path + ":1")));
}

TEST_F(QuestionRunTest, WhatCannotBeAskedIsRefused) {
  EXPECT_THAT(Ask({first_[0], first_[0]}, Path("e")),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("called \"dense\"")));
  questions_[1].prompt_T = RandomTokens(512, 1);
  EXPECT_THAT(Ask(first_, Path("e")),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("question \"q1\""),
                             HasSubstr("518 positions"))));
  EXPECT_THAT(Lines(Path("e")), SizeIs(4));
}

}  // namespace
}  // namespace rtpurbo::testing
