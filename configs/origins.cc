#include "configs/origins.h"

#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace rtpurbo {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::TextFormat;

void FieldOrigins::AddText(const Message& message,
                           const TextFormat::ParseInfoTree& tree) {
  AddMessage("", message, tree);
}

void FieldOrigins::AddMessage(const std::string& prefix, const Message& message,
                              const TextFormat::ParseInfoTree& tree) {
  std::vector<const FieldDescriptor*> fields;
  const google::protobuf::Reflection& reflection = *message.GetReflection();
  reflection.ListFields(message, &fields);
  for (const FieldDescriptor* field : fields) {
    const std::string path = absl::StrCat(prefix, field->name());
    const int size =
        field->is_repeated() ? reflection.FieldSize(message, field) : 1;
    for (int i = 0; i < size; ++i) {
      const int index = field->is_repeated() ? i : -1;
      const std::string where =
          absl::StrCat(name_, ":", tree.GetLocation(field, index).line + 1);
      origins_.emplace(path, where);  // of a repeated field: its first element
      if (field->is_repeated()) {
        origins_.emplace(absl::StrCat(path, "[", i, "]"), where);
      } else if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
        AddMessage(absl::StrCat(path, "."),
                   reflection.GetMessage(message, field),
                   *tree.GetTreeForNested(field, index));
      }
    }
  }
}

void FieldOrigins::AddEdit(const std::string& path, const std::string& edit) {
  // The elements that the text gave a repeated field are gone.
  origins_.erase(origins_.lower_bound(absl::StrCat(path, "[")),
                 origins_.lower_bound(absl::StrCat(path, "\\")));
  origins_[path] = edit;
}

std::map<std::string, std::string>::const_iterator FieldOrigins::Find(
    const std::string& path) const {
  const auto exact = origins_.find(path);
  if (exact != origins_.end()) {
    return exact;
  }
  const std::string within = absl::StrCat(path, ".");
  const auto first = origins_.lower_bound(within);
  return first != origins_.end() && absl::StartsWith(first->first, within)
             ? first
             : origins_.end();
}

bool FieldOrigins::IsWritten(const std::string& path) const {
  return Find(path) != origins_.end();
}

std::string FieldOrigins::Of(const std::string& path) const {
  auto found = Find(path);
  for (std::string around = path; found == origins_.end() && !around.empty();) {
    const std::size_t end = around.find_last_of(".[");
    around.resize(end == std::string::npos ? 0 : end);
    found = origins_.find(around);
  }
  return found == origins_.end() ? name_ : found->second;
}

}  // namespace rtpurbo
