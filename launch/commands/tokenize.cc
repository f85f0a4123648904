// rtpurbo tokenize --tokenizer FILE: text to token ids and back.

#include <cstdint>
#include <iostream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "data/strict_json.h"
#include "data/tokenizer.h"
#include "kernels/core/status_macros.h"
#include "launch/commands/commands.h"

namespace rtpurbo {
namespace {

using Json = nlohmann::json;

absl::Status BadInput(const std::string& what) {
  return absl::FailedPreconditionError(absl::StrCat("standard input: ", what));
}

absl::StatusOr<std::int32_t> ToId(absl::string_view word) {
  std::int32_t id = 0;
  if (!absl::SimpleAtoi(word, &id) || id < 0) {
    return BadInput(absl::StrCat("\"", word, "\" is no token id"));
  }
  return id;
}

class TokenizeCommand : public Command {
 public:
  absl::string_view name() const override { return "tokenize"; }
  absl::string_view summary() const override {
    return "turns text into token ids, or back";
  }
  absl::string_view description() const override {
    return "Reads standard input, writes standard output. All of the input is "
           "one text; its ids are written with spaces between them. With "
           "--decode the input is ids, and the text of their tokens, special "
           "ones included, is written as it is.\n"
           "With --jsonl each line is an object: {\"text\": \"...\"} becomes "
           "{\"ids\": [...]}, and with --decode the reverse.";
  }
  void AddFlags(FlagSet* flags) override {
    flags->Add("tokenizer", "FILE", "The tokenizer.json of a model.",
               &tokenizer_file_);
    flags->Add("decode", "From ids to text.", &decode_);
    flags->Add("jsonl", "An object a line.", &jsonl_);
  }
  absl::Status Run(const std::vector<std::string>& /*arguments*/) override {
    if (tokenizer_file_.empty()) {
      return absl::InvalidArgumentError(
          "--tokenizer is missing: name a tokenizer.json");
    }
    ASSIGN_OR_RETURN(const Tokenizer tokenizer,
                     Tokenizer::Load(tokenizer_file_));
    RETURN_IF_ERROR(jsonl_ ? RunLines(tokenizer) : RunWhole(tokenizer));
    return absl::OkStatus();
  }

 private:
  absl::Status RunWhole(const Tokenizer& tokenizer) const {
    const std::string text{std::istreambuf_iterator<char>(std::cin),
                           std::istreambuf_iterator<char>()};
    if (!decode_) {
      std::cout << absl::StrJoin(tokenizer.Encode(text), " ") << "\n";
      return absl::OkStatus();
    }
    std::vector<std::int32_t> ids;
    for (const absl::string_view word :
         absl::StrSplit(text, absl::ByAnyChar(" \t\r\n"), absl::SkipEmpty())) {
      ASSIGN_OR_RETURN(const std::int32_t id, ToId(word));
      ids.push_back(id);
    }
    std::cout << tokenizer.Decode(ids);
    return absl::OkStatus();
  }

  absl::Status RunLines(const Tokenizer& tokenizer) const {
    std::string line;
    for (std::int64_t number = 1; std::getline(std::cin, line); ++number) {
      if (absl::StripAsciiWhitespace(line).empty()) {
        continue;
      }
      const std::string where = absl::StrCat("line ", number);
      const absl::StatusOr<Json> json = ParseStrictJson(line, where);
      if (!json.ok()) {
        return BadInput(std::string(json.status().message()));
      }
      ASSIGN_OR_RETURN(const Json out,
                       decode_ ? DecodeLine(tokenizer, *json, where)
                               : EncodeLine(tokenizer, *json, where));
      std::cout << out.dump() << "\n";
    }
    return absl::OkStatus();
  }

  static absl::StatusOr<Json> EncodeLine(const Tokenizer& tokenizer,
                                         const Json& in,
                                         const std::string& where) {
    if (!in.is_object() || !in.contains("text") || !in["text"].is_string()) {
      return BadInput(absl::StrCat(where, " is no object with a \"text\""));
    }
    return Json{{"ids", tokenizer.Encode(in["text"].get<std::string>())}};
  }

  static absl::StatusOr<Json> DecodeLine(const Tokenizer& tokenizer,
                                         const Json& in,
                                         const std::string& where) {
    if (!in.is_object() || !in.contains("ids") || !in["ids"].is_array()) {
      return BadInput(absl::StrCat(where, " is no object with \"ids\""));
    }
    std::vector<std::int32_t> ids;
    for (const Json& value : in["ids"]) {
      const absl::StatusOr<std::int32_t> id = ToId(value.dump());
      if (!id.ok()) {
        return BadInput(
            absl::StrCat(where, ": ", value.dump(), " is no token id"));
      }
      ids.push_back(*id);
    }
    return Json{{"text", tokenizer.Decode(ids)}};
  }

  std::string tokenizer_file_;
  bool decode_ = false;
  bool jsonl_ = false;
};

}  // namespace

std::unique_ptr<Command> NewTokenizeCommand() {
  return std::make_unique<TokenizeCommand>();
}

}  // namespace rtpurbo
