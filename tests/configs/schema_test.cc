// The schema is the documentation of a run's file: what its comments say holds.

// GCC 12 sees uninitialized members in <regex> where a sanitizer is on.
#ifdef __SANITIZE_ADDRESS__
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

#include <cstdlib>
#include <fstream>
#include <functional>
#include <map>
#include <regex>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "configs/schema/run.pb.h"
#include "google/protobuf/descriptor.h"
#include "gtest/gtest.h"

namespace rtpurbo {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;

void ForEachField(const Descriptor& type,
                  const std::function<void(const FieldDescriptor&)>& visit) {
  for (int i = 0; i < type.field_count(); ++i) {
    if (type.field(i)->message_type() != nullptr) {
      ForEachField(*type.field(i)->message_type(), visit);
    } else {
      visit(*type.field(i));
    }
  }
}

void ForEachField(const std::function<void(const FieldDescriptor&)>& visit) {
  ForEachField(*configs::Run::descriptor(), visit);
}

// "Message.field" -> the comment above it, on one line, over all files. Relies
// on how clang-format writes a message: its name and brace on one line.
std::map<std::string, std::string> Comments() {
  const std::regex message("message (\\w+) \\{");
  const std::regex field("  (?:optional|repeated) \\S+ (\\w+) =.*");
  std::map<std::string, std::string> comments;
  for (const char* name :
       {"data", "mesh", "model", "optimizer", "run", "stage"}) {
    const char* root = std::getenv("RTPURBO_ROOT");
    std::ifstream file(absl::StrCat(root == nullptr ? "." : root,
                                    "/configs/schema/", name, ".proto"));
    std::string type;
    std::string comment;
    std::smatch match;
    for (std::string line; std::getline(file, line);) {
      if (std::regex_match(line, match, message)) {
        type = match[1];
      } else if (std::regex_match(line, match, field)) {
        comments[absl::StrCat(type, ".", match[1].str())] = comment;
      }
      const absl::string_view text = absl::StripAsciiWhitespace(line);
      comment = absl::StartsWith(text, "//")
                    ? absl::StrCat(comment, text.substr(2))
                    : "";
    }
  }
  return comments;
}

std::string Default(const FieldDescriptor& field) {
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return absl::StrCat(field.default_value_double());
    case FieldDescriptor::CPPTYPE_INT64:
      return absl::StrCat(field.default_value_int64());
    case FieldDescriptor::CPPTYPE_UINT64:
      return absl::StrCat(field.default_value_uint64());
    case FieldDescriptor::CPPTYPE_BOOL:
      return field.default_value_bool() ? "true" : "false";
    case FieldDescriptor::CPPTYPE_ENUM:
      return field.default_value_enum()->name();
    default:  // of a string, say
      return "no default can be written";
  }
}

TEST(SchemaTest, EveryFieldSaysItsDefaultOrThatItIsRequired) {
  const std::map<std::string, std::string> comments = Comments();
  EXPECT_GT(comments.size(), 70U);
  ForEachField([&](const FieldDescriptor& field) {
    const std::string name =
        absl::StrCat(field.containing_type()->name(), ".", field.name());
    const auto found = comments.find(name);
    ASSERT_NE(found, comments.end()) << name;
    EXPECT_TRUE(absl::EndsWith(found->second, " Required.") ||
                absl::StrContains(found->second, " Default: "))
        << name << " says:" << found->second;
  });
}

TEST(SchemaTest, TheDefaultInTheCommentIsTheDefault) {
  const std::map<std::string, std::string> comments = Comments();
  ForEachField([&](const FieldDescriptor& field) {
    if (!field.has_default_value()) {
      return;
    }
    const std::string name =
        absl::StrCat(field.containing_type()->name(), ".", field.name());
    const std::string& comment = comments.at(name);
    std::string said = comment.substr(comment.rfind("Default: ") + 9);
    said.pop_back();  // the full stop
    if (field.cpp_type() == FieldDescriptor::CPPTYPE_DOUBLE) {
      EXPECT_EQ(std::stod(said), field.default_value_double()) << name;
    } else {
      EXPECT_EQ(said, Default(field)) << name;
    }
  });
}

TEST(SchemaTest, EveryNumberHasARange) {
  ForEachField([](const FieldDescriptor& field) {
    const bool is_number = field.cpp_type() == FieldDescriptor::CPPTYPE_INT64 ||
                           field.cpp_type() == FieldDescriptor::CPPTYPE_DOUBLE;
    const std::string& range = field.options().GetExtension(configs::range);
    EXPECT_EQ(is_number, !range.empty()) << field.full_name();
    const std::regex interval(R"([\[(]\S+, \S+[\])])");
    EXPECT_TRUE(!is_number || std::regex_match(range, interval))
        << field.full_name() << " " << range;
  });
}

TEST(SchemaTest, EveryEnumBeginsWithUnspecified) {
  ForEachField([](const FieldDescriptor& field) {
    if (field.enum_type() != nullptr) {
      EXPECT_EQ(field.enum_type()->value(0)->number(), 0);
      EXPECT_TRUE(
          absl::EndsWith(field.enum_type()->value(0)->name(), "_UNSPECIFIED"))
          << field.full_name();
    }
  });
}

}  // namespace
}  // namespace rtpurbo
