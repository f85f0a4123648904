// The flags of one command, written as Abseil writes them: --x=v, --x v, and
// --x or --nox for a yes or no; "--" ends them.
//
// Abseil's own flags belong to the process: every command would take those of
// all others, none could be given twice, and an error would be a usage of all.

#ifndef RTPURBO_LAUNCH_FLAGS_H_
#define RTPURBO_LAUNCH_FLAGS_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace rtpurbo {

class FlagSet {
 public:
  // Each adds a flag --`name`, which writes into `*variable`: its value then is
  // the default. `value` is what the help calls the value: "FILE".
  void Add(const std::string& name, const std::string& value,
           const std::string& help, std::string* variable);
  void Add(const std::string& name, const std::string& value,
           const std::string& help, std::int64_t* variable);
  void Add(const std::string& name, const std::string& value,
           const std::string& help, double* variable);
  void Add(const std::string& name, const std::string& help, bool* variable);
  // May be given many times; the values are added to the list.
  void Add(const std::string& name, const std::string& value,
           const std::string& help, std::vector<std::string>* variable);

  // Sets the variables and returns the arguments that are no flags, in order.
  // Returns InvalidArgument for an unknown flag, a value that is missing or
  // does not fit, or a flag given twice.
  absl::StatusOr<std::vector<std::string>> Parse(
      const std::vector<std::string>& arguments) const;

  // One paragraph a flag.
  std::string Help() const;

 private:
  struct Flag {
    std::string name;
    std::string value;  // "" of a yes or no
    std::string help;
    bool may_repeat;
    std::function<absl::Status(const std::string& text)> set;
  };
  const Flag* Find(const std::string& name) const;
  std::string Suggestion(const std::string& name) const;
  // The flag that `argument` names, and its value unless that is the next
  // argument. InvalidArgument if there is no such flag.
  absl::StatusOr<std::pair<const Flag*, std::optional<std::string>>> Recognize(
      const std::string& argument) const;

  std::vector<Flag> flags_;
};

// `text` in lines of at most `width` characters, each after `indent` spaces. A
// line break in `text` stays one.
std::string Wrap(absl::string_view text, std::size_t indent, std::size_t width);

}  // namespace rtpurbo

#endif  // RTPURBO_LAUNCH_FLAGS_H_
