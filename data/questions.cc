#include "data/questions.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "kernels/core/check.h"
#include "kernels/core/status_macros.h"

namespace rtpurbo {
namespace {

constexpr std::size_t kFewestWords = 64;
constexpr std::array<const char*, 6> kKindNames = {
    "single",      "multi_key",         "multi_value",
    "multi_query", "variable_tracking", "foreign"};

bool IsWord(absl::string_view text) {
  return text.size() >= 4 && text.size() <= 10 &&
         std::all_of(text.begin(), text.end(),
                     [](char c) { return c >= 'a' && c <= 'z'; });
}

std::vector<std::string> WordsOf(const Tokenizer& tokenizer) {
  std::set<std::string> words;
  for (std::int32_t id = 0; id < tokenizer.vocab_size(); ++id) {
    if (tokenizer.IsSpecial(id)) {
      continue;
    }
    std::string text = tokenizer.TokenBytes(id);
    if (!text.empty() && text[0] == ' ') {
      text.erase(0, 1);
    }
    if (IsWord(text)) {
      words.insert(std::move(text));
    }
  }
  return {words.begin(), words.end()};
}

// `count` different strings.
std::vector<std::string> DrawDistinct(
    Rng& rng, int count, const std::function<std::string(Rng&)>& draw) {
  std::vector<std::string> drawn;
  while (static_cast<int>(drawn.size()) < count) {
    std::string next = draw(rng);
    if (std::find(drawn.begin(), drawn.end(), next) == drawn.end()) {
      drawn.push_back(std::move(next));
    }
  }
  return drawn;
}

std::string DrawValue(Rng& rng) {
  return absl::StrCat(1000000 + rng.Below(9000000));
}

std::string DrawVariable(Rng& rng) {
  std::string name;
  for (int i = 0; i < 5; ++i) {
    name.push_back(static_cast<char>('A' + rng.Below(26)));
  }
  return name;
}

template <typename T>
void Shuffle(Rng& rng, std::vector<T>* items) {
  for (std::size_t i = items->size(); i > 1; --i) {
    const auto j = rng.Below(static_cast<std::int64_t>(i));
    std::swap((*items)[i - 1], (*items)[static_cast<std::size_t>(j)]);
  }
}

// Ends in a space, which the answer follows without one of its own.
std::string Ask(absl::string_view what) {
  return absl::StrCat("\nQuestion: ", what, "\nAnswer: ");
}

void Append(const std::vector<std::int32_t>& from,
            std::vector<std::int32_t>* to) {
  to->insert(to->end(), from.begin(), from.end());
}

std::int64_t Size(const std::vector<std::int32_t>& tokens) {
  return static_cast<std::int64_t>(tokens.size());
}

// Puts needle i into the haystack before its token cuts[i], then the question.
void Assemble(const std::vector<std::int32_t>& haystack_T,
              const std::vector<std::vector<std::int32_t>>& needles,
              const std::vector<std::int64_t>& cuts,
              const std::vector<std::int32_t>& question_T, Question* result) {
  std::int64_t taken = 0;
  for (std::size_t i = 0; i < needles.size(); ++i) {
    result->prompt_T.insert(result->prompt_T.end(), haystack_T.begin() + taken,
                            haystack_T.begin() + cuts[i]);
    taken = cuts[i];
    const std::int64_t begin = Size(result->prompt_T);
    Append(needles[i], &result->prompt_T);
    result->needles.push_back({begin, Size(result->prompt_T)});
  }
  result->prompt_T.insert(result->prompt_T.end(), haystack_T.begin() + taken,
                          haystack_T.end());
  result->question.begin = Size(result->prompt_T);
  Append(question_T, &result->prompt_T);
  result->question.end = Size(result->prompt_T);
}

}  // namespace

absl::string_view QuestionKindName(QuestionKind kind) {
  return kKindNames[static_cast<std::size_t>(kind)];
}

absl::StatusOr<QuestionKind> ParseQuestionKind(absl::string_view name) {
  for (std::size_t i = 0; i < kKindNames.size(); ++i) {
    if (name == kKindNames[i]) {
      return static_cast<QuestionKind>(i);
    }
  }
  return absl::InvalidArgumentError(
      absl::StrCat("there is no question kind \"", name, "\"; there are ",
                   absl::StrJoin(kKindNames, ", ")));
}

std::string JoinAnswers(const Question& question) {
  return absl::StrJoin(
      question.answers,
      question.kind == QuestionKind::kVariableTracking ? " " : ", ");
}

struct QuestionMaker::Script {
  std::vector<std::string> needles;  // in text order
  std::string question;
  std::vector<std::string> answers;
};

absl::StatusOr<QuestionMaker> QuestionMaker::Create(
    const Tokenizer& tokenizer, std::int32_t end_token,
    const NeedlePlaces& places) {
  QuestionMaker maker(tokenizer, end_token, places);
  maker.words_ = WordsOf(tokenizer);
  if (maker.words_.size() < kFewestWords) {
    return absl::FailedPreconditionError(absl::StrCat(
        "cannot make needle questions: the tokenizer's vocabulary has ",
        maker.words_.size(), " words of 4 to 10 letters a-z, but keys need ",
        kFewestWords));
  }
  return maker;
}

std::vector<std::string> QuestionMaker::DrawKeys(Rng& rng, int count) const {
  const auto num_words = static_cast<std::int64_t>(words_.size());
  const auto word = [&](Rng& draws) -> const std::string& {
    return words_[static_cast<std::size_t>(draws.Below(num_words))];
  };
  return DrawDistinct(rng, count, [&](Rng& draws) {
    const std::string& first = word(draws);
    return absl::StrCat(first, "-", word(draws));
  });
}

QuestionMaker::Script QuestionMaker::WriteMagicValues(QuestionKind kind,
                                                      Rng& rng) const {
  const bool one_key = kind == QuestionKind::kMultiValue;
  const int num_needles = kind == QuestionKind::kSingle ? 1 : one_key ? 3 : 5;
  const std::vector<std::string> keys =
      DrawKeys(rng, one_key ? 1 : num_needles);
  const std::vector<std::string> values =
      DrawDistinct(rng, num_needles, DrawValue);
  Script script;
  for (std::size_t i = 0; i < values.size(); ++i) {
    script.needles.push_back(
        absl::StrCat("\nOne of the special magic values for ",
                     keys[one_key ? 0 : i], " is: ", values[i], ".\n"));
  }
  if (kind == QuestionKind::kMultiQuery) {
    // The first two pairs are asked for; the shuffle below hides them.
    script.answers = {values[0], values[1]};
    script.question =
        Ask(absl::StrCat("What are the special magic values for ", keys[0],
                         ", ", keys[1], " mentioned in the text above?"));
  } else {
    script.answers = one_key ? values : std::vector{values[0]};
    script.question =
        Ask(absl::StrCat("What are all the special magic values for ", keys[0],
                         " mentioned in the text above?"));
  }
  if (!one_key) {
    Shuffle(rng, &script.needles);
  }
  return script;
}

QuestionMaker::Script QuestionMaker::WriteVariables(Rng& rng) {
  const std::string value = absl::StrCat(10000 + rng.Below(90000));
  Script script;
  script.answers = DrawDistinct(rng, 3, DrawVariable);
  script.needles.push_back(
      absl::StrCat("\nVAR ", script.answers[0], " = ", value, "\n"));
  for (std::size_t i = 1; i < script.answers.size(); ++i) {
    script.needles.push_back(absl::StrCat(
        "\nVAR ", script.answers[i], " = VAR ", script.answers[i - 1], "\n"));
  }
  script.question =
      Ask(absl::StrCat("Find all variables that are assigned the value ", value,
                       " in the text above."));
  return script;
}

absl::StatusOr<Question> QuestionMaker::Make(
    QuestionKind kind, std::int64_t num_tokens, std::uint64_t seed,
    std::uint64_t stream, const DrawHaystack& draw_haystack) const {
  CHECK(kind != QuestionKind::kForeign) << "foreign questions are read";
  Rng rng(seed, stream);
  Script script = kind == QuestionKind::kVariableTracking
                      ? WriteVariables(rng)
                      : WriteMagicValues(kind, rng);
  Question result;
  result.kind = kind;
  result.answers = std::move(script.answers);
  result.answer_T = tokenizer_.Encode(JoinAnswers(result));
  result.answer_T.push_back(end_token_);
  const std::vector<std::int32_t> question_T =
      tokenizer_.Encode(script.question);
  std::vector<std::vector<std::int32_t>> needles;
  std::int64_t haystack = num_tokens - Size(question_T) - Size(result.answer_T);
  for (const std::string& needle : script.needles) {
    needles.push_back(tokenizer_.Encode(needle));
    haystack -= Size(needles.back());
  }
  // A needle may be put before haystack token first_needle + [0, room).
  const std::int64_t room =
      haystack - places_.first_needle - places_.window - places_.margin;
  if (room < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("cannot make a ", QuestionKindName(kind), " question of ",
                     num_tokens, " tokens: with a window of ", places_.window,
                     " it takes at least ", num_tokens + 1 - room, " tokens"));
  }
  ASSIGN_OR_RETURN(const std::vector<std::int32_t> haystack_T,
                   draw_haystack(rng, haystack));
  CHECK_EQ(Size(haystack_T), haystack);
  std::vector<std::int64_t> cuts;
  for (std::size_t i = 0; i < needles.size(); ++i) {
    cuts.push_back(places_.first_needle + rng.Below(room));
  }
  std::sort(cuts.begin(), cuts.end());
  Assemble(haystack_T, needles, cuts, question_T, &result);
  return result;
}

}  // namespace rtpurbo
