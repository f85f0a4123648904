#include "trainer/report_charts.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace rtpurbo {
namespace {

constexpr double kWidth = 640;
constexpr double kHeight = 300;
constexpr double kLeft = 64;
constexpr double kRight = 16;
constexpr double kTop = 12;
constexpr double kBottom = 44;
constexpr std::size_t kNumColours = 8;

// Coordinates to a tenth of a pixel: short, and the same on every machine.
std::string At(double coordinate) {
  return absl::StrFormat("%.1f", coordinate);
}

std::string Open(const ChartText& text, double width, double height) {
  return absl::StrCat("<svg role=\"img\" viewBox=\"0 0 ", At(width), " ",
                      At(height), "\" aria-label=\"", EscapeHtml(text.title),
                      "\"><title>", EscapeHtml(text.title), "</title>");
}

std::string Text(double x, double y, absl::string_view anchor,
                 absl::string_view what) {
  return absl::StrCat("<text x=\"", At(x), "\" y=\"", At(y),
                      "\" text-anchor=\"", anchor, "\">", EscapeHtml(what),
                      "</text>");
}

std::string Line(double x1, double y1, double x2, double y2,
                 absl::string_view style) {
  return absl::StrCat("<line class=\"", style, "\" x1=\"", At(x1), "\" y1=\"",
                      At(y1), "\" x2=\"", At(x2), "\" y2=\"", At(y2), "\"/>");
}

std::string Rect(double x, double y, double width, double height,
                 absl::string_view attributes) {
  return absl::StrCat("<rect x=\"", At(x), "\" y=\"", At(y), "\" width=\"",
                      At(std::max(0.0, width)), "\" height=\"",
                      At(std::max(0.0, height)), "\" ", attributes);
}

std::string Colour(std::size_t i) {
  return absl::StrCat("s", i % kNumColours);
}

// Where values lie on one axis, and where its ticks are.
class Axis {
 public:
  Axis(double low, double high, double from, double to, bool log)
      : low_(log ? std::log10(low) : low),
        high_(log ? std::log10(high) : high),
        from_(from),
        to_(to),
        log_(log) {
    if (!(high_ > low_)) {
      low_ -= 0.5;
      high_ += 0.5;
    }
  }
  double operator()(double value) const {
    const double v = log_ ? std::log10(value) : value;
    return from_ + (to_ - from_) * (v - low_) / (high_ - low_);
  }
  // About five round values: 1, 2 or 5 times a power of ten apart.
  std::vector<double> Ticks() const {
    const double raw = (high_ - low_) / 5;
    const double power = std::pow(10, std::floor(std::log10(raw)));
    const double scaled = raw / power;
    double step = (scaled < 1.5 ? 1 : scaled < 3.5 ? 2 : scaled < 7.5 ? 5 : 10);
    step *= power;
    std::vector<double> ticks;
    const double first = std::ceil(low_ / step - 1e-9);
    for (double k = first; k * step <= high_ + 1e-9 * step; ++k) {
      const double v = k * step;
      ticks.push_back(log_ ? std::pow(10, v) : v);
    }
    return ticks;
  }

