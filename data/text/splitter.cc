#include "data/text/splitter.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <array>
#include <cstddef>
#include <limits>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "data/text/utf8.h"
#include "kernels/core/check.h"

namespace rtpurbo {
namespace {

constexpr std::size_t kJitStackStart = 32 << 10;
constexpr std::size_t kJitStackMax = 1 << 20;

// A match or what lies between two.
struct Span {
  std::size_t begin = 0;
  std::size_t end = 0;
  bool is_match = false;
};

std::string ErrorText(int code) {
  std::array<PCRE2_UCHAR, 256> text{};
  pcre2_get_error_message(code, text.data(), text.size());
  return reinterpret_cast<const char*>(text.data());
}

// Whether a span becomes one piece with the span before it.
bool Joins(SplitBehavior behavior, bool previous_is_match, bool is_match) {
  switch (behavior) {
    case SplitBehavior::kRemoved:
    case SplitBehavior::kIsolated:
      return false;
    case SplitBehavior::kMergedWithPrevious:
      return is_match && !previous_is_match;
    case SplitBehavior::kMergedWithNext:
      return !is_match && previous_is_match;
    case SplitBehavior::kContiguous:
      return is_match == previous_is_match;
  }
  return false;
}

}  // namespace

struct Splitter::Code {
  explicit Code(pcre2_code* compiled) : code(compiled) {}
  ~Code() { pcre2_code_free(code); }
  Code(const Code&) = delete;
  Code& operator=(const Code&) = delete;

  template <typename Take>
  void ForEachSpan(absl::string_view text, Scratch::State* state,
                   const Take& take) const;

  pcre2_code* code;
};

struct Splitter::Scratch::State {
  State()
      : match(pcre2_match_data_create(1, nullptr)),
        context(pcre2_match_context_create(nullptr)),
        stack(pcre2_jit_stack_create(kJitStackStart, kJitStackMax, nullptr)) {
    CHECK(match != nullptr && context != nullptr) << "out of memory";
    constexpr auto kNoLimit = std::numeric_limits<std::uint32_t>::max();
    pcre2_set_match_limit(context, kNoLimit);
    pcre2_set_depth_limit(context, kNoLimit);
    pcre2_jit_stack_assign(context, nullptr, stack);
  }
  ~State() {
    pcre2_jit_stack_free(stack);
    pcre2_match_context_free(context);
    pcre2_match_data_free(match);
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  // The first match that begins at or after `start`.
  std::optional<Span> Find(const pcre2_code* code, absl::string_view text,
                           std::size_t start) {
    const auto run = [&](std::uint32_t options) {
      return pcre2_match(code, reinterpret_cast<PCRE2_SPTR>(text.data()),
                         text.size(), start, options, match, context);
    };
    int result = run(PCRE2_NO_UTF_CHECK);
    if (result == PCRE2_ERROR_JIT_STACKLIMIT) {
      result = run(PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT);  // uses the heap
    }
    if (result == PCRE2_ERROR_NOMATCH) {
      return std::nullopt;
    }
    CHECK(result >= 0) << "matching failed: " << ErrorText(result);
    const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(match);
    return Span{bounds[0], bounds[1], true};
  }

  pcre2_match_data* match;
  pcre2_match_context* context;
  pcre2_jit_stack* stack;  // may be null: PCRE2 then uses the thread's
};

// Calls `take` with the matches and what lies between them, in order. An empty
// match that touches the match before it is none: the search goes on one
// character later.
template <typename Take>
void Splitter::Code::ForEachSpan(absl::string_view text, Scratch::State* state,
                                 const Take& take) const {
  std::size_t covered = 0;
  std::size_t start = 0;
  std::optional<std::size_t> last_end;
  while (start <= text.size()) {
    const std::optional<Span> found = state->Find(code, text, start);
    if (!found.has_value()) {
      break;
    }
    if (found->begin == found->end && last_end == found->end) {
      start += start < text.size() ? ReadUtf8(text.substr(start)).size : 1;
      continue;
    }
    start = found->end;
    last_end = found->end;
    if (covered != found->begin) {
      take(Span{covered, found->begin, false});
    }
    take(*found);
    covered = found->end;
  }
  if (covered != text.size()) {
    take(Span{covered, text.size(), false});
  }
}

Splitter::Scratch::Scratch() : state_(std::make_unique<State>()) {}
Splitter::Scratch::~Scratch() = default;

absl::StatusOr<Splitter> Splitter::Create(const std::string& pattern,
                                          SplitBehavior behavior, bool invert) {
  int error = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code* compiled =
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()),
                    pattern.size(), PCRE2_UTF, &error, &offset, nullptr);
  if (compiled == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("PCRE2 cannot compile the pattern, written for it as ",
                     pattern, ": ", ErrorText(error), " at byte ", offset));
  }
  // Without a just-in-time compiler, PCRE2 interprets: slower, same matches.
  pcre2_jit_compile(compiled, PCRE2_JIT_COMPLETE);
  return Splitter(std::make_shared<const Code>(compiled), behavior, invert);
}

void Splitter::Split(absl::string_view text, Scratch* scratch,
                     const Emit& emit) const {
  std::optional<Span> piece;  // open: the next span may join it
  bool previous_is_match = false;
  const auto close = [&] {
    if (piece.has_value() && piece->end > piece->begin &&
        !(behavior_ == SplitBehavior::kRemoved && piece->is_match)) {
      emit(text.substr(piece->begin, piece->end - piece->begin));
    }
  };
  code_->ForEachSpan(text, scratch->state_.get(), [&](Span span) {
    span.is_match ^= invert_;
    if (piece.has_value() &&
        Joins(behavior_, previous_is_match, span.is_match)) {
      piece->end = span.end;
    } else {
      close();
      piece = span;
    }
    previous_is_match = span.is_match;
  });
  close();
}

}  // namespace rtpurbo
