// Small pieces of a report: numbers out of its files, tables.

#ifndef RTPURBO_TRAINER_REPORT_HTML_H_
#define RTPURBO_TRAINER_REPORT_HTML_H_

#include <string>
#include <vector>

#include "nlohmann/json.hpp"

namespace rtpurbo {

// A field of a line; NaN or "" if it has none of that kind.
double NumberOf(const nlohmann::json& object, const char* key);
std::string TextOf(const nlohmann::json& object, const char* key);

// "-" for what is no number.
std::string NumberOrDash(double value);
// <td>text</td>, with markup written as entities.
std::string Cell(const std::string& text);
// A table that scrolls if it is wide; "" if it has no rows. Each row is made of
// cells.
std::string Table(const std::vector<std::string>& titles,
                  const std::vector<std::string>& rows);

}  // namespace rtpurbo

#endif  // RTPURBO_TRAINER_REPORT_HTML_H_