 private:
  double low_;
  double high_;
  double from_;
  double to_;
  bool log_;
};

struct Frame {
  Axis x;
  Axis y;
};

std::string Axes(const ChartText& text, const Frame& frame) {
  const double bottom = kHeight - kBottom;
  std::string svg;
  for (const double tick : frame.y.Ticks()) {
    const double y = frame.y(tick);
    absl::StrAppend(&svg, Line(kLeft, y, kWidth - kRight, y, "grid"),
                    Text(kLeft - 6, y + 4, "end", FormatNumber(tick)));
  }
  for (const double tick : frame.x.Ticks()) {
    const double x = frame.x(tick);
    absl::StrAppend(&svg, Line(x, bottom, x, bottom + 4, "axis"),
                    Text(x, bottom + 17, "middle", FormatNumber(tick)));
  }
  absl::StrAppend(
      &svg, Line(kLeft, bottom, kWidth - kRight, bottom, "axis"),
      Text((kLeft + kWidth - kRight) / 2, kHeight - 8, "middle", text.x_label),
      absl::StrCat("<g transform=\"translate(14 ", At((kTop + bottom) / 2),
                   ") rotate(-90)\">"),
      Text(0, 0, "middle", text.y_label), "</g>");
  return svg;
}

bool Shown(double x, double y, bool log_y) {
  return std::isfinite(x) && std::isfinite(y) && (!log_y || y > 0);
}

std::string Draw(const Series& series, const Frame& frame, bool log_y,
                 const std::string& colour) {
  std::string svg;
  std::string points;
  for (std::size_t i = 0; i < series.x.size(); ++i) {
    if (!Shown(series.x[i], series.y[i], log_y)) {
      continue;
    }
    const std::string x = At(frame.x(series.x[i]));
    const std::string y = At(frame.y(series.y[i]));
    if (series.dots) {
      absl::StrAppend(&svg, "<circle class=\"dot ", colour, "\" cx=\"", x,
                      "\" cy=\"", y, "\" r=\"3\"/>");
    } else {
      absl::StrAppend(&points, points.empty() ? "" : " ", x, ",", y);
    }
  }
  if (!points.empty()) {
    absl::StrAppend(&svg, "<polyline class=\"line ", colour, "\" points=\"",
                    points, "\"/>");
  }
  return svg;
}

std::string Legend(const std::vector<Series>& series) {
  std::string svg;
  double y = kTop + 12;
  for (std::size_t i = 0; i < series.size(); ++i, y += 17) {
    absl::StrAppend(&svg, Rect(kWidth - kRight - 10, y - 9, 10, 10, ""),
                    "class=\"fill ", Colour(i), "\"/>",
                    Text(kWidth - kRight - 16, y, "end", series[i].name));
  }
  return svg;
}

}  // namespace

