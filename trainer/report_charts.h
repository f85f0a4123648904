// Pictures of a report as inline SVG: text in, text out, no state.
//
// Colours are CSS classes of the page ("s0".."s7" for series), so that the page
// decides how they look in light and in dark mode.

#ifndef RTPURBO_TRAINER_REPORT_CHARTS_H_
#define RTPURBO_TRAINER_REPORT_CHARTS_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace rtpurbo {

// Text with what HTML takes for markup written as entities.
std::string EscapeHtml(absl::string_view text);
// Four significant digits at most, as a person would write it.
std::string FormatNumber(double value);

struct Series {
  std::string name;
  std::vector<double> x;
  std::vector<double> y;  // as x; points that are not finite are left out
  bool dots = false;      // points instead of a line
};

struct ChartText {
  std::string title;  // read out for those who do not see the picture
  std::string x_label;
  std::string y_label;
};

// A chart with axes, ticks, grid and, for more than one series, a legend. With
// `log_y` the y axis is logarithmic and values <= 0 are left out. "" if there
// is no point to show.
std::string LineChart(const ChartText& text, const std::vector<Series>& series,
                      bool log_y);

// Counts of values in equal bins from 0 to the largest value.
std::string Histogram(const ChartText& text, const std::vector<double>& values,
                      int num_bins);

struct HeatCell {
  double value = 0;
  bool marked = false;  // drawn with a frame
};
// A row for each entry of `rows`; shades are relative to the largest value.
std::string HeatMap(const ChartText& text,
                    const std::vector<std::vector<HeatCell>>& rows);

// Horizontal bars from 0 to 1 with whiskers [low, high].
struct Bar {
  std::string name;
  double value = 0;
  double low = 0;
  double high = 0;
};
std::string BarChart(const ChartText& text, const std::vector<Bar>& bars);

}  // namespace rtpurbo

#endif  // RTPURBO_TRAINER_REPORT_CHARTS_H_
