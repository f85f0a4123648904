// Unicode normalization form C: composed characters where they exist ("e" and
// U+0301 become U+00E9), marks in canonical order. Unicode Standard Annex 15.
//
// Hugging Face's normalizer knows Unicode 9. Marks and compositions added since
// are to it characters that combine with nothing, and here too, whatever the
// version of the library: the ids of a text must not depend on it.

#ifndef RTPURBO_DATA_TEXT_NFC_H_
#define RTPURBO_DATA_TEXT_NFC_H_

#include <string>

#include "absl/strings/string_view.h"

namespace rtpurbo {

// Whether `text` surely is its own normal form: it has no character from
// U+0300 on. (Those below combine with nothing before them.)
bool IsPlainNfc(absl::string_view text);

// Time is linear in the text but for the marks of one character, which are
// sorted. REQUIRES: `text` is UTF-8.
std::string NormalizeNfc(absl::string_view text);

}  // namespace rtpurbo

#endif  // RTPURBO_DATA_TEXT_NFC_H_
