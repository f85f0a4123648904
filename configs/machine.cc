#include "configs/machine.h"

#include "absl/strings/str_cat.h"
#include "configs/text_problems.h"
#include "configs/validate.h"
#include "google/protobuf/text_format.h"
#include "kernels/core/status_macros.h"

namespace rtpurbo {
namespace {

using google::protobuf::FieldDescriptor;

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
  TextProblems problems(text, name);
  google::protobuf::TextFormat::Parser parser;
  parser.RecordErrorsTo(&problems);
  parser.AllowUnknownField(true);
  if (!parser.ParseFromString(text, &machine)) {
    return problems.ToStatus();
  }
  for (int i = 0; i < machine.GetDescriptor()->field_count(); ++i) {
    const std::string one =
        ProblemOf(machine, machine.GetDescriptor()->field(i));
    if (!one.empty()) {
      problems.Add(absl::StrCat(name, ": ", one));
    }
  }
  RETURN_IF_ERROR(problems.ToStatus());
  return machine;
}

}  // namespace rtpurbo
