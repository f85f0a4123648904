#include "data/text_reader.h"

#include <optional>
#include <string>
#include <vector>

#include "data/file_system.h"
#include "data/packed_source.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/data/failing_file_system.h"
#include "tests/status_matchers.h"
#include "tests/temporary_directory.h"

namespace rtpurbo {
namespace {

using ::rtpurbo::testing::FailingFileSystem;
using ::rtpurbo::testing::StatusIs;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class TextReaderTest : public ::testing::Test {
 protected:
  std::string Write(const std::string& name, const std::string& contents) {
    std::string path = directory_ / name;
    EXPECT_OK(files_.CreateDirectories(ParentDirectory(path)));
    EXPECT_OK(files_.WriteFileAtomically(path, contents));
    return path;
  }
  absl::StatusOr<std::vector<TextDocument>> ReadFrom(
      FileSystem& files, const std::vector<std::string>& inputs) {
    ASSIGN_OR_RETURN(const auto reader, TextReader::Create(files, inputs));
    std::vector<TextDocument> documents;
    for (;;) {
      ASSIGN_OR_RETURN(std::optional<TextDocument> document, reader->Next());
      if (!document.has_value()) {
        EXPECT_EQ(reader->num_files_opened(), reader->num_files());
        return documents;
      }
      documents.push_back(*std::move(document));
    }
  }
  absl::StatusOr<std::vector<TextDocument>> Read(
      const std::vector<std::string>& inputs) {
    return ReadFrom(files_, inputs);
  }
  // That one line, as x.jsonl with a good line before it, is refused.
  void ExpectRefused(const std::string& line, const std::string& reason) {
    const std::string path = Write("x.jsonl", "{\"text\":\"good\"}\n" + line);
    EXPECT_THAT(Read({path}),
                StatusIs(absl::StatusCode::kFailedPrecondition,
                         AllOf(HasSubstr(path + ":2: "), HasSubstr(reason))))
        << line;
  }

  FileSystem& files_ = RealFileSystem();
  testing::TemporaryDirectory directory_;
};

TEST_F(TextReaderTest, AFileIsADocumentAndALineIsADocument) {
  const std::string text = Write("a.txt", "\xef\xbb\xbfone\r\ntwo\n");
  const std::string lines = Write("b.jsonl",
                                  "{\"text\": \"first\"}\r\n\n  {\"id\": "
                                  "\"named\", \"text\": \"\xc3\xa9\", "
                                  "\"other\": [1]}");
  ASSERT_OK_AND_ASSIGN(const auto documents, Read({text, lines}));
  ASSERT_EQ(documents.size(), 3);
  EXPECT_EQ(documents[0].name, "a.txt");
  EXPECT_EQ(documents[0].text, "one\r\ntwo\n");
  EXPECT_EQ(documents[1].name, "b.jsonl:1");
  EXPECT_EQ(documents[1].text, "first");
  EXPECT_EQ(documents[2].name, "named");
  EXPECT_EQ(documents[2].text, "\xc3\xa9");
  EXPECT_TRUE(documents[2].label_spans.empty());
}

TEST_F(TextReaderTest, LongLinesAndManyLinesAreWhole) {
  const std::string big(600'000, 'x');
  std::string contents;
  for (int i = 0; i < 3; ++i) {
    contents += "{\"text\": \"" + big + std::to_string(i) + "\"}\n";
  }
  ASSERT_OK_AND_ASSIGN(const auto documents,
                       Read({Write("big.jsonl", contents)}));
  ASSERT_EQ(documents.size(), 3);
  EXPECT_TRUE(documents[2].text == big + "2");
}

TEST_F(TextReaderTest, AFolderIsReadBySortedNameAndSaysWhatItPassedOver) {
  Write("in/b.txt", "b");
  Write("in/a/z.md", "z");
  Write("in/a/y.jsonl", "{\"text\":\"y\"}");
  Write("in/picture.png", "png");
  Write("in/.git/notes.txt", "hidden");
  ASSERT_OK_AND_ASSIGN(const auto documents, Read({directory_ / "in"}));
  std::vector<std::string> names;
  names.reserve(documents.size());
  for (const TextDocument& document : documents) {
    names.push_back(document.name);
  }
  EXPECT_THAT(names, ElementsAre("in/a/y.jsonl:1", "in/a/z.md", "in/b.txt"));
  ASSERT_OK_AND_ASSIGN(const auto reader,
                       TextReader::Create(files_, {directory_ / "in"}));
  EXPECT_THAT(
      reader->passed_over(),
      ElementsAre(directory_ / "in/.git", directory_ / "in/picture.png"));
}

TEST_F(TextReaderTest, LabelSpansCountCharactersAndComeAsBytes) {
  // Characters of 1, 2, 3 and 4 bytes: a, e acute, the euro sign, an emoji.
  const std::string path =
      Write("x.jsonl",
            "{\"text\": \"a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80z\", "
            "\"label_spans\": [[0, 1], [1, 3], [3, 5]]}");
  ASSERT_OK_AND_ASSIGN(const auto documents, Read({path}));
  EXPECT_THAT(documents[0].label_spans,
              ElementsAre(Interval{0, 1}, Interval{1, 6}, Interval{6, 11}));
}

TEST_F(TextReaderTest, AConversationIsItsRenderedText) {
  const std::string path = Write(
      "x.jsonl", R"({"messages": [{"role": "user", "content": "Hi"},)"
                 R"( {"role": "assistant", "content": "Yo"}],)"
                 R"( "rendered": "<u>Hi<a>Yo<e>", "label_spans": [[8, 13]]})");
  ASSERT_OK_AND_ASSIGN(const auto documents, Read({path}));
  EXPECT_EQ(documents[0].text, "<u>Hi<a>Yo<e>");
  EXPECT_THAT(documents[0].label_spans, ElementsAre(Interval{8, 13}));
}

TEST_F(TextReaderTest, BadLinesAreRefusedWithFileAndLine) {
  ExpectRefused("{\"text\": \"a\"", "not JSON");
  ExpectRefused("{\"text\": \"\xff\"}", "not JSON");
  ExpectRefused(R"({"text": "a", "text": "b"})", "'text' comes twice");
  ExpectRefused("[1, 2]", "must be an object");
  ExpectRefused("{}", "has no \"text\"");
  ExpectRefused("{\"text\": 3}", "must be a string");
  ExpectRefused("{\"text\": \"\"}", "is empty");
  ExpectRefused(R"({"messages": [], "text": "a"})", "\"messages\" must be");
  ExpectRefused(R"({"messages": [{"role": "user"}], "text": "a"})",
                "every entry of \"messages\"");
  ExpectRefused(R"({"messages": [{"role": "user", "content": "a"}]})",
                "\"rendered\"");
}

TEST_F(TextReaderTest, BadLabelSpansAreRefusedWithTheSpan) {
  const auto refused = [this](const std::string& spans,
                              const std::string& reason) {
    ExpectRefused("{\"text\": \"abc\xc3\xa9\", \"label_spans\": " + spans + "}",
                  reason);
  };
  refused("[]", "at least one");
  refused("3", "at least one");
  refused("[[0, 1], [1]]", "label_spans[1] = [1] must be");
  refused("[[0, 1.5]]", "whole numbers");
  refused("[[-1, 1]]", "whole numbers");
  refused("[[2, 2]]", "is empty");
  refused("[[3, 2]]", "is empty");
  refused("[[0, 2], [1, 3]]", "begins before the last one ends");
  refused("[[0, 5]]", "which has 4 characters");
  refused("[[5, 6]]", "which has 4 characters");
  refused("[[0, 18446744073709551615]]", "which has 4 characters");
}

TEST_F(TextReaderTest, UnfitInputsAreRefusedByName) {
  EXPECT_THAT(Read({}), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(Read({directory_ / "none.txt"}),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("none.txt")));
  EXPECT_THAT(Read({Write("x.csv", "a")}),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       AllOf(HasSubstr("x.csv"), HasSubstr(".jsonl"))));
  EXPECT_THAT(Read({Write("empty.txt", "")}),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       HasSubstr("it is empty")));
  EXPECT_THAT(Read({Write("bad.txt", "ab\xe2\x82")}),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       HasSubstr("byte 2 is not UTF-8")));
  Write("pictures/x.png", "a");
  EXPECT_THAT(Read({directory_ / "pictures"}),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       HasSubstr("holds no text")));
}

TEST_F(TextReaderTest, AFolderThatLeadsBackToItselfIsRefused) {
  Write("loop/a.txt", "a");
  std::filesystem::create_directory_symlink(directory_ / "loop",
                                            directory_ / "loop/again");
  EXPECT_THAT(Read({directory_ / "loop"}),
              StatusIs(absl::StatusCode::kFailedPrecondition));
}

TEST_F(TextReaderTest, EveryFailedCallIsReported) {
  Write("in/a.txt", "a");
  Write("in/b.jsonl", "{\"text\":\"b\"}");
  int k = 1;
  for (;; ++k) {
    FailingFileSystem failing(files_);
    failing.FailOnce(k, EIO);
    if (ReadFrom(failing, {directory_ / "in"}).ok()) {
      break;
    }
  }
  EXPECT_GT(k, 8);
}

}  // namespace
}  // namespace rtpurbo
