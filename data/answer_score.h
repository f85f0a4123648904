// What a model answered to a question, judged.

#ifndef RTPURBO_DATA_ANSWER_SCORE_H_
#define RTPURBO_DATA_ANSWER_SCORE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "data/questions.h"
#include "data/tokenizer.h"

namespace rtpurbo {

struct AnswerScore {
  std::string output;  // its tokens up to the end token, decoded
  // The end token came, and the output before it is the answers joined.
  // Nothing for foreign questions.
  std::optional<bool> exact;
  // Share of the answers that occur somewhere in the output, in any case: 1 if
  // all do. RULER's string_match_all of one question (Hsieh et al. 2024, RULER,
  // arXiv 2404.06654). Letters are compared by Unicode's simple lower case.
  double contains = 0;
};

// output_T: the tokens that were decoded, with or without an end token
// (answer_T.back()); what follows it is ignored.
AnswerScore ScoreAnswer(const Question& question, const Tokenizer& tokenizer,
                        const std::vector<std::int32_t>& output_T);

}  // namespace rtpurbo

#endif  // RTPURBO_DATA_ANSWER_SCORE_H_
