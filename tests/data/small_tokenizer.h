// A tokenizer.json for tests, small enough to be seen whole.

#ifndef RTPURBO_TESTS_DATA_SMALL_TOKENIZER_H_
#define RTPURBO_TESTS_DATA_SMALL_TOKENIZER_H_

#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "data/text/byte_level.h"
#include "nlohmann/json.hpp"

namespace rtpurbo::testing {

using TextPairs = std::vector<std::pair<std::string, std::string>>;

inline std::string TestDataPath(const std::string& name) {
  const char* root = std::getenv("RTPURBO_ROOT");
  return std::string(root == nullptr ? "." : root) + "/tests/data/" + name;
}

// The vocabulary: byte b has the id b, the i-th merge the id 256 + i. No
// normalizer, no splitting, no added tokens.
inline nlohmann::json SmallTokenizer(const TextPairs& merges) {
  nlohmann::json vocab = nlohmann::json::object();
  for (int byte = 0; byte < 256; ++byte) {
    const char c = static_cast<char>(byte);
    vocab[TokenOfBytes({&c, 1})] = byte;
  }
  int next_id = 256;
  nlohmann::json pairs = nlohmann::json::array();
  for (const auto& [left, right] : merges) {
    vocab[left + right] = next_id++;
    pairs.push_back({left, right});
  }
  const nlohmann::json byte_level = {{"type", "ByteLevel"},
                                     {"add_prefix_space", false},
                                     {"trim_offsets", true},
                                     {"use_regex", false}};
  return {{"version", "1.0"},
          {"truncation", nullptr},
          {"padding", nullptr},
          {"added_tokens", nlohmann::json::array()},
          {"normalizer", nullptr},
          {"pre_tokenizer", byte_level},
          {"post_processor", nullptr},
          {"decoder", byte_level},
          {"model",
           {{"type", "BPE"},
            {"dropout", nullptr},
            {"unk_token", nullptr},
            {"continuing_subword_prefix", nullptr},
            {"end_of_word_suffix", nullptr},
            {"fuse_unk", false},
            {"byte_fallback", false},
            {"ignore_merges", false},
            {"vocab", vocab},
            {"merges", pairs}}}};
}

inline nlohmann::json SmallTokenizer() {
  return SmallTokenizer({{"a", "b"}, {"b", "c"}, {"ab", "c"}, {"Ġ", "a"}});
}

// Puts a Split by `regex` before the ByteLevel of `tokenizer`.
inline void AddSplit(const std::string& regex, nlohmann::json* tokenizer,
                     const std::string& behavior = "Isolated",
                     bool invert = false) {
  const nlohmann::json byte_level = (*tokenizer)["decoder"];
  (*tokenizer)["pre_tokenizer"] = {{"type", "Sequence"},
                                   {"pretokenizers",
                                    {{{"type", "Split"},
                                      {"pattern", {{"Regex", regex}}},
                                      {"behavior", behavior},
                                      {"invert", invert}},
                                     byte_level}}};
}

// An entry of added_tokens.
inline nlohmann::json AddedTokenJson(int id, const std::string& content) {
  return {{"id", id},        {"content", content}, {"single_word", false},
          {"lstrip", false}, {"rstrip", false},    {"normalized", false},
          {"special", false}};
}

}  // namespace rtpurbo::testing

#endif  // RTPURBO_TESTS_DATA_SMALL_TOKENIZER_H_
