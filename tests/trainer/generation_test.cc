// The teacher `tiny` speaks: what it writes is what the field's standard
// implementation writes (tests/data/reference), and it answers questions.

#include <algorithm>
#include <cstring>

#include "data/answer_score.h"
#include "data/questions.h"
#include "data/safetensors.h"
#include "model/generator.h"
#include "nlohmann/json.hpp"
#include "tests/data/token_fixture.h"
#include "tests/status_matchers.h"
#include "tests/trainer/tiny_teacher.h"

namespace rtpurbo::testing {
namespace {

using Tokens = std::vector<std::int32_t>;

// 2144 tokens of text.
Tokens ReferenceTokens() {
  const auto tensors = SafetensorsFolder::OpenFile(
      RealFileSystem(), TestDataPath("reference/tiny.safetensors"));
  EXPECT_OK(tensors.status());
  const Bytes raw = *tensors->Raw("needle.ids");
  Tokens ids(raw.size() / sizeof(std::int32_t));
  std::memcpy(ids.data(), raw.data(), raw.size());
  return ids;
}

Tokens Greedy(TinyTeacher& teacher, const SparseMode& mode,
              const Tokens& prompt, std::int64_t max_tokens) {
  GenerateOptions options;
  options.max_tokens = max_tokens;
  options.end_tokens = teacher->config().end_tokens;
  return Generate(*teacher, mode, prompt, options, {}).value().token_T;
}

TEST(GenerationTest, GreedyTextIsThatOfTheReference) {
  TinyTeacher teacher;
  Tokens prompt = ReferenceTokens();
  prompt.resize(512);
  const auto json = nlohmann::json::parse(
      *RealFileSystem().ReadFile(TestDataPath("reference/tiny.json")));
  const auto expected = json["greedy_from_512"].get<Tokens>();
  ASSERT_EQ(expected.size(), 48U);
  EXPECT_EQ(Greedy(teacher, DenseMode(teacher->config()), prompt, 48),
            expected);
}

// Of ten questions the teacher, dense, answers most; with windows alone, none.
TEST(GenerationTest, DenseOutputAnswersNeedleQuestions) {
  TinyTeacher teacher;
  const Tokens text = ReferenceTokens();
  ASSERT_OK_AND_ASSIGN(const QuestionMaker maker,
                       QuestionMaker::Create(TinyTokenizer(), 0, 256));
  const DrawHaystack draw = [&](Rng& rng,
                                std::int64_t count) -> absl::StatusOr<Tokens> {
    const std::int64_t begin =
        rng.Below(static_cast<std::int64_t>(text.size()) - count + 1);
    return Tokens(text.begin() + begin, text.begin() + begin + count);
  };
  SparseMode local;
  local.map = LocalMap(teacher->config());
  local.map.window = 256;
  local.map.sinks = 4;
  int dense_answers = 0;
  int local_answers = 0;
  for (std::uint64_t i = 0; i < 10; ++i) {
    ASSERT_OK_AND_ASSIGN(const Question question,
                         maker.Make(QuestionKind::kSingle, 1024, 1, i, draw));
    const auto answers = [&](const SparseMode& mode) {
      const Tokens output = Greedy(teacher, mode, question.prompt_T, 16);
      return *ScoreAnswer(question, TinyTokenizer(), output).exact ? 1 : 0;
    };
    dense_answers += answers(DenseMode(teacher->config()));
    local_answers += answers(local);
  }
  EXPECT_GE(dense_answers, 6);
  EXPECT_EQ(local_answers, 0);
}

}  // namespace
}  // namespace rtpurbo::testing
