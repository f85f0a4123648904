// What a key can reach: one key or value is changed, or made NaN, and every
// output is compared bit for bit. On the definition and on the operator.

#include <algorithm>
#include <cstring>
#include <limits>
#include <string>
#include <tuple>

#include "gtest/gtest.h"
#include "tests/kernels/attention_cases.h"

namespace rtpurbo::testing {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

using Run = void (*)(const AttentionCase& c, FloatAttention* a);
struct Implementation {
  std::string name;
  Run run;
};

class RangeAttentionMaskTest : public ::testing::TestWithParam<
                                   std::tuple<Implementation, AttentionCase>> {
 protected:
  const AttentionCase& c() const { return std::get<1>(GetParam()); }
  FloatAttention Outputs(FloatAttention a) const {
    std::get<0>(GetParam()).run(c(), &a);
    return a;
  }
  FloatAttention Inputs() const { return FloatAttention(c()); }

  // Whether two vectors differ in `count` elements from `begin`.
  static bool Differ(const std::vector<float>& a, const std::vector<float>& b,
                     std::int64_t begin, std::int64_t count) {
    return std::memcmp(a.data() + begin, b.data() + begin,
                       static_cast<std::size_t>(count) * sizeof(float)) != 0;
  }
  std::int64_t query(std::int64_t h, std::int64_t t) const {
    return (t * c().H + h) * c().C;
  }
  std::int64_t key(std::int64_t g, std::int64_t j) const {
    return (j * c().G + g) * c().C;
  }
  // Adds to the row of C elements that starts at `begin`.
  void Add(float value, std::int64_t begin, std::vector<float>* to) const {
    for (std::int64_t i = 0; i < c().C; ++i) {
      (*to)[static_cast<std::size_t>(begin + i)] += value;
    }
  }
  bool QueryDiffers(const std::vector<float>& a, const std::vector<float>& b,
                    std::int64_t row) const {
    return Differ(a, b, query(row / c().T, row % c().T), c().C);
  }
  // Keys around the edges of tiles of 64, and some between.
  std::vector<std::int64_t> SomeKeys() const {
    std::vector<std::int64_t> keys;
    for (std::int64_t j = 0; j < c().N(); ++j) {
      if (c().N() < 30 || j % 64 < 2 || j % 64 == 63 || j % 17 == 0) {
        keys.push_back(j);
      }
    }
    return keys;
  }
  // [H * T], whether row h * T + t sees key j of g.
  std::vector<bool> Seen(std::int64_t g, std::int64_t j) const {
    std::vector<bool> seen(static_cast<std::size_t>(c().H * c().T));
    for (const std::int64_t row : c().RowsThatSee(g, j)) {
      seen[static_cast<std::size_t>(row)] = true;
    }
    return seen;
  }
};

Implementation Definition() {
  return {"Definition", RunDefinition};
}
Implementation Operator() {
  return {"Operator", RunOperator};
}

std::string Name(
    const ::testing::TestParamInfo<std::tuple<Implementation, AttentionCase>>&
        info) {
  return std::get<0>(info.param).name + std::get<1>(info.param).name;
}

// What is tested of every key of a few, of which many share no row.
class RangeAttentionSmallMaskTest : public RangeAttentionMaskTest {};
// What the definition keeps and a tiled kernel does not.
class RangeAttentionDefinitionMaskTest : public RangeAttentionMaskTest {};

INSTANTIATE_TEST_SUITE_P(
    Small, RangeAttentionMaskTest,
    ::testing::Combine(::testing::Values(Definition(), Operator()),
                       ::testing::ValuesIn(SmallAttentionCases())),
    Name);
INSTANTIATE_TEST_SUITE_P(
    Tiled, RangeAttentionMaskTest,
    ::testing::Combine(::testing::Values(Operator()),
                       ::testing::ValuesIn(TiledAttentionCases())),
    Name);
INSTANTIATE_TEST_SUITE_P(
    Small, RangeAttentionSmallMaskTest,
    ::testing::Combine(::testing::Values(Definition(), Operator()),
                       ::testing::ValuesIn(SmallAttentionCases())),
    Name);
INSTANTIATE_TEST_SUITE_P(
    Small, RangeAttentionDefinitionMaskTest,
    ::testing::Combine(::testing::Values(Definition()),
                       ::testing::ValuesIn(SmallAttentionCases())),
    Name);

TEST_P(RangeAttentionMaskTest, AKeyChangesExactlyTheRowsThatSeeIt) {
  const FloatAttention before = Outputs(Inputs());
  for (const std::int64_t j : SomeKeys()) {
    const std::int64_t g = j % c().G;
    FloatAttention inputs = Inputs();
    Add(1, key(g, j), &inputs.k_NGC);
    const FloatAttention after = Outputs(inputs);
    const std::vector<bool> seen = Seen(g, j);
    for (std::int64_t row = 0; row < c().H * c().T; ++row) {
      const bool sees = seen[static_cast<std::size_t>(row)];
      ASSERT_EQ(Differ(before.lse_HT, after.lse_HT, row, 1), sees)
          << "key " << j << " row " << row;
      ASSERT_TRUE(sees || !QueryDiffers(before.o_THC, after.o_THC, row));
      ASSERT_TRUE(sees || !QueryDiffers(before.dq_THC, after.dq_THC, row));
    }
  }
}

TEST_P(RangeAttentionMaskTest, AValueChangesExactlyTheRowsThatSeeIt) {
  const FloatAttention before = Outputs(Inputs());
  for (const std::int64_t j : SomeKeys()) {
    const std::int64_t g = j % c().G;
    FloatAttention inputs = Inputs();
    Add(2, key(g, j), &inputs.v_NGC);
    const FloatAttention after = Outputs(inputs);
    const std::vector<bool> seen = Seen(g, j);
    EXPECT_FALSE(Differ(before.lse_HT, after.lse_HT, 0, c().H * c().T));
    for (std::int64_t row = 0; row < c().H * c().T; ++row) {
      const bool sees = seen[static_cast<std::size_t>(row)];
      ASSERT_EQ(QueryDiffers(before.o_THC, after.o_THC, row), sees)
          << "value " << j << " row " << row;
      ASSERT_TRUE(sees || !QueryDiffers(before.dq_THC, after.dq_THC, row));
    }
  }
}

TEST_P(RangeAttentionSmallMaskTest, AKeyReachesOnlyGradientsOfKeysSeenWithIt) {
  const FloatAttention before = Outputs(Inputs());
  for (std::int64_t j = 0; j < c().N(); ++j) {
    const std::int64_t g = j % c().G;
    FloatAttention inputs = Inputs();
    Add(1, key(g, j), &inputs.k_NGC);
    const FloatAttention after = Outputs(inputs);
    const std::vector<std::int64_t> rows = c().RowsThatSee(g, j);
    for (std::int64_t n = 0; n < c().N(); ++n) {
      const bool shared = std::any_of(rows.begin(), rows.end(), [&](auto row) {
        return c().Sees(row / c().T, row % c().T, n);
      });
      ASSERT_TRUE(shared ||
                  !Differ(before.dk_NGC, after.dk_NGC, key(g, n), c().C));
      ASSERT_TRUE(shared ||
                  !Differ(before.dv_NGC, after.dv_NGC, key(g, n), c().C));
    }
  }
}

TEST_P(RangeAttentionDefinitionMaskTest, NaNInEveryKeyARowDoesNotSeeIsNothing) {
  const FloatAttention before = Outputs(Inputs());
  for (std::int64_t row = 0; row < c().H * c().T; ++row) {
    FloatAttention inputs = Inputs();
    for (std::int64_t j = 0; j < c().N(); ++j) {
      const bool sees = c().Sees(row / c().T, row % c().T, j);
      for (std::int64_t g = 0; g < c().G && !sees; ++g) {
        Add(kNaN, key(g, j), &inputs.k_NGC);
        Add(kNaN, key(g, j), &inputs.v_NGC);
      }
    }
    const FloatAttention after = Outputs(inputs);
    ASSERT_FALSE(Differ(before.lse_HT, after.lse_HT, row, 1));
    ASSERT_FALSE(QueryDiffers(before.o_THC, after.o_THC, row));
    ASSERT_FALSE(QueryDiffers(before.dq_THC, after.dq_THC, row));
  }
}

TEST_P(RangeAttentionMaskTest, NaNInKeysThatNoRowSeesReachesNothing) {
  const FloatAttention before = Outputs(Inputs());
  FloatAttention inputs = Inputs();
  std::vector<std::int64_t> unseen;
  for (std::int64_t g = 0; g < c().G; ++g) {
    for (std::int64_t j = 0; j < c().N(); ++j) {
      if (c().RowsThatSee(g, j).empty()) {
        unseen.push_back(key(g, j));
        Add(kNaN, key(g, j), &inputs.k_NGC);
        Add(kNaN, key(g, j), &inputs.v_NGC);
      }
    }
  }
  const FloatAttention after = Outputs(inputs);
  EXPECT_EQ(before.o_THC, after.o_THC);  // NaN equals nothing
  EXPECT_EQ(before.lse_HT, after.lse_HT);
  EXPECT_EQ(before.dq_THC, after.dq_THC);
  EXPECT_EQ(before.dk_NGC, after.dk_NGC);
  EXPECT_EQ(before.dv_NGC, after.dv_NGC);
  for (const std::int64_t at : unseen) {
    for (std::int64_t i = 0; i < c().C; ++i) {
      ASSERT_EQ(after.dk_NGC[static_cast<std::size_t>(at + i)], 0);
      ASSERT_EQ(after.dv_NGC[static_cast<std::size_t>(at + i)], 0);
    }
  }
}

}  // namespace
}  // namespace rtpurbo::testing
