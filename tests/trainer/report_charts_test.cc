#include "trainer/report_charts.h"

#include <cmath>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace rtpurbo {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::size_t Count(const std::string& text, const std::string& what) {
  std::size_t count = 0;
  for (std::size_t at = text.find(what); at != std::string::npos;
       at = text.find(what, at + 1)) {
    ++count;
  }
  return count;
}

TEST(ReportChartsTest, MarkupInTextIsEscaped) {
  EXPECT_EQ(EscapeHtml("a<b>&\"c\""), "a&lt;b&gt;&amp;&quot;c&quot;");
  const std::string svg = LineChart(
      {"<t>", "<x>", "y"},
      {{"<s>", {1, 2}, {1, 2}, false}, {"u", {1}, {1}, false}}, false);
  EXPECT_THAT(svg, Not(HasSubstr("<t>")));
  EXPECT_THAT(svg, HasSubstr("&lt;s&gt;"));
}

TEST(ReportChartsTest, PointsThatAreNotFiniteAreLeftOut) {
  const std::string svg = LineChart(
      {"t", "x", "y"}, {{"s", {1, 2, 3}, {1, std::nan(""), 2}, true}}, false);
  EXPECT_EQ(Count(svg, "<circle"), 2U);
  EXPECT_THAT(svg, Not(HasSubstr("nan")));
}

TEST(ReportChartsTest, LogAxisLeavesOutWhatHasNoLogarithm) {
  const std::string svg =
      LineChart({"t", "x", "y"}, {{"s", {1, 2, 3}, {0, 0.01, 10}, true}}, true);
  EXPECT_EQ(Count(svg, "<circle"), 2U);
  EXPECT_THAT(svg, Not(HasSubstr("inf")));
}

TEST(ReportChartsTest, NothingToShowIsNoPicture) {
  EXPECT_EQ(LineChart({}, {}, false), "");
  EXPECT_EQ(LineChart({}, {{"s", {1}, {std::nan("")}, false}}, false), "");
  EXPECT_EQ(Histogram({}, {}, 4), "");
  EXPECT_EQ(HeatMap({}, {}), "");
  EXPECT_EQ(BarChart({}, {}), "");
}

TEST(ReportChartsTest, OnePointStillHasAxes) {
  const std::string svg =
      LineChart({"t", "x", "y"}, {{"s", {5}, {5}, true}}, false);
  EXPECT_EQ(Count(svg, "<circle"), 1U);
  EXPECT_THAT(svg, Not(HasSubstr("nan")));
}

TEST(ReportChartsTest, HistogramCountsEveryValueOnce) {
  // Two bins over [0, 10]: 2 and 3 values, so the second bar is the highest.
  const std::string svg = Histogram({"t", "x", "y"}, {0, 4.9, 5, 10, 7}, 2);
  EXPECT_EQ(Count(svg, "class=\"fill s0\""), 2U);
  EXPECT_THAT(svg, HasSubstr("y=\"12.0\""));
}

TEST(ReportChartsTest, HeatMapFramesWhatIsMarked) {
  const std::string svg =
      HeatMap({"t", "heads", "layer"},
              {{{1, true}, {0.5, false}}, {{-1, false}, {0, true}}});
  EXPECT_EQ(Count(svg, "<rect"), 4U);
  EXPECT_EQ(Count(svg, "marked"), 2U);
  EXPECT_THAT(svg, HasSubstr("layer 1, head 0: -1"));
}

TEST(ReportChartsTest, NumbersAreShort) {
  EXPECT_EQ(FormatNumber(0), "0");
  EXPECT_EQ(FormatNumber(12.3456), "12.35");
  EXPECT_EQ(FormatNumber(1e-7), "1e-07");
}

}  // namespace
}  // namespace rtpurbo
