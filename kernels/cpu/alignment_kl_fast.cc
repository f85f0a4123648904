#include "kernels/cpu/alignment_kl_fast.h"

#include <array>
#include <cmath>
#include <limits>
#include <numbers>
#include <vector>

#include "kernels/core/parallel.h"
#include "kernels/cpu/attention_tile_kernels.h"
#include "kernels/cpu/attention_tiles.h"
#include "kernels/cpu/tile_sums.h"

namespace rtpurbo::kernels::cpu {
namespace {

constexpr float kLog2E = std::numbers::log2e_v<float>;
constexpr float kLn2 = std::numbers::ln2_v<float>;

// Rows m of slot s, as a panel: token is m, head is s.
struct RowPanel {
  std::int64_t s;
  std::int64_t first;
};

template <typename T>
Panel PanelOf(const AlignmentArgs<T>& in, const RowPanel& rows) {
  Panel panel;
  for (std::int64_t m = rows.first; m < std::min(in.M, rows.first + kPanelRows);
       ++m) {
    const std::int64_t i = in.row_M[m];
    const std::int64_t d = in.view.document(i);
    panel.Add(rows.s, m,
              {.begin = d, .sink_end = d, .window_begin = d, .end = i + 1});
  }
  return panel;
}

// Panels of all slots, what they cost, and which tiles they visit.
struct AlignmentPlan {
  std::vector<RowPanel> panels;
  std::vector<PanelWork> work;
  std::vector<char> visited_GN;  // tiles of k
  std::vector<char> visited_SN;  // tiles of y
};

template <typename T>
AlignmentPlan MakePlan(const AlignmentArgs<T>& in) {
  AlignmentPlan plan;
  const std::int64_t tiles = NumTiles(in.view.N);
  plan.visited_GN.resize(static_cast<std::size_t>(in.view.G * tiles));
  plan.visited_SN.resize(static_cast<std::size_t>(in.S * tiles));
  for (std::int64_t s = 0; s < in.S; ++s) {
    const std::int64_t g = in.view.kv_head_H[in.head_S[s]];
    for (std::int64_t first = 0; first < in.M; first += kPanelRows) {
      PanelWork work = {.output = s};
      PanelOf(in, {s, first}).ForEachTile([&](const TileSeen& seen) {
        ++work.cost;
        work.tiles_end = seen.tile + 1;
        plan.visited_GN[static_cast<std::size_t>(g * tiles + seen.tile)] = 1;
        plan.visited_SN[static_cast<std::size_t>(s * tiles + seen.tile)] = 1;
      });
      plan.panels.push_back({s, first});
      plan.work.push_back(work);
    }
  }
  return plan;
}

// Operands packed for the whole call.
template <typename T>
struct AlignmentTiles {
  AlignmentTiles(const ExecContext& ctx, const AlignmentArgs<T>& in,
                 const AlignmentPlan& plan)
      : k_CN(ctx,
             {.N = in.view.N,
              .G = in.view.G,
              .C = in.view.C,
              .transposed = true},
             in.k_NGC, plan.visited_GN),
        y_RN(ctx, {.N = in.view.N, .G = in.S, .C = in.R, .transposed = true},
             in.y_NSR, plan.visited_SN),
        y_NR(ctx, {.N = in.view.N, .G = in.S, .C = in.R, .transposed = false},
             in.y_NSR, plan.visited_SN) {}

  PackedTiles k_CN;
  PackedTiles y_RN;
  PackedTiles y_NR;
};

// One panel at a time: Begin(), then a pass for the log-sums, then one for KL
// and gradients.
template <typename T>
class AlignmentPanel {
 public:
  AlignmentPanel(const AlignmentArgs<T>& in, const AlignmentTiles<T>& tiles)
      : in_(in),
        tiles_(tiles),
        width_C_(PadTo(TileLanes(), in.view.C)),
        width_R_(PadTo(TileLanes(), in.R)),
        q_PC_(static_cast<std::size_t>(kPanelRows * width_C_)),
        x_PR_(static_cast<std::size_t>(kPanelRows * width_R_)),
        dx_PR_(x_PR_.size()) {}

