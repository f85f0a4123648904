#include "trainer/report.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/head_map.h"
#include "tests/model/small_config.h"
#include "tests/temporary_directory.h"

namespace rtpurbo::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class ReportTest : public ::testing::Test {
 protected:
  void Write(const std::string& name, const std::string& text) {
    const std::string path = JoinPath(folder_.path(), name);
    ASSERT_TRUE(files().CreateDirectories(ParentDirectory(path)).ok());
    ASSERT_TRUE(files().WriteFileAtomically(path, text).ok());
  }
  static FileSystem& files() { return RealFileSystem(); }
  std::string Page() {
    const auto page = RenderReport(files(), folder_.path());
    EXPECT_TRUE(page.ok()) << page.status();
    return page.ok() ? *page : "";
  }
  std::string Error() {
    return std::string(
        RenderReport(files(), folder_.path()).status().message());
  }

  TemporaryDirectory folder_;
};

TEST_F(ReportTest, FolderWithoutARunIsNamed) {
  EXPECT_THAT(Error(), HasSubstr("holds no run"));
}

TEST_F(ReportTest, WhatIsNotThereYetIsSaid) {
  Write("run.textproto", "seed: 1 # <b>\n");
  const std::string page = Page();
  EXPECT_THAT(page, HasSubstr("Not there yet"));
  EXPECT_THAT(page, HasSubstr("seed: 1 # &lt;b&gt;"));
}

TEST_F(ReportTest, ShowsAnswersCurvesAndMaps) {
  Write("run.textproto", "seed: 1\n");
  Write("summary.json",
        R"({"table": [{"model": "stage 2", "kind": "all", "tokens": 2048,
            "questions": 80, "exact": 0.625, "contains": 0.7, "low": 0.51,
            "high": 0.72, "difference": -0.0125, "p_value": 1}],
            "kl": {"align_before": 1.5}, "seconds": {"align": 20},
            "peak_bytes": 800000000, "version": 1})");
  Write("metrics.jsonl",
        "{\"stage\":\"align\",\"step\":0,\"held_out\":[1.5,2.5]}\n"
        "{\"stage\":\"align\",\"step\":1,\"loss\":1.25}\n"
        "{\"stage\":\"align\",\"step\":2,\"loss\":1.0}\n");
  HeadMap map = DenseMap(SmallConfig());
  map.method = "effect";
  Write("calibrate/heads.effect.textproto", ToText(map));
  Write("heads.textproto", ToText(map));
  const std::string page = Page();
  EXPECT_THAT(page, HasSubstr("62.5"));
  EXPECT_THAT(page, HasSubstr("51.0 - 72.0"));
  EXPECT_THAT(page, HasSubstr("-1.2"));
  EXPECT_THAT(page, HasSubstr("Loss of stage align"));
  EXPECT_THAT(page, HasSubstr("Scores of query heads by effect"));
  EXPECT_THAT(page, HasSubstr("800 MB"));
  EXPECT_THAT(page, Not(HasSubstr("http")));  // nothing comes from a network
  EXPECT_EQ(page, Page());
}

TEST_F(ReportTest, MalformedFilesNameTheLine) {
  Write("metrics.jsonl", "{\"stage\":\"align\"}\n{\"st\n");
  EXPECT_THAT(Error(), HasSubstr("metrics.jsonl:2"));
  Write("metrics.jsonl", "");
  Write("summary.json", "[]");
  EXPECT_THAT(Error(), HasSubstr("summary.json"));
}

TEST_F(ReportTest, IsWrittenIntoTheFolder) {
  Write("run.textproto", "seed: 1\n");
  ASSERT_TRUE(WriteReport(files(), folder_.path()).ok());
  EXPECT_EQ(*files().ReadFile(JoinPath(folder_.path(), "report.html")), Page());
}

}  // namespace
}  // namespace rtpurbo::testing
