#include "data/text/tokenizer_json.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <optional>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "data/text/split_pattern.h"
#include "data/text/tokenizer_json_reader.h"
#include "kernels/core/status_macros.h"
#include "nlohmann/json.hpp"

namespace rtpurbo {
namespace {

using Json = nlohmann::json;

// What ByteLevel splits by if its use_regex is true.
constexpr absl::string_view kByteLevelPattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+)"
    R"(|\s+(?!\S)|\s+)";

constexpr std::size_t kMaxShown = 60;

// A value as it is shown in a message.
std::string Shown(const Json& value) {
  std::string text =
      value.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
  if (text.size() > kMaxShown) {
    text.resize(kMaxShown - 3);
    text.append("...");
  }
  return text;
}

absl::Status Unsupported(absl::string_view path, const Json& value,
                         absl::string_view supported) {
  return absl::UnimplementedError(absl::StrCat(
      path, " is ", Shown(value), "; supported is only ", supported));
}

// An object of the file, and the path to it.
class Object {
 public:
  // InvalidArgument if `value` is no object, Unimplemented if it has a key that
  // is not in `known`.
  static absl::StatusOr<Object> Create(
      const Json& value, std::string path,
      std::initializer_list<absl::string_view> known) {
    if (!value.is_object()) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, " is ", Shown(value), ", not an object"));
    }
    const Object object(value, std::move(path));
    for (const auto& [key, member] : value.items()) {
      if (std::find(known.begin(), known.end(), key) == known.end()) {
        return absl::UnimplementedError(
            absl::StrCat("the field ", object.Path(key), " = ", Shown(member),
                         " is not known"));
      }
    }
    return object;
  }

  std::string Path(absl::string_view key) const {
    return path_.empty() ? std::string(key) : absl::StrCat(path_, ".", key);
  }
  // Null if there is none.
  const Json& Get(const char* key) const {
    static const Json null;
    const auto found = value_.find(key);
    return found == value_.end() ? null : *found;
  }
  absl::StatusOr<bool> Bool(const char* key) const {
    const Json& value = Get(key);
    if (!value.is_boolean()) {
      return Wrong(key, "true or false");
    }
    return value.get<bool>();
  }
  absl::StatusOr<std::string> String(const char* key) const {
    const Json& value = Get(key);
    if (!value.is_string()) {
      return Wrong(key, "a string");
    }
    return value.get_ref<const std::string&>();
  }
  // OK if the field is missing, null or equal to `neutral`.
  absl::Status Neutral(const char* key, const Json& neutral) const {
    const Json& value = Get(key);
    return value.is_null() || value == neutral
               ? absl::OkStatus()
               : Unsupported(Path(key), value, Shown(neutral));
  }
  absl::Status Wrong(const char* key, absl::string_view expected) const {
    const std::string found = value_.contains(key)
                                  ? absl::StrCat("is ", Shown(Get(key)))
                                  : std::string("is missing");
    return absl::InvalidArgumentError(
        absl::StrCat(Path(key), " ", found, "; expected is ", expected));
  }

 private:
  Object(const Json& value, std::string path)
      : value_(value), path_(std::move(path)) {}

  const Json& value_;
  std::string path_;
};

// The field "type" of a component; empty if there is none.
std::string TypeOf(const Json& component) {
  const auto type =
      component.is_object() ? component.find("type") : component.end();
  return type != component.end() && type->is_string() ? type->get<std::string>()
                                                      : std::string();
}

absl::StatusOr<bool> UsesNfc(const Json& normalizer) {
  if (normalizer.is_null()) {
    return false;
  }
  if (TypeOf(normalizer) != "NFC") {
    return Unsupported("normalizer", normalizer, "null or {\"type\":\"NFC\"}");
  }
  RETURN_IF_ERROR(Object::Create(normalizer, "normalizer", {"type"}).status());
  return true;
}

// ByteLevel in the role of a pre-tokenizer, post-processor or decoder.
absl::StatusOr<Object> ByteLevel(const Json& value, const std::string& path) {
  ASSIGN_OR_RETURN(const Object object,
                   Object::Create(value, path,
                                  {"type", "add_prefix_space", "trim_offsets",
                                   "use_regex"}));
  for (const char* key : {"add_prefix_space", "trim_offsets"}) {
    RETURN_IF_ERROR(object.Bool(key).status());
  }
  if (!object.Get("use_regex").is_null()) {
    RETURN_IF_ERROR(object.Bool("use_regex").status());
  }
  return object;
}

