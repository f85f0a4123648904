#include "trainer/evaluation/attended_keys.h"

#include <limits>
#include <set>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/attention_view.h"
#include "kernels/core/rng.h"

namespace rtpurbo {
namespace {

using kernels::AttentionPattern;
using kernels::AttentionView;

std::set<std::int64_t> KeysIn(const std::vector<Interval>& intervals) {
  std::set<std::int64_t> keys;
  for (const Interval& interval : intervals) {
    EXPECT_FALSE(interval.empty());
    for (std::int64_t j = interval.begin; j < interval.end; ++j) {
      EXPECT_TRUE(keys.insert(j).second) << "key " << j << " comes twice";
    }
  }
  return keys;
}

// The definition: what AttentionView calls visible.
std::set<std::int64_t> Visible(const AttentionView& view, std::int64_t i) {
  std::set<std::int64_t> keys;
  view.ForEachVisible(0, i, [&](std::int64_t j) { keys.insert(j); });
  return keys;
}

TEST(AttendedKeysTest, RangesAreWhatAttentionSees) {
  for (const std::int64_t window :
       {std::int64_t{0}, std::int64_t{1}, std::int64_t{7}, std::int64_t{40},
        AttentionPattern::kDense}) {
    for (const std::int64_t sinks : {0, 1, 4, 100}) {
      const std::int32_t kv_head = 0;
      AttentionView view;
      view.T = view.N = 30;
      view.H = view.G = 1;
      view.window_H = &window;
      view.kv_head_H = &kv_head;
      view.sinks = sinks;
      for (std::int64_t i = 0; i < view.T; ++i) {
        ASSERT_EQ(KeysIn(RangeKeys(window, sinks, i)), Visible(view, i))
            << window << " " << sinks << " " << i;
      }
    }
  }
}

TEST(AttendedKeysTest, MasksAreWhatAttentionSees) {
  Rng rng(3, 1);
  for (const std::int64_t block : {1, 4, 64}) {
    const std::int64_t window = 0;
    const std::int32_t zero = 0;
    AttentionView view;
    view.T = view.N = 70;
    view.H = view.G = 1;
    view.window_H = &window;
    view.kv_head_H = &zero;
    view.slot_H = &zero;
    view.block = block;
    view.selected_rows = view.T;
    view.mask_words = kernels::MaskWords(view.N, block);
    std::vector<std::int32_t> mask;
    for (std::int64_t i = 0; i < view.T * view.mask_words; ++i) {
      mask.push_back(static_cast<std::int32_t>(rng.Below(1 << 30) * 3));
    }
    view.selected_SMB = mask.data();
    for (std::int64_t i = 0; i < view.T; ++i) {
      ASSERT_EQ(KeysIn(MaskKeys(mask.data() + i * view.mask_words, block, i)),
                Visible(view, i))
          << block << " " << i;
    }
  }
}

TEST(AttendedKeysTest, AUnionCountsEachKeyOnce) {
  EXPECT_EQ(NumKeysInUnion({}), 0);
  EXPECT_EQ(NumKeysInUnion({{3, 5}, {0, 2}}), 4);
  EXPECT_EQ(NumKeysInUnion({{0, 9}, {2, 4}, {8, 12}, {2, 4}}), 12);
  EXPECT_EQ(NumKeysInUnion({{5, 6}, {0, 5}}), 6);
}

}  // namespace
}  // namespace rtpurbo
