// Reads tokenizer.json, the file of Hugging Face's `tokenizers`.
//
// Supported is byte-level byte pair encoding, as Qwen, GPT-2 and their kin use:
//
//   normalizer      null or NFC
//   pre_tokenizer   ByteLevel, or a Sequence of Split (Regex of
//                   split_pattern.h, or String; any behavior) that ends with
//                   ByteLevel; add_prefix_space false
//   model           BPE; merges as "a b" or ["a", "b"]
//   post_processor  null or ByteLevel (changes no ids)
//   decoder         ByteLevel
//   added_tokens    all but single_word
//
// What would change ids otherwise (truncation, padding, dropout, unk_token,
// byte_fallback, ignore_merges, prefixes and suffixes, other types, fields that
// are not known here) is refused by name.

#ifndef RTPURBO_DATA_TEXT_TOKENIZER_JSON_H_
#define RTPURBO_DATA_TEXT_TOKENIZER_JSON_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "data/text/added_tokens.h"
#include "data/text/splitter.h"
#include "data/text/vocabulary.h"

namespace rtpurbo {

struct TokenizerJson {
  struct Split {
    std::string pattern;  // in the syntax of PCRE2
    SplitBehavior behavior = SplitBehavior::kIsolated;
    bool invert = false;
  };
  bool nfc = false;
  std::vector<Split> splits;  // in the order in which they are applied
  std::vector<Vocabulary::Entry> vocab;  // in the order of the file
  std::vector<std::pair<std::string, std::string>> merges;
  std::vector<AddedToken> added_tokens;
};

// DataLoss if `json` is not JSON, InvalidArgument if it is not of this form,
// Unimplemented if it asks for something else than the above. The message names
// the line and column, or the field and its value, but not the file.
absl::StatusOr<TokenizerJson> ParseTokenizerJson(absl::string_view json);

}  // namespace rtpurbo

#endif  // RTPURBO_DATA_TEXT_TOKENIZER_JSON_H_