  void Begin(const RowPanel& rows);
  void SumProjected();
  // dy(tile) gives the sums of dy, or null.
  template <typename Dy>
  void AddTiles(bool wants_dx, Dy dy);
  void Store(float grad_scale, float* kl_SM, float* dx_MSR) const;

 private:
  const AlignmentArgs<T>& in_;
  const AlignmentTiles<T>& tiles_;
  std::int64_t width_C_;
  std::int64_t width_R_;
  Panel panel_;
  std::int64_t s_ = 0;
  std::int64_t g_ = 0;
  std::vector<float> q_PC_;
  std::vector<float> x_PR_;
  std::vector<float> dx_PR_;
  std::array<float, kPanelRows> lse_full_P_ = {};
  std::array<float, kPanelRows> lse_proj_P_ = {};
  std::array<float, kPanelRows* kMaxLanes> kl_PL_ = {};
};

template <typename T>
void AlignmentPanel<T>::Begin(const RowPanel& rows) {
  const float factor = in_.view.scale * kLog2E;
  panel_ = PanelOf(in_, rows);
  s_ = rows.s;
  const std::int64_t h = in_.head_S[s_];
  g_ = in_.view.kv_head_H[h];
  std::fill(q_PC_.begin(), q_PC_.end(), 0.0F);
  std::fill(x_PR_.begin(), x_PR_.end(), 0.0F);
  std::fill(dx_PR_.begin(), dx_PR_.end(), 0.0F);
  kl_PL_.fill(0);
  lse_full_P_.fill(0);
  for (int r = 0; r < panel_.num_rows; ++r) {
    const auto at = static_cast<std::size_t>(r);
    const std::int64_t m = panel_.token[at];
    const std::int64_t t = in_.row_M[m] - in_.view.query_begin;
    const T* q_C = in_.q_THC + in_.view.row(h, t);
    lse_full_P_[at] = kLog2E * in_.lse_HT[h * in_.view.T + t];
    for (std::int64_t c = 0; c < in_.view.C; ++c) {
      q_PC_[static_cast<std::size_t>(r * width_C_ + c)] =
          static_cast<float>(q_C[c]) * factor;
    }
    for (std::int64_t c = 0; c < in_.R; ++c) {
      x_PR_[static_cast<std::size_t>(r * width_R_ + c)] =
          in_.x(m, s_)[c] * factor;
    }
  }
}

template <typename T>
void AlignmentPanel<T>::SumProjected() {
  std::array<float, kPanelRows* kMaxLanes> l_PL = {};
  std::array<float, kPanelRows> m_P;
  m_P.fill(-std::numeric_limits<float>::infinity());
  panel_.ForEachTile([&](const TileSeen& seen) {
    ForwardTile({.seen = seen,
                 .num_strips = panel_.num_strips(),
                 .C = in_.R,
                 .q_PC = x_PR_.data(),
                 .k_CN = tiles_.y_RN.tile(s_, seen.tile),
                 .l_PL = l_PL.data(),
                 .m_P = m_P.data()});
  });
  for (std::size_t r = 0; r < kPanelRows; ++r) {
    lse_proj_P_[r] = m_P[r] + std::log2(SumLanes(l_PL.data() + r * kMaxLanes));
  }
}

template <typename T>
template <typename Dy>
void AlignmentPanel<T>::AddTiles(bool wants_dx, Dy dy) {
  panel_.ForEachTile([&](const TileSeen& seen) {
    AlignmentTile({.seen = seen,
                   .num_strips = panel_.num_strips(),
                   .C = in_.view.C,
                   .R = in_.R,
                   .q_PC = q_PC_.data(),
                   .x_PR = x_PR_.data(),
                   .lse_full_P = lse_full_P_.data(),
                   .lse_proj_P = lse_proj_P_.data(),
                   .k_CN = tiles_.k_CN.tile(g_, seen.tile),
                   .y_RN = tiles_.y_RN.tile(s_, seen.tile),
                   .y_NR = tiles_.y_NR.tile(s_, seen.tile),
                   .kl_PL = kl_PL_.data(),
                   .dx_PR = wants_dx ? dx_PR_.data() : nullptr,
                   .dy_NR = dy(seen.tile)});
  });
}

template <typename T>
void AlignmentPanel<T>::Store(float grad_scale, float* kl_SM,
                              float* dx_MSR) const {
  for (int r = 0; r < panel_.num_rows; ++r) {
    const std::int64_t m = panel_.token[static_cast<std::size_t>(r)];
    kl_SM[s_ * in_.M + m] = kLn2 * SumLanes(kl_PL_.data() + r * kMaxLanes);
    for (std::int64_t c = 0; c < in_.R && dx_MSR != nullptr; ++c) {
      dx_MSR[(m * in_.S + s_) * in_.R + c] =
          grad_scale * in_.view.scale *
          dx_PR_[static_cast<std::size_t>(r * width_R_ + c)];
    }
  }
}

template <typename T>
void StoreDy(const AlignmentArgs<T>& in, const TileSums& sums, float grad_scale,
             float* dy_NSR) {
  const std::int64_t tiles = NumTiles(in.view.N);
  const std::int64_t width = PadTo(TileLanes(), in.R);
  ParallelFor(in.S * tiles, 1, [&](std::int64_t at, std::int64_t) {
    const std::int64_t s = at / tiles;
    const std::int64_t first = at % tiles * kTileKeys;
    const std::vector<float> total = sums.Total(s, at % tiles);
    for (std::int64_t n = 0; n < std::min(kTileKeys, in.view.N - first); ++n) {
      for (std::int64_t r = 0; r < in.R; ++r) {
        // The sums are of log2(e) scale x.
        dy_NSR[((first + n) * in.S + s) * in.R + r] =
            grad_scale * kLn2 * total[static_cast<std::size_t>(n * width + r)];
      }
    }
  });
}

}  // namespace

template <typename T>
void AlignmentKlFast(const ExecContext& ctx, const AlignmentArgs<T>& in,
                     float grad_scale, float* kl_SM, float* dx_MSR,
                     float* dy_NSR) {
  const AlignmentPlan plan = MakePlan(in);
  const AlignmentTiles<T> tiles(ctx, in, plan);
  const bool wants_dy = dy_NSR != nullptr;
  TileSums sums(ctx, wants_dy ? kTileKeys * PadTo(TileLanes(), in.R) : 0,
                CutIntoPieces(plan.work, in.S));
  const auto num_pieces = static_cast<std::int64_t>(sums.pieces().size());
  ParallelFor(num_pieces, 1, [&](std::int64_t i, std::int64_t) {
    const auto piece = static_cast<std::size_t>(i);
    AlignmentPanel<T> rows(in, tiles);
    for (const std::int64_t index : sums.pieces()[piece].panels) {
      rows.Begin(plan.panels[static_cast<std::size_t>(index)]);
      rows.SumProjected();
      rows.AddTiles(dx_MSR != nullptr, [&](std::int64_t tile) {
        return wants_dy ? sums.tile(piece, tile) : nullptr;
      });
      rows.Store(grad_scale, kl_SM, dx_MSR);
    }
  });
  if (wants_dy) {
    StoreDy(in, sums, grad_scale, dy_NSR);
  }
}

template void AlignmentKlFast<float>(const ExecContext&,
                                     const AlignmentArgs<float>&, float, float*,
                                     float*, float*);
template void AlignmentKlFast<BFloat16>(const ExecContext&,
                                        const AlignmentArgs<BFloat16>&, float,
                                        float*, float*, float*);

}  // namespace rtpurbo::kernels::cpu
