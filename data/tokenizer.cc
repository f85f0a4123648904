#include "data/tokenizer.h"

#include <cstddef>
#include <deque>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "data/text/added_tokens.h"
#include "data/text/byte_level.h"
#include "data/text/byte_pair_encoder.h"
#include "data/text/nfc.h"
#include "data/text/splitter.h"
#include "data/text/tokenizer_json.h"
#include "data/text/utf8.h"
#include "data/text/vocabulary.h"
#include "kernels/core/status_macros.h"

namespace rtpurbo {

struct Tokenizer::Parts {
  bool nfc;
  Vocabulary vocabulary;  // with the added tokens
  BytePairEncoder encoder;
  std::vector<Splitter> splitters;
  AddedTokenFinder raw_tokens;
  AddedTokenFinder normalized_tokens;
  // What added tokens decode from: normalized, if they are found so.
  absl::flat_hash_map<std::int32_t, std::string> added_texts;
  absl::flat_hash_set<std::int32_t> special_ids;

  // The text that a token decodes from. Nothing if no token has this id.
  std::optional<absl::string_view> DecodedFrom(std::int32_t id) const {
    const auto added = added_texts.find(id);
    return added != added_texts.end()
               ? std::optional<absl::string_view>(added->second)
               : vocabulary.Text(id);
  }
};

namespace {

// Pieces up to this size are encoded once in a call and remembered.
constexpr std::size_t kMaxRememberedBytes = 64;
constexpr std::size_t kMaxRemembered = 1 << 18;

// Hugging Face numbers added tokens itself: as the vocabulary does, if it has
// the token, else on from the number of the vocabulary's tokens. An id in the
// file that differs is not heeded there, with a warning; here it is an error.
absl::Status AddTokens(const std::vector<AddedToken>& tokens,
                       Vocabulary* vocabulary) {
  std::int64_t next_id = vocabulary->num_tokens();
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const std::string& content = tokens[i].content;
    const std::optional<std::int32_t> known = vocabulary->Id(content);
    const std::int64_t expected = known.has_value() ? *known : next_id++;
    if (tokens[i].id != expected) {
      return absl::InvalidArgumentError(absl::StrCat(
          "added_tokens[", i, "].id is ", tokens[i].id, ", but \"",
          absl::Utf8SafeCHexEscape(content), "\" ",
          known.has_value() ? "already has the id "
                            : "would get the next free one from Hugging Face, ",
          expected));
    }
    if (!known.has_value()) {
      RETURN_IF_ERROR(vocabulary->Add(content, tokens[i].id));
    }
  }
  return absl::OkStatus();
}

// One call of Encode().
class Encoding {
 public:
  Encoding(const std::vector<Splitter>& splitters,
           const BytePairEncoder& encoder, std::vector<std::int32_t>* ids)
      : splitters_(splitters), encoder_(encoder), ids_(ids) {}

  // Splits by all splitters from `step` on, then encodes.
  void AddText(absl::string_view text, std::size_t step = 0) {
    if (step == splitters_.size()) {
      AddPiece(text);
      return;
    }
    splitters_[step].Split(
        text, &match_scratch_,
        [this, step](absl::string_view piece) { AddText(piece, step + 1); });
  }

  // Text that lives as long as this.
  absl::string_view Keep(std::string text) {
    return kept_.emplace_back(std::move(text));
  }

 private:
  struct IdRange {
    std::size_t begin;
    std::size_t count;
  };

  void AddPiece(absl::string_view piece) {
    const bool remember = piece.size() <= kMaxRememberedBytes;
    if (remember) {
      const auto found = remembered_.find(piece);
      if (found != remembered_.end()) {
        const IdRange range = found->second;
        for (std::size_t i = 0; i < range.count; ++i) {
          ids_->push_back((*ids_)[range.begin + i]);
        }
        return;
      }
    }
    const std::size_t begin = ids_->size();
    encoder_.Encode(piece, &scratch_, ids_);
    if (remember && remembered_.size() < kMaxRemembered) {
      remembered_.emplace(piece, IdRange{begin, ids_->size() - begin});
    }
  }

  const std::vector<Splitter>& splitters_;
  const BytePairEncoder& encoder_;
  std::vector<std::int32_t>* ids_;
  Splitter::Scratch match_scratch_;
  BytePairEncoder::Scratch scratch_;
  std::deque<std::string> kept_;  // what pieces point into
  absl::flat_hash_map<absl::string_view, IdRange> remembered_;
};

}  // namespace

Tokenizer::Tokenizer(std::shared_ptr<const Parts> parts)
    : parts_(std::move(parts)) {}

absl::StatusOr<Tokenizer> Tokenizer::Load(const std::string& path,
                                          FileSystem& files) {
  ASSIGN_OR_RETURN(const std::string json, files.ReadFile(path));
  return Parse(json, path);
}

