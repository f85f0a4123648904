// Cases of alignment KL, and the definition and the operator run on them.

#ifndef RTPURBO_TESTS_KERNELS_ALIGNMENT_KL_CASES_H_
#define RTPURBO_TESTS_KERNELS_ALIGNMENT_KL_CASES_H_

#include <cstdint>
#include <limits>
#include <ostream>
#include <string>
#include <vector>

#include "kernels/alignment_kl.h"
#include "kernels/cpu/alignment_kl.h"
#include "tests/device_test.h"
#include "tests/kernels/last_queries.h"

namespace rtpurbo::testing {

struct AlignmentCase {
  std::string name;
  std::int64_t T = 12;
  std::int64_t H = 3;
  std::int64_t G = 2;
  std::int64_t C = 5;
  std::int64_t R = 2;
  std::vector<std::int32_t> head_S = {2, 0};
  std::vector<std::int32_t> row_M = {0, 3, 4, 11};
  std::vector<std::int32_t> document_N = {};
  float grad_scale = 0.7F;
  std::int64_t query_begin = 0;  // the operator gets no queries before it

  std::vector<std::int64_t> window_H() const {
    return std::vector<std::int64_t>(static_cast<std::size_t>(H),
                                     kernels::AttentionPattern::kDense);
  }
  std::vector<std::int32_t> kv_head_H() const {
    std::vector<std::int32_t> map;
    for (std::int64_t h = 0; h < H; ++h) {
      map.push_back(static_cast<std::int32_t>((h + 1) % G));
    }
    return map;
  }
  std::int64_t S() const { return static_cast<std::int64_t>(head_S.size()); }
  std::int64_t M() const { return static_cast<std::int64_t>(row_M.size()); }
  std::int64_t document(std::int64_t i) const {
    return document_N.empty() ? 0 : document_N[static_cast<std::size_t>(i)];
  }
  bool Sees(std::int64_t m, std::int64_t n) const {
    const std::int64_t i = row_M[static_cast<std::size_t>(m)];
    return document(i) <= n && n <= i;
  }
};

inline std::ostream& operator<<(std::ostream& os, const AlignmentCase& c) {
  return os << c.name;
}

inline std::vector<std::int32_t> Every(std::int32_t step, std::int32_t begin,
                                       std::int32_t end) {
  std::vector<std::int32_t> rows;
  for (std::int32_t i = begin; i < end; i += step) {
    rows.push_back(i);
  }
  return rows;
}

inline std::vector<AlignmentCase> SmallAlignmentCases() {
  return {
      {.name = "Some"},
      {.name = "OneToken", .T = 1, .row_M = {0}},
      {.name = "SharedKvHead", .H = 4, .G = 1, .head_S = {1, 3, 2}},
      {.name = "Documents", .document_N = {0, 1, 1, 1, 1, 5, 5, 5, 8, 8, 8, 8}},
      {.name = "WidthOne", .R = 1, .head_S = {1}},
  };
}

inline std::vector<AlignmentCase> TiledAlignmentCases() {
  std::vector<std::int32_t> documents(150);
  for (std::size_t i = 0; i < documents.size(); ++i) {
    documents[i] = i < 70 ? 0 : i < 128 ? 70 : 128;
  }
  return {
      {.name = "EveryRow", .T = 130, .R = 8, .row_M = Every(1, 0, 130)},
      {.name = "SomeRows",
       .T = 200,
       .C = 32,
       .R = 8,
       .row_M = Every(7, 2, 200)},
      {.name = "LastRows", .T = 193, .R = 16, .row_M = Every(1, 169, 193)},
      {.name = "TileEdges",
       .T = 129,
       .row_M = {0, 1, 62, 63, 64, 65, 127, 128}},
      {.name = "PackedDocuments",
       .T = 150,
       .R = 5,
       .head_S = {0},
       .row_M = Every(3, 0, 150),
       .document_N = documents},
      {.name = "LastQueriesAlone",
       .T = 150,
       .C = 32,
       .R = 8,
       .row_M = Every(5, 97, 150),
       .query_begin = 97},
      {.name = "NoRow", .T = 70, .row_M = {}},
      {.name = "NoHead", .T = 70, .head_S = {}},
  };
}

// The definition over V = float, double or complex numbers.
template <typename V>
struct AlignmentDefinition {
  using List = std::vector<V>;

