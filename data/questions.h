// Needle questions: a long text in which facts were hidden, and a question that
// only they answer. For training, calibration and evaluation.
//
//   haystack ... needle ... haystack ... needle ... haystack question answer
//
// kind               needles                              asked for
// single             1 key with 1 value                   the value
// multi_key          1 and 4 distractors of other keys    the value
// multi_value        3 values of one key                  all, in text order
// multi_query        5 keys                               2 of them, in the
//                                                         order of asking
// variable_tracking  VAR a = v, VAR b = VAR a,            a b c
//                    VAR c = VAR b, in text order
//
// A key is two words of the tokenizer's vocabulary, a value 7 digits; variables
// are 5 letters A-Z and their value 5 digits. All keys and all values of a
// question differ. Haystack (neighbouring tokens of one document), needles,
// question with its trailing space, and answer are encoded separately and
// joined as ids, so that no merge of the tokenizer spans a seam. Every needle
// starts at or after token `first_needle`, where no attention sink is, and ends
// more than window + margin tokens before the question, where no windowed head
// that reads the answer sees it.
//
// A question is a pure function of (seed, stream, kind, number of tokens) and
// the haystacks that can be drawn.

#ifndef RTPURBO_DATA_QUESTIONS_H_
#define RTPURBO_DATA_QUESTIONS_H_

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "data/tokenizer.h"
#include "kernels/core/interval.h"
#include "kernels/core/rng.h"

namespace rtpurbo {

enum class QuestionKind : std::uint8_t {
  kSingle,
  kMultiKey,
  kMultiValue,
  kMultiQuery,
  kVariableTracking,
  kForeign,  // from a file of somebody else's (foreign_questions.h)
};

// The kinds that can be made here: all but kForeign.
inline constexpr std::array<QuestionKind, 5> kNeedleKinds = {
    QuestionKind::kSingle, QuestionKind::kMultiKey, QuestionKind::kMultiValue,
    QuestionKind::kMultiQuery, QuestionKind::kVariableTracking};

// "single", "multi_key", "multi_value", "multi_query", "variable_tracking",
// "foreign".
absl::string_view QuestionKindName(QuestionKind kind);
// Returns InvalidArgument, with the names that there are.
absl::StatusOr<QuestionKind> ParseQuestionKind(absl::string_view name);

// T counts tokens.
struct Question {
  std::string id;
  QuestionKind kind = QuestionKind::kSingle;
  std::string foreign_kind;  // what the file calls it; else empty
  std::vector<std::int32_t> prompt_T;
  std::vector<std::string> answers;
  // The answers joined (", "; variables " "), and the end token.
  std::vector<std::int32_t> answer_T;
  std::vector<Interval> needles;  // in prompt_T, ascending
  Interval question;              // in prompt_T: its end; none if foreign
};

// The answers as one text: joined by ", ", those of variable_tracking by " ".
std::string JoinAnswers(const Question& question);

// Draws `num_tokens` neighbouring tokens of one document, as `rng` decides.
using DrawHaystack = std::function<absl::StatusOr<std::vector<std::int32_t>>(
    Rng& rng, std::int64_t num_tokens)>;

// Where needles may be, in tokens.
struct NeedlePlaces {
  std::int64_t window = 0;  // how far a windowed head looks back
  std::int64_t first_needle = 64;
  std::int64_t margin = 100;
};

class QuestionMaker {
 public:
  // `end_token` ends every answer.
  // Returns FailedPrecondition if the vocabulary has too few words.
  static absl::StatusOr<QuestionMaker> Create(const Tokenizer& tokenizer,
                                              std::int32_t end_token,
                                              const NeedlePlaces& places);
  static absl::StatusOr<QuestionMaker> Create(const Tokenizer& tokenizer,
                                              std::int32_t end_token,
                                              std::int64_t window) {
    return Create(tokenizer, end_token, NeedlePlaces{window});
  }

  // Makes the question of (seed, stream); prompt and answer are `num_tokens`
  // tokens together.
  // REQUIRES: kind is not kForeign.
  // Returns InvalidArgument if that is too few (and says how many it takes),
  // or what draw_haystack says.
  absl::StatusOr<Question> Make(QuestionKind kind, std::int64_t num_tokens,
                                std::uint64_t seed, std::uint64_t stream,
                                const DrawHaystack& draw_haystack) const;

  // The words of [a-z]{4,10} that are, with or without a space before them, a
  // token of the vocabulary. Sorted.
  const std::vector<std::string>& words() const { return words_; }
  std::int32_t end_token() const { return end_token_; }
  const NeedlePlaces& places() const { return places_; }

 private:
  struct Script;  // the texts of a question
  QuestionMaker(const Tokenizer& tokenizer, std::int32_t end_token,
                const NeedlePlaces& places)
      : tokenizer_(tokenizer), end_token_(end_token), places_(places) {}

  std::vector<std::string> DrawKeys(Rng& rng, int count) const;
  Script WriteMagicValues(QuestionKind kind, Rng& rng) const;
  static Script WriteVariables(Rng& rng);

  Tokenizer tokenizer_;
  std::int32_t end_token_;
  NeedlePlaces places_;
  std::vector<std::string> words_;
};

}  // namespace rtpurbo

#endif  // RTPURBO_DATA_QUESTIONS_H_