absl::StatusOr<Tokenizer> Tokenizer::Parse(absl::string_view json,
                                           absl::string_view name) {
  absl::StatusOr<std::shared_ptr<const Parts>> parts = MakeParts(json);
  if (!parts.ok()) {
    const absl::Status& why = parts.status();
    // What is an argument to the parts is a file's contents to the caller.
    return absl::Status(
        absl::IsInvalidArgument(why) ? absl::StatusCode::kFailedPrecondition
                                     : why.code(),
        absl::StrCat("cannot use the tokenizer ", name, ": ", why.message()));
  }
  return Tokenizer(*std::move(parts));
}

absl::StatusOr<std::shared_ptr<const Tokenizer::Parts>> Tokenizer::MakeParts(
    absl::string_view json) {
  ASSIGN_OR_RETURN(TokenizerJson spec, ParseTokenizerJson(json));
  ASSIGN_OR_RETURN(Vocabulary vocabulary,
                   Vocabulary::Create(std::move(spec.vocab)));
  ASSIGN_OR_RETURN(BytePairEncoder encoder,
                   BytePairEncoder::Create(vocabulary, spec.merges));
  RETURN_IF_ERROR(AddTokens(spec.added_tokens, &vocabulary));
  std::vector<Splitter> splitters;
  for (const TokenizerJson::Split& split : spec.splits) {
    ASSIGN_OR_RETURN(
        Splitter splitter,
        Splitter::Create(split.pattern, split.behavior, split.invert));
    splitters.push_back(std::move(splitter));
  }
  std::vector<AddedToken> raw;
  std::vector<AddedToken> normalized;
  absl::flat_hash_map<std::int32_t, std::string> texts;
  absl::flat_hash_set<std::int32_t> special_ids;
  for (AddedToken& token : spec.added_tokens) {
    if (token.normalized && spec.nfc) {
      token.content = NormalizeNfc(token.content);
    }
    texts[token.id] = token.content;
    if (token.special) {
      special_ids.insert(token.id);
    }
    (token.normalized ? normalized : raw).push_back(std::move(token));
  }
  ASSIGN_OR_RETURN(AddedTokenFinder raw_finder,
                   AddedTokenFinder::Create(std::move(raw)));
  ASSIGN_OR_RETURN(AddedTokenFinder normalized_finder,
                   AddedTokenFinder::Create(std::move(normalized)));
  return std::make_shared<const Parts>(Parts{
      spec.nfc, std::move(vocabulary), std::move(encoder), std::move(splitters),
      std::move(raw_finder), std::move(normalized_finder), std::move(texts),
      std::move(special_ids)});
}

std::vector<std::int32_t> Tokenizer::Encode(absl::string_view text) const {
  std::vector<std::int32_t> ids;
  Encoding encoding(parts_->splitters, parts_->encoder, &ids);
  const auto add_normalized = [&](absl::string_view part,
                                  std::optional<std::int32_t> id) {
    if (id.has_value()) {
      ids.push_back(*id);
    } else {
      encoding.AddText(part);
    }
  };
  const auto add_raw = [&](absl::string_view part,
                           std::optional<std::int32_t> id) {
    if (id.has_value()) {
      ids.push_back(*id);
      return;
    }
    if (parts_->nfc && !IsPlainNfc(part)) {
      part = encoding.Keep(NormalizeNfc(part));
    }
    parts_->normalized_tokens.Split(part, add_normalized);
  };
  if (!IsUtf8(text)) {
    std::string repaired;
    AppendAsUtf8(text, /*last=*/true, &repaired);
    text = encoding.Keep(std::move(repaired));
  }
  parts_->raw_tokens.Split(text, add_raw);
  return ids;
}

std::string Tokenizer::Decode(std::span<const std::int32_t> ids,
                              SpecialTokens special) const {
  std::string bytes;
  for (const std::int32_t id : ids) {
    if (special == SpecialTokens::kKeep || !IsSpecial(id)) {
      bytes.append(TokenBytes(id));
    }
  }
  std::string text;
  AppendAsUtf8(bytes, /*last=*/true, &text);
  return text;
}

std::int64_t Tokenizer::vocab_size() const {
  return parts_->vocabulary.size();
}

std::optional<std::int32_t> Tokenizer::TokenId(absl::string_view token) const {
  return parts_->vocabulary.Id(token);
}

std::string Tokenizer::TokenText(std::int32_t id) const {
  return std::string(parts_->vocabulary.Text(id).value_or(""));
}

bool Tokenizer::IsSpecial(std::int32_t id) const {
  return parts_->special_ids.contains(id);
}

std::string Tokenizer::TokenBytes(std::int32_t id) const {
  return BytesOfToken(parts_->DecodedFrom(id).value_or(""));
}

std::string StreamDecoder::Append(std::int32_t id) {
  std::string text;
  if (special_ == SpecialTokens::kKeep || !tokenizer_.IsSpecial(id)) {
    pending_.append(tokenizer_.TokenBytes(id));
    pending_.erase(0, AppendAsUtf8(pending_, /*last=*/false, &text));
  }
  return text;
}

std::string StreamDecoder::Finish() {
  std::string text;
  AppendAsUtf8(pending_, /*last=*/true, &text);
  pending_.clear();
  return text;
}

}  // namespace rtpurbo
