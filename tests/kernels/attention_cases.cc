#include "tests/kernels/attention_cases.h"

#include <algorithm>
#include <limits>
#include <memory>
#include <random>

#include "kernels/cpu/range_attention.h"
#include "tests/device_test.h"

namespace rtpurbo::testing {

using kernels::AttentionPattern;

std::vector<std::int32_t> AttentionCase::DocumentN() const {
  std::vector<std::int32_t> begin_N;
  std::int64_t begin = 0;
  for (std::int64_t i = 0; i < N() && !documents.empty(); ++i) {
    for (const std::int64_t d : documents) {
      begin = d == i ? d : begin;
    }
    begin_N.push_back(static_cast<std::int32_t>(begin));
  }
  return begin_N;
}

namespace {

// One word of a selection: about a third of its bits; none in every fifth row.
std::uint32_t SelectedWord(std::int64_t row, std::int64_t word) {
  std::minstd_rand gen(static_cast<unsigned>(row * 1000 + word + 1));
  gen.discard(3);
  std::uint32_t bits = 0;
  for (unsigned b = 0; b < 32 && row % 5 != 3; ++b) {
    bits |= (gen() % 3 == 0 ? 1U : 0U) << b;
  }
  return bits;
}

}  // namespace

std::vector<std::int32_t> AttentionCase::SelectedSMB() const {
  std::int32_t slots = 0;
  for (const std::int32_t slot : slot_H) {
    slots = std::max(slots, slot + 1);
  }
  std::vector<std::int32_t> bits;
  for (std::int64_t row = 0; row < slots * selected_rows; ++row) {
    for (std::int64_t word = 0; word < words(); ++word) {
      bits.push_back(static_cast<std::int32_t>(SelectedWord(row, word)));
    }
  }
  return bits;
}

AttentionPattern AttentionCase::Pattern(const ExecContext& ctx) const {
  AttentionPattern pattern;
  pattern.scale = scale;
  pattern.sinks = sinks;
  pattern.window_H = window_H;
  pattern.kv_head_H = kv_head_H;
  pattern.slot_H = slot_H;
  pattern.block = block;
  if (!documents.empty()) {
    pattern.document_N = FromHost(ctx, DocumentN(), {N()});
  }
  if (selected_rows > 0) {
    const std::vector<std::int32_t> bits = SelectedSMB();
    const auto slots =
        static_cast<std::int64_t>(bits.size()) / selected_rows / words();
    pattern.selected_SMB = FromHost(ctx, bits, {slots, selected_rows, words()});
  }
  return pattern;
}

bool AttentionCase::Sees(std::int64_t h, std::int64_t t, std::int64_t j) const {
  const std::int64_t i = query_begin + t;
  std::int64_t d = 0;
  for (const std::int64_t begin : documents) {
    d = begin <= i ? std::max(d, begin) : d;
  }
  if (j < d || j > i) {
    return false;
  }
  const auto head = static_cast<std::size_t>(h);
  const std::int64_t row = t - T + selected_rows;
  if (row < 0 || slot_H.empty() || slot_H[head] < 0) {
    return i - j <= window_H[head] || j < d + sinks;
  }
  const std::uint32_t bits =
      SelectedWord(slot_H[head] * selected_rows + row, j / block / 32);
  return ((bits >> static_cast<unsigned>(j / block % 32)) & 1U) == 1;
}

std::vector<std::int64_t> AttentionCase::RowsThatSee(std::int64_t g,
                                                     std::int64_t j) const {
  std::vector<std::int64_t> rows;
  for (std::int64_t h = 0; h < H; ++h) {
    for (std::int64_t t = 0; t < T; ++t) {
      if (kv_head_H[static_cast<std::size_t>(h)] == g && Sees(h, t, j)) {
        rows.push_back(h * T + t);
      }
    }
  }
  return rows;
}

FloatAttention::FloatAttention(const AttentionCase& c)
    : q_THC(Normal(c.T * c.H * c.C, 1)),
      k_NGC(Normal(c.N() * c.G * c.C, 2)),
      v_NGC(Normal(c.N() * c.G * c.C, 3)),
      do_THC(Normal(c.T * c.H * c.C, 4)),
      o_THC(q_THC.size(), std::numeric_limits<float>::quiet_NaN()),
      lse_HT(static_cast<std::size_t>(c.T * c.H),
             std::numeric_limits<float>::quiet_NaN()),
      dq_THC(o_THC),
      dk_NGC(k_NGC.size(), std::numeric_limits<float>::quiet_NaN()),
      dv_NGC(dk_NGC) {}

void RunDefinition(const AttentionCase& c, FloatAttention* a) {
  const auto device = *Device::Open(DeviceType::kCpu);
  const AttentionPattern pattern = c.Pattern(device->ctx());
  const kernels::AttentionView view = kernels::ViewOf(
      pattern, FromHost(device->ctx(), a->q_THC, {c.T, c.H, c.C}),
      FromHost(device->ctx(), a->k_NGC, {c.N(), c.G, c.C}), c.query_begin);
  const kernels::cpu::RangeAttentionArgs<float> args = {
      view, a->q_THC.data(), a->k_NGC.data(), a->v_NGC.data()};
  kernels::cpu::RangeAttentionForward(args, a->o_THC.data(), a->lse_HT.data());
  kernels::cpu::RangeAttentionBackward<float>(
      args, {a->o_THC.data(), a->lse_HT.data(), a->do_THC.data()},
      a->dq_THC.data(), a->dk_NGC.data(), a->dv_NGC.data());
}

void RunOperator(const AttentionCase& c, FloatAttention* a) {
  const auto device = *Device::Open(DeviceType::kCpu);
  const ExecContext ctx = device->ctx();
  const AttentionPattern pattern = c.Pattern(ctx);
  const Shape query = {c.T, c.H, c.C};
  const Shape key = {c.N(), c.G, c.C};
  const kernels::AttentionInputs in = {
      FromHost(ctx, a->q_THC, query), FromHost(ctx, a->k_NGC, key),
      FromHost(ctx, a->v_NGC, key), c.query_begin};
  Tensor o = FromHost(ctx, a->o_THC, query);
  Tensor lse = FromHost(ctx, a->lse_HT, {c.H, c.T});
  kernels::RangeAttentionForward(ctx, pattern, in, &o, &lse);
  Tensor dq = FromHost(ctx, a->dq_THC, query);
  Tensor dk = FromHost(ctx, a->dk_NGC, key);
  Tensor dv = FromHost(ctx, a->dv_NGC, key);
  kernels::RangeAttentionBackward(
      ctx, pattern, in, o, lse, FromHost(ctx, a->do_THC, query), &dq, &dk, &dv);
  a->o_THC = ToHost<float>(ctx, o);
  a->lse_HT = ToHost<float>(ctx, lse);
  a->dq_THC = ToHost<float>(ctx, dq);
  a->dk_NGC = ToHost<float>(ctx, dk);
  a->dv_NGC = ToHost<float>(ctx, dv);
}

std::vector<AttentionCase> SmallAttentionCases() {
  return {
      {.name = "Dense"},
      {.name = "OneToken", .T = 1},
      {.name = "NoToken", .T = 0},
      {.name = "Map", .G = 2, .kv_head_H = {1, 0, 1}},
      {.name = "UnusedKvHead", .G = 3, .kv_head_H = {2, 0, 2}},
      {.name = "Window0", .window_H = {0, 0, 0}},
      {.name = "Window3", .window_H = {3, 3, 3}},
      {.name = "Window3Sinks2", .sinks = 2, .window_H = {3, 3, 3}},
      {.name = "Window0Sinks1", .sinks = 1, .window_H = {0, 0, 0}},
      {.name = "WindowPastTheStart", .sinks = 2, .window_H = {99, 99, 99}},
      {.name = "SinksPastTheEnd", .sinks = 99, .window_H = {2, 2, 2}},
      {.name = "DenseAndLocal", .sinks = 2, .window_H = {kDense, 4, 0}},
      {.name = "QueryBegin",
       .query_begin = 7,
       .sinks = 2,
       .window_H = {kDense, 3, 8}},
      {.name = "KeysAfter",
       .T = 9,
       .query_begin = 5,
       .keys_after = 4,
       .sinks = 1,
       .window_H = {kDense, 2, 2}},
      {.name = "Documents", .documents = {0, 1, 6, 7}},
      {.name = "DocumentsLocal",
       .sinks = 2,
       .window_H = {kDense, 3, 0},
       .documents = {0, 1, 9, 10}},
      {.name = "DocumentsQueryBegin",
       .T = 12,
       .query_begin = 6,
       .sinks = 1,
       .window_H = {kDense, 2, 5},
       .documents = {0, 4, 9}},
      {.name = "Selected", .selected_rows = 6, .slot_H = {0, 0, 1}},
      {.name = "SelectedSomeHeads",
       .sinks = 1,
       .window_H = {kDense, 3, 3},
       .selected_rows = 6,
       .slot_H = {0, -1, 1},
       .block = 3},
      {.name = "SelectedAllRows",
       .selected_rows = 20,
       .slot_H = {1, 0, -1},
       .block = 1},
      {.name = "SelectedDocuments",
       .documents = {0, 5, 16},
       .selected_rows = 7,
       .slot_H = {0, 1, 2}},
      {.name = "SelectedQueryBegin",
       .T = 8,
       .query_begin = 12,
       .keys_after = 3,
       .selected_rows = 5,
       .slot_H = {-1, 0, 1}},
  };
}

namespace {

std::vector<AttentionCase> TiledSelectedCases() {
  return {
      {.name = "Selected",
       .T = 200,
       .selected_rows = 40,
       .slot_H = {0, 0, 1},
       .block = 64},
      {.name = "SelectedSmallBlocks",
       .T = 150,
       .G = 2,
       .sinks = 1,
       .window_H = {kDense, 30, 30},
       .kv_head_H = {1, 0, 1},
       .selected_rows = 30,
       .slot_H = {0, -1, 1},
       .block = 16},
      {.name = "SelectedOddBlocks",
       .T = 150,
       .selected_rows = 150,
       .slot_H = {0, 1, -1},
       .block = 24},
      {.name = "SelectedLargeBlocks",
       .T = 300,
       .selected_rows = 50,
       .slot_H = {0, 1, 2},
       .block = 100},
      {.name = "SelectedDocuments",
       .T = 180,
       .documents = {0, 70, 160},
       .selected_rows = 60,
       .slot_H = {0, 1, 2},
       .block = 16},
  };
}

}  // namespace

std::vector<AttentionCase> TiledAttentionCases() {
  const std::vector<std::int32_t> map = {1, 0, 1};
  std::vector<AttentionCase> cases = {
      {.name = "T63", .T = 63},
      {.name = "T64", .T = 64, .C = 32},
      {.name = "T65", .T = 65, .C = 8},
      {.name = "T130", .T = 130, .G = 2, .C = 7, .kv_head_H = map},
      {.name = "Width64", .T = 70, .C = 64, .scale = 0.125},
      {.name = "Width128", .T = 66, .C = 128, .scale = 0.09F},
      {.name = "Window0", .T = 130, .window_H = {0, 0, 0}},
      {.name = "Window64", .T = 200, .window_H = {63, 64, 65}},
      {.name = "Window20Sinks4",
       .T = 200,
       .G = 2,
       .sinks = 4,
       .window_H = {20, 20, 20},
       .kv_head_H = map},
      {.name = "SinksOverATile",
       .T = 200,
       .sinks = 70,
       .window_H = {5, 5, kDense}},
      {.name = "SinksPastTheEnd", .T = 70, .sinks = 999, .window_H = {2, 2, 2}},
      {.name = "QueryBegin",
       .T = 40,
       .query_begin = 100,
       .sinks = 3,
       .window_H = {kDense, 30, 64}},
      {.name = "KeysAfter",
       .T = 50,
       .query_begin = 70,
       .keys_after = 100,
       .sinks = 1,
       .window_H = {kDense, 2, 2}},
      {.name = "Documents",
       .T = 150,
       .sinks = 2,
       .window_H = {kDense, 10, 90},
       .documents = {0, 1, 63, 64, 65, 128}},
      {.name = "DocumentsQueryBegin",
       .T = 80,
       .query_begin = 60,
       .sinks = 2,
       .window_H = {kDense, 10, 0},
       .documents = {0, 30, 61, 100}},
  };
  for (const AttentionCase& c : TiledSelectedCases()) {
    cases.push_back(c);
  }
  for (AttentionCase& c : cases) {
    c.scale /= 3;  // flat enough that every visible key changes some bit
  }
  return cases;
}

}  // namespace rtpurbo::testing
