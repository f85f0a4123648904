// UTF-8, as Unicode 15 section 3.9 (tables 3-6 and 3-7) defines it: no
// surrogates, nothing above U+10FFFF, no longer form than needed.
//
// Bytes that are not UTF-8 are read as U+FFFD, one for each "maximal subpart":
// the longest run that begins a character and does not end it, else one byte.
// So do Python's errors="replace", Rust's from_utf8_lossy and web browsers.

#ifndef RTPURBO_DATA_TEXT_UTF8_H_
#define RTPURBO_DATA_TEXT_UTF8_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace rtpurbo {

inline constexpr std::uint32_t kReplacementCharacter = 0xFFFD;

// One character read from the front of a text.
struct Utf8Character {
  enum class Kind : std::uint8_t {
    kValid,
    kInvalid,  // no text that starts with these bytes is UTF-8
    kCut,      // the text ends inside the character
  };
  std::uint32_t code = kReplacementCharacter;  // that, unless kValid
  std::size_t size = 1;                        // bytes read, 1 to 4
  Kind kind = Kind::kInvalid;
};

// REQUIRES: `text` is not empty.
Utf8Character ReadUtf8(absl::string_view text);

// Appends 1 to 4 bytes. REQUIRES: `code` is a character, no surrogate.
void AppendUtf8(std::uint32_t code, std::string* out);

bool IsUtf8(absl::string_view text);

// Appends `text` with U+FFFD for what is not UTF-8. If `last` is false, more
// text may follow: a character that is cut at the end is left.
// Returns the number of bytes read: all, or up to 3 less if not `last`.
std::size_t AppendAsUtf8(absl::string_view text, bool last, std::string* out);

}  // namespace rtpurbo

#endif  // RTPURBO_DATA_TEXT_UTF8_H_