absl::Status AddByteLevelSplit(const Json& value, const std::string& path,
                               std::vector<TokenizerJson::Split>* splits) {
  ASSIGN_OR_RETURN(const Object object, ByteLevel(value, path));
  RETURN_IF_ERROR(object.Neutral("add_prefix_space", false));
  const Json& use_regex = object.Get("use_regex");
  if (use_regex.is_null() || use_regex.get<bool>()) {
    TokenizerJson::Split split;
    ASSIGN_OR_RETURN(split.pattern, TranslatePattern(kByteLevelPattern));
    splits->push_back(std::move(split));
  }
  return absl::OkStatus();
}

absl::StatusOr<SplitBehavior> ParseBehavior(const Object& split) {
  static constexpr std::array<std::pair<absl::string_view, SplitBehavior>, 5>
      kBehaviors = {{{"Removed", SplitBehavior::kRemoved},
                     {"Isolated", SplitBehavior::kIsolated},
                     {"MergedWithPrevious", SplitBehavior::kMergedWithPrevious},
                     {"MergedWithNext", SplitBehavior::kMergedWithNext},
                     {"Contiguous", SplitBehavior::kContiguous}}};
  ASSIGN_OR_RETURN(const std::string name, split.String("behavior"));
  for (const auto& [known, behavior] : kBehaviors) {
    if (known == name) {
      return behavior;
    }
  }
  return split.Wrong("behavior",
                     "Removed, Isolated, MergedWithPrevious, MergedWithNext or "
                     "Contiguous");
}

absl::StatusOr<std::string> ParsePattern(const Object& split) {
  ASSIGN_OR_RETURN(const Object pattern,
                   Object::Create(split.Get("pattern"), split.Path("pattern"),
                                  {"Regex", "String"}));
  const bool is_regex = !pattern.Get("Regex").is_null();
  if (is_regex == !pattern.Get("String").is_null()) {
    return split.Wrong("pattern", "{\"Regex\": ...} or {\"String\": ...}");
  }
  const char* key = is_regex ? "Regex" : "String";
  ASSIGN_OR_RETURN(const std::string text, pattern.String(key));
  if (!is_regex) {
    return LiteralPattern(text);
  }
  absl::StatusOr<std::string> translated = TranslatePattern(text);
  if (!translated.ok()) {
    return absl::Status(
        translated.status().code(),
        absl::StrCat(pattern.Path(key), ": ", translated.status().message(),
                     ": ", text));
  }
  return translated;
}

absl::StatusOr<TokenizerJson::Split> ParseSplit(const Json& value,
                                                const std::string& path) {
  ASSIGN_OR_RETURN(
      const Object object,
      Object::Create(value, path, {"type", "pattern", "behavior", "invert"}));
  TokenizerJson::Split split;
  ASSIGN_OR_RETURN(split.pattern, ParsePattern(object));
  ASSIGN_OR_RETURN(split.behavior, ParseBehavior(object));
  ASSIGN_OR_RETURN(split.invert, object.Bool("invert"));
  return split;
}

// The steps of a pre-tokenizer; the last must be ByteLevel.
absl::StatusOr<std::vector<TokenizerJson::Split>> ParsePreTokenizer(
    const Json& value) {
  static constexpr absl::string_view kSupported =
      "ByteLevel, or a Sequence of Split that ends with ByteLevel";
  std::vector<TokenizerJson::Split> splits;
  if (TypeOf(value) == "ByteLevel") {
    RETURN_IF_ERROR(AddByteLevelSplit(value, "pre_tokenizer", &splits));
    return splits;
  }
  if (TypeOf(value) != "Sequence") {
    return Unsupported("pre_tokenizer", value, kSupported);
  }
  ASSIGN_OR_RETURN(
      const Object object,
      Object::Create(value, "pre_tokenizer", {"type", "pretokenizers"}));
  const Json& steps = object.Get("pretokenizers");
  if (!steps.is_array() || steps.empty()) {
    return object.Wrong("pretokenizers", "a list with something in it");
  }
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const std::string path =
        absl::StrCat(object.Path("pretokenizers"), "[", i, "]");
    const bool is_last = i + 1 == steps.size();
    if (TypeOf(steps[i]) != (is_last ? "ByteLevel" : "Split")) {
      return Unsupported(path, steps[i], kSupported);
    }
    if (is_last) {
      RETURN_IF_ERROR(AddByteLevelSplit(steps[i], path, &splits));
    } else {
      ASSIGN_OR_RETURN(TokenizerJson::Split split, ParseSplit(steps[i], path));
      splits.push_back(std::move(split));
    }
  }
  return splits;
}

