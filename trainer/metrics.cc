#include "trainer/metrics.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "kernels/core/status_macros.h"
#include "nlohmann/json.hpp"
#include "trainer/evaluation/statistics.h"

namespace rtpurbo {
namespace {

constexpr char kFile[] = "metrics.jsonl";

double WallTime() {
  return std::chrono::duration<double>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

// Without the lines that `stage` wrote after `step`, and without a line that
// has no end or is damaged.
std::string Cut(const std::string& text, absl::string_view stage,
                std::int64_t step) {
  std::string kept;
  std::vector<absl::string_view> lines = absl::StrSplit(text, '\n');
  lines.pop_back();  // what follows the last line break
  for (const absl::string_view line : lines) {
    const nlohmann::json json =
        nlohmann::json::parse(line.begin(), line.end(), nullptr,
                              /*allow_exceptions=*/false);
    if (!json.is_object() || (json.value("stage", "") == std::string(stage) &&
                              json.value("step", std::int64_t{0}) > step)) {
      continue;
    }
    absl::StrAppend(&kept, line, "\n");
  }
  return kept;
}

nlohmann::ordered_json CostsOf(const StepCosts& costs) {
  nlohmann::ordered_json json = {{"work_seconds", costs.work_seconds},
                                 {"peak_bytes", costs.peak_bytes}};
  if (!costs.axes.empty()) {
    json["slowest_work_seconds"] = costs.slowest_work_seconds;
    json["slowest_rank"] = costs.slowest_rank;
  }
  for (const StepCosts::Axis& axis : costs.axes) {
    json["axes"][axis.name] = {{"seconds", axis.seconds},
                               {"bytes_sent", axis.bytes_sent}};
  }
  return json;
}

std::string LineOf(const StepRecord& record) {
  nlohmann::ordered_json json = {{"stage", record.stage},
                                 {"step", record.step}};
  if (record.step > 0) {
    json["loss"] = record.loss;
    json["kl"] = record.kl;
    json["lr"] = record.learning_rate;
    json["grad_norm"] = record.grad_norm;
    json["tokens"] = record.tokens;
    json["label_tokens"] = record.label_tokens;
    json["seconds"] = record.seconds;
    json["grad_norms"] = record.grad_norm_of_role;
    if (!record.kl_of_layer.empty()) {
      json["kl_of_layer"] = record.kl_of_layer;
    }
    json["costs"] = CostsOf(record.costs);
  }
  if (!record.held_out.empty()) {
    json["held_out"] = record.held_out;
  }
  return json.dump() + "\n";
}

std::vector<Scalar> ScalarsOf(const StepRecord& record) {
  std::vector<Scalar> scalars;
  const auto add = [&](absl::string_view name, double value) {
    scalars.push_back({absl::StrCat(record.stage, "/", name), value});
  };
  if (record.step > 0) {
    add("loss", record.loss);
    add("kl", record.kl);
    add("learning_rate", record.learning_rate);
    add("grad_norm", record.grad_norm);
    add("tokens_per_second",
        static_cast<double>(record.tokens) / std::max(record.seconds, 1e-9));
    for (const auto& [role, norm] : record.grad_norm_of_role) {
      add(absl::StrCat("grad_norm/", role), norm);
    }
    for (std::size_t l = 0; l < record.kl_of_layer.size(); ++l) {
      if (!std::isnan(record.kl_of_layer[l])) {
        add(absl::StrCat("kl/layer ", l), record.kl_of_layer[l]);
      }
    }
    const StepCosts& costs = record.costs;
    add("seconds/step", record.seconds);
    add("seconds/work", costs.work_seconds);
    for (const StepCosts::Axis& axis : costs.axes) {
      add(absl::StrCat("seconds/", axis.name), axis.seconds);
      add(absl::StrCat("bytes/", axis.name),
          static_cast<double>(axis.bytes_sent));
    }
    if (!costs.axes.empty()) {
      add("seconds/work of the slowest rank", costs.slowest_work_seconds);
    }
  }
  if (!record.held_out.empty()) {
    add("held_out_kl", Mean(record.held_out));
  }
  return scalars;
}

}  // namespace

absl::Status Metrics::Resume(absl::string_view stage, std::int64_t step) {
  const std::string path = JoinPath(folder_, kFile);
  ASSIGN_OR_RETURN(const bool exists, files_.Exists(path));
  if (exists) {
    ASSIGN_OR_RETURN(const std::string text, files_.ReadFile(path));
    const std::string kept = Cut(text, stage, step);
    if (kept != text) {
      RETURN_IF_ERROR(files_.WriteFileAtomically(path, kept));
    }
  }
  const std::int64_t first = std::max<std::int64_t>(step, 0);
  ASSIGN_OR_RETURN(events_,
                   EventFile::Create(files_, folder_, std::string(stage),
                                     WallTime(), first));
  progress_ = std::make_unique<ProgressLine>(stage, steps_, first);
  tokens_ = 0;
  return absl::OkStatus();
}

absl::Status Metrics::Record(const StepRecord& record) {
  CHECK(progress_ != nullptr) << "Resume() comes first";
  RETURN_IF_ERROR(
      files_.AppendToFile(JoinPath(folder_, kFile), LineOf(record)));
  RETURN_IF_ERROR(events_->Write(WallTime(), record.step, ScalarsOf(record)));
  tokens_ += record.tokens;
  if (record.step > 0) {
    progress_->Update(
        {record.step, tokens_, record.loss, record.learning_rate});
  }
  return absl::OkStatus();
}

}  // namespace rtpurbo
