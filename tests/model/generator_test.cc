// Decoding over a cache against one masked forward pass over the sequence.

#include "model/generator.h"

#include <limits>
#include <numeric>
#include <string>

#include "gmock/gmock.h"
#include "kernels/core/parallel.h"
#include "kernels/range_attention.h"
#include "tests/device_test.h"
#include "tests/model/random_model.h"
#include "tests/model/small_sparse.h"
#include "tests/status_matchers.h"

namespace rtpurbo::testing {
namespace {

using ::testing::HasSubstr;
using Tokens = std::vector<std::int32_t>;

constexpr float kTolerance = 2e-5F;

// Head 1 of layer 0, heads 0 and 3 of layer 1 retrieve: key/value head 1 of
// layer 0 is a ring. Without `first_layer`, layer 0 is all local.
SparseMode SomeMode(const ExecContext& ctx, const ModelConfig& config,
                    bool first_layer = true) {
  SparseMode mode;
  mode.map = LocalMap(config);
  mode.map.window = 9;
  mode.map.sinks = 2;
  mode.map.layers[0].retrieval_H[1] = first_layer;
  mode.map.layers[1].retrieval_H[0] = true;
  mode.map.layers[1].retrieval_H[3] = true;
  mode.selection.block = 8;
  mode.selection.recent = 8;
  mode.selection.sinks = 2;
  mode.selection.top_p = 0.5;
  mode.projections = RandomProjections(ctx, config, mode.map, 4, 50);
  return mode;
}

// Rows before `crossing` dense, those after it as `sparse` attends.
Attend TwoRanges(const ModelConfig& config, const Attend& sparse,
                 std::int64_t crossing) {
  const Attend dense = RangeAttend(MakePatterns(config, DenseMap(config)));
  return [=](Tape& tape, Stash& stash, const AttentionCall& call) {
    const Tensor before = dense(tape, stash, call).value();
    const Tensor after = sparse(tape, stash, call).value();
    const std::int64_t rows =
        std::max<std::int64_t>(0, crossing - call.query_begin);
    Tensor o = after.Clone(tape.ctx());
    const Tensor first = before.Slice(0, std::min(rows, before.dim(0)));
    CopyBytes(tape.ctx(), first.bytes(), o.bytes(), first.num_bytes());
    return Var(o, false);
  };
}

class GeneratorTest : public ::testing::Test {
 protected:
  ExecContext ctx() const { return model_.ctx(); }
  const ModelConfig& config() { return model_->config(); }
  SparseMode Mode() { return SomeMode(ctx(), config()); }

  std::vector<KvCache> PrefillAll(const Tokens& prompt,
                                  std::vector<const SparseMode*> modes) {
    return Prefill(*model_, prompt, modes);
  }

  // Logits of the rows from the last of `prompt` on, as decoded when `next`
  // follows: one row more than `next` has tokens.
  std::vector<float> Decoded(const SparseMode& mode, const Tokens& prompt,
                             const Tokens& next, KeptCounts* counts = nullptr) {
    SparseDecoder decoder(*model_, mode,
                          std::move(PrefillAll(prompt, {&mode})[0]));
    std::vector<float> all =
        ToFloats(ctx(), decoder.Step(prompt.back(), counts));
    for (const std::int32_t token : next) {
      const auto row = ToFloats(ctx(), decoder.Step(token, counts));
      all.insert(all.end(), row.begin(), row.end());
    }
    EXPECT_EQ(decoder.length(), Length(prompt) + Length(next));
    return all;
  }

  // The same rows of one forward pass.
  std::vector<float> Masked(const Attend& attend, Tokens tokens,
                            const Tokens& next) {
    tokens.insert(tokens.end(), next.begin(), next.end());
    Tokens positions(tokens.size());
    std::iota(positions.begin(), positions.end(), 0);
    const Shape shape = {Length(tokens)};
    Tape tape(ctx(), Tape::Mode::kOff);
    const Var x =
        model_->Hidden(tape,
                       {FromHost(ctx(), tokens, shape),
                        FromHost(ctx(), positions, shape), Length(next) + 1},
                       attend);
    return ToFloats(ctx(), model_->Logits(tape, x).value());
  }

