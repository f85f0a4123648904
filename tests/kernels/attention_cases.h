// Patterns of range attention under test, with inputs, outputs, and the rule of
// the header written down a second time, to compare the operators with.

#ifndef RTPURBO_TESTS_KERNELS_ATTENTION_CASES_H_
#define RTPURBO_TESTS_KERNELS_ATTENTION_CASES_H_

#include <cstdint>
#include <ostream>
#include <string>
#include <vector>

#include "kernels/attention_view.h"
#include "kernels/core/tensor.h"

namespace rtpurbo::testing {

constexpr std::int64_t kDense = kernels::AttentionPattern::kDense;

struct AttentionCase {
  std::string name;
  std::int64_t T = 20;
  std::int64_t H = 3;
  std::int64_t G = 1;
  std::int64_t C = 5;
  std::int64_t query_begin = 0;
  std::int64_t keys_after = 0;  // key rows behind the last query row
  std::int64_t sinks = 0;
  std::vector<std::int64_t> window_H = {kDense, kDense, kDense};
  std::vector<std::int32_t> kv_head_H = {0, 0, 0};
  std::vector<std::int64_t> documents = {};  // first positions; empty: one
  std::int64_t selected_rows = 0;
  std::vector<std::int32_t> slot_H = {};
  std::int64_t block = 4;
  float scale = 0.5;

  std::int64_t N() const { return query_begin + T + keys_after; }
  std::int64_t words() const { return kernels::MaskWords(N(), block); }

  std::vector<std::int32_t> DocumentN() const;
  // [S, M, words]: about a third of the blocks; every fifth row has none.
  std::vector<std::int32_t> SelectedSMB() const;
  kernels::AttentionPattern Pattern(const ExecContext& ctx) const;

  // The rule of kernels/range_attention.h, from the plain fields above.
  bool Sees(std::int64_t h, std::int64_t t, std::int64_t j) const;
  // The query rows of key/value head g's heads that see key j, as h * T + t.
  std::vector<std::int64_t> RowsThatSee(std::int64_t g, std::int64_t j) const;
};

inline std::ostream& operator<<(std::ostream& os, const AttentionCase& c) {
  return os << c.name;
}

// One case of every kind of pattern, small enough for complex steps.
std::vector<AttentionCase> SmallAttentionCases();
// The same kinds with rows on both sides of the edges of 64-key tiles.
std::vector<AttentionCase> TiledAttentionCases();

// Inputs of a case, and outputs that start as NaN.
struct FloatAttention {
  explicit FloatAttention(const AttentionCase& c);

  std::vector<float> q_THC;
  std::vector<float> k_NGC;
  std::vector<float> v_NGC;
  std::vector<float> do_THC;
  std::vector<float> o_THC;
  std::vector<float> lse_HT;
  std::vector<float> dq_THC;
  std::vector<float> dk_NGC;
  std::vector<float> dv_NGC;
};

// Forward and backward by the definition, and by the operator.
void RunDefinition(const AttentionCase& c, FloatAttention* a);
void RunOperator(const AttentionCase& c, FloatAttention* a);

}  // namespace rtpurbo::testing

#endif  // RTPURBO_TESTS_KERNELS_ATTENTION_CASES_H_
