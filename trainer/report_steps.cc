#include "trainer/report_steps.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "trainer/report_charts.h"
#include "trainer/report_html.h"

namespace rtpurbo {
namespace {

using Json = nlohmann::json;

// Sums over the steps of one stage.
struct StageTimes {
  double steps = 0;
  double seconds = 0;
  double work = 0;
  double slowest_work = 0;
  std::map<std::string, double> axis_seconds;
  std::map<std::string, double> axis_bytes;
  std::map<int, int> times_slowest;  // by rank
};

void AddStep(const Json& line, StageTimes* sum) {
  const Json& costs = line["costs"];
  ++sum->steps;
  sum->seconds += NumberOf(line, "seconds");
  sum->work += NumberOf(costs, "work_seconds");
  if (!costs.contains("axes") || !costs["axes"].is_object()) {
    return;
  }
  sum->slowest_work += NumberOf(costs, "slowest_work_seconds");
  ++sum->times_slowest[static_cast<int>(NumberOf(costs, "slowest_rank"))];
  for (const auto& [name, axis] : costs["axes"].items()) {
    sum->axis_seconds[name] += NumberOf(axis, "seconds");
    sum->axis_bytes[name] += NumberOf(axis, "bytes_sent");
  }
}

std::string Milliseconds(double seconds) {
  return absl::StrFormat("%.1f", 1e3 * seconds);
}

// "shard 1.2 ms, 3.4 MB; world ...", of a step.
std::string AxesText(const StageTimes& sum) {
  std::string text;
  for (const auto& [name, seconds] : sum.axis_seconds) {
    absl::StrAppend(
        &text, text.empty() ? "" : "; ", name, " ",
        Milliseconds(seconds / sum.steps), " ms, ",
        absl::StrFormat("%.2f MB", sum.axis_bytes.at(name) / sum.steps / 1e6));
  }
  return text.empty() ? "-" : text;
}

std::string SlowestText(const StageTimes& sum) {
  const auto most = std::max_element(
      sum.times_slowest.begin(), sum.times_slowest.end(),
      [](const auto& a, const auto& b) { return a.second < b.second; });
  if (most == sum.times_slowest.end()) {
    return "-";
  }
  return absl::StrFormat("%s ms; rank %d in %d of %.0f",
                         Milliseconds(sum.slowest_work / sum.steps),
                         most->first, most->second, sum.steps);
}

// Values of an object or array of each line of a stage, by name.
std::string ChartOf(const ReportData& data, const std::string& stage,
                    const char* key, const ChartText& text,
                    const std::string& prefix) {
  std::map<std::string, Series> series;
  for (const Json& line : data.metrics) {
    if (TextOf(line, "stage") != stage || !line.contains(key)) {
      continue;
    }
    for (const auto& [name, value] : line[key].items()) {
      if (value.is_number()) {
        Series& one = series[absl::StrCat(prefix, name)];
        one.x.push_back(NumberOf(line, "step"));
        one.y.push_back(value.get<double>());
      }
    }
  }
  std::vector<Series> all;
  for (auto& [name, one] : series) {
    one.name = name;
    all.push_back(std::move(one));
  }
  return LineChart(text, all, /*log_y=*/true);
}

}  // namespace

std::string StepTimes(const ReportData& data) {
  std::map<std::string, StageTimes> stages;
  for (const Json& line : data.metrics) {
    if (line.contains("costs") && line["costs"].is_object()) {
      AddStep(line, &stages[TextOf(line, "stage")]);
    }
  }
  std::vector<std::string> rows;
  rows.reserve(stages.size());
  for (const auto& [stage, sum] : stages) {
    rows.push_back(absl::StrCat(Cell(stage), Cell(NumberOrDash(sum.steps)),
                                Cell(Milliseconds(sum.seconds / sum.steps)),
                                Cell(Milliseconds(sum.work / sum.steps)),
                                Cell(SlowestText(sum)), Cell(AxesText(sum))));
  }
  return Table({"stage", "steps", "ms a step", "of work, mean of ranks",
                "of the slowest rank", "in calls over an axis"},
               rows);
}

std::string GradNorms(const ReportData& data, const std::string& stage) {
  return ChartOf(data, stage, "grad_norms",
                 {absl::StrCat("Gradient norms of stage ", stage), "step",
                  "gradient norm"},
                 "");
}

std::string LayerKl(const ReportData& data, const std::string& stage) {
  return ChartOf(
      data, stage, "kl_of_layer",
      {absl::StrCat("KL by layer of stage ", stage), "step", "KL, nats a row"},
      "layer ");
}

std::string Warnings(const ReportData& data) {
  std::vector<std::string> rows;
  for (const Json& line : data.warnings) {
    rows.push_back(absl::StrCat(
        Cell(TextOf(line, "time")), Cell(NumberOrDash(NumberOf(line, "rank"))),
        Cell(TextOf(line, "level")), Cell(TextOf(line, "stage")),
        Cell(TextOf(line, "message"))));
  }
  return Table({"time", "rank", "level", "stage", "message"}, rows);
}

}  // namespace rtpurbo
