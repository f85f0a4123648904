#include "configs/edit.h"

#include <memory>

#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "google/protobuf/io/tokenizer.h"
#include "google/protobuf/text_format.h"
#include "kernels/core/closest.h"
#include "kernels/core/status_macros.h"

namespace rtpurbo {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

class FirstError : public google::protobuf::io::ErrorCollector {
 public:
  void AddError(int /*line*/, int /*column*/,
                const std::string& message) override {
    if (text_.empty()) {
      text_ = message;
    }
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

// Walks to the message that holds the last field of `path`.
absl::StatusOr<const FieldDescriptor*> FindField(const std::string& path,
                                                 Message** message) {
  const std::vector<std::string> names = absl::StrSplit(path, '.');
  for (std::size_t i = 0;; ++i) {
    const FieldDescriptor* field =
        (*message)->GetDescriptor()->FindFieldByName(names[i]);
    if (field == nullptr) {
      return absl::InvalidArgumentError(absl::StrCat(
          (*message)->GetDescriptor()->name(), " has no field \"", names[i],
          "\"",
          DidYouMean(names[i], FieldNames(*(*message)->GetDescriptor()))));
    }
    const bool is_message =
        field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE;
    if (i + 1 == names.size()) {
      if (is_message) {
        return absl::InvalidArgumentError(absl::StrCat(
            path, " is a group of fields: name one of them, as in ", path, ".",
            field->message_type()->field(0)->name()));
      }
      return field;
    }
    if (!is_message) {
      return absl::InvalidArgumentError(
          absl::StrCat("\"", names[i], "\" has no fields inside it"));
    }
    *message = (*message)->GetReflection()->MutableMessage(*message, field);
  }
}

std::string AsText(const FieldDescriptor& field, const std::string& value) {
  const bool needs_quotes =
      field.cpp_type() == FieldDescriptor::CPPTYPE_STRING &&
      value.find_first_of("\"'[") != 0;
  if (!needs_quotes) {
    return absl::StrCat(field.name(), ": ", value);
  }
  std::string escaped;
  for (const char c : value) {
    escaped += c == '"' || c == '\\' ? absl::StrCat("\\", std::string(1, c))
                                     : std::string(1, c);
  }
  return absl::StrCat(field.name(), ": \"", escaped, "\"");
}

absl::Status SetField(const std::string& path, const std::string& value,
                      Message* message) {
  ASSIGN_OR_RETURN(const FieldDescriptor* field, FindField(path, &message));
  // Into a message of its own, so that a value can't set another field too.
  const std::unique_ptr<Message> parsed(message->New());
  FirstError error;
  google::protobuf::TextFormat::Parser parser;
  parser.RecordErrorsTo(&error);
  if (!parser.ParseFromString(AsText(*field, value), parsed.get())) {
    return absl::InvalidArgumentError(error.text());
  }
  std::vector<const FieldDescriptor*> fields;
  parsed->GetReflection()->ListFields(*parsed, &fields);
  if (fields.size() > 1) {
    return absl::InvalidArgumentError("an edit sets one field");
  }
  message->GetReflection()->ClearField(message, field);
  message->MergeFrom(*parsed);
  return absl::OkStatus();
}

}  // namespace

std::vector<std::string> FieldNames(
    const google::protobuf::Descriptor& descriptor) {
  std::vector<std::string> names;
  names.reserve(static_cast<std::size_t>(descriptor.field_count()));
  for (int i = 0; i < descriptor.field_count(); ++i) {
    names.push_back(descriptor.field(i)->name());
  }
  return names;
}

absl::Status ApplyEdit(const std::string& edit, Message* message,
                       FieldOrigins* origins) {
  const std::string name = absl::StrCat("--set ", edit);
  const std::size_t equals = edit.find('=');
  if (equals == std::string::npos) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": write PATH=VALUE, as in align.steps=100"));
  }
  const std::string path(absl::StripAsciiWhitespace(edit.substr(0, equals)));
  const absl::Status status = SetField(path, edit.substr(equals + 1), message);
  if (!status.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": ", status.message()));
  }
  origins->AddEdit(path, name);
  return absl::OkStatus();
}

}  // namespace rtpurbo