  explicit AlignmentDefinition(const AlignmentCase& a_case)
      : c(a_case), window_H(c.window_H()), kv_head_H(c.kv_head_H()) {
    q = Fill(c.T * c.H * c.C, 1);
    k = Fill(c.T * c.G * c.C, 2);
    x = Fill(c.M() * c.S() * c.R, 3);
    for (V& value : x) {
      value *= 0.5F;  // rows flat enough that every key changes some bit
    }
    y = Fill(c.T * c.S() * c.R, 4);
    view = {.T = c.T, .N = c.T, .H = c.H, .G = c.G, .C = c.C, .scale = 0.5};
    view.window_H = window_H.data();
    view.kv_head_H = kv_head_H.data();
    view.document_N = c.document_N.empty() ? nullptr : c.document_N.data();
    List o(q.size());
    lse.resize(static_cast<std::size_t>(c.H * c.T));
    kernels::cpu::RangeAttentionForward<V>({view, q.data(), k.data(), k.data()},
                                           o.data(), lse.data());
    kl.resize(static_cast<std::size_t>(c.S() * c.M()));
    dx.resize(x.size());
    dy.resize(y.size());
  }
  static List Fill(std::int64_t n, unsigned seed) {
    const std::vector<float> values = Normal(n, seed);
    return List(values.begin(), values.end());
  }
  void Run() {
    kernels::cpu::AlignmentKl<V>({.view = view,
                                  .q_THC = q.data(),
                                  .k_NGC = k.data(),
                                  .lse_HT = lse.data(),
                                  .x_MSR = x.data(),
                                  .y_NSR = y.data(),
                                  .row_M = c.row_M.data(),
                                  .head_S = c.head_S.data(),
                                  .M = c.M(),
                                  .S = c.S(),
                                  .R = c.R},
                                 c.grad_scale, kl.data(), dx.data(), dy.data());
  }

  const AlignmentCase& c;
  std::vector<std::int64_t> window_H;
  std::vector<std::int32_t> kv_head_H;
  kernels::AttentionView view;
  List q;
  List k;
  List x;
  List y;
  List lse;
  List kl;
  List dx;
  List dy;
};

// The operator on f32 or bf16, outputs poisoned before.
struct AlignmentOperator {
  explicit AlignmentOperator(const AlignmentCase& a_case)
      : c(a_case),
        q(Normal(c.T * c.H * c.C, 1)),
        k(Normal(c.T * c.G * c.C, 2)),
        x(Normal(c.M() * c.S() * c.R, 3)),
        y(Normal(c.T * c.S() * c.R, 4)) {
    const AlignmentDefinition<double> exact(c);
    lse.assign(exact.lse.begin(), exact.lse.end());
    x.assign(exact.x.begin(), exact.x.end());
  }
  void Run(DType dtype = DType::kF32, bool wants_dx = true,
           bool wants_dy = true) {
    const auto device = *Device::Open(DeviceType::kCpu);
    RunOn(device->ctx(), dtype, wants_dx, wants_dy);
  }
  void RunOn(const ExecContext& ctx, DType dtype, bool wants_dx = true,
             bool wants_dy = true) {
    kernels::AttentionPattern pattern;
    pattern.scale = 0.5;
    pattern.kv_head_H = c.kv_head_H();
    if (!c.document_N.empty()) {
      pattern.document_N = FromHost(ctx, c.document_N, {c.T});
    }
    const kernels::AlignmentInputs in = {
        .q_THC = FromFloats(ctx, dtype, q, {c.T, c.H, c.C})
                     .Slice(c.query_begin, c.T),
        .k_NGC = FromFloats(ctx, dtype, k, {c.T, c.G, c.C}),
        .lse_HT = FromHost(ctx, LastLse(lse, c.H, c.T, c.query_begin),
                           {c.H, c.T - c.query_begin}),
        .x_MSR = FromHost(ctx, x, {c.M(), c.S(), c.R}),
        .y_NSR = FromHost(ctx, y, {c.T, c.S(), c.R}),
        .query_begin = c.query_begin,
        .row_M = FromHost(ctx, c.row_M, {c.M()}),
        .head_S = c.head_S};
    const auto poisoned = [&](const Shape& shape) {
      return FromHost(
          ctx,
          std::vector<float>(static_cast<std::size_t>(NumElements(shape)),
                             std::numeric_limits<float>::quiet_NaN()),
          shape);
    };
    Tensor kl_SM = poisoned({c.S(), c.M()});
    Tensor dx_MSR = wants_dx ? poisoned(in.x_MSR.shape()) : Tensor();
    Tensor dy_NSR = wants_dy ? poisoned(in.y_NSR.shape()) : Tensor();
    kernels::AlignmentKl(ctx, pattern, in, c.grad_scale, &kl_SM, &dx_MSR,
                         &dy_NSR);
    kl = ToHost<float>(ctx, kl_SM);
    dx = wants_dx ? ToHost<float>(ctx, dx_MSR) : std::vector<float>();
    dy = wants_dy ? ToHost<float>(ctx, dy_NSR) : std::vector<float>();
  }

  const AlignmentCase& c;
  std::vector<float> q;
  std::vector<float> k;
  std::vector<float> x;
  std::vector<float> y;
  std::vector<float> lse;
  std::vector<float> kl;
  std::vector<float> dx;
  std::vector<float> dy;
};

}  // namespace rtpurbo::testing

#endif  // RTPURBO_TESTS_KERNELS_ALIGNMENT_KL_CASES_H_
