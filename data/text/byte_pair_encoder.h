// Byte pair encoding of one piece of text.
//
// A piece starts as its bytes, each a token. Then, as long as two neighbours
// are a pair of the list of merges, the pair that stands first in the list is
// replaced by the token of both texts joined; of several places the leftmost.
// (Sennrich, Haddow and Birch 2016; over bytes as in GPT-2.)

#ifndef RTPURBO_DATA_TEXT_BYTE_PAIR_ENCODER_H_
#define RTPURBO_DATA_TEXT_BYTE_PAIR_ENCODER_H_

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "data/text/vocabulary.h"

namespace rtpurbo {

// Unchanged once made, so any number of threads may encode, each with its own
// Scratch.
class BytePairEncoder {
 public:
  using TextPair = std::pair<std::string, std::string>;

  // Memory of one call, kept for the next.
  struct Scratch {
    struct Symbol {
      std::int32_t id;  // -1: joined to the symbol before it
      std::int64_t previous;
      std::int64_t next;  // the number of symbols if there is none
    };
    struct Candidate {
      std::int32_t rank;
      std::int32_t left;  // the pair that it is for, as ids
      std::int32_t right;
      std::int64_t position;
    };
    std::vector<Symbol> symbols;
    std::vector<Candidate> heap;
  };

  //   merges: texts of tokens, the first to merge first. If a pair stands in it
  //       twice, the last place counts.
  // InvalidArgument if `vocabulary` lacks a text of a merge, the two joined, or
  // a byte that UTF-8 can have.
  static absl::StatusOr<BytePairEncoder> Create(
      const Vocabulary& vocabulary, const std::vector<TextPair>& merges);

  // Appends the ids of `piece`. Takes O(n log n) for n bytes.
  // REQUIRES: `piece` is part of a text in UTF-8.
  void Encode(absl::string_view piece, Scratch* scratch,
              std::vector<std::int32_t>* ids) const;

 private:
  struct Merge {
    std::int32_t rank;
    std::int32_t id;
  };

  BytePairEncoder() = default;

  const Merge* FindMerge(std::int32_t left, std::int32_t right) const;
  void Propose(std::int64_t position, Scratch* scratch) const;
  void MergeAll(Scratch* scratch) const;

  std::array<std::int32_t, 256> byte_ids_{};
  absl::flat_hash_map<std::uint64_t, Merge> merges_;  // by both ids
};

}  // namespace rtpurbo

#endif  // RTPURBO_DATA_TEXT_BYTE_PAIR_ENCODER_H_
