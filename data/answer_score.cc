#include "data/answer_score.h"

#include <utf8proc.h>

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/string_view.h"
#include "kernels/core/check.h"

namespace rtpurbo {
namespace {

// Every character in its simple lower case; bytes that are not UTF-8 as they
// are.
std::string LowerCase(absl::string_view text) {
  std::string lower;
  const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
  auto left = static_cast<utf8proc_ssize_t>(text.size());
  while (left > 0) {
    utf8proc_int32_t character = 0;
    const utf8proc_ssize_t size = utf8proc_iterate(bytes, left, &character);
    if (size < 1) {
      lower.push_back(static_cast<char>(*bytes));
    } else {
      std::array<utf8proc_uint8_t, 4> encoded{};
      const utf8proc_ssize_t count =
          utf8proc_encode_char(utf8proc_tolower(character), encoded.data());
      lower.append(encoded.begin(), encoded.begin() + count);
    }
    const utf8proc_ssize_t step = std::max<utf8proc_ssize_t>(size, 1);
    bytes += step;
    left -= step;
  }
  return lower;
}

}  // namespace

AnswerScore ScoreAnswer(const Question& question, const Tokenizer& tokenizer,
                        const std::vector<std::int32_t>& output_T) {
  CHECK(!question.answers.empty() && !question.answer_T.empty());
  const auto end =
      std::find(output_T.begin(), output_T.end(), question.answer_T.back());
  AnswerScore score;
  score.output =
      tokenizer.Decode(std::vector<std::int32_t>(output_T.begin(), end));
  if (question.kind != QuestionKind::kForeign) {
    score.exact =
        end != output_T.end() && score.output == JoinAnswers(question);
  }
  const std::string output = LowerCase(score.output);
  double found = 0;
  for (const std::string& answer : question.answers) {
    found += absl::StrContains(output, LowerCase(answer)) ? 1 : 0;
  }
  score.contains = found / static_cast<double>(question.answers.size());
  return score;
}

}  // namespace rtpurbo
