#include "trainer/report_html.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "trainer/report_charts.h"

namespace rtpurbo {

double NumberOf(const nlohmann::json& object, const char* key) {
  return object.contains(key) && object[key].is_number()
             ? object[key].get<double>()
             : std::nan("");
}

std::string TextOf(const nlohmann::json& object, const char* key) {
  return object.contains(key) && object[key].is_string()
             ? object[key].get<std::string>()
             : "";
}

std::string NumberOrDash(double value) {
  return std::isfinite(value) ? FormatNumber(value) : "-";
}

std::string Cell(const std::string& text) {
  return absl::StrCat("<td>", EscapeHtml(text), "</td>");
}

std::string Table(const std::vector<std::string>& titles,
                  const std::vector<std::string>& rows) {
  if (rows.empty()) {
    return "";
  }
  std::string table = "<div class=\"scroll\"><table><thead><tr>";
  for (const std::string& title : titles) {
    absl::StrAppend(&table, "<th>", EscapeHtml(title), "</th>");
  }
  table += "</tr></thead><tbody>";
  for (const std::string& row : rows) {
    absl::StrAppend(&table, "<tr>", row, "</tr>");
  }
  return table + "</tbody></table></div>";
}

}  // namespace rtpurbo
