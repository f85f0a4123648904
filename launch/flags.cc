#include "launch/flags.h"

#include <cstddef>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "kernels/core/closest.h"
#include "kernels/core/status_macros.h"

namespace rtpurbo {
namespace {

// A flag as it was typed: --name=value, --name, --noname.
struct Typed {
  std::string name;
  std::optional<std::string> value;
};

Typed Split(const std::string& argument) {
  const std::size_t begin = argument.find_first_not_of('-');
  const std::size_t equals = argument.find('=');
  if (equals == std::string::npos) {
    return {argument.substr(begin), std::nullopt};
  }
  return {argument.substr(begin, equals - begin), argument.substr(equals + 1)};
}

// A lone "-" and a negative number are arguments.
bool IsFlag(const std::string& argument) {
  return absl::StartsWith(argument, "--") && argument.size() > 2 &&
         argument[2] != '-' && argument[2] != '=';
}

absl::Status Unfit(const std::string& name, const std::string& text,
                   absl::string_view wanted) {
  return absl::InvalidArgumentError(
      absl::StrCat("--", name, "=", text, ": not ", wanted));
}

}  // namespace

void FlagSet::Add(const std::string& name, const std::string& value,
                  const std::string& help, std::string* variable) {
  flags_.push_back({name, value, help, false, [=](const std::string& text) {
                      *variable = text;
                      return absl::OkStatus();
                    }});
}

void FlagSet::Add(const std::string& name, const std::string& value,
                  const std::string& help, std::int64_t* variable) {
  flags_.push_back({name, value, help, false, [=](const std::string& text) {
                      return absl::SimpleAtoi(text, variable)
                                 ? absl::OkStatus()
                                 : Unfit(name, text, "a whole number");
                    }});
}

void FlagSet::Add(const std::string& name, const std::string& value,
                  const std::string& help, double* variable) {
  flags_.push_back({name, value, help, false, [=](const std::string& text) {
                      return absl::SimpleAtod(text, variable)
                                 ? absl::OkStatus()
                                 : Unfit(name, text, "a number");
                    }});
}

void FlagSet::Add(const std::string& name, const std::string& help,
                  bool* variable) {
  flags_.push_back({name, "", help, false, [=](const std::string& text) {
                      return absl::SimpleAtob(text, variable)
                                 ? absl::OkStatus()
                                 : Unfit(name, text, "true or false");
                    }});
}

void FlagSet::Add(const std::string& name, const std::string& value,
                  const std::string& help, std::vector<std::string>* variable) {
  flags_.push_back({name, value, help, true, [=](const std::string& text) {
                      variable->push_back(text);
                      return absl::OkStatus();
                    }});
}

const FlagSet::Flag* FlagSet::Find(const std::string& name) const {
  for (const Flag& flag : flags_) {
    if (flag.name == name) {
      return &flag;
    }
  }
  return nullptr;
}

std::string FlagSet::Suggestion(const std::string& name) const {
  std::vector<std::string> names;
  names.reserve(flags_.size());
  for (const Flag& flag : flags_) {
    names.push_back(absl::StrCat("--", flag.name));
  }
  return DidYouMean(absl::StrCat("--", name), names);
}

absl::StatusOr<std::pair<const FlagSet::Flag*, std::optional<std::string>>>
FlagSet::Recognize(const std::string& argument) const {
  Typed typed = Split(argument);
  const Flag* flag = Find(typed.name);
  if (flag == nullptr && absl::StartsWith(typed.name, "no") &&
      !typed.value.has_value()) {
    flag = Find(typed.name.substr(2));
    flag = flag != nullptr && flag->value.empty() ? flag : nullptr;
    typed.value = "false";
  }
  if (flag == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("unknown flag --", typed.name, Suggestion(typed.name)));
  }
  if (!typed.value.has_value() && flag->value.empty()) {
    typed.value = "true";
  }
  return std::pair(flag, std::move(typed.value));
}

absl::StatusOr<std::vector<std::string>> FlagSet::Parse(
    const std::vector<std::string>& arguments) const {
  std::vector<std::string> rest;
  std::set<std::string> seen;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    if (arguments[i] == "--") {
      rest.insert(rest.end(),
                  arguments.begin() + static_cast<std::ptrdiff_t>(i) + 1,
                  arguments.end());
      break;
    }
    if (!IsFlag(arguments[i])) {
      rest.push_back(arguments[i]);
      continue;
    }
    ASSIGN_OR_RETURN(auto found, Recognize(arguments[i]));
    auto& [flag, value] = found;
    if (!flag->may_repeat && !seen.insert(flag->name).second) {
      return absl::InvalidArgumentError(
          absl::StrCat("--", flag->name, " is given twice"));
    }
    if (!value.has_value()) {
      if (i + 1 == arguments.size() || IsFlag(arguments[i + 1])) {
        return absl::InvalidArgumentError(
            absl::StrCat("--", flag->name, " needs a value: --", flag->name,
                         "=", flag->value));
      }
      value = arguments[++i];
    }
    RETURN_IF_ERROR(flag->set(*value));
  }
  return rest;
}

std::string FlagSet::Help() const {
  std::string text;
  for (const Flag& flag : flags_) {
    absl::StrAppend(&text, "  --", flag.name);
    if (!flag.value.empty()) {
      absl::StrAppend(&text, "=", flag.value);
    }
    absl::StrAppend(&text, flag.may_repeat ? " (may be repeated)\n" : "\n",
                    Wrap(flag.help, 6, 80));
  }
  return text;
}

std::string Wrap(absl::string_view text, std::size_t indent,
                 std::size_t width) {
  std::string wrapped;
  const std::string margin(indent, ' ');
  for (const absl::string_view paragraph : absl::StrSplit(text, '\n')) {
    std::string line;
    for (const absl::string_view word :
         absl::StrSplit(paragraph, ' ', absl::SkipEmpty())) {
      if (!line.empty() && line.size() + 1 + word.size() > width) {
        absl::StrAppend(&wrapped, line, "\n");
        line.clear();
      }
      absl::StrAppend(&line, line.empty() ? margin : " ", word);
    }
    absl::StrAppend(&wrapped, line, "\n");
  }
  return wrapped;
}

}  // namespace rtpurbo
