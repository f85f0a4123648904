#include "trainer/conversion/summary_file.h"

#include <algorithm>
#include <optional>

#include "absl/strings/match.h"
#include "data/strict_json.h"
#include "kernels/core/process.h"
#include "kernels/core/status_macros.h"
#include "nlohmann/json.hpp"

namespace rtpurbo {
namespace {

using Json = nlohmann::ordered_json;

// The value of a JSON file of the run; null if there is none.
absl::StatusOr<Json> ReadJson(RunContext& run, const std::string& name) {
  const std::string path = run.Path(name);
  ASSIGN_OR_RETURN(const bool exists, run.files().Exists(path));
  if (!exists) {
    return Json();
  }
  ASSIGN_OR_RETURN(const std::string text, run.files().ReadFile(path));
  ASSIGN_OR_RETURN(const nlohmann::json json, ParseStrictJson(text, path));
  return Json(json);
}

void AddNumbers(const Artefact& artefact, Json* summary) {
  (*summary)["seconds"][artefact.stage()] = artefact.seconds();
  for (const Artefact::Number& number : artefact.numbers()) {
    const bool is_kl = absl::EndsWith(number.name(), "_before") ||
                       absl::EndsWith(number.name(), "_after");
    (*summary)[is_kl ? "kl" : "numbers"][number.name()] = number.value();
  }
}

}  // namespace

absl::Status WriteSummary(RunContext& run, const Artefacts& artefacts,
                          const std::vector<std::string>& stages) {
  Json summary = {{"version", 1},
                  {"table", Json::array()},
                  {"kl", Json::object()},
                  {"seconds", Json::object()}};
  for (const std::string& stage : stages) {
    const absl::StatusOr<Artefact> artefact = artefacts.Complete(stage);
    if (artefact.ok()) {
      AddNumbers(*artefact, &summary);
    }
  }
  for (const char* name : {"table", "fidelity", "recall"}) {
    ASSIGN_OR_RETURN(Json json,
                     ReadJson(run, std::string("evaluate/") + name + ".json"));
    if (!json.is_null()) {
      summary[name] = std::move(json);
    }
  }
  ASSIGN_OR_RETURN(const Json before, ReadJson(run, "summary.json"));
  std::int64_t peak = PeakResidentBytes();
  if (before.is_object() && before.contains("peak_bytes") &&
      before["peak_bytes"].is_number_integer()) {
    peak = std::max(peak, before["peak_bytes"].get<std::int64_t>());
  }
  summary["peak_bytes"] = peak;
  return run.files().WriteFileAtomically(run.Path("summary.json"),
                                         summary.dump(2) + "\n");
}

}  // namespace rtpurbo
