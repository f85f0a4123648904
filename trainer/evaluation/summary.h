// The table of a conversion from the lines of evaluation.jsonl: how many
// questions each model answers, how sure that is, and whether it differs from
// the dense model on the same questions.

#ifndef RTPURBO_TRAINER_EVALUATION_SUMMARY_H_
#define RTPURBO_TRAINER_EVALUATION_SUMMARY_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"
#include "trainer/evaluation/statistics.h"

namespace rtpurbo {

// A model on the questions of one kind and length.
//
// A question counts as answered if the output is exact; a foreign one, if it
// contains all answers.
struct SummaryRow {
  std::string model;
  // "all" pools single, multi_key, multi_query and variable_tracking of one
  // length; multi_value and foreign stay apart.
  std::string kind;
  std::int64_t tokens = 0;  // of foreign questions, of any length: the mean
  std::int64_t questions = 0;
  std::optional<double> exact;  // share; nothing for foreign questions
  double contains = 0;          // mean of the lines' `contains`
  Interval95 interval;          // Wilson, of the share answered
  // Against "dense" on the questions that both were asked: the difference of
  // the shares answered, and McNemar's exact test. Nothing for "dense" itself
  // and without common questions.
  std::optional<double> difference;
  std::optional<double> p_value;
};

// Rows ordered by model, kind and length. Models: dense, needle map, effect
// map, indexer, stage 1, stage 2, static top-k, window only, random map 1 to 5,
// then others as they come. Kinds: the four of "all", multi_value, foreign,
// "all". Returns DataLoss, naming the line (counted from 1), if a line lacks
// what is read here or repeats a model's answer to a question.
absl::StatusOr<std::vector<SummaryRow>> SummarizeEvaluation(
    const std::vector<nlohmann::json>& lines);

// "table" of summary.json: an object for each row, with the keys model, kind,
// tokens, questions, exact, contains, low, high, difference, p_value; null for
// nothing.
nlohmann::ordered_json SummaryTable(const std::vector<SummaryRow>& rows);

// The same for a terminal, in percent: models down, kinds across, a table for
// each length and one for foreign questions.
std::string SummaryText(const std::vector<SummaryRow>& rows);

}  // namespace rtpurbo

#endif  // RTPURBO_TRAINER_EVALUATION_SUMMARY_H_