absl::StatusOr<AddedToken> ParseAddedToken(const Json& value,
                                           const std::string& path) {
  ASSIGN_OR_RETURN(const Object object,
                   Object::Create(value, path,
                                  {"id", "content", "single_word", "lstrip",
                                   "rstrip", "normalized", "special"}));
  const Json& id = object.Get("id");
  if (!id.is_number_unsigned() ||
      id.get<std::uint64_t>() > std::numeric_limits<std::int32_t>::max()) {
    return object.Wrong("id", "the id of a token, a number from 0 on");
  }
  AddedToken token;
  token.id = id.get<std::int32_t>();
  ASSIGN_OR_RETURN(token.content, object.String("content"));
  if (token.content.empty()) {
    return object.Wrong("content", "a text that is not empty");
  }
  ASSIGN_OR_RETURN(const bool single_word, object.Bool("single_word"));
  if (single_word) {
    return Unsupported(object.Path("single_word"), true, "false");
  }
  ASSIGN_OR_RETURN(token.lstrip, object.Bool("lstrip"));
  ASSIGN_OR_RETURN(token.rstrip, object.Bool("rstrip"));
  ASSIGN_OR_RETURN(token.normalized, object.Bool("normalized"));
  ASSIGN_OR_RETURN(token.special, object.Bool("special"));
  return token;
}

absl::StatusOr<std::vector<AddedToken>> ParseAddedTokens(const Object& file) {
  std::vector<AddedToken> tokens;
  const Json& values = file.Get("added_tokens");
  if (values.is_null()) {
    return tokens;
  }
  if (!values.is_array()) {
    return file.Wrong("added_tokens", "a list");
  }
  for (std::size_t i = 0; i < values.size(); ++i) {
    ASSIGN_OR_RETURN(
        AddedToken token,
        ParseAddedToken(values[i], absl::StrCat("added_tokens[", i, "]")));
    tokens.push_back(std::move(token));
  }
  return tokens;
}

absl::Status CheckModel(const Json& value, const RawTokenizerJson& raw) {
  ASSIGN_OR_RETURN(
      const Object model,
      Object::Create(value, "model",
                     {"type", "dropout", "unk_token", "fuse_unk",
                      "continuing_subword_prefix", "end_of_word_suffix",
                      "byte_fallback", "ignore_merges", "vocab", "merges"}));
  ASSIGN_OR_RETURN(const std::string type, model.String("type"));
  if (type != "BPE") {
    return Unsupported(model.Path("type"), type, "\"BPE\"");
  }
  for (const char* key : {"dropout", "unk_token"}) {
    RETURN_IF_ERROR(model.Neutral(key, nullptr));
  }
  for (const char* key : {"fuse_unk", "byte_fallback", "ignore_merges"}) {
    RETURN_IF_ERROR(model.Neutral(key, false));
  }
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    RETURN_IF_ERROR(model.Neutral(key, ""));
  }
  if (!raw.has_vocab) {
    return model.Wrong("vocab", "an object of tokens and their ids");
  }
  if (!raw.has_merges) {
    return model.Wrong("merges", "a list of pairs of tokens");
  }
  return absl::OkStatus();
}

absl::Status CheckDecoding(const Object& file) {
  if (TypeOf(file.Get("decoder")) != "ByteLevel") {
    return Unsupported("decoder", file.Get("decoder"), "ByteLevel");
  }
  RETURN_IF_ERROR(ByteLevel(file.Get("decoder"), "decoder").status());
  const Json& post_processor = file.Get("post_processor");
  if (post_processor.is_null()) {
    return absl::OkStatus();
  }
  if (TypeOf(post_processor) != "ByteLevel") {
    return Unsupported("post_processor", post_processor, "null or ByteLevel");
  }
  return ByteLevel(post_processor, "post_processor").status();
}

}  // namespace

absl::StatusOr<TokenizerJson> ParseTokenizerJson(absl::string_view json) {
  ASSIGN_OR_RETURN(RawTokenizerJson raw, ReadTokenizerJson(json));
  ASSIGN_OR_RETURN(
      const Object file,
      Object::Create(
          raw.rest, "",
          {"version", "truncation", "padding", "added_tokens", "normalizer",
           "pre_tokenizer", "post_processor", "decoder", "model"}));
  RETURN_IF_ERROR(file.Neutral("version", "1.0"));
  RETURN_IF_ERROR(file.Neutral("truncation", nullptr));
  RETURN_IF_ERROR(file.Neutral("padding", nullptr));
  RETURN_IF_ERROR(CheckModel(file.Get("model"), raw));
  RETURN_IF_ERROR(CheckDecoding(file));
  TokenizerJson tokenizer;
  ASSIGN_OR_RETURN(tokenizer.nfc, UsesNfc(file.Get("normalizer")));
  ASSIGN_OR_RETURN(tokenizer.splits,
                   ParsePreTokenizer(file.Get("pre_tokenizer")));
  ASSIGN_OR_RETURN(tokenizer.added_tokens, ParseAddedTokens(file));
  tokenizer.vocab = std::move(raw.vocab);
  tokenizer.merges = std::move(raw.merges);
  return tokenizer;
}

}  // namespace rtpurbo
