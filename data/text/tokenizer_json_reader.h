// The first pass over tokenizer.json: from text to values.
//
// The vocabulary and the merges are 99 % of the file. They go into arrays as
// they are read; only the rest becomes a tree of JSON values.

#ifndef RTPURBO_DATA_TEXT_TOKENIZER_JSON_READER_H_
#define RTPURBO_DATA_TEXT_TOKENIZER_JSON_READER_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "data/text/vocabulary.h"
#include "nlohmann/json.hpp"

namespace rtpurbo {

struct RawTokenizerJson {
  nlohmann::json rest;  // an object; without model.vocab and model.merges
  bool has_vocab = false;
  bool has_merges = false;
  std::vector<Vocabulary::Entry> vocab;
  std::vector<std::pair<std::string, std::string>> merges;
};

// DataLoss if `json` is not JSON. InvalidArgument if it is no object, has a key
// twice in an object, or has a vocabulary or merges of another form than
// {"token": id, ...} and ["a b", ...] or [["a", "b"], ...]. "#version" lines
// among merges of the first spelling are left out.
absl::StatusOr<RawTokenizerJson> ReadTokenizerJson(absl::string_view json);

}  // namespace rtpurbo

#endif  // RTPURBO_DATA_TEXT_TOKENIZER_JSON_READER_H_
