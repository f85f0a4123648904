#include "trainer/evaluation/summary.h"

#include <algorithm>
#include <array>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "kernels/core/status_macros.h"

namespace rtpurbo {
namespace {

using Json = nlohmann::json;

constexpr char kDense[] = "dense";
constexpr char kForeign[] = "foreign";
constexpr char kAll[] = "all";

constexpr std::array<const char*, 13> kModels = {
    kDense,         "needle map",   "effect map",   "indexer",
    "stage 1",      "stage 2",      "static top-k", "window only",
    "random map 1", "random map 2", "random map 3", "random map 4",
    "random map 5"};
constexpr std::array<const char*, 7> kKinds = {
    "single",      "multi_key", "multi_query", "variable_tracking",
    "multi_value", kForeign,    kAll};

// Place in a list; behind all of it if it is not there.
std::size_t PlaceOf(const auto& list, const std::string& name) {
  return static_cast<std::size_t>(std::find(list.begin(), list.end(), name) -
                                  list.begin());
}

// What is read of a line.
struct Line {
  std::string id;
  std::string model;
  std::string kind;
  std::int64_t tokens = 0;
  bool exact = false;  // of a foreign question: all answers contained
  double contains = 0;
};

absl::StatusOr<Line> ParseLine(const Json& json, std::size_t number) {
  const auto has = [&](const char* key, bool (Json::*is)() const noexcept) {
    return json.is_object() && json.contains(key) && (json[key].*is)();
  };
  for (const char* key : {"id", "model", "kind"}) {
    if (!has(key, &Json::is_string)) {
      return absl::DataLossError(absl::StrCat("line ", number,
                                              " of the evaluation has no \"",
                                              key, "\" that is a string"));
    }
  }
  for (const char* key : {"tokens", "contains"}) {
    if (!has(key, &Json::is_number)) {
      return absl::DataLossError(absl::StrCat("line ", number,
                                              " of the evaluation has no \"",
                                              key, "\" that is a number"));
    }
  }
  Line line{json["id"],   json["model"],
            json["kind"], json["tokens"].get<std::int64_t>(),
            false,        json["contains"].get<double>()};
  if (line.kind == kForeign) {
    line.exact = line.contains == 1;
  } else if (has("exact", &Json::is_boolean)) {
    line.exact = json["exact"].get<bool>();
  } else {
    return absl::DataLossError(
        absl::StrCat("line ", number,
                     " of the evaluation has no \"exact\" "
                     "that is true or false"));
  }
  return line;
}

// Key of a row, in the order of the table.
struct Key {
  std::size_t model;
  std::size_t kind;
  std::int64_t tokens;
  auto operator<=>(const Key&) const = default;
};

// Whether "all" pools the questions of a kind.
bool IsPooled(const std::string& kind) {
  return kind != "multi_value" && kind != kForeign;
}

SummaryRow RowOf(const std::vector<const Line*>& lines,
                 const std::map<std::string, bool>& dense) {
  SummaryRow row;
  const auto n = static_cast<std::int64_t>(lines.size());
  std::int64_t answered = 0;
  std::int64_t tokens = 0;
  std::int64_t pairs = 0;
  std::int64_t only_dense = 0;
  std::int64_t only_model = 0;
  for (const Line* line : lines) {
    answered += line->exact ? 1 : 0;
    tokens += line->tokens;
    row.contains += line->contains / static_cast<double>(n);
    if (const auto other = dense.find(line->id); other != dense.end()) {
      ++pairs;
      only_dense += other->second && !line->exact ? 1 : 0;
      only_model += line->exact && !other->second ? 1 : 0;
    }
  }
  row.model = lines[0]->model;
  row.kind = lines[0]->kind;
  row.tokens = (tokens + n / 2) / n;
  row.questions = n;
  if (row.kind != kForeign) {
    row.exact = static_cast<double>(answered) / static_cast<double>(n);
  }
  row.interval = WilsonInterval(answered, n);
  if (pairs > 0 && row.model != kDense) {
    row.difference = static_cast<double>(only_model - only_dense) /
                     static_cast<double>(pairs);
    row.p_value = McNemarExact(only_dense, only_model);
  }
  return row;
}

// Names in the order of kModels or kKinds, then as they come.
class Order {
 public:
  explicit Order(std::vector<std::string> known) : names_(std::move(known)) {}
  std::size_t operator()(const std::string& name) {
    const std::size_t place = PlaceOf(names_, name);
    if (place == names_.size()) {
      names_.push_back(name);
    }
    return place;
  }