  void ExpectDecodedAsMasked(const SparseMode& mode, const Tokens& prompt,
                             const Tokens& next) {
    KeptCounts decoded;
    KeptCounts masked;
    const std::int64_t T = Length(prompt) + Length(next);
    const Attend attend =
        SparseAttend(config(), mode, T, Length(next) + 1, &masked);
    ExpectNear(Decoded(mode, prompt, next, &decoded),
               Masked(attend, prompt, next), kTolerance);
    if (mode.projections != nullptr) {
      EXPECT_EQ(decoded.rows, masked.rows);
      EXPECT_EQ(decoded.tokens, masked.tokens);
      EXPECT_EQ(decoded.blocks, masked.blocks);
      EXPECT_EQ(decoded.visible, masked.visible);
      EXPECT_LT(decoded.tokens, decoded.visible);
    }
  }

  static std::int64_t Length(const Tokens& tokens) {
    return static_cast<std::int64_t>(tokens.size());
  }

  RandomModel model_;
  const Tokens prompt_ = RandomTokens(101, 3);
  const Tokens next_ = RandomTokens(40, 4);
};

TEST_F(GeneratorTest, DenseDecodingIsOneForwardPass) {
  const SparseMode mode = DenseMode(config());
  ExpectDecodedAsMasked(mode, prompt_, next_);
  ExpectDecodedAsMasked(mode, {7}, next_);
}

TEST_F(GeneratorTest, WindowedDecodingIsOneMaskedForwardPass) {
  SparseMode mode;
  mode.map = LocalMap(config());
  mode.map.window = 9;
  mode.map.sinks = 2;
  ExpectDecodedAsMasked(mode, prompt_, next_);
  ExpectDecodedAsMasked(mode, {7, 8}, next_);
}

TEST_F(GeneratorTest, RetrievalHeadsWithoutProjectionsAreDense) {
  SparseMode mode = Mode();
  mode.projections = nullptr;
  ExpectDecodedAsMasked(mode, prompt_, next_);
}

TEST_F(GeneratorTest, SelectionByBlockIsOneMaskedForwardPass) {
  for (const double p : {0.0, 0.5, 0.9}) {
    SparseMode mode = Mode();
    mode.selection.top_p = p;
    ExpectDecodedAsMasked(mode, prompt_, next_);
  }
}

TEST_F(GeneratorTest, SelectionByTokenIsOneMaskedForwardPass) {
  SparseMode mode = Mode();
  mode.selection.block = 1;
  ExpectDecodedAsMasked(mode, prompt_, next_);
}

// In layer 0 all keys of one token are equal, so that which of them is the last
// that is taken hangs on the last bit of a product.
TEST_F(GeneratorTest, StaticTopKIsOneMaskedForwardPass) {
  for (const std::int64_t block : {1, 8}) {
    SparseMode mode = SomeMode(ctx(), config(), /*first_layer=*/false);
    mode.selection.rule = kernels::Selection::Rule::kTopK;
    mode.selection.top_k = 30;
    mode.selection.block = block;
    ExpectDecodedAsMasked(mode, prompt_, next_);
  }
}

TEST_F(GeneratorTest, SelectionChangesWhatIsDecoded) {
  SparseMode mode = Mode();
  const std::vector<float> sparse = Decoded(mode, prompt_, {});
  mode.projections = nullptr;
  EXPECT_NE(Decoded(mode, prompt_, {}), sparse);
}

// Rows before the crossing as computed dense, rows after it sparse.
TEST_F(GeneratorTest, CrossingDenseBelowIsTwoRangesOfRows) {
  for (const std::int64_t dense_below : {101, 102, 120}) {
    SparseMode mode = Mode();
    mode.dense_below = dense_below;
    const Attend sparse = SparseAttend(config(), mode, dense_below + 1,
                                       Length(next_) + 1, nullptr);
    const Attend both = TwoRanges(config(), sparse, dense_below);
    ExpectNear(Decoded(mode, prompt_, next_), Masked(both, prompt_, next_),
               kTolerance);
  }
}

TEST_F(GeneratorTest, APromptLongerThanDenseBelowIsSparseFromItsStart) {
  SparseMode mode = Mode();
  mode.dense_below = 100;
  ExpectDecodedAsMasked(mode, prompt_, next_);
}

TEST_F(GeneratorTest, UpToDenseBelowNothingIsSparse) {
  SparseMode mode = Mode();
  mode.dense_below = 141;
  KeptCounts counts;
  EXPECT_EQ(Decoded(mode, prompt_, next_, &counts),
            Decoded(DenseMode(config()), prompt_, next_));
  EXPECT_EQ(counts.rows, 3 * 41);
  EXPECT_EQ(counts.tokens, counts.visible);
  EXPECT_EQ(counts.visible, 3 * (101 + 141) * 41 / 2);
  std::int64_t blocks = 0;
  for (std::int64_t n = 101; n <= 141; ++n) {
    blocks += 3 * ((n + 7) / 8);
  }
  EXPECT_EQ(counts.blocks, blocks);
}

TEST_F(GeneratorTest, SharedPrefillHasTheBitsOfSeparateOnes) {
  const SparseMode block = Mode();
  SparseMode token = Mode();
  token.selection.block = 1;
  SparseMode other = Mode();
  auto projections = std::make_shared<IndexProjections>(*other.projections);
  projections->layers[1].wk_SRC =
      Random(ctx(), DType::kF32, projections->layers[1].wk_SRC.shape(), 99);
  other.projections = projections;
  SparseMode none = Mode();
  none.projections = nullptr;
  const std::vector<const SparseMode*> modes = {&block, &token, &other, &none};
  std::vector<KvCache> shared = PrefillAll(prompt_, modes);
  ASSERT_EQ(shared.size(), 4U);
  for (std::size_t m = 0; m < modes.size(); ++m) {
    EXPECT_EQ(shared[m].length(1), 100);
    EXPECT_EQ(shared[m].Projected(1).defined(), m != 3);
    SparseDecoder decoder(*model_, *modes[m], std::move(shared[m]));
    EXPECT_EQ(ToFloats(ctx(), decoder.Step(prompt_.back(), nullptr)),
              Decoded(*modes[m], prompt_, {}))
        << "mode " << m;
  }
}

TEST_F(GeneratorTest, ModesOfOtherHeadsOrBoundsDoNotShareAPrefill) {
  const SparseMode mode = Mode();
  EXPECT_TRUE(SharePrefill(mode, Mode()));
  std::vector<SparseMode> others(4, Mode());
  others[0].map.window = 10;
  others[1].map.sinks = 3;
  others[2].dense_below = 1;
  others[3].map.layers[1].retrieval_H[1] = true;
  for (const SparseMode& other : others) {
    EXPECT_FALSE(SharePrefill(mode, other));
  }
  const std::vector<const SparseMode*> modes = {&mode, &others[0]};
  EXPECT_DEATH(PrefillAll(prompt_, modes), "modes of different prefills");
}

// What a ring has dropped, and what lies behind a cache's end, is never read.
TEST_F(GeneratorTest, DroppedSlotsAreNotRead) {
  SparseMode mode = Mode();
  mode.dense_below = 60;  // a ring of 60 slots; rows see 2 sinks and 10
  std::vector<KvCache> caches = PrefillAll(prompt_, {&mode, &mode});
  const kernels::CacheView view = caches[0].View(0);
  ASSERT_TRUE(view.heads_G[1].ring);
  const auto poison = [&](const Tensor& rows_NC, std::int64_t row) {
    std::fill_n(rows_NC.Slice(row, row + 1).data<float>(), rows_NC.dim(1),
                std::numeric_limits<float>::quiet_NaN());
  };
  const std::int64_t slots = view.heads_G[1].key_NC.dim(0);
  ASSERT_EQ(slots, 60);
  int poisoned = 0;
  for (std::int64_t n = 100 - (slots - 2); n < 100 - 9; ++n) {
    const std::int64_t slot = kernels::RingSlot(n, 2, slots);
    poison(view.heads_G[1].key_NC, slot);
    poison(view.heads_G[1].value_NC, slot);
    ++poisoned;
  }
  EXPECT_EQ(poisoned, 49);
  for (std::int64_t n = 101; n < view.heads_G[0].key_NC.dim(0); ++n) {
    poison(view.heads_G[0].key_NC, n);
    poison(view.heads_G[0].value_NC, n);
  }
  SparseDecoder clean(*model_, mode, std::move(caches[1]));
  SparseDecoder dirty(*model_, mode, std::move(caches[0]));
  EXPECT_EQ(ToFloats(ctx(), dirty.Step(prompt_.back(), nullptr)),
            ToFloats(ctx(), clean.Step(prompt_.back(), nullptr)));
}

TEST_F(GeneratorTest, ThreadsDoNotChangeTheBits) {
  const Tokens prompt = RandomTokens(400, 8);
  const int before = NumThreads();
  SetNumThreads(1);
  const std::vector<float> one = Decoded(Mode(), prompt, next_);
  SetNumThreads(2);
  EXPECT_EQ(Decoded(Mode(), prompt, next_), one);
  SetNumThreads(before);
}

TEST_F(GeneratorTest, GreedyTextIsThatOfRepeatedForwardPasses) {
  const SparseMode mode = DenseMode(config());
  GenerateOptions options;
  options.max_tokens = 12;
  Tokens seen;
  ASSERT_OK_AND_ASSIGN(
      const Generated generated,
      Generate(*model_, mode, prompt_, options,
               [&](std::int32_t token) { seen.push_back(token); }));
  EXPECT_EQ(seen, generated.token_T);
  EXPECT_FALSE(generated.ended);
  EXPECT_EQ(generated.counts.rows, 12 * 8);
  Tokens expected;
  const Attend dense = RangeAttend(MakePatterns(config(), mode.map));
  for (int i = 0; i < 12; ++i) {
    const std::vector<float> all = Masked(dense, prompt_, expected);
    const auto row = all.end() - config().vocab_size;
    expected.push_back(
        static_cast<std::int32_t>(std::max_element(row, all.end()) - row));
  }
  EXPECT_EQ(generated.token_T, expected);
}

TEST_F(GeneratorTest, StopsAtTheFirstEndToken) {
  const SparseMode mode = Mode();
  GenerateOptions options;
  options.max_tokens = 40;
  options.sampling.temperature = 1;
  ASSERT_OK_AND_ASSIGN(const Generated all,
                       Generate(*model_, mode, prompt_, options, {}));
  ASSERT_EQ(all.token_T.size(), 40U);
  options.end_tokens = {31, all.token_T[9]};
  ASSERT_OK_AND_ASSIGN(const Generated some,
                       Generate(*model_, mode, prompt_, options, {}));
  EXPECT_TRUE(some.ended);
  const auto end =
      std::find_first_of(all.token_T.begin(), all.token_T.end(),
                         options.end_tokens.begin(), options.end_tokens.end());
  EXPECT_EQ(some.token_T, Tokens(all.token_T.begin(), end + 1));
}

TEST_F(GeneratorTest, RefusesWhatTheModelCannotRead) {
  const SparseMode mode = DenseMode(config());
  const auto refusal = [&](const Tokens& prompt, std::int64_t max_tokens) {
    GenerateOptions options;
    options.max_tokens = max_tokens;
    return std::string(
        Generate(*model_, mode, prompt, options, {}).status().message());
  };
  EXPECT_THAT(refusal({}, 1), HasSubstr("empty prompt"));
  EXPECT_THAT(refusal({1, 32}, 1), HasSubstr("token 32 of the prompt"));
  EXPECT_THAT(refusal({-1}, 1), HasSubstr("token -1 of the prompt"));
  EXPECT_THAT(refusal(RandomTokens(500, 1), 13), HasSubstr("513 positions"));
  EXPECT_EQ(refusal(RandomTokens(500, 1), 12), "");
}

}  // namespace
}  // namespace rtpurbo::testing
