#include "configs/machine.h"

#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "configs/validate.h"
#include "google/protobuf/io/tokenizer.h"
#include "google/protobuf/text_format.h"

namespace rtpurbo {
namespace {

using google::protobuf::FieldDescriptor;

class FirstProblem : public google::protobuf::io::ErrorCollector {
 public:
  explicit FirstProblem(const std::string& name) : name_(name) {}
  void AddError(int line, int /*column*/, const std::string& message) override {
    if (text_.empty()) {
      text_ = absl::StrCat(name_, ":", line + 1, ": ", message);
    }
  }
  const std::string& text() const { return text_; }

 private:
  std::string name_;
  std::string text_;
};

// What is wrong with a field, or nothing.
std::string ProblemOf(const configs::Machine& machine,
                      const FieldDescriptor* field) {
  const google::protobuf::Reflection& read = *machine.GetReflection();
  if (!field->has_default_value() && !read.HasField(machine, field)) {
    return absl::StrCat(field->name(), " is missing");
  }
  double value = 0;
  if (field->cpp_type() == FieldDescriptor::CPPTYPE_DOUBLE) {
    value = read.GetDouble(machine, field);
  } else if (field->cpp_type() == FieldDescriptor::CPPTYPE_INT64) {
    value = static_cast<double>(read.GetInt64(machine, field));
  } else {
    return "";
  }
  const std::string range = field->options().GetExtension(configs::range);
  return IsInRange(value, range) ? ""
                                 : absl::StrCat(field->name(), " is ", value,
                                                ", but must be in ", range);
}

}  // namespace

absl::StatusOr<configs::Machine> ParseMachine(const std::string& text,
                                              const std::string& name) {
  configs::Machine machine;
  FirstProblem problem(name);
  google::protobuf::TextFormat::Parser parser;
  parser.RecordErrorsTo(&problem);
  if (!parser.ParseFromString(text, &machine)) {
    return absl::InvalidArgumentError(problem.text());
  }
  std::vector<std::string> problems;
  for (int i = 0; i < machine.GetDescriptor()->field_count(); ++i) {
    const std::string one =
        ProblemOf(machine, machine.GetDescriptor()->field(i));
    if (!one.empty()) {
      problems.push_back(absl::StrCat(name, ": ", one));
    }
  }
  if (!problems.empty()) {
    return absl::InvalidArgumentError(absl::StrJoin(problems, "\n"));
  }
  return machine;
}

}  // namespace rtpurbo
