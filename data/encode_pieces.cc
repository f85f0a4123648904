#include "data/encode_pieces.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "absl/strings/ascii.h"
#include "kernels/core/check.h"
#include "kernels/core/parallel.h"

namespace rtpurbo {
namespace {

constexpr std::size_t kContextBytes = 256;
constexpr std::size_t kLongestIndent = 64;
constexpr int kMostTrials = 16;

// The first byte at or after `at` that begins a character.
std::size_t CharacterAtOrAfter(absl::string_view text, std::size_t at) {
  while (at < text.size() &&
         (static_cast<unsigned char>(text[at]) & 0xc0U) == 0x80U) {
    ++at;
  }
  return at;
}

// Whether the ids of the text around `at` are the same if it is cut there.
bool CutsThere(const Tokenizer& tokenizer, absl::string_view text,
               std::size_t at) {
  const std::size_t begin =
      CharacterAtOrAfter(text, at > kContextBytes ? at - kContextBytes : 0);
  const std::size_t end =
      CharacterAtOrAfter(text, std::min(at + kContextBytes, text.size()));
  std::vector<std::int32_t> parts =
      tokenizer.Encode(text.substr(begin, at - begin));
  const std::vector<std::int32_t> right =
      tokenizer.Encode(text.substr(at, end - at));
  parts.insert(parts.end(), right.begin(), right.end());
  return parts == tokenizer.Encode(text.substr(begin, end - begin));
}

// Whether a line that begins at `at` may be tried.
bool BeginsPlainly(absl::string_view text, std::size_t at) {
  const std::size_t printing = text.find_first_not_of(" \t", at);
  return printing != absl::string_view::npos &&
         printing - at <= kLongestIndent &&
         absl::ascii_isgraph(static_cast<unsigned char>(text[printing]));
}

// The first good place to cut at or after `at`; the end if there is none. Where
// places are bad, only some are tried in each `stride` bytes.
std::size_t NextCut(const Tokenizer& tokenizer, absl::string_view text,
                    std::size_t at, std::size_t stride) {
  int trials = 0;
  for (;;) {
    const std::size_t newline = text.find('\n', at - 1);
    if (newline == absl::string_view::npos || newline + 1 >= text.size()) {
      return text.size();
    }
    at = newline + 1;
    if (!BeginsPlainly(text, at)) {
      ++at;
      continue;
    }
    if (CutsThere(tokenizer, text, at)) {
      return at;
    }
    ++trials;
    at += trials % kMostTrials == 0 ? stride : 1;
  }
}

// One thing to encode: a piece of a document, within or between label spans.
struct Piece {
  std::size_t document;
  Interval bytes;
  bool begins_label;
  bool ends_label;
  std::vector<std::int32_t> tokens_T;
};

void AddPieces(const Tokenizer& tokenizer, const TextDocument& document,
               std::size_t index, std::int64_t piece_bytes,
               std::vector<Piece>* pieces) {
  const absl::string_view text = document.text;
  const auto add = [&](const Interval& part, bool is_label) {
    if (part.empty()) {
      return;
    }
    const std::vector<Interval> cut =
        CutIntoPieces(tokenizer,
                      text.substr(static_cast<std::size_t>(part.begin),
                                  static_cast<std::size_t>(part.size())),
                      piece_bytes);
    for (std::size_t i = 0; i < cut.size(); ++i) {
      pieces->push_back({index,
                         {part.begin + cut[i].begin, part.begin + cut[i].end},
                         is_label && i == 0,
                         is_label && i + 1 == cut.size(),
                         {}});
    }
  };
  std::int64_t done = 0;
  for (const Interval& span : document.label_spans) {
    add({done, span.begin}, false);
    add(span, true);
    done = span.end;
  }
  add({done, static_cast<std::int64_t>(text.size())}, false);
}

}  // namespace

std::vector<Interval> CutIntoPieces(const Tokenizer& tokenizer,
                                    absl::string_view text,
                                    std::int64_t piece_bytes) {
  CHECK_LE(1, piece_bytes);
  std::vector<Interval> pieces;
  std::size_t begin = 0;
  while (begin < text.size()) {
    const auto least = static_cast<std::size_t>(piece_bytes);
    const std::size_t end = least < text.size() - begin
                                ? NextCut(tokenizer, text, begin + least, least)
                                : text.size();
    pieces.push_back(
        {static_cast<std::int64_t>(begin), static_cast<std::int64_t>(end)});
    begin = end;
  }
  return pieces;
}

std::vector<TokenDocument> EncodeDocuments(
    const Tokenizer& tokenizer, const std::vector<TextDocument>& documents,
    std::int64_t piece_bytes) {
  std::vector<Piece> pieces;
  for (std::size_t i = 0; i < documents.size(); ++i) {
    AddPieces(tokenizer, documents[i], i, piece_bytes, &pieces);
  }
  ParallelFor(static_cast<std::int64_t>(pieces.size()), 1,
              [&](std::int64_t begin, std::int64_t end) {
                for (std::int64_t i = begin; i < end; ++i) {
                  Piece& piece = pieces[static_cast<std::size_t>(i)];
                  const absl::string_view text = documents[piece.document].text;
                  piece.tokens_T = tokenizer.Encode(text.substr(
                      static_cast<std::size_t>(piece.bytes.begin),
                      static_cast<std::size_t>(piece.bytes.size())));
                }
              });
  std::vector<TokenDocument> encoded(documents.size());
  for (std::size_t i = 0; i < documents.size(); ++i) {
    encoded[i].name = documents[i].name;
  }
  for (Piece& piece : pieces) {
    TokenDocument& document = encoded[piece.document];
    const auto begin = static_cast<std::int64_t>(document.tokens_T.size());
    if (piece.begins_label) {
      document.label_spans.push_back({begin, begin});
    }
    document.tokens_T.insert(document.tokens_T.end(), piece.tokens_T.begin(),
                             piece.tokens_T.end());
    if (piece.ends_label) {
      document.label_spans.back().end =
          static_cast<std::int64_t>(document.tokens_T.size());
    }
    piece.tokens_T = {};
  }
  return encoded;
}

}  // namespace rtpurbo