std::string EscapeHtml(absl::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::string FormatNumber(double value) {
  return value == 0 ? "0" : absl::StrFormat("%.4g", value);
}

std::string LineChart(const ChartText& text, const std::vector<Series>& series,
                      bool log_y) {
  constexpr double kInf = std::numeric_limits<double>::infinity();
  double x_low = kInf;
  double x_high = -kInf;
  double y_low = kInf;
  double y_high = -kInf;
  for (const Series& s : series) {
    for (std::size_t i = 0; i < s.x.size(); ++i) {
      if (Shown(s.x[i], s.y[i], log_y)) {
        x_low = std::min(x_low, s.x[i]);
        x_high = std::max(x_high, s.x[i]);
        y_low = std::min(y_low, s.y[i]);
        y_high = std::max(y_high, s.y[i]);
      }
    }
  }
  if (x_low > x_high) {
    return "";
  }
  if (!log_y) {
    y_low = std::min(0.0, y_low);
  }
  const Frame frame{Axis(x_low, x_high, kLeft, kWidth - kRight, false),
                    Axis(y_low, y_high, kHeight - kBottom, kTop, log_y)};
  std::string svg = Open(text, kWidth, kHeight) + Axes(text, frame);
  for (std::size_t i = 0; i < series.size(); ++i) {
    absl::StrAppend(&svg, Draw(series[i], frame, log_y, Colour(i)));
  }
  if (series.size() > 1) {
    absl::StrAppend(&svg, Legend(series));
  }
  return svg + "</svg>";
}

std::string Histogram(const ChartText& text, const std::vector<double>& values,
                      int num_bins) {
  if (values.empty()) {
    return "";
  }
  const double high =
      std::max(1e-9, *std::max_element(values.begin(), values.end()));
  std::vector<int> count(static_cast<std::size_t>(num_bins));
  for (const double value : values) {
    const int bin = static_cast<int>(value / high * num_bins);
    ++count[static_cast<std::size_t>(std::clamp(bin, 0, num_bins - 1))];
  }
  const int most = *std::max_element(count.begin(), count.end());
  const Frame frame{Axis(0, high, kLeft, kWidth - kRight, false),
                    Axis(0, most, kHeight - kBottom, kTop, false)};
  std::string svg = Open(text, kWidth, kHeight) + Axes(text, frame);
  const double width = (kWidth - kRight - kLeft) / num_bins;
  for (std::size_t i = 0; i < count.size(); ++i) {
    const double y = frame.y(count[i]);
    absl::StrAppend(&svg,
                    Rect(kLeft + width * static_cast<double>(i) + 1, y,
                         width - 2, kHeight - kBottom - y, ""),
                    "class=\"fill s0\"/>");
  }
  return svg + "</svg>";
}

std::string HeatMap(const ChartText& text,
                    const std::vector<std::vector<HeatCell>>& rows) {
  constexpr double kLabel = 56;
  constexpr double kHead = 24;
  std::size_t columns = 0;
  double largest = 0;
  for (const std::vector<HeatCell>& row : rows) {
    columns = std::max(columns, row.size());
    for (const HeatCell& cell : row) {
      largest = std::max(largest, cell.value);
    }
  }
  if (columns == 0) {
    return "";
  }
  const double cell =
      std::min(32.0, (kWidth - kLabel) / static_cast<double>(columns));
  const double height = kHead + cell * static_cast<double>(rows.size()) + 8;
  std::string svg = Open(text, kWidth, height);
  absl::StrAppend(&svg, Text(kLabel, 14, "start", text.x_label));
  for (std::size_t r = 0; r < rows.size(); ++r) {
    const double y = kHead + cell * static_cast<double>(r);
    absl::StrAppend(&svg, Text(kLabel - 6, y + cell / 2 + 4, "end",
                               absl::StrCat(text.y_label, " ", r)));
    for (std::size_t c = 0; c < rows[r].size(); ++c) {
      const HeatCell& heat = rows[r][c];
      const double shade =
          largest > 0 ? std::max(0.0, heat.value) / largest : 0;
      absl::StrAppend(
          &svg,
          Rect(kLabel + cell * static_cast<double>(c) + 1, y + 1, cell - 2,
               cell - 2, ""),
          "class=\"cell", heat.marked ? " marked" : "",
          absl::StrFormat("\" fill-opacity=\"%.3f\"><title>",
                          0.04 + 0.96 * shade),
          EscapeHtml(absl::StrCat(text.y_label, " ", r, ", head ", c, ": ",
                                  FormatNumber(heat.value))),
          "</title></rect>");
    }
  }
  return svg + "</svg>";
}

std::string BarChart(const ChartText& text, const std::vector<Bar>& bars) {
  if (bars.empty()) {
    return "";
  }
  constexpr double kName = 150;
  constexpr double kRow = 24;
  const double height = kRow * static_cast<double>(bars.size()) + 36;
  const Axis x(0, 1, kName, kWidth - 48, false);
  std::string svg = Open(text, kWidth, height);
  for (const double tick : x.Ticks()) {
    absl::StrAppend(&svg, Line(x(tick), 4, x(tick), height - 30, "grid"),
                    Text(x(tick), height - 14, "middle", FormatNumber(tick)));
  }
  for (std::size_t i = 0; i < bars.size(); ++i) {
    const Bar& bar = bars[i];
    const double y = kRow * static_cast<double>(i) + 6;
    const double middle = y + kRow / 2 - 3;
    absl::StrAppend(
        &svg, Text(kName - 8, middle + 4, "end", bar.name),
        Rect(kName, y, x(bar.value) - kName, kRow - 6, "class=\"fill s0\"/>"),
        Line(x(bar.low), middle, x(bar.high), middle, "whisker"),
        Text(kWidth - 4, middle + 4, "end",
             absl::StrFormat("%.1f %%", 100 * bar.value)));
  }
  return svg + "</svg>";
}

}  // namespace rtpurbo
