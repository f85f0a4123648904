#include "trainer/evaluation/summary.h"

#include <set>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "tests/status_matchers.h"

namespace rtpurbo::testing {
namespace {

using ::testing::AllOf;
using ::testing::DoubleNear;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;
using Json = nlohmann::json;

Json Line(const std::string& id, const std::string& model,
          const std::string& kind, int tokens, const Json& exact,
          double contains) {
  return {{"id", id},         {"model", model}, {"kind", kind},
          {"tokens", tokens}, {"exact", exact}, {"contains", contains}};
}

// 10 questions of `kind`: dense answers 0 to 7, the model those of `right`.
std::vector<Json> Ten(const std::string& model, const std::string& kind,
                      int tokens, const std::set<int>& right) {
  std::vector<Json> lines;
  for (int i = 0; i < 10; ++i) {
    const bool exact = right.count(i) > 0;
    const Json value = kind == "foreign" ? Json() : Json(exact);
    lines.push_back(
        Line(kind + "/" + std::to_string(tokens) + "/" + std::to_string(i),
             model, kind, tokens, value, exact ? 1 : 0.5));
  }
  return lines;
}

void Append(const std::vector<Json>& some, std::vector<Json>* all) {
  all->insert(all->end(), some.begin(), some.end());
}

const std::set<int> kDense = {0, 1, 2, 3, 4, 5, 6, 7};
const std::set<int> kStage2 = {0, 1, 2, 8};

std::vector<std::string> Names(const std::vector<SummaryRow>& rows) {
  std::vector<std::string> names;
  for (const SummaryRow& row : rows) {
    names.push_back(row.model + " " + row.kind + " " +
                    std::to_string(row.tokens));
  }
  return names;
}

TEST(SummaryTest, SharesIntervalsAndPairsAreThoseOfTheFormulas) {
  std::vector<Json> lines = Ten("dense", "single", 2048, kDense);
  Append(Ten("stage 2", "single", 2048, kStage2), &lines);
  ASSERT_OK_AND_ASSIGN(const auto rows, SummarizeEvaluation(lines));
  ASSERT_THAT(Names(rows),
              ElementsAre("dense single 2048", "dense all 2048",
                          "stage 2 single 2048", "stage 2 all 2048"));
  EXPECT_EQ(rows[0].exact, 0.8);
  EXPECT_FALSE(rows[0].difference.has_value());
  EXPECT_FALSE(rows[0].p_value.has_value());
  const SummaryRow& row = rows[2];
  EXPECT_EQ(row.questions, 10);
  EXPECT_EQ(row.exact, 0.4);
  EXPECT_NEAR(row.contains, 0.7, 1e-12);
  // Wilson, 4 of 10: worked by hand.
  EXPECT_NEAR(row.interval.low, 0.1682, 1e-4);
  EXPECT_NEAR(row.interval.high, 0.6873, 1e-4);
  // Five that dense alone answers, one that stage 2 alone does:
  // 2 (1 + 6) / 2^6.
  EXPECT_NEAR(*row.difference, -0.4, 1e-12);
  EXPECT_NEAR(*row.p_value, 14.0 / 64, 1e-9);
}

TEST(SummaryTest, RowsComeInTheOrderOfTheTable) {
  std::vector<Json> lines;
  for (const char* model : {"my own", "random map 2", "stage 2", "static top-k",
                            "needle map", "dense", "window only", "indexer",
                            "effect map", "random map 1", "stage 1"}) {
    Append(Ten(model, "single", 1024, {1}), &lines);
  }
  ASSERT_OK_AND_ASSIGN(const auto rows, SummarizeEvaluation(lines));
  std::vector<std::string> models;
  for (std::size_t i = 0; i < rows.size(); i += 2) {
    models.push_back(rows[i].model);
  }
  EXPECT_THAT(models,
              ElementsAre("dense", "needle map", "effect map", "indexer",
                          "stage 1", "stage 2", "static top-k", "window only",
                          "random map 1", "random map 2", "my own"));
}

TEST(SummaryTest, KindsAndLengthsAreApartAndSomeArePooled) {
  std::vector<Json> lines;
  for (const char* kind : {"foreign", "multi_value", "variable_tracking",
                           "multi_query", "multi_key", "single"}) {
    Append(Ten("dense", kind, 1024, kDense), &lines);
  }
  Append(Ten("dense", "single", 512, {1}), &lines);
  ASSERT_OK_AND_ASSIGN(const auto rows, SummarizeEvaluation(lines));
  ASSERT_THAT(
      Names(rows),
      ElementsAre("dense single 512", "dense single 1024",
                  "dense multi_key 1024", "dense multi_query 1024",
                  "dense variable_tracking 1024", "dense multi_value 1024",
                  "dense foreign 1024", "dense all 512", "dense all 1024"));
  EXPECT_EQ(rows[7].questions, 10);
  EXPECT_EQ(rows[7].exact, 0.1);
  EXPECT_EQ(rows[8].questions, 40);
  EXPECT_EQ(rows[8].exact, 0.8);
}

TEST(SummaryTest, ForeignQuestionsCountIfAllAnswersAreContained) {
  std::vector<Json> lines = Ten("dense", "foreign", 100, kDense);
  lines[0]["tokens"] = 201;
  Append(Ten("stage 1", "foreign", 100, kStage2), &lines);
  ASSERT_OK_AND_ASSIGN(const auto rows, SummarizeEvaluation(lines));
  ASSERT_THAT(Names(rows),
              ElementsAre("dense foreign 110", "stage 1 foreign 100"));
  EXPECT_FALSE(rows[1].exact.has_value());
  EXPECT_NEAR(rows[1].contains, 0.7, 1e-12);
  EXPECT_NEAR(rows[1].interval.low, 0.1682, 1e-4);
  EXPECT_NEAR(*rows[1].difference, -0.4, 1e-12);
}

TEST(SummaryTest, OnlyQuestionsThatDenseWasAskedArePaired) {
  std::vector<Json> lines = Ten("stage 2", "single", 64, kStage2);
  ASSERT_OK_AND_ASSIGN(const auto alone, SummarizeEvaluation(lines));
  EXPECT_FALSE(alone[0].difference.has_value());
  EXPECT_FALSE(alone[0].p_value.has_value());
  const std::vector<Json> dense = Ten("dense", "single", 64, kDense);
  lines.insert(lines.end(), dense.begin() + 7, dense.end());  // 7, 8, 9
  ASSERT_OK_AND_ASSIGN(const auto rows, SummarizeEvaluation(lines));
  EXPECT_EQ(rows[2].model, "stage 2");
  EXPECT_EQ(rows[2].difference, 0);
  EXPECT_EQ(rows[2].p_value, 1);
}

TEST(SummaryTest, TheTableHasNullForNothing) {
  std::vector<Json> lines = Ten("dense", "single", 64, kDense);
  Append(Ten("dense", "foreign", 64, kDense), &lines);
  ASSERT_OK_AND_ASSIGN(const auto rows, SummarizeEvaluation(lines));
  const nlohmann::ordered_json table = SummaryTable(rows);
  ASSERT_THAT(table, SizeIs(3));
  EXPECT_THAT(
      table[0].dump(),
      AllOf(HasSubstr("{\"model\":\"dense\",\"kind\":\"single\",\"tokens\":64,"
                      "\"questions\":10,\"exact\":0.8,\"contains\":0.9"),
            HasSubstr("\"difference\":null,\"p_value\":null}")));
  EXPECT_THAT(table[0]["low"].get<double>(), DoubleNear(0.4901, 1e-3));
  EXPECT_TRUE(table[1]["exact"].is_null());
}

TEST(SummaryTest, TheTextIsATableForEachLength) {
  std::vector<Json> lines = Ten("dense", "single", 2048, kDense);
  Append(Ten("dense", "multi_value", 2048, {}), &lines);
  Append(Ten("stage 2", "single", 2048, kStage2), &lines);
  Append(Ten("dense", "foreign", 100, kDense), &lines);
  Append(Ten("dense", "single", 512, {0}), &lines);
  ASSERT_OK_AND_ASSIGN(const auto rows, SummarizeEvaluation(lines));
  EXPECT_EQ(SummaryText(rows),
            "Exact answers at 512 tokens, %\n"
            "model  single   all  95 % of all  to dense  p\n"
            "dense    10.0  10.0   1.8 - 40.4             \n"
            "\n"
            "Exact answers at 2048 tokens, %\n"
            "model    single  multi_value   all  95 % of all  to dense     p\n"
            "dense      80.0          0.0  80.0  49.0 - 94.3                \n"
            "stage 2    40.0               40.0  16.8 - 68.7     -40.0  0.22\n"
            "\n"
            "Foreign questions, %\n"
            "model  questions  contains  95 % of all contained  to dense  p\n"
            "dense         10      90.0            49.0 - 94.3             \n");
  EXPECT_EQ(SummaryText({}), "");
}

TEST(SummaryTest, BadLinesAreNamed) {
  const std::vector<Json> good = Ten("dense", "single", 64, kDense);
  const auto error = [&](const Json& line) {
    std::vector<Json> lines = good;
    lines.push_back(line);
    return SummarizeEvaluation(lines).status();
  };
  for (const char* key :
       {"id", "model", "kind", "tokens", "exact", "contains"}) {
    Json line = Line("x", "dense", "single", 64, true, 1);
    line.erase(key);
    EXPECT_THAT(error(line),
                StatusIs(absl::StatusCode::kDataLoss,
                         AllOf(HasSubstr("line 11"), HasSubstr(key))));
  }
  EXPECT_THAT(error(Json(3)), StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_THAT(error(good[4]),
              StatusIs(absl::StatusCode::kDataLoss,
                       HasSubstr("lines 5 and 11 of the evaluation")));
}

}  // namespace
}  // namespace rtpurbo::testing
