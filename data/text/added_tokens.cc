#include "data/text/added_tokens.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "data/text/unicode_ranges.h"
#include "data/text/utf8.h"
#include "kernels/core/check.h"

namespace rtpurbo {
namespace {

// The bytes of white space that `text` begins with.
std::size_t SpaceAtStart(absl::string_view text) {
  std::size_t size = 0;
  while (size < text.size()) {
    const Utf8Character c = ReadUtf8(text.substr(size));
    if (!Contains(WhiteSpace(), c.code)) {
      break;
    }
    size += c.size;
  }
  return size;
}

// Where the white space that `text` ends with begins.
std::size_t StartOfSpaceAtEnd(absl::string_view text) {
  std::size_t begin = text.size();
  while (begin > 0) {
    std::size_t last = begin - 1;
    while (last > 0 && (static_cast<std::uint8_t>(text[last]) & 0xC0) == 0x80) {
      --last;
    }
    if (!Contains(WhiteSpace(), ReadUtf8(text.substr(last)).code)) {
      break;
    }
    begin = last;
  }
  return begin;
}

}  // namespace

absl::StatusOr<AddedTokenFinder> AddedTokenFinder::Create(
    std::vector<AddedToken> tokens) {
  AddedTokenFinder finder;
  finder.tokens_ = std::move(tokens);
  std::sort(finder.tokens_.begin(), finder.tokens_.end(),
            [](const AddedToken& a, const AddedToken& b) {
              return std::make_pair(b.content.size(), a.content) <
                     std::make_pair(a.content.size(), b.content);
            });
  for (std::size_t i = 0; i < finder.tokens_.size(); ++i) {
    const std::string& content = finder.tokens_[i].content;
    CHECK(!content.empty()) << "an added token has no content";
    if (i > 0 && content == finder.tokens_[i - 1].content) {
      return absl::InvalidArgumentError(
          absl::StrCat("two of added_tokens match the same text \"", content,
                       "\", with the ids ", finder.tokens_[i - 1].id, " and ",
                       finder.tokens_[i].id));
    }
    finder.by_first_byte_[static_cast<std::uint8_t>(content[0])].push_back(i);
  }
  return finder;
}

const AddedToken* AddedTokenFinder::TokenAt(absl::string_view text) const {
  for (const std::size_t i :
       by_first_byte_[static_cast<std::uint8_t>(text[0])]) {
    if (absl::StartsWith(text, tokens_[i].content)) {
      return &tokens_[i];
    }
  }
  return nullptr;
}

void AddedTokenFinder::Split(absl::string_view text, const Emit& emit) const {
  std::size_t covered = 0;
  std::size_t i = 0;
  while (i < text.size()) {
    const AddedToken* token = TokenAt(text.substr(i));
    if (token == nullptr) {
      ++i;
      continue;
    }
    std::size_t begin = i;
    i += token->content.size();
    if (token->lstrip) {
      begin = std::max(StartOfSpaceAtEnd(text.substr(0, begin)), covered);
    }
    if (covered < begin) {
      emit(text.substr(covered, begin - covered), std::nullopt);
    }
    emit(token->content, token->id);
    covered = token->rstrip ? i + SpaceAtStart(text.substr(i)) : i;
  }
  if (covered < text.size()) {
    emit(text.substr(covered), std::nullopt);
  }
}

}  // namespace rtpurbo
