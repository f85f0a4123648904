#include "data/text/utf8.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace rtpurbo {
namespace {

// What a first byte says: how long the character is and what its second byte
// may be. Third and fourth bytes are always 0x80 to 0xBF.
struct FirstByte {
  std::uint8_t size = 0;  // 0: no character begins so
  std::uint8_t second_min = 0x80;
  std::uint8_t second_max = 0xBF;
};

constexpr std::array<FirstByte, 256> MakeFirstBytes() {
  std::array<FirstByte, 256> table{};
  for (std::size_t byte = 0; byte < 0x80; ++byte) {
    table[byte].size = 1;
  }
  for (std::size_t byte = 0xC2; byte <= 0xDF; ++byte) {
    table[byte].size = 2;
  }
  for (std::size_t byte = 0xE0; byte <= 0xEF; ++byte) {
    table[byte].size = 3;
  }
  for (std::size_t byte = 0xF0; byte <= 0xF4; ++byte) {
    table[byte].size = 4;
  }
  table[0xE0].second_min = 0xA0;  // shorter forms exist
  table[0xED].second_max = 0x9F;  // surrogates
  table[0xF0].second_min = 0x90;  // shorter forms exist
  table[0xF4].second_max = 0x8F;  // above U+10FFFF
  return table;
}
constexpr std::array<FirstByte, 256> kFirstBytes = MakeFirstBytes();

std::uint8_t ByteAt(absl::string_view text, std::size_t i) {
  return static_cast<std::uint8_t>(text[i]);
}

// The number of bytes at the front, from `i` on, that are below 0x80; looks at
// eight at a time.
std::size_t SkipAscii(absl::string_view text, std::size_t i) {
  constexpr std::uint64_t kHighBits = 0x8080808080808080;
  while (i + 8 <= text.size()) {
    std::uint64_t word = 0;
    std::memcpy(&word, text.data() + i, 8);
    if ((word & kHighBits) != 0) {
      break;
    }
    i += 8;
  }
  while (i < text.size() && ByteAt(text, i) < 0x80) {
    ++i;
  }
  return i;
}

// The first byte, from `i` on, of what is not UTF-8; the size if there is none.
std::size_t FindInvalid(absl::string_view text, std::size_t i) {
  while ((i = SkipAscii(text, i)) < text.size()) {
    const Utf8Character c = ReadUtf8(text.substr(i));
    if (c.kind != Utf8Character::Kind::kValid) {
      break;
    }
    i += c.size;
  }
  return i;
}

}  // namespace

Utf8Character ReadUtf8(absl::string_view text) {
  using Kind = Utf8Character::Kind;
  const std::uint8_t first = ByteAt(text, 0);
  const FirstByte rule = kFirstBytes[first];
  if (rule.size == 1) {
    return {first, 1, Kind::kValid};
  }
  if (rule.size == 0) {
    return {};
  }
  std::uint32_t code = first & (0x7FU >> rule.size);
  std::uint8_t min = rule.second_min;
  std::uint8_t max = rule.second_max;
  for (std::size_t i = 1; i < rule.size; ++i) {
    if (i == text.size()) {
      return {kReplacementCharacter, i, Kind::kCut};
    }
    const std::uint8_t byte = ByteAt(text, i);
    if (byte < min || byte > max) {
      return {kReplacementCharacter, i, Kind::kInvalid};
    }
    code = code << 6 | (byte & 0x3FU);
    min = 0x80;
    max = 0xBF;
  }
  return {code, rule.size, Kind::kValid};
}

void AppendUtf8(std::uint32_t code, std::string* out) {
  const auto tail = [&](int shift) {
    out->push_back(static_cast<char>(0x80U | (code >> shift & 0x3FU)));
  };
  if (code < 0x80) {
    out->push_back(static_cast<char>(code));
  } else if (code < 0x800) {
    out->push_back(static_cast<char>(0xC0U | code >> 6));
    tail(0);
  } else if (code < 0x10000) {
    out->push_back(static_cast<char>(0xE0U | code >> 12));
    tail(6);
    tail(0);
  } else {
    out->push_back(static_cast<char>(0xF0U | code >> 18));
    tail(12);
    tail(6);
    tail(0);
  }
}

bool IsUtf8(absl::string_view text) {
  return FindInvalid(text, 0) == text.size();
}

std::size_t AppendAsUtf8(absl::string_view text, bool last, std::string* out) {
  std::size_t i = 0;
  while (i < text.size()) {
    const std::size_t bad = FindInvalid(text, i);
    out->append(text.data() + i, bad - i);
    i = bad;
    if (i == text.size()) {
      break;
    }
    const Utf8Character c = ReadUtf8(text.substr(i));
    if (c.kind == Utf8Character::Kind::kCut && !last) {
      break;
    }
    AppendUtf8(kReplacementCharacter, out);
    i += c.size;
  }
  return i;
}

}  // namespace rtpurbo
