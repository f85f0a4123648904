#include "data/text/split_pattern.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "data/text/character_set.h"
#include "data/text/unicode_ranges.h"
#include "data/text/utf8.h"
#include "kernels/core/status_macros.h"

namespace rtpurbo {
namespace {

constexpr int kMaxDepth = 100;
constexpr int kMaxRepeat = 1000;

// The pairs of ASCII letters that are the case folding of one character, such
// as U+00DF or U+FB01: only Oniguruma lets that character match them.
constexpr absl::string_view kFoldedPairs[] = {"ss", "ff", "fi", "fl", "st"};

class Translator {
 public:
  explicit Translator(absl::string_view pattern) : pattern_(pattern) {}

  absl::StatusOr<std::string> Translate() {
    RETURN_IF_ERROR(Alternatives(0));
    if (!AtEnd()) {
      return Invalid("')' closes no group");
    }
    return std::move(out_);
  }

 private:
  bool AtEnd() const { return pos_ == pattern_.size(); }
  char Peek() const { return AtEnd() ? '\0' : pattern_[pos_]; }
  bool PeekAny(absl::string_view chars) const {
    return !AtEnd() && absl::StrContains(chars, Peek());
  }
  bool Take(absl::string_view text) {
    if (!absl::StartsWith(pattern_.substr(pos_), text)) {
      return false;
    }
    pos_ += text.size();
    return true;
  }

  absl::Status Invalid(absl::string_view what) const {
    return absl::InvalidArgumentError(
        absl::StrCat(what, " (at byte ", pos_, " of the pattern)"));
  }
  absl::Status Unsupported(absl::string_view what) const {
    return absl::UnimplementedError(absl::StrCat(
        what, " is not supported (at byte ", pos_, " of the pattern)"));
  }

  absl::Status Alternatives(int depth);
  absl::Status Item(int depth);
  absl::Status Group(int depth);
  absl::Status IgnoreCase();
  absl::Status Repeat();
  absl::Status Interval();
  absl::StatusOr<int> Number();
  absl::Status Bracket();
  absl::Status BracketMember(CharacterSet* set);
  // Reads what follows a backslash: a set, or a character if it returns one.
  absl::StatusOr<std::optional<std::uint32_t>> Escape(CharacterSet* set);
  absl::Status Property(bool negated, CharacterSet* set);
  absl::StatusOr<std::uint32_t> CodeByNumber(std::size_t digits);
  absl::StatusOr<std::uint32_t> ByteByNumber();
  absl::StatusOr<std::uint32_t> CodeInBraces();
  absl::StatusOr<std::uint32_t> Character();

