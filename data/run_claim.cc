#include "data/run_claim.h"

#include <algorithm>
#include <array>
#include <ctime>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "data/strict_json.h"
#include "kernels/core/log.h"
#include "kernels/core/status_macros.h"

namespace rtpurbo::internal {
namespace {

using Clock = std::chrono::steady_clock;
using Json = nlohmann::json;

constexpr char kPrefix[] = "run.lock.";
constexpr char kReleased[] = "released";

std::string ClaimName(std::int64_t incarnation) {
  return absl::StrFormat("%s%08d", kPrefix, incarnation);
}

std::string NowText() {
  const std::time_t now = std::time(nullptr);
  std::tm utc = {};
  gmtime_r(&now, &utc);
  std::array<char, 32> text = {};
  std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &utc);
  return text.data();
}

// What can be said at once about taking over.
enum class Judgement : std::uint8_t { kFree, kHeld, kWatch };

Judgement Judge(absl::string_view text, const std::optional<RunClaim>& claim,
                const ProcessIdentity& self) {
  if (IsReleased(text)) {
    return Judgement::kFree;
  }
  if (!claim.has_value()) {
    return Judgement::kWatch;
  }
  const ProcessIdentity& holder = claim->holder;
  if (!self.job.empty() && self.job == holder.job &&
      self.job_restarts > holder.job_restarts) {
    return Judgement::kFree;
  }
  switch (StateOf(holder)) {
    case ProcessState::kRuns:
      return Judgement::kHeld;
    case ProcessState::kGone:
      return Judgement::kFree;
    case ProcessState::kUnknown:
      return Judgement::kWatch;
  }
  return Judgement::kWatch;
}

absl::Status InUse(const std::string& run_dir, std::int64_t incarnation,
                   const std::optional<RunClaim>& claim) {
  return absl::FailedPreconditionError(absl::StrCat(
      "the run folder ", run_dir, " is in use by ",
      DescribeClaim(incarnation, claim),
      "; wait until it has ended, stop it, or choose another folder"));
}

// Nothing if there is no such file; an empty text if it was cut short between
// the look at its size and the read.
absl::StatusOr<std::optional<std::string>> ReadClaim(FileSystem& files,
                                                     const std::string& path) {
  absl::StatusOr<std::string> text = files.ReadFile(path);
  if (text.ok()) {
    return std::optional(*std::move(text));
  }
  if (absl::IsNotFound(text.status())) {
    return std::optional<std::string>();
  }
  if (absl::IsDataLoss(text.status())) {
    return std::optional<std::string>("");
  }
  return text.status();
}

}  // namespace

std::string ClaimPath(const std::string& run_dir, std::int64_t incarnation) {
  return JoinPath(run_dir, ClaimName(incarnation));
}

std::int64_t IncarnationOf(absl::string_view name) {
  std::int64_t incarnation = 0;
  absl::string_view digits = name;
  // The name must be the one that we would give: no sign, no spaces.
  return absl::ConsumePrefix(&digits, kPrefix) &&
                 absl::SimpleAtoi(digits, &incarnation) && incarnation > 0 &&
                 name == ClaimName(incarnation)
             ? incarnation
             : 0;
}

absl::StatusOr<std::int64_t> NewestIncarnation(FileSystem& files,
                                               const std::string& run_dir) {
  ASSIGN_OR_RETURN(const std::vector<std::string> names, files.List(run_dir));
  std::int64_t newest = 0;
  for (const std::string& name : names) {
    newest = std::max(newest, IncarnationOf(name));
  }
  return newest;
}

std::string ClaimLine(const ProcessIdentity& holder, std::int64_t incarnation) {
  const Json json = {{"incarnation", incarnation},
                     {"host", holder.host},
                     {"place", holder.place},
                     {"pid", holder.pid},
                     {"start_ticks", holder.start_ticks},
                     {"job", holder.job},
                     {"job_restarts", holder.job_restarts},
                     {"started", NowText()}};
  return json.dump(-1, ' ', true, Json::error_handler_t::replace) + "\n";
}

