// Caches under test: which heads are rings, what each slot holds.

#ifndef RTPURBO_TESTS_KERNELS_SPARSE_DECODE_CASES_H_
#define RTPURBO_TESTS_KERNELS_SPARSE_DECODE_CASES_H_

#include <algorithm>
#include <cstdint>
#include <limits>
#include <ostream>
#include <vector>

#include "kernels/sparse_decode.h"
#include "tests/device_test.h"
#include "tests/kernels/attention_cases.h"

namespace rtpurbo::testing {

struct DecodeCase {
  AttentionCase attention;
  std::vector<std::int64_t> ring_slots_G = {};  // 0 = whole
  std::int64_t ring_sinks = 0;

  bool ring(std::int64_t g) const { return ring_slots(g) > 0; }
  std::int64_t ring_slots(std::int64_t g) const {
    return ring_slots_G.empty() ? 0 : ring_slots_G[static_cast<std::size_t>(g)];
  }
};

inline std::ostream& operator<<(std::ostream& os, const DecodeCase& c) {
  return os << c.attention.name;
}

inline std::vector<DecodeCase> WholeCacheCases() {
  return {
      {{.name = "Dense", .T = 1, .query_begin = 70}},
      {{.name = "FirstToken", .T = 1}},
      {{.name = "NoToken", .T = 0, .query_begin = 5}},
      {{.name = "EightRows",
        .T = 8,
        .C = 64,
        .query_begin = 2500,
        .scale = 0.05F}},
      {{.name = "MoreRowsThanWindow",
        .T = 30,
        .query_begin = 10,
        .sinks = 2,
        .window_H = {3, 3, kDense}}},
      {{.name = "OddRatio",
        .T = 3,
        .H = 5,
        .G = 3,
        .C = 16,
        .query_begin = 130,
        .window_H = {kDense, kDense, 7, 5, 60},
        .kv_head_H = {0, 0, 2, 1, 2}}},
      {{.name = "UnusedHead",
        .T = 2,
        .G = 2,
        .query_begin = 20,
        .kv_head_H = {1, 1, 1}}},
      {{.name = "Selected",
        .T = 8,
        .C = 32,
        .query_begin = 2992,
        .window_H = {kDense, 5, kDense},
        .selected_rows = 8,
        .slot_H = {1, -1, 0},
        .block = 64,
        .scale = 0.1F}},
      {{.name = "SelectedLastRows",
        .T = 7,
        .query_begin = 60,
        .selected_rows = 3,
        .slot_H = {0, 1, -1},
        .block = 5}},
      {{.name = "SelectedTokens",
        .T = 2,
        .query_begin = 150,
        .selected_rows = 2,
        .slot_H = {0, 1, 2},
        .block = 1}},
  };
}

inline std::vector<DecodeCase> RingCases() {
  const std::vector<std::int64_t> local = {9, 9, 9, 9, 9, 9};
  const std::vector<std::int32_t> map = {0, 1, 0, 1, 1, 1};
  return {
      {{.name = "TightRings",
        .T = 1,
        .H = 6,
        .G = 2,
        .query_begin = 100,
        .sinks = 4,
        .window_H = local,
        .kv_head_H = map},
       {14, 14},
       4},
      {{.name = "TightRingsOfEightRows",
        .T = 8,
        .H = 6,
        .G = 2,
        .C = 40,
        .query_begin = 117,
        .sinks = 4,
        .window_H = local,
        .kv_head_H = map,
        .scale = 0.1F},
       {21, 22},
       4},
      {{.name = "RingNotYetFull",
        .T = 2,
        .H = 6,
        .G = 2,
        .query_begin = 17,
        .sinks = 4,
        .window_H = local,
        .kv_head_H = map},
       {19, 64},
       4},
      {{.name = "RingWithoutSinks",
        .T = 3,
        .query_begin = 333,
        .window_H = {20, 5, 0}},
       {24},
       0},
      {{.name = "RingOfMoreSinksThanAreSeen",
        .T = 2,
        .query_begin = 50,
        .sinks = 1,
        .window_H = {20, 5, 0}},
       {40},
       3},
      {{.name = "LongRing",
        .T = 2,
        .C = 8,
        .query_begin = 7000,
        .sinks = 4,
        .window_H = {2100, 2000, 1500}},
       {2106},
       4},
  };
}

// Some heads with a ring, some without.
inline std::vector<DecodeCase> MixedCacheCases() {
  const std::vector<std::int32_t> map = {0, 1, 0, 1, 1, 1};
  return {
      {{.name = "RingAndWhole",
        .T = 4,
        .H = 6,
        .G = 2,
        .C = 80,
        .query_begin = 1100,
        .sinks = 2,
        .window_H = {1090, 9, 1050, kDense, 9, kDense},
        .kv_head_H = map,
        .scale = 0.05F},
       {1096, 0},
       2},
      {{.name = "SelectedBesideARing",
        .T = 5,
        .H = 6,
        .G = 2,
        .query_begin = 200,
        .sinks = 4,
        .window_H = {9, kDense, 9, 30, 9, kDense},
        .kv_head_H = map,
        .selected_rows = 5,
        .slot_H = {-1, 0, -1, -1, -1, 1},
        .block = 16},
       {18, 0},
       4},
  };
}

inline std::vector<DecodeCase> DecodeCases() {
  std::vector<DecodeCase> cases = WholeCacheCases();
  for (const auto& more : {RingCases(), MixedCacheCases()}) {
    cases.insert(cases.end(), more.begin(), more.end());
  }
  return cases;
}

// Row (n, g) of [N, G, C].
template <typename T>
std::vector<T> Row(const AttentionCase& c, const std::vector<T>& x_NGC,
                   std::int64_t n, std::int64_t g) {
  const auto begin = x_NGC.begin() + (n * c.G + g) * c.C;
  return std::vector<T>(begin, begin + c.C);
}

// [N * G], the rows h T + t that see a key.
using Seeing = std::vector<std::vector<std::int64_t>>;

inline Seeing RowsThatSee(const AttentionCase& a) {
  Seeing rows;
  for (std::int64_t key = 0; key < a.N() * a.G; ++key) {
    rows.push_back(a.RowsThatSee(key % a.G, key / a.G));
  }
  return rows;
}

// The slots of head g after all N positions were written one after the other;
// NaN where nothing is, or nothing that a row sees.
inline std::vector<float> CacheOf(const DecodeCase& c, const Seeing& seeing,
                                  const std::vector<float>& x_NGC,
                                  std::int64_t g) {
  const AttentionCase& a = c.attention;
  const std::int64_t slots = c.ring(g) ? c.ring_slots(g) : a.N() + 3;
  std::vector<float> cache(static_cast<std::size_t>(slots * a.C),
                           std::numeric_limits<float>::quiet_NaN());
  for (std::int64_t n = 0; n < a.N(); ++n) {
    const std::int64_t slot =
        c.ring(g) ? kernels::RingSlot(n, c.ring_sinks, slots) : n;
    std::vector<float> row = Row(a, x_NGC, n, g);
    if (seeing[static_cast<std::size_t>(n * a.G + g)].empty()) {
      std::fill(row.begin(), row.end(),
                std::numeric_limits<float>::quiet_NaN());
    }
    std::copy(row.begin(), row.end(), cache.begin() + slot * a.C);
  }
  return cache;
}

// Every head of the cache, slots that nobody sees holding NaN.
inline kernels::CacheView CacheViewOf(const ExecContext& ctx,
                                      const DecodeCase& c, const Seeing& seeing,
                                      const FloatAttention& in, DType dtype) {
  const AttentionCase& a = c.attention;
  kernels::CacheView cache;
  cache.length = a.N();
  cache.sinks = c.ring_sinks;
  for (std::int64_t g = 0; g < a.G; ++g) {
    const std::vector<float> keys = CacheOf(c, seeing, in.k_NGC, g);
    const Shape shape = {static_cast<std::int64_t>(keys.size()) / a.C, a.C};
    cache.heads_G.push_back(
        {FromFloats(ctx, dtype, keys, shape),
         FromFloats(ctx, dtype, CacheOf(c, seeing, in.v_NGC, g), shape),
         c.ring(g)});
  }
  return cache;
}

}  // namespace rtpurbo::testing

#endif  // RTPURBO_TESTS_KERNELS_SPARSE_DECODE_CASES_H_