  absl::string_view pattern_;
  std::size_t pos_ = 0;
  std::string out_;
};

absl::Status Translator::Alternatives(int depth) {
  if (depth > kMaxDepth) {
    return Unsupported(
        absl::StrCat("a group inside of ", kMaxDepth, " others"));
  }
  while (!AtEnd() && Peek() != ')') {
    if (Take("|")) {
      out_.push_back('|');
    } else {
      RETURN_IF_ERROR(Item(depth));
    }
  }
  return absl::OkStatus();
}

// One literal, set or group, with its repeat.
absl::Status Translator::Item(int depth) {
  if (Take("(")) {
    RETURN_IF_ERROR(Group(depth));
  } else if (Take("[")) {
    RETURN_IF_ERROR(Bracket());
  } else if (Take(".")) {
    out_.append("[^\\n]");
  } else if (Take("\\")) {
    CharacterSet set;
    ASSIGN_OR_RETURN(const std::optional<std::uint32_t> code, Escape(&set));
    if (code.has_value()) {
      AppendLiteral(*code, &out_);
    } else {
      AppendSet(set, &out_);
    }
  } else if (PeekAny("^$")) {
    return Unsupported(absl::StrCat("the anchor ", pattern_.substr(pos_, 1)));
  } else if (PeekAny("*+?{")) {
    return Invalid(absl::StrCat("'", pattern_.substr(pos_, 1),
                                "' repeats nothing that can be repeated"));
  } else {
    ASSIGN_OR_RETURN(const std::uint32_t code, Character());
    AppendLiteral(code, &out_);
  }
  return Repeat();
}

absl::Status Translator::Group(int depth) {
  if (Take("?i:")) {
    return IgnoreCase();
  }
  bool known = false;
  for (const absl::string_view kind : {"?:", "?>", "?=", "?!"}) {
    if (Take(kind)) {
      absl::StrAppend(&out_, "(", kind);
      known = true;
      break;
    }
  }
  if (!known && Peek() == '?') {
    return Unsupported(absl::StrCat("the group (", pattern_.substr(pos_, 3)));
  }
  if (!known) {
    out_.append("(?:");  // what it captures is not asked for
  }
  RETURN_IF_ERROR(Alternatives(depth + 1));
  if (!Take(")")) {
    return Invalid("a group is not closed");
  }
  out_.push_back(')');
  return absl::OkStatus();
}

absl::Status Translator::IgnoreCase() {
  const std::size_t begin = pos_;
  out_.append("(?i:");
  while (!AtEnd() && Peek() != ')') {
    const char c = Peek();
    if (!absl::ascii_isalpha(static_cast<unsigned char>(c)) && c != '\'' &&
        c != '|') {
      return Unsupported(
          absl::StrCat("'", pattern_.substr(pos_, 1), "' inside of (?i: ),"));
    }
    out_.push_back(c);
    ++pos_;
  }
  const std::string body =
      absl::AsciiStrToLower(pattern_.substr(begin, pos_ - begin));
  for (const absl::string_view pair : kFoldedPairs) {
    if (absl::StrContains(body, pair)) {
      return Unsupported(absl::StrCat("\"", pair, "\" inside of (?i: ),"));
    }
  }
  if (!Take(")")) {
    return Invalid("a group is not closed");
  }
  out_.push_back(')');
  return absl::OkStatus();
}

absl::Status Translator::Repeat() {
  const std::size_t begin = pos_;
  if (Take("{")) {
    RETURN_IF_ERROR(Interval());
  } else if (Take("*") || Take("+") || Take("?")) {
    if (!Take("?")) {
      Take("+");
    }
  } else {
    return absl::OkStatus();
  }
  if (PeekAny("*+?{")) {
    return Unsupported(
        absl::StrCat("the repeat ", pattern_.substr(begin, pos_ + 1 - begin)));
  }
  const absl::string_view repeat = pattern_.substr(begin, pos_ - begin);
  out_.append(repeat.data(), repeat.size());
  return absl::OkStatus();
}

// {n}, {n,} or {n,m}, after the brace.
absl::Status Translator::Interval() {
  ASSIGN_OR_RETURN(const int least, Number());
  if (Take(",") && Peek() != '}') {
    ASSIGN_OR_RETURN(const int most, Number());
    if (most < least) {
      return Invalid("a repeat {n,m} has n greater than m");
    }
  }
  return Take("}") ? absl::OkStatus() : Invalid("'{' begins no {n,m}");
}

absl::StatusOr<int> Translator::Number() {
  int number = 0;
  const std::size_t begin = pos_;
  while (absl::ascii_isdigit(static_cast<unsigned char>(Peek()))) {
    number = 10 * number + (Peek() - '0');
    ++pos_;
    if (number > kMaxRepeat) {
      return Unsupported(absl::StrCat("a repeat above ", kMaxRepeat));
    }
  }
  if (pos_ == begin) {
    return Invalid("'{' begins no {n,m}");
  }
  return number;
}

// [...], after the bracket.
absl::Status Translator::Bracket() {
  CharacterSet set;
  set.negated = Take("^");
  if (Peek() == ']') {
    return Unsupported("']' as the first member of a set");
  }
  while (!Take("]")) {
    if (AtEnd()) {
      return Invalid("a set [...] is not closed");
    }
    RETURN_IF_ERROR(BracketMember(&set));
  }
  AppendSet(set, &out_);
  return absl::OkStatus();
}

// A character, a range of them or an escaped set.
absl::Status Translator::BracketMember(CharacterSet* set) {
  if (Peek() == '[' || absl::StartsWith(pattern_.substr(pos_), "&&")) {
    return Unsupported("a set inside of a set");
  }
  const auto endpoint = [&]() -> absl::StatusOr<std::optional<std::uint32_t>> {
    if (!Take("\\")) {
      return Character();
    }
    CharacterSet inner;
    ASSIGN_OR_RETURN(const std::optional<std::uint32_t> code, Escape(&inner));
    if (inner.negated) {
      return Unsupported("a negated category inside of a set");
    }
    set->members.append(inner.members);
    return code;
  };
  ASSIGN_OR_RETURN(const std::optional<std::uint32_t> first, endpoint());
  if (Peek() != '-' || pos_ + 1 >= pattern_.size() ||
      pattern_[pos_ + 1] == ']') {
    if (first.has_value()) {
      AppendRange(*first, *first, &set->members);
    }
    return absl::OkStatus();
  }
  ++pos_;
  if (Peek() == '[') {
    return Unsupported("a set inside of a set");
  }
  ASSIGN_OR_RETURN(const std::optional<std::uint32_t> last, endpoint());
  if (!first.has_value() || !last.has_value() || *last < *first) {
    return Invalid("a range in a set does not go from a character to a later");
  }
  AppendRange(*first, *last, &set->members);
  return absl::OkStatus();
}

absl::StatusOr<std::optional<std::uint32_t>> Translator::Escape(
    CharacterSet* set) {
  if (AtEnd()) {
    return Invalid("a backslash ends the pattern");
  }
  const char c = Peek();
  ++pos_;
  if (absl::ascii_ispunct(static_cast<unsigned char>(c))) {
    return static_cast<std::uint32_t>(c);
  }
  constexpr absl::string_view kLetters = "tnrfv";
  constexpr absl::string_view kControls = "\t\n\r\f\v";
  if (const std::size_t i = kLetters.find(c); i != absl::string_view::npos) {
    return static_cast<std::uint32_t>(kControls[i]);
  }
  switch (c) {
    case 's':
      AppendRanges(WhiteSpace(), &set->members);
      return std::nullopt;
    case 'S':
      AppendComplement(WhiteSpace(), &set->members);
      return std::nullopt;
    case 'd':
    case 'D':
      *set = {CategoryMembers("Nd", *NewInCategory("Nd")), c == 'D'};
      return std::nullopt;
    case 'p':
    case 'P':
      RETURN_IF_ERROR(Property(c == 'P', set));
      return std::nullopt;
    case 'x':
      return Take("{") ? CodeInBraces() : ByteByNumber();
    case 'u':
      return CodeByNumber(4);
    default:
      --pos_;
      return Unsupported(absl::StrCat("\\", pattern_.substr(pos_, 1)));
  }
}

absl::Status Translator::Property(bool negated, CharacterSet* set) {
  const std::size_t end = pattern_.find('}', pos_);
  if (!Take("{") || end == absl::string_view::npos) {
    return Invalid("\\p is not followed by {...}");
  }
  negated ^= Take("^");
  const absl::string_view name = pattern_.substr(pos_, end - pos_);
  const std::optional<CodeRanges> added = NewInCategory(name);
  if (!added.has_value()) {
    return Unsupported(absl::StrCat("\\p{", name, "}"));
  }
  *set = {CategoryMembers(name, *added), negated};
  pos_ = end + 1;
  return absl::OkStatus();
}

absl::StatusOr<std::uint32_t> Translator::CodeByNumber(std::size_t digits) {
  const absl::string_view text = pattern_.substr(pos_, digits);
  std::uint32_t code = 0;
  if (text.size() < digits ||
      !std::all_of(text.begin(), text.end(), absl::ascii_isxdigit) ||
      !absl::SimpleHexAtoi(text, &code)) {
    return Invalid("a character's number has too few hexadecimal digits");
  }
  if (code > kMaxCode || (code >= 0xD800 && code < 0xE000)) {
    return Invalid(absl::StrCat("there is no character of number ", text));
  }
  pos_ += digits;
  return code;
}

// \xHH, after the x.
absl::StatusOr<std::uint32_t> Translator::ByteByNumber() {
  ASSIGN_OR_RETURN(const std::uint32_t code, CodeByNumber(2));
  if (code >= 0x80) {
    return Unsupported("\\x of a byte above 7F");
  }
  return code;
}

// \x{H...}, after the brace.
absl::StatusOr<std::uint32_t> Translator::CodeInBraces() {
  const std::size_t end = pattern_.find('}', pos_);
  if (end == absl::string_view::npos || end == pos_ || end - pos_ > 8) {
    return Invalid("\\x{...} holds no number of a character");
  }
  ASSIGN_OR_RETURN(const std::uint32_t code, CodeByNumber(end - pos_));
  ++pos_;
  return code;
}

absl::StatusOr<std::uint32_t> Translator::Character() {
  const Utf8Character c = ReadUtf8(pattern_.substr(pos_));
  if (c.kind != Utf8Character::Kind::kValid) {
    return Invalid("the pattern is not UTF-8");
  }
  pos_ += c.size;
  return c.code;
}

}  // namespace

absl::StatusOr<std::string> TranslatePattern(absl::string_view pattern) {
  return Translator(pattern).Translate();
}

std::string LiteralPattern(absl::string_view text) {
  std::string out;
  while (!text.empty()) {
    const Utf8Character c = ReadUtf8(text);
    AppendLiteral(c.code, &out);
    text.remove_prefix(c.size);
  }
  return out;
}

}  // namespace rtpurbo