 private:
  std::vector<std::string> names_;
};

Json OrNull(const std::optional<double>& value) {
  return value.has_value() ? Json(*value) : Json();
}

std::string Percent(double share) {
  return absl::StrFormat("%.1f", 100 * share);
}

// Pads columns to one width: the first to the left, the others to the right.
std::string Aligned(const std::vector<std::vector<std::string>>& cells) {
  std::vector<std::size_t> width(cells[0].size(), 0);
  for (const auto& line : cells) {
    for (std::size_t i = 0; i < line.size(); ++i) {
      width[i] = std::max(width[i], line[i].size());
    }
  }
  std::string text;
  for (const auto& line : cells) {
    for (std::size_t i = 0; i < line.size(); ++i) {
      const std::string padding(width[i] - line[i].size(), ' ');
      text += i == 0 ? line[i] + padding : "  " + padding + line[i];
    }
    text += "\n";
  }
  return text;
}

// interval, difference and p of a row.
std::vector<std::string> Comparison(const SummaryRow& row) {
  return {absl::StrCat(Percent(row.interval.low), " - ",
                       Percent(row.interval.high)),
          row.difference.has_value()
              ? absl::StrFormat("%+.1f", 100 * *row.difference)
              : "",
          row.p_value.has_value() ? absl::StrFormat("%.2g", *row.p_value) : ""};
}

using Rows = std::vector<const SummaryRow*>;

// The rows of one length that are not foreign.
std::string KindTable(const Rows& rows, std::int64_t tokens) {
  std::vector<std::string> kinds;
  std::vector<std::string> models;
  std::map<std::pair<std::string, std::string>, const SummaryRow*> row_of;
  for (const SummaryRow* row : rows) {
    if (PlaceOf(models, row->model) == models.size()) {
      models.push_back(row->model);
    }
    if (PlaceOf(kinds, row->kind) == kinds.size()) {
      kinds.push_back(row->kind);
    }
    row_of[{row->model, row->kind}] = row;
  }
  std::stable_sort(kinds.begin(), kinds.end(),
                   [](const std::string& a, const std::string& b) {
                     return PlaceOf(kKinds, a) < PlaceOf(kKinds, b);
                   });
  std::vector<std::vector<std::string>> cells = {{"model"}};
  cells[0].insert(cells[0].end(), kinds.begin(), kinds.end());
  for (const char* name : {"95 % of all", "to dense", "p"}) {
    cells[0].emplace_back(name);
  }
  for (const std::string& model : models) {
    std::vector<std::string> line = {model};
    for (const std::string& kind : kinds) {
      const auto row = row_of.find({model, kind});
      line.push_back(row == row_of.end() ? "" : Percent(*row->second->exact));
    }
    const auto all = row_of.find({model, kAll});
    const auto rest = all == row_of.end() ? std::vector<std::string>(3)
                                          : Comparison(*all->second);
    line.insert(line.end(), rest.begin(), rest.end());
    cells.push_back(std::move(line));
  }
  return absl::StrCat("Exact answers at ", tokens, " tokens, %\n",
                      Aligned(cells));
}

std::string ForeignTable(const Rows& rows) {
  std::vector<std::vector<std::string>> cells = {
      {"model", "questions", "contains", "95 % of all contained", "to dense",
       "p"}};
  for (const SummaryRow* row : rows) {
    std::vector<std::string> line = {row->model, absl::StrCat(row->questions),
                                     Percent(row->contains)};
    const auto rest = Comparison(*row);
    line.insert(line.end(), rest.begin(), rest.end());
    cells.push_back(std::move(line));
  }
  return absl::StrCat("Foreign questions, %\n", Aligned(cells));
}

}  // namespace

absl::StatusOr<std::vector<SummaryRow>> SummarizeEvaluation(
    const std::vector<nlohmann::json>& lines) {
  Order model_order({kModels.begin(), kModels.end()});
  Order kind_order({kKinds.begin(), kKinds.end()});
  std::vector<Line> parsed;
  parsed.reserve(lines.size());  // rows point at them
  std::map<Key, std::vector<const Line*>> groups;
  std::map<std::pair<std::string, std::string>, std::size_t> seen;
  std::map<std::string, bool> dense;  // by question: whether it is answered
  const std::size_t all = kind_order(kAll);
  for (std::size_t i = 0; i < lines.size(); ++i) {
    ASSIGN_OR_RETURN(Line line, ParseLine(lines[i], i + 1));
    const auto [first, is_new] = seen.insert({{line.model, line.id}, i + 1});
    if (!is_new) {
      return absl::DataLossError(
          absl::StrCat("lines ", first->second, " and ", i + 1,
                       " of the evaluation are "
                       "both the answer of \"",
                       line.model, "\" to \"", line.id, "\""));
    }
    if (line.model == kDense) {
      dense[line.id] = line.exact;
    }
    parsed.push_back(std::move(line));
    const Line& kept = parsed.back();
    const std::size_t model = model_order(kept.model);
    const bool foreign = kept.kind == kForeign;
    groups[{model, kind_order(kept.kind), foreign ? 0 : kept.tokens}].push_back(
        &kept);
    if (IsPooled(kept.kind)) {
      groups[{model, all, kept.tokens}].push_back(&kept);
    }
  }
  std::vector<SummaryRow> rows;
  for (const auto& [key, group] : groups) {
    rows.push_back(RowOf(group, dense));
    if (key.kind == all) {
      rows.back().kind = kAll;
    }
  }
  return rows;
}

nlohmann::ordered_json SummaryTable(const std::vector<SummaryRow>& rows) {
  nlohmann::ordered_json table = nlohmann::ordered_json::array();
  for (const SummaryRow& row : rows) {
    table.push_back({{"model", row.model},
                     {"kind", row.kind},
                     {"tokens", row.tokens},
                     {"questions", row.questions},
                     {"exact", OrNull(row.exact)},
                     {"contains", row.contains},
                     {"low", row.interval.low},
                     {"high", row.interval.high},
                     {"difference", OrNull(row.difference)},
                     {"p_value", OrNull(row.p_value)}});
  }
  return table;
}

std::string SummaryText(const std::vector<SummaryRow>& rows) {
  std::map<std::int64_t, Rows> of_length;
  Rows foreign;
  for (const SummaryRow& row : rows) {
    Rows& to = row.kind == kForeign ? foreign : of_length[row.tokens];
    to.push_back(&row);
  }
  std::string text;
  for (const auto& [tokens, some] : of_length) {
    absl::StrAppend(&text, text.empty() ? "" : "\n", KindTable(some, tokens));
  }
  if (!foreign.empty()) {
    absl::StrAppend(&text, text.empty() ? "" : "\n", ForeignTable(foreign));
  }
  return text;
}

}  // namespace rtpurbo
