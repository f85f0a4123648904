#include "data/text/tokenizer_json_reader.h"

#include <cstddef>
#include <cstdint>
#include <limits>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace rtpurbo {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kMaxDepth = 32;

// What nlohmann's parser calls with each value. A call that returns false ends
// the parse; status() then says why.
class Handler : public nlohmann::json_sax<Json> {
 public:
  explicit Handler(RawTokenizerJson* out) : out_(out) {}

  const absl::Status& status() const { return status_; }

  bool null() override { return Scalar(nullptr, "null"); }
  bool boolean(bool value) override { return Scalar(value, "a boolean"); }
  bool number_integer(number_integer_t value) override {
    return Scalar(value, "a negative number");
  }
  bool number_unsigned(number_unsigned_t value) override {
    if (part_ != Part::kVocab) {
      return Scalar(value, "a number");
    }
    if (value > std::numeric_limits<std::int32_t>::max()) {
      return Fail(absl::StrCat("the id of ", Where(), " is ", value,
                               ", more than any vocabulary has"));
    }
    out_->vocab.emplace_back(std::move(key_), static_cast<std::int32_t>(value));
    return true;
  }
  bool number_float(number_float_t value, const string_t& text) override {
    return Scalar(value, text);
  }
  bool string(string_t& value) override {
    if (part_ == Part::kMerges) {
      return MergeLine(value);
    }
    if (part_ == Part::kMerge) {
      pair_.push_back(std::move(value));
      return true;
    }
    return Scalar(value, "a string");
  }
  bool binary(binary_t& /*value*/) override { return Fail("binary data"); }

  bool key(string_t& value) override {
    key_ = std::move(value);
    if (part_ != Part::kRest) {
      return true;
    }
    if (open_.back()->contains(key_)) {
      return Fail(absl::StrCat("the key \"", absl::Utf8SafeCHexEscape(key_),
                               "\" stands twice in an object"));
    }
    return true;
  }

  bool start_object(std::size_t /*size*/) override {
    if (part_ != Part::kRest) {
      return Unexpected("an object");
    }
    if (AtModel("vocab")) {
      part_ = Part::kVocab;
      out_->has_vocab = true;
      return true;
    }
    return Open(Json::object());
  }
  bool end_object() override {
    if (part_ == Part::kVocab) {
      part_ = Part::kRest;
    } else {
      open_.pop_back();
    }
    return true;
  }

  bool start_array(std::size_t /*size*/) override {
    if (part_ == Part::kMerges) {
      part_ = Part::kMerge;
      pair_.clear();
      return true;
    }
    if (part_ != Part::kRest) {
      return Unexpected("an array");
    }
    if (AtModel("merges")) {
      part_ = Part::kMerges;
      out_->has_merges = true;
      return true;
    }
    return Open(Json::array());
  }
  bool end_array() override {
    if (part_ == Part::kMerge) {
      part_ = Part::kMerges;
      return MergePair();
    }
    if (part_ == Part::kMerges) {
      part_ = Part::kRest;
    } else {
      open_.pop_back();
    }
    return true;
  }

  bool parse_error(std::size_t /*position*/, const std::string& /*token*/,
                   const nlohmann::detail::exception& error) override {
    status_ = absl::DataLossError(
        absl::StrCat("it is not JSON, or not all of it: ", error.what()));
    return false;
  }

 private:
  enum class Part : std::uint8_t { kRest, kVocab, kMerges, kMerge };

  bool Fail(absl::string_view what) {
    status_ = absl::InvalidArgumentError(what);
    return false;
  }
  bool Unexpected(absl::string_view what) {
    return Fail(absl::StrCat(
        Where(), " is ", what, "; expected is ",
        part_ == Part::kVocab
            ? "the id of a token, a number from 0 on"
            : "\"a b\" or [\"a\", \"b\"], the texts of two tokens"));
  }
  std::string Where() const {
    return part_ == Part::kVocab
               ? absl::StrCat("model.vocab[\"", absl::Utf8SafeCHexEscape(key_),
                              "\"]")
               : absl::StrCat("model.merges[", num_merges_, "]");
  }

  // Whether the value that begins is that of `name` in the model. Its key is
  // noted in the tree, so that a second is found.
  bool AtModel(absl::string_view name) {
    if (open_.size() != 2 || !in_model_ || key_ != name) {
      return false;
    }
    (*open_.back())[key_] = nullptr;
    return true;
  }

  Json* Add(Json value) {
    if (open_.empty()) {
      out_->rest = std::move(value);
      return &out_->rest;
    }
    if (open_.back()->is_array()) {
      open_.back()->push_back(std::move(value));
      return &open_.back()->back();
    }
    return &((*open_.back())[key_] = std::move(value));
  }
  bool Open(Json value) {
    if (open_.size() == kMaxDepth) {
      return Fail(absl::StrCat("objects and lists are nested more than ",
                               kMaxDepth, " deep"));
    }
    if (open_.size() == 1) {
      in_model_ = key_ == "model";
    }
    open_.push_back(Add(std::move(value)));
    return true;
  }
  template <typename T>
  bool Scalar(T&& value, absl::string_view what) {
    if (part_ != Part::kRest) {
      return Unexpected(what);
    }
    Add(Json(std::forward<T>(value)));
    return true;
  }

  bool MergeLine(const std::string& line) {
    if (absl::StartsWith(line, "#version")) {
      return true;
    }
    const std::size_t space = line.find(' ');
    if (space == std::string::npos ||
        line.find(' ', space + 1) != std::string::npos) {
      return Unexpected(
          absl::StrCat("\"", absl::Utf8SafeCHexEscape(line), "\""));
    }
    out_->merges.emplace_back(line.substr(0, space), line.substr(space + 1));
    ++num_merges_;
    return true;
  }
  bool MergePair() {
    if (pair_.size() != 2) {
      return Unexpected(absl::StrCat("an array of ", pair_.size()));
    }
    out_->merges.emplace_back(std::move(pair_[0]), std::move(pair_[1]));
    ++num_merges_;
    return true;
  }

  RawTokenizerJson* out_;
  absl::Status status_;
  Part part_ = Part::kRest;
  std::vector<Json*> open_;  // the containers around the next value
  bool in_model_ = false;
  std::string key_;  // the last one read
  std::vector<std::string> pair_;
  std::size_t num_merges_ = 0;
};

}  // namespace

absl::StatusOr<RawTokenizerJson> ReadTokenizerJson(absl::string_view json) {
  RawTokenizerJson raw;
  Handler handler(&raw);
  const bool parsed =
      Json::sax_parse(json.data(), json.data() + json.size(), &handler);
  if (!parsed) {
    return handler.status();
  }
  if (!raw.rest.is_object()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "it holds ", raw.rest.type_name(), ", not an object of JSON"));
  }
  return raw;
}

}  // namespace rtpurbo
