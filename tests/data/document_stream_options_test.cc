#include "data/document_stream_options.h"

#include <cmath>
#include <functional>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/status_matchers.h"

namespace rtpurbo {
namespace {

using ::rtpurbo::testing::StatusIs;
using ::testing::HasSubstr;

absl::Status CheckWith(
    const std::function<void(DocumentStreamOptions&)>& change) {
  DocumentStreamOptions options = {.tokens = 640};
  change(options);
  return CheckOptions(options);
}

TEST(DocumentStreamOptionsTest, BadOptionsAreNamed) {
  const auto refused =
      [](const std::function<void(DocumentStreamOptions&)>& change,
         const std::string& reason) {
        EXPECT_THAT(
            CheckWith(change),
            StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(reason)));
      };
  refused([](auto& o) { o.stream = 256; }, "stream is 256");
  refused([](auto& o) { o.stream = -1; }, "stream is -1");
  refused([](auto& o) { o.tokens = 1; }, "tokens is 1");
  refused([](auto& o) { o.min_tokens = 641; }, "min_tokens is 641");
  refused([](auto& o) { o.min_tokens = 1; }, "min_tokens is 1");
  refused([](auto& o) { o.min_tokens = -5; }, "min_tokens is -5");
  refused([](auto& o) { o.question_share = 1.5; }, "question_share is 1.5");
  refused([](auto& o) { o.question_share = -0.1; }, "question_share is -0.1");
  refused([](auto& o) { o.question_share = std::nan(""); }, "question_share");
  refused([](auto& o) { o.label_tokens = 0; }, "label_tokens is 0");
  refused([](auto& o) { o.text_label_tokens = 0; }, "text_label_tokens is 0");
  refused([](auto& o) { o.text_label_tokens = 301; }, "text_label_tokens");
  refused([](auto& o) { o.kinds = {}; }, "kinds is empty");
  refused([](auto& o) { o.kinds = {QuestionKind::kForeign}; }, "foreign");
}

TEST(DocumentStreamOptionsTest, TheEndsOfTheRangesAreGood) {
  EXPECT_OK(CheckWith([](auto& /*o*/) {}));
  EXPECT_OK(CheckWith([](auto& o) { o.stream = 255; }));
  EXPECT_OK(CheckWith([](auto& o) { o.min_tokens = 640; }));
  EXPECT_OK(CheckWith([](auto& o) { o.min_tokens = 2; }));
  EXPECT_OK(CheckWith([](auto& o) { o.question_share = 1; }));
  EXPECT_OK(CheckWith([](auto& o) { o.text_label_tokens = 300; }));
  EXPECT_OK(CheckWith([](auto& o) {
    o.question_share = 0;
    o.kinds = {};
  }));
}

}  // namespace
}  // namespace rtpurbo
