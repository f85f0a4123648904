// The alphabet of byte-level tokens, that of GPT-2: each byte is written as one
// character that can be seen. The 188 printable bytes of Latin-1 (0x21 to 0x7E,
// 0xA1 to 0xAC, 0xAE to 0xFF) stand for themselves; the other 68, in their
// order, are U+0100 to U+0143. So a space is U+0120.

#ifndef RTPURBO_DATA_TEXT_BYTE_LEVEL_H_
#define RTPURBO_DATA_TEXT_BYTE_LEVEL_H_

#include <string>

#include "absl/strings/string_view.h"

namespace rtpurbo {

// The text of a token, of its bytes.
std::string TokenOfBytes(absl::string_view bytes);

// The bytes of a token, of its text. A text with a character that stands for no
// byte (an added token with a space, say) is its own bytes, all of it.
std::string BytesOfToken(absl::string_view text);

}  // namespace rtpurbo

#endif  // RTPURBO_DATA_TEXT_BYTE_LEVEL_H_
