// Long texts, encoded in pieces by several threads.
//
// A text may be cut where the tokenizer cuts it anyway: its ids are then those
// of the pieces, one after the other. Such places are looked for at the start
// of lines and tried: the text around the place, 256 bytes to each side, must
// have the same ids whole as in two. Where pieces begin depends on the text
// alone, so the ids do not depend on the number of threads.

#ifndef RTPURBO_DATA_ENCODE_PIECES_H_
#define RTPURBO_DATA_ENCODE_PIECES_H_

#include <cstdint>
#include <vector>

#include "absl/strings/string_view.h"
#include "data/text_reader.h"
#include "data/token_store.h"
#include "data/tokenizer.h"
#include "kernels/core/interval.h"

namespace rtpurbo {

// Cuts `text` into pieces, in bytes, of at least `piece_bytes`, but the last,
// and about that where lines are short.
// REQUIRES: piece_bytes >= 1; text is UTF-8.
std::vector<Interval> CutIntoPieces(const Tokenizer& tokenizer,
                                    absl::string_view text,
                                    std::int64_t piece_bytes);

// Encodes documents, in parallel, with their label spans. At the bounds of a
// span the text is cut in any case and the parts are encoded separately: at its
// begin as a prompt is, before a model goes on; so the labels are what the
// model itself would have to say.
std::vector<TokenDocument> EncodeDocuments(
    const Tokenizer& tokenizer, const std::vector<TextDocument>& documents,
    std::int64_t piece_bytes = std::int64_t{1} << 18U);

}  // namespace rtpurbo

#endif  // RTPURBO_DATA_ENCODE_PIECES_H_
