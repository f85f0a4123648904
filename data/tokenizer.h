// Text to token ids and back, as Hugging Face's `tokenizers` 0.23 does it.
//
// The tokenizer is read from a tokenizer.json; text/tokenizer_json.h says which
// are supported. Encoding goes through the steps of that file:
//
//   1. Added tokens that are not `normalized` are found in the text.
//   2. The text between them is normalized (NFC), and the others found in it.
//   3. What is left is split by regular expressions into pieces: words,
//   numbers,
//      runs of spaces.
//   4. The bytes of each piece are joined by the merges (text/
//      byte_pair_encoder.h), which gives its ids.
//
// The ids are those of `Tokenizer.encode(text).ids` in Python, whatever the
// versions of PCRE2 and utf8proc. Text that is not UTF-8 cannot be given there;
// here each wrong part of it is read as U+FFFD (text/utf8.h), so that a damaged
// file can still be tokenized and the damage is seen in the decoded text.

#ifndef RTPURBO_DATA_TOKENIZER_H_
#define RTPURBO_DATA_TOKENIZER_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "data/file_system.h"

namespace rtpurbo {

// What becomes of special tokens such as <|endoftext|> in decoded text: the
// argument skip_special_tokens of Hugging Face's decode.
enum class SpecialTokens : std::uint8_t { kKeep, kSkip };

// Any number of threads may use one Tokenizer. Copies share what was read.
class Tokenizer {
 public:
  // Reads a tokenizer.json.
  // Returns what the file system says if it cannot be read, DataLoss if it is
  // not JSON, FailedPrecondition if it is broken otherwise, Unimplemented if it
  // asks for what is not supported; the message names the file, and the place
  // and value in it.
  static absl::StatusOr<Tokenizer> Load(const std::string& path,
                                        FileSystem& files = RealFileSystem());
  // The same of its contents; `name` is what messages call it.
  static absl::StatusOr<Tokenizer> Parse(absl::string_view json,
                                         absl::string_view name);

  std::vector<std::int32_t> Encode(absl::string_view text) const;

  // The bytes of all tokens, one after the other; what is not UTF-8 in them
  // becomes U+FFFD. Ids that no token has (a model may have rows for more) are
  // left out, as Hugging Face does.
  std::string Decode(std::span<const std::int32_t> ids,
                     SpecialTokens special = SpecialTokens::kKeep) const;

  // One more than the largest id: the rows that an embedding needs at least.
  std::int64_t vocab_size() const;
  // The id of a token by its text in tokenizer.json: "Ġthe", "<|endoftext|>".
  std::optional<std::int32_t> TokenId(absl::string_view token) const;
  // The reverse; empty if no token has this id.
  std::string TokenText(std::int32_t id) const;
  // Whether `id` is a token that the file calls special.
  bool IsSpecial(std::int32_t id) const;
  // What a token adds to decoded text; not always UTF-8 by itself. Empty if no
  // token has this id.
  std::string TokenBytes(std::int32_t id) const;

 private:
  struct Parts;
  explicit Tokenizer(std::shared_ptr<const Parts> parts);
  static absl::StatusOr<std::shared_ptr<const Parts>> MakeParts(
      absl::string_view json);

  std::shared_ptr<const Parts> parts_;
};

// Decodes one token after the other, for output as it is generated. A token may
// end inside a character: its bytes are kept back until the character is whole.
// All that Append() and Finish() return, joined, is Decode() of all ids.
class StreamDecoder {
 public:
  explicit StreamDecoder(Tokenizer tokenizer,
                         SpecialTokens special = SpecialTokens::kKeep)
      : tokenizer_(std::move(tokenizer)), special_(special) {}

  // The text that is known now, in UTF-8; may be empty.
  std::string Append(std::int32_t id);
  // The rest: U+FFFD if the text ends inside a character, else nothing. The
  // decoder is then as new.
  std::string Finish();

 private:
  Tokenizer tokenizer_;
  SpecialTokens special_;
  std::string pending_;  // begins a character, up to 3 bytes
};

}  // namespace rtpurbo

#endif  // RTPURBO_DATA_TOKENIZER_H_
