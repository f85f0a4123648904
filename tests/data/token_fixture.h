// A tokenizer and token stores for tests.
//
// The stores hold no text but tokens that tell where they are from: token p of
// document d is FirstToken(d) + p, far above the ids of the vocabulary. So a
// test sees in a sequence itself what of the store is in it.

#ifndef RTPURBO_TESTS_DATA_TOKEN_FIXTURE_H_
#define RTPURBO_TESTS_DATA_TOKEN_FIXTURE_H_

#include <cstdint>
#include <memory>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "data/file_system.h"
#include "data/token_store.h"
#include "data/tokenizer.h"
#include "gtest/gtest.h"
#include "tests/data/small_tokenizer.h"
#include "tests/status_matchers.h"
#include "tests/temporary_directory.h"

namespace rtpurbo::testing {

// Of the teacher `tiny`: 8192 tokens; the end token is number 0.
inline const Tokenizer& TinyTokenizer() {
  static const auto* const kTokenizer = new Tokenizer(
      Tokenizer::Load(TestDataPath("tiny/tokenizer.json")).value());
  return *kTokenizer;
}

inline constexpr std::int32_t kTokensOfDocument = 10'000'000;

inline std::int32_t FirstToken(std::int64_t document) {
  return static_cast<std::int32_t>(document + 1) * kTokensOfDocument;
}

struct MadeDocument {
  std::int64_t num_tokens;
  std::vector<Interval> label_spans;
};

// A store in a folder of its own.
class MadeStore {
 public:
  MadeStore(const std::vector<MadeDocument>& documents,
            const HeldOutRule& rule) {
    FileSystem& files = RealFileSystem();
    const std::string path = directory_ / "tokens.h5";
    const auto writer =
        TokenStoreWriter::Create(files, path, "tok", rule).value();
    for (std::size_t i = 0; i < documents.size(); ++i) {
      TokenDocument document;
      document.name = "d" + std::to_string(i);
      document.tokens_T.resize(
          static_cast<std::size_t>(documents[i].num_tokens));
      std::iota(document.tokens_T.begin(), document.tokens_T.end(),
                FirstToken(static_cast<std::int64_t>(i)));
      document.label_spans = documents[i].label_spans;
      EXPECT_OK(writer->Append(document));
    }
    EXPECT_OK(writer->Finish());
    store_ = TokenStore::Open(files, path).value();
  }

  const TokenStore& operator*() const { return *store_; }
  const TokenStore* operator->() const { return store_.get(); }

 private:
  TemporaryDirectory directory_;
  std::unique_ptr<TokenStore> store_;
};

// Whether `token` is of a MadeStore, and of its training part.
inline bool IsFromStore(std::int32_t token) {
  return token >= kTokensOfDocument;
}
inline bool IsFromTraining(const TokenStore& store, std::int32_t token) {
  return token % kTokensOfDocument <
         store.document(token / kTokensOfDocument - 1).training.end;
}

}  // namespace rtpurbo::testing

#endif  // RTPURBO_TESTS_DATA_TOKEN_FIXTURE_H_