std::string BeatLine(std::int64_t beats) {
  return absl::StrFormat("beat %020d\n", beats);
}

std::string ReleasedLine() {
  return absl::StrFormat("%-25s\n", kReleased);
}

std::optional<RunClaim> ParseClaim(absl::string_view text) {
  const std::size_t end = text.find('\n');
  if (end == absl::string_view::npos) {
    return std::nullopt;
  }
  const absl::StatusOr<Json> json = ParseStrictJson(text.substr(0, end), "");
  if (!json.ok() || !json->is_object()) {
    return std::nullopt;
  }
  bool is_whole = true;
  const auto get = [&](const char* name, auto* value) {
    const auto at = json->find(name);
    using Value = std::remove_pointer_t<decltype(value)>;
    if (at != json->end() &&
        (std::is_same_v<Value, std::string> ? at->is_string()
                                            : at->is_number_integer())) {
      *value = at->template get<Value>();
    } else {
      is_whole = false;
    }
  };
  RunClaim claim;
  get("host", &claim.holder.host);
  get("place", &claim.holder.place);
  get("pid", &claim.holder.pid);
  get("start_ticks", &claim.holder.start_ticks);
  get("job", &claim.holder.job);
  get("job_restarts", &claim.holder.job_restarts);
  get("started", &claim.started);
  return is_whole ? std::optional(std::move(claim)) : std::nullopt;
}

bool IsReleased(absl::string_view text) {
  absl::ConsumeSuffix(&text, "\n");
  const std::size_t begin = text.rfind('\n');
  const absl::string_view last =
      begin == absl::string_view::npos ? text : text.substr(begin + 1);
  return absl::StripTrailingAsciiWhitespace(last) == kReleased;
}

std::string DescribeClaim(std::int64_t incarnation,
                          const std::optional<RunClaim>& claim) {
  if (!claim.has_value()) {
    return absl::StrCat("incarnation ", incarnation, ", whose file is damaged");
  }
  const ProcessIdentity& holder = claim->holder;
  return absl::StrCat("incarnation ", incarnation, ": process ", holder.pid,
                      " on ", holder.host,
                      holder.job.empty() ? "" : ", Slurm job ", holder.job,
                      ", started ", claim->started);
}

absl::StatusOr<bool> WaitUntilFree(FileSystem& files,
                                   const std::string& run_dir,
                                   std::int64_t incarnation,
                                   const ProcessIdentity& self,
                                   std::chrono::milliseconds look_every,
                                   std::chrono::milliseconds gone_after) {
  const std::string path = ClaimPath(run_dir, incarnation);
  std::optional<std::string> seen;
  Clock::time_point changed = Clock::now();
  const Clock::time_point last = changed + 3 * gone_after;
  for (;;) {
    ASSIGN_OR_RETURN(const std::optional<std::string> text,
                     ReadClaim(files, path));
    if (!text.has_value()) {
      return false;
    }
    const std::optional<RunClaim> claim = ParseClaim(*text);
    const Judgement judgement = Judge(*text, claim, self);
    if (judgement == Judgement::kFree) {
      return true;
    }
    const Clock::time_point now = Clock::now();
    const bool has_changed = seen.has_value() && *seen != *text;
    // A damaged claim may be one that is being written: it is looked at again.
    if (judgement == Judgement::kHeld || now > last ||
        (has_changed && ParseClaim(*seen).has_value())) {
      return InUse(run_dir, incarnation, claim);
    }
    if (!seen.has_value()) {
      Log(LogLevel::kInfo, "lock",
          absl::StrCat("looks for up to ", gone_after.count() / 1000,
                       " s whether the run is in use by ",
                       DescribeClaim(incarnation, claim)));
    }
    if (!seen.has_value() || has_changed) {
      changed = now;
      seen = text;
    } else if (now - changed > gone_after) {
      Log(LogLevel::kWarning, "lock",
          absl::StrCat("takes over from ", DescribeClaim(incarnation, claim),
                       " (", path, "), which no longer beats"));
      return true;
    }
    std::this_thread::sleep_for(look_every);
  }
}

}  // namespace rtpurbo::internal
