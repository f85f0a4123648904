// What a stream of training sequences is made of (document_stream.h).

#ifndef RTPURBO_DATA_DOCUMENT_STREAM_OPTIONS_H_
#define RTPURBO_DATA_DOCUMENT_STREAM_OPTIONS_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "data/questions.h"

namespace rtpurbo {

struct DocumentStreamOptions {
  std::uint64_t seed = 0;
  // Streams of one seed that share nothing but the order of text: 0 to 255, say
  // one for each stage.
  std::int64_t stream = 0;
  std::int64_t tokens = 0;  // of a sequence, at most
  // If above 0, a sequence has min_tokens to `tokens` tokens, a multiple of 64
  // below the most, evenly spread in their logarithm; else all have `tokens`.
  std::int64_t min_tokens = 0;
  double question_share = 0.6;  // rounded to millionths
  std::vector<QuestionKind> kinds = {kNeedleKinds.begin(), kNeedleKinds.end()};
  std::int64_t label_tokens = 300;      // the most labels of a sequence
  std::int64_t text_label_tokens = 64;  // of text without label spans
};

// InvalidArgument, naming the option, its value and its range, if one is out of
// it.
absl::Status CheckOptions(const DocumentStreamOptions& options);

}  // namespace rtpurbo

#endif  // RTPURBO_DATA_DOCUMENT_STREAM_OPTIONS_H_
