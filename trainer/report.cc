#include "trainer/report.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "kernels/core/status_macros.h"
#include "trainer/report_charts.h"
#include "trainer/report_data.h"
#include "trainer/report_html.h"
#include "trainer/report_steps.h"

namespace rtpurbo {
namespace {

using Json = nlohmann::json;

constexpr char kStyle[] =
    ":root{color-scheme:light dark;--ink:#1b1f24;--soft:#6b7280;--line:#d9dde3;"
    "--back:#fff;--panel:#f6f7f9}"
    "@media(prefers-color-scheme:dark){:root{--ink:#e6e8eb;--soft:#9aa3af;"
    "--line:#363b43;--back:#14171b;--panel:#1c2026}}"
    "body{margin:0 auto;max-width:960px;padding:24px 16px "
    "64px;color:var(--ink);"
    "background:var(--back);font:15px/1.5 system-ui,sans-serif}"
    "h1{font-size:26px;margin:0}h2{font-size:19px;margin:40px 0 8px}"
    ".from,.soft{color:var(--soft);font-size:13px}"
    "code{font:13px ui-monospace,monospace}"
    "table{border-collapse:collapse;width:100%;margin:8px 0}"
    "th,td{padding:4px 8px;text-align:right;border-bottom:1px solid "
    "var(--line);"
    "white-space:nowrap}th:first-child,td:first-child{text-align:left}"
    "thead th{color:var(--soft);font-weight:600;white-space:normal}"
    ".scroll{overflow-x:auto}"
    "svg{width:100%;max-width:720px;display:block;margin:8px 0;background:"
    "var(--panel);border-radius:6px}"
    "svg text{font:12px system-ui,sans-serif;fill:var(--ink)}"
    ".grid{stroke:var(--line)}.axis{stroke:var(--soft)}"
    ".line{fill:none;stroke-width:2}.whisker{stroke:var(--ink);stroke-width:2}"
    ".line.s0{stroke:#2f6fde}.line.s1{stroke:#d9822b}.line.s2{stroke:#2a9d61}"
    ".line.s3{stroke:#a855c7}.dot.s0,.fill.s0{fill:#2f6fde}"
    ".dot.s1,.fill.s1{fill:#d9822b}.dot.s2,.fill.s2{fill:#2a9d61}"
    ".dot.s3,.fill.s3{fill:#a855c7}"
    ".cell{fill:#2f6fde}.marked{stroke:#d9822b;stroke-width:2.5}"
    "details pre{background:var(--panel);padding:12px;overflow-x:auto}";

std::string Section(absl::string_view title, absl::string_view from,
                    const std::string& body) {
  return absl::StrCat(
      "<section><h2>", EscapeHtml(title), "</h2><p class=\"from\">from <code>",
      EscapeHtml(from), "</code></p>",
      body.empty() ? "<p>Not there yet.</p>" : body, "</section>\n");
}

std::string Percent(double share) {
  return std::isfinite(share) ? absl::StrFormat("%.1f", 100 * share) : "-";
}

std::string AccuracyRow(const Json& row) {
  const double difference = NumberOf(row, "difference");
  const double p = NumberOf(row, "p_value");
  return absl::StrCat(
      Cell(TextOf(row, "model")), Cell(TextOf(row, "kind")),
      Cell(FormatNumber(NumberOf(row, "tokens"))),
      Cell(FormatNumber(NumberOf(row, "questions"))),
      Cell(Percent(NumberOf(row, "exact"))),
      Cell(absl::StrCat(Percent(NumberOf(row, "low")), " - ",
                        Percent(NumberOf(row, "high")))),
      Cell(Percent(NumberOf(row, "contains"))),
      Cell(std::isfinite(difference)
               ? absl::StrFormat("%+.1f", 100 * difference)
               : "-"),
      Cell(std::isfinite(p) ? absl::StrFormat("%.2g", p) : "-"));
}

std::string Accuracy(const ReportData& data) {
  if (!data.summary.contains("table") || !data.summary["table"].is_array() ||
      data.summary["table"].empty()) {
    return "";
  }
  std::vector<std::string> rows;
  std::vector<Bar> bars;
  for (const Json& row : data.summary["table"]) {
    rows.push_back(AccuracyRow(row));
    if (TextOf(row, "kind") == "all") {
      bars.push_back({TextOf(row, "model"), NumberOf(row, "exact"),
                      NumberOf(row, "low"), NumberOf(row, "high")});
    }
  }
  return absl::StrCat(
      BarChart({"Share of exact answers by model", "", ""}, bars),
      Table({"model", "kind", "tokens", "questions", "exact %", "95 % interval",
             "contains %", "difference", "p"},
            rows),
      "<p class=\"soft\">exact: the greedy output up to "
      "the end token equals the answers. Intervals: Wilson. difference: exact "
      "answers against dense on the same questions, in points; p: McNemar, "
      "exact.</p>");
}

std::string MapPicture(const std::optional<HeadMap>& map,
                       const std::string& name) {
  if (!map.has_value()) {
    return "";
  }
  std::vector<std::vector<HeatCell>> rows;
  for (const HeadMap::Layer& layer : map->layers) {
    std::vector<HeatCell> row;
    for (std::size_t h = 0; h < layer.retrieval_H.size(); ++h) {
      const double score = h < layer.score_H.size() ? layer.score_H[h] : 0;
      row.push_back({score, layer.retrieval_H[h]});
    }
    rows.push_back(std::move(row));
  }
  return absl::StrCat(
      "<h3>", EscapeHtml(name), "</h3>",
      HeatMap({absl::StrCat("Scores of query heads by ", name),
               "query heads, left to right", "layer"},
              rows),
      "<p class=\"soft\">", map->num_retrieval(),
      " retrieval heads (framed); shade: score over the largest, mean of ",
      map->documents, " documents.</p>");
}

std::string HeadMaps(const ReportData& data) {
  std::string maps =
      MapPicture(data.effect, "effect") + MapPicture(data.needle, "needle");
  if (maps.empty() || !data.used.has_value()) {
    return maps;
  }
  return absl::StrCat("<p>The run uses the map found by <b>",
                      EscapeHtml(data.used->method), "</b>.</p>", maps);
}

// Loss of each step, and the mean of the held-out sequences.
std::string LossCurve(const ReportData& data, const std::string& stage) {
  Series loss{"training", {}, {}, false};
  Series held_out{"held out", {}, {}, true};
  for (const Json& line : data.metrics) {
    if (TextOf(line, "stage") != stage) {
      continue;
    }
    const double step = NumberOf(line, "step");
    if (line.contains("loss")) {
      loss.x.push_back(step);
      loss.y.push_back(NumberOf(line, "loss"));
    }
    if (line.contains("held_out") && line["held_out"].is_array() &&
        !line["held_out"].empty()) {
      double sum = 0;
      for (const Json& value : line["held_out"]) {
        sum += value.is_number() ? value.get<double>() : std::nan("");
      }
      held_out.x.push_back(step);
      held_out.y.push_back(sum / static_cast<double>(line["held_out"].size()));
    }
  }
  return LineChart(
      {absl::StrCat("Loss of stage ", stage), "step", "KL, nats a row"},
      {loss, held_out}, /*log_y=*/true);
}

std::string Recall(const ReportData& data) {
  if (!data.summary.contains("recall") || !data.summary["recall"].is_array()) {
    return "";
  }
  std::map<std::string, Series> series;
  for (const Json& row : data.summary["recall"]) {
    const std::string when = TextOf(row, "projections");
    for (const char* unit : {"token", "block"}) {
      const std::string name = absl::StrCat(when, ", ", unit, "s");
      series[name].name = name;
      series[name].x.push_back(NumberOf(row, "p"));
      series[name].y.push_back(
          NumberOf(row, absl::StrCat(unit, "_recall").c_str()));
    }
  }
  std::vector<Series> all;
  all.reserve(series.size());
  for (auto& [name, one] : series) {
    all.push_back(one);
  }
  return LineChart({"Recall of the teacher's top-p set", "p", "share found"},
                   all, /*log_y=*/false);
}

std::string Budgets(const ReportData& data) {
  std::vector<double> tokens;
  std::vector<double> blocks;
  for (const Json& line : data.evaluation) {
    if (TextOf(line, "model") == "stage 2") {
      tokens.push_back(NumberOf(line, "tokens_kept"));
      blocks.push_back(NumberOf(line, "blocks_kept"));
    }
  }
  constexpr int kBins = 24;
  return Histogram({"Keys that a retrieval row attends, stage 2",
                    "keys kept a row, mean of a question", "questions"},
                   tokens, kBins) +
         Histogram({"Blocks that a retrieval row attends, stage 2",
                    "blocks kept a row, mean of a question", "questions"},
                   blocks, kBins);
}

// An object of numbers as a table of two columns.
std::string PairTable(const Json& object, const char* unit) {
  if (!object.is_object() || object.empty()) {
    return "";
  }
  std::vector<std::string> rows;
  for (const auto& [key, value] : object.items()) {
    rows.push_back(absl::StrCat(
        Cell(key), Cell(value.is_number() ? FormatNumber(value.get<double>())
                                          : value.dump())));
  }
  return Table({"", unit}, rows);
}

std::string Fidelity(const ReportData& data) {
  if (!data.summary.contains("fidelity") ||
      !data.summary["fidelity"].is_array()) {
    return "";
  }
  std::vector<std::string> rows;
  for (const Json& row : data.summary["fidelity"]) {
    std::string& cells = rows.emplace_back(Cell(TextOf(row, "model")));
    for (const char* key :
         {"kl", "argmax_agreement", "kept_mass", "tokens_kept", "blocks_kept",
          "compute_sparsity", "memory_sparsity"}) {
      cells += Cell(NumberOrDash(NumberOf(row, key)));
    }
  }
  return Table(
      {"model", "top-10 KL", "argmax agrees", "kept mass", "keys a row",
       "blocks a row", "compute sparsity", "memory sparsity"},
      rows);
}

std::string Costs(const ReportData& data) {
  std::string body;
  if (data.summary.contains("seconds")) {
    body += PairTable(data.summary["seconds"], "seconds");
  }
  if (const double bytes = NumberOf(data.summary, "peak_bytes");
      std::isfinite(bytes)) {
    absl::StrAppend(&body, "<p>Peak memory of the process: ",
                    absl::StrFormat("%.0f MB", bytes / 1e6), ".</p>");
  }
  return body;
}

}  // namespace

absl::StatusOr<std::string> RenderReport(FileSystem& files,
                                         const std::string& folder) {
  ASSIGN_OR_RETURN(const ReportData data, ReadReportData(files, folder));
  std::string page = absl::StrCat(
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
      "<meta name=\"viewport\" content=\"width=device-width\">"
      "<title>rtpurbo run</title><style>",
      kStyle, "</style></head><body>\n<h1>rtpurbo run</h1>\n");
  const Json kl = data.summary.contains("kl") ? data.summary["kl"] : Json();
  page += Section("Answers", "summary.json", Accuracy(data));
  page +=
      Section("Fidelity to the dense model", "summary.json", Fidelity(data));
  page +=
      Section("Which heads retrieve",
              "calibrate/heads.*.textproto, heads.textproto", HeadMaps(data));
  page += Section("Stage 1: projection alignment", "metrics.jsonl",
                  LossCurve(data, "align") + LayerKl(data, "align"));
  page += Section("Recall against p", "summary.json", Recall(data));
  page += Section("Stage 2: self-distillation", "metrics.jsonl",
                  LossCurve(data, "distill") + GradNorms(data, "distill"));
  page += Section("KL on held-out text", "summary.json",
                  PairTable(kl, "nats a row"));
  page += Section("What a retrieval row attends", "evaluation.jsonl",
                  Budgets(data));
  page += Section("Time and memory", "summary.json", Costs(data));
  page += Section("Where a step's time goes", "metrics.jsonl", StepTimes(data));
  page += Section("Warnings and errors of all ranks", "logs/*.jsonl",
                  data.warnings.empty() ? "<p>None.</p>" : Warnings(data));
  page += Section(
      "Configuration", "run.textproto",
      data.config_text.empty()
          ? ""
          : absl::StrCat("<details><summary>all fields</summary><pre>",
                         EscapeHtml(data.config_text), "</pre></details>"));
  return page + "</body></html>\n";
}

absl::Status WriteReport(FileSystem& files, const std::string& folder) {
  ASSIGN_OR_RETURN(const std::string page, RenderReport(files, folder));
  return files.WriteFileAtomically(JoinPath(folder, "report.html"), page);
}

}  // namespace rtpurbo
