// Cuts a text at the matches of a regular expression: Hugging Face's Split.
//
// A text is a sequence of spans: the matches, from left to right, and what lies
// between them. (With `invert`, what lies between counts as the matches.) The
// behaviour says what becomes of them; pieces without bytes are left out:
//
//   behaviour            "a-b--c" cut at "-"
//   kRemoved             a b c                 matches are dropped
//   kIsolated            a - b - - c           each span is a piece
//   kMergedWithPrevious  a- b- - c             a match ends the span before it
//   kMergedWithNext      a -b - -c             and begins the span after it
//   kContiguous          a - b -- c            matches in a row are one piece

#ifndef RTPURBO_DATA_TEXT_SPLITTER_H_
#define RTPURBO_DATA_TEXT_SPLITTER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace rtpurbo {

enum class SplitBehavior : std::uint8_t {
  kRemoved,
  kIsolated,
  kMergedWithPrevious,
  kMergedWithNext,
  kContiguous,
};

// Any number of threads may split with one Splitter, each with its own Scratch.
// Copies share what is compiled.
class Splitter {
 public:
  // Memory that matching needs; may be used with any Splitter.
  class Scratch {
   public:
    Scratch();
    ~Scratch();
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;

   private:
    friend class Splitter;
    struct State;
    std::unique_ptr<State> state_;
  };

  //   pattern: in the syntax of PCRE2, as split_pattern.h writes it.
  // InvalidArgument if PCRE2 refuses it.
  static absl::StatusOr<Splitter> Create(const std::string& pattern,
                                         SplitBehavior behavior, bool invert);

  // Calls `emit` with the pieces of `text`, from left to right; they point into
  // it. `emit` may split with the same scratch. Takes memory for one piece.
  // REQUIRES: `text` is UTF-8.
  using Emit = std::function<void(absl::string_view)>;
  void Split(absl::string_view text, Scratch* scratch, const Emit& emit) const;

 private:
  struct Code;
  Splitter(std::shared_ptr<const Code> code, SplitBehavior behavior,
           bool invert)
      : code_(std::move(code)), behavior_(behavior), invert_(invert) {}

  std::shared_ptr<const Code> code_;
  SplitBehavior behavior_;
  bool invert_;
};

}  // namespace rtpurbo

#endif  // RTPURBO_DATA_TEXT_SPLITTER_H_
