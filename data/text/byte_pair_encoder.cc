#include "data/text/byte_pair_encoder.h"

#include <algorithm>
#include <cstddef>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "data/text/byte_level.h"
#include "kernels/core/check.h"
#include "kernels/core/status_macros.h"

namespace rtpurbo {
namespace {

using Scratch = BytePairEncoder::Scratch;

bool OccursInUtf8(std::size_t byte) {
  return byte != 0xC0 && byte != 0xC1 && byte < 0xF5;
}

std::uint64_t PairKey(std::int32_t left, std::int32_t right) {
  return static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32 |
         static_cast<std::uint32_t>(right);
}

// std::push_heap keeps the greatest on top: greater is what merges earlier.
bool MergesLater(const Scratch::Candidate& a, const Scratch::Candidate& b) {
  return a.rank != b.rank ? a.rank > b.rank : a.position > b.position;
}

absl::StatusOr<std::int32_t> IdForMerge(const Vocabulary& vocabulary,
                                        absl::string_view text,
                                        std::size_t merge) {
  const std::optional<std::int32_t> id = vocabulary.Id(text);
  if (!id.has_value()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "model.merges[", merge, "] needs the token \"",
        absl::Utf8SafeCHexEscape(text), "\", which model.vocab does not have"));
  }
  return *id;
}

}  // namespace

absl::StatusOr<BytePairEncoder> BytePairEncoder::Create(
    const Vocabulary& vocabulary, const std::vector<TextPair>& merges) {
  BytePairEncoder encoder;
  for (std::size_t byte = 0; byte < 256; ++byte) {
    const char c = static_cast<char>(byte);
    const std::string text = TokenOfBytes({&c, 1});
    const std::optional<std::int32_t> id = vocabulary.Id(text);
    if (!id.has_value() && OccursInUtf8(byte)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "model.vocab has no token \"", text, "\" for the byte 0x",
          absl::Hex(byte, absl::kZeroPad2), ": text with it would be lost"));
    }
    encoder.byte_ids_[byte] = id.value_or(-1);
  }
  encoder.merges_.reserve(merges.size());
  for (std::size_t i = 0; i < merges.size(); ++i) {
    const auto& [left, right] = merges[i];
    ASSIGN_OR_RETURN(const std::int32_t left_id,
                     IdForMerge(vocabulary, left, i));
    ASSIGN_OR_RETURN(const std::int32_t right_id,
                     IdForMerge(vocabulary, right, i));
    ASSIGN_OR_RETURN(const std::int32_t id,
                     IdForMerge(vocabulary, absl::StrCat(left, right), i));
    encoder.merges_[PairKey(left_id, right_id)] = {static_cast<std::int32_t>(i),
                                                   id};
  }
  return encoder;
}

const BytePairEncoder::Merge* BytePairEncoder::FindMerge(
    std::int32_t left, std::int32_t right) const {
  const auto found = merges_.find(PairKey(left, right));
  return found == merges_.end() ? nullptr : &found->second;
}

// Puts the symbol at `position` and the one after it on the heap, if they are
// a pair of the list.
void BytePairEncoder::Propose(std::int64_t position, Scratch* scratch) const {
  const auto& symbols = scratch->symbols;
  const Scratch::Symbol& left = symbols[static_cast<std::size_t>(position)];
  if (left.next == static_cast<std::int64_t>(symbols.size())) {
    return;
  }
  const std::int32_t right = symbols[static_cast<std::size_t>(left.next)].id;
  if (const Merge* merge = FindMerge(left.id, right)) {
    scratch->heap.push_back({merge->rank, left.id, right, position});
    std::push_heap(scratch->heap.begin(), scratch->heap.end(), MergesLater);
  }
}

void BytePairEncoder::MergeAll(Scratch* scratch) const {
  auto& symbols = scratch->symbols;
  const auto at = [&](std::int64_t i) -> Scratch::Symbol& {
    return symbols[static_cast<std::size_t>(i)];
  };
  const auto end = static_cast<std::int64_t>(symbols.size());
  while (!scratch->heap.empty()) {
    const Scratch::Candidate top = scratch->heap.front();
    std::pop_heap(scratch->heap.begin(), scratch->heap.end(), MergesLater);
    scratch->heap.pop_back();
    Scratch::Symbol& left = at(top.position);
    if (left.id != top.left || left.next == end ||
        at(left.next).id != top.right) {
      continue;  // one of the two has been merged since
    }
    Scratch::Symbol& right = at(left.next);
    left.id = FindMerge(top.left, top.right)->id;
    left.next = right.next;
    right.id = -1;
    if (left.next != end) {
      at(left.next).previous = top.position;
    }
    if (left.previous >= 0) {
      Propose(left.previous, scratch);
    }
    Propose(top.position, scratch);
  }
}

void BytePairEncoder::Encode(absl::string_view piece, Scratch* scratch,
                             std::vector<std::int32_t>* ids) const {
  scratch->symbols.clear();
  scratch->heap.clear();
  for (const char byte : piece) {
    const std::int32_t id = byte_ids_[static_cast<std::uint8_t>(byte)];
    CHECK(id >= 0) << "a byte that UTF-8 does not have";
    const auto i = static_cast<std::int64_t>(scratch->symbols.size());
    scratch->symbols.push_back({id, i - 1, i + 1});
  }
  for (std::size_t i = 0; i + 1 < scratch->symbols.size(); ++i) {
    Propose(static_cast<std::int64_t>(i), scratch);
  }
  MergeAll(scratch);
  for (const Scratch::Symbol& symbol : scratch->symbols) {
    if (symbol.id >= 0) {
      ids->push_back(symbol.id);
    }
  }
}

}  // namespace rtpurbo
