#include "data/strict_json.h"

#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace rtpurbo {

absl::StatusOr<nlohmann::json> ParseStrictJson(absl::string_view text,
                                               absl::string_view where) {
  using nlohmann::json;
  std::vector<std::set<std::string>> names;  // of the objects that are open
  std::string repeated;
  const auto watch = [&](int /*depth*/, json::parse_event_t event,
                         json& parsed) {
    if (event == json::parse_event_t::object_start) {
      names.emplace_back();
    } else if (event == json::parse_event_t::object_end) {
      names.pop_back();
    } else if (event == json::parse_event_t::key &&
               !names.back().insert(parsed.get<std::string>()).second &&
               repeated.empty()) {
      repeated = parsed.get<std::string>();
    }
    return true;
  };
  try {
    json value = json::parse(text.begin(), text.end(), watch);
    if (!repeated.empty()) {
      return absl::DataLossError(
          absl::StrCat(where, ": the name '", repeated, "' comes twice"));
    }
    return value;
  } catch (const json::exception& error) {
    return absl::DataLossError(
        absl::StrCat(where, ": not JSON: ", error.what()));
  }
}

}  // namespace rtpurbo
