#include "data/text/vocabulary.h"

#include <cstddef>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "kernels/core/status_macros.h"

namespace rtpurbo {
namespace {

// No published vocabulary has a tenth of it; ids are indices of an array.
constexpr std::int32_t kMaxId = (1 << 24) - 1;

std::string Quoted(absl::string_view text) {
  return absl::StrCat("\"", absl::Utf8SafeCHexEscape(text), "\"");
}

}  // namespace

absl::StatusOr<Vocabulary> Vocabulary::Create(std::vector<Entry> entries) {
  Vocabulary vocabulary;
  vocabulary.ids_.reserve(entries.size());
  for (Entry& entry : entries) {
    RETURN_IF_ERROR(vocabulary.Add(std::move(entry.first), entry.second));
  }
  return vocabulary;
}

absl::Status Vocabulary::Add(std::string text, std::int32_t id) {
  if (id < 0 || id > kMaxId) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the id of ", Quoted(text), " is ", id, "; ids go up to ", kMaxId));
  }
  if (const std::optional<absl::string_view> other = Text(id)) {
    return absl::InvalidArgumentError(absl::StrCat(
        Quoted(*other), " and ", Quoted(text), " have the same id ", id));
  }
  if (const std::optional<std::int32_t> other = Id(text)) {
    return absl::InvalidArgumentError(absl::StrCat(
        Quoted(text), " stands twice, with the ids ", *other, " and ", id));
  }
  if (id >= size()) {
    texts_.resize(static_cast<std::size_t>(id) + 1);
  }
  std::optional<std::string>& slot = texts_[static_cast<std::size_t>(id)];
  slot = std::move(text);
  ids_.emplace(*slot, id);
  return absl::OkStatus();
}

std::optional<std::int32_t> Vocabulary::Id(absl::string_view text) const {
  const auto found = ids_.find(text);
  return found == ids_.end() ? std::nullopt
                             : std::optional<std::int32_t>(found->second);
}

std::optional<absl::string_view> Vocabulary::Text(std::int32_t id) const {
  if (id < 0 || id >= size()) {
    return std::nullopt;
  }
  const std::optional<std::string>& text = texts_[static_cast<std::size_t>(id)];
  return text.has_value() ? std::optional<absl::string_view>(*text)
                          : std::nullopt;
}

}  // namespace rtpurbo
