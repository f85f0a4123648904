// Where each field of a configuration was written, for messages about it.

#ifndef RTPURBO_CONFIGS_ORIGINS_H_
#define RTPURBO_CONFIGS_ORIGINS_H_

#include <map>
#include <string>
#include <utility>

#include "google/protobuf/message.h"
#include "google/protobuf/text_format.h"

namespace rtpurbo {

// Fields are named by path from the top message: "align.steps", and
// "data.paths[1]" for one element.
class FieldOrigins {
 public:
  // `name` is that of the text (a file name): what is said of a field that
  // nobody wrote.
  explicit FieldOrigins(std::string name) : name_(std::move(name)) {}

  // Takes the lines of all fields that are set in `message` from `tree`, which
  // the parser filled.
  void AddText(const google::protobuf::Message& message,
               const google::protobuf::TextFormat::ParseInfoTree& tree);
  // From now on `path` was written by `edit`, as in "--set align.steps=3".
  void AddEdit(const std::string& path, const std::string& edit);

  // Whether the field, or something within it, was written by somebody.
  bool IsWritten(const std::string& path) const;
  // "file:12" or "--set align.steps=3"; of a message, else, of the first field
  // written within it. Of a field that nobody wrote: of the closest message
  // around it that the text has, else the name of the text.
  std::string Of(const std::string& path) const;

 private:
  void AddMessage(const std::string& prefix,
                  const google::protobuf::Message& message,
                  const google::protobuf::TextFormat::ParseInfoTree& tree);

  // Of the field itself, else of the first written one within it, else end().
  std::map<std::string, std::string>::const_iterator Find(
      const std::string& path) const;

  std::string name_;
  std::map<std::string, std::string> origins_;  // path -> where
};

}  // namespace rtpurbo

#endif  // RTPURBO_CONFIGS_ORIGINS_H_
