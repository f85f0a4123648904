#include "data/text/character_set.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace rtpurbo {
namespace {

void AppendCode(std::uint32_t code, std::string* out) {
  absl::StrAppend(out, "\\x{", absl::Hex(code), "}");
}

}  // namespace

void AppendSet(const CharacterSet& set, std::string* out) {
  absl::StrAppend(out, set.negated ? "[^" : "[", set.members, "]");
}

void AppendLiteral(std::uint32_t code, std::string* out) {
  if (code < 0x80 && absl::ascii_isalnum(static_cast<unsigned char>(code))) {
    out->push_back(static_cast<char>(code));
  } else {
    AppendCode(code, out);
  }
}

void AppendRange(std::uint32_t first, std::uint32_t last, std::string* out) {
  AppendCode(first, out);
  if (last != first) {
    out->push_back('-');
    AppendCode(last, out);
  }
}

void AppendRanges(CodeRanges ranges, std::string* out) {
  for (const CodeRange& range : ranges) {
    AppendRange(range.first, range.last, out);
  }
}

void AppendComplement(CodeRanges ranges, std::string* out) {
  std::uint32_t next = 0;
  for (const CodeRange& range : ranges) {
    AppendRange(next, range.first - 1, out);
    next = range.last + 1;
  }
  AppendRange(next, kMaxCode, out);
}

std::string CategoryMembers(absl::string_view name, CodeRanges added) {
  std::string members = absl::StrCat("\\p{", name, "}");
  AppendRanges(added, &members);
  return members;
}

}  // namespace rtpurbo
