#include "kernels/cpu/sparse_decode_fast.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/core/check.h"
#include "kernels/core/parallel.h"
#include "kernels/cpu/vector_math.h"

namespace rtpurbo::kernels::cpu {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr std::int64_t kChunk = 1024;  // slots of a piece
constexpr std::int64_t kTile = 64;     // keys scored before values are added
constexpr std::int64_t kMergeRows = 8;

std::int64_t CeilDiv(std::int64_t a, std::int64_t b) {
  return (a + b - 1) / b;
}

// Slots [begin, end) of a cached head.
struct Slots {
  std::int64_t begin;
  std::int64_t end;
};

// Adds the slots of positions [begin, end), in which a ring may wrap around.
template <typename T>
void AddRun(const DecodeHead<T>& head, std::int64_t length, std::int64_t begin,
            std::int64_t end, std::vector<Slots>* runs) {
  if (head.ring()) {
    const std::int64_t first = std::max(begin, head.ring_sinks);
    const std::int64_t oldest = length - (head.slots - head.ring_sinks);
    CHECK(first >= end || first >= oldest)
        << "a row sees position " << first << ", but of " << length
        << " positions the ring holds those from " << oldest << " on";
  }
  while (begin < end) {
    const std::int64_t slot = head.slot(begin);
    const std::int64_t count = std::min(end - begin, head.slots - slot);
    runs->push_back({slot, slot + count});
    begin += count;
  }
}

// What row t of head h sees, as runs in order of slots.
template <typename T>
std::vector<Slots> RunsOfRow(const DecodeArgs<T>& in, std::int64_t h,
                             std::int64_t t) {
  const AttentionView& view = in.view;
  const DecodeHead<T>& head = in.head(h);
  const std::int64_t i = view.query_begin + t;
  std::vector<Slots> runs;
  if (const std::int32_t* bits = view.mask(h, t); bits != nullptr) {
    for (std::int64_t b = 0; b * view.block <= i; ++b) {
      if (AttentionView::BlockIsSet(bits, b)) {
        AddRun(head, view.N, b * view.block,
               std::min((b + 1) * view.block, i + 1), &runs);
      }
    }
  } else {
    const std::int64_t begin =
        std::max<std::int64_t>(0, i - std::min(i, view.window_H[h]));
    AddRun(head, view.N, 0, std::min(view.sinks, begin), &runs);
    AddRun(head, view.N, begin, i + 1, &runs);
  }
  std::sort(runs.begin(), runs.end(),
            [](const Slots& a, const Slots& b) { return a.begin < b.begin; });
  return runs;
}

// Of one row over some keys: the highest score, the sum of exp(s - max) and,
// with values, the sum of exp(s - max) v.
struct Partial {
  float* max;
  float* sum;
  float* av_C;
};

template <typename T>
RTPURBO_INLINE inline float Dot(const float* q_C, const T* k_C,
                                std::int64_t C) {
  float lane[kLanes] = {};
  std::int64_t c = 0;
  for (; c + kLanes <= C; c += kLanes) {
    for (std::int64_t j = 0; j < kLanes; ++j) {
      lane[j] += q_C[c + j] * static_cast<float>(k_C[c + j]);
    }
  }
  float rest = 0;
  for (; c < C; ++c) {
    rest += q_C[c] * static_cast<float>(k_C[c]);
  }
  for (std::int64_t width = kLanes / 2; width > 0; width /= 2) {
    for (std::int64_t j = 0; j < width; ++j) {
      lane[j] += lane[j + width];
    }
  }
  return lane[0] + rest;
}

// av += sum_n a[n] v[n], four rows at a time.
template <typename T>
RTPURBO_INLINE inline void AddValues(const float* a_N, const T* v_NC,
                                     std::int64_t N, std::int64_t C,
                                     float* av_C) {
  std::int64_t n = 0;
  for (; n + 4 <= N; n += 4) {
    const T* v = v_NC + n * C;
    for (std::int64_t c = 0; c < C; ++c) {
      av_C[c] += (a_N[n] * static_cast<float>(v[c]) +
                  a_N[n + 1] * static_cast<float>(v[c + C])) +
                 (a_N[n + 2] * static_cast<float>(v[c + 2 * C]) +
                  a_N[n + 3] * static_cast<float>(v[c + 3 * C]));
    }
  }
  for (; n < N; ++n) {
    for (std::int64_t c = 0; c < C; ++c) {
      av_C[c] += a_N[n] * static_cast<float>(v_NC[n * C + c]);
    }
  }
}

// Adds at most kTile keys to a row's partial sums.
template <typename T>
RTPURBO_INLINE inline void AddTile(const float* q_C, const T* k_NC,
                                   const T* v_NC, std::int64_t N,
                                   std::int64_t C, const Partial& to) {
  float a_N[kTile];
  float max = *to.max;
  for (std::int64_t n = 0; n < N; ++n) {
    a_N[n] = Dot(q_C, k_NC + n * C, C);
    max = a_N[n] > max ? a_N[n] : max;
  }
  const float keep = Exp(*to.max - max);
  for (std::int64_t n = 0; n < N; ++n) {
    a_N[n] = Exp(a_N[n] - max);
  }
  float sum = *to.sum * keep;
  for (std::int64_t n = 0; n < N; ++n) {
    sum += a_N[n];
  }
  for (std::int64_t c = 0; c < C; ++c) {
    to.av_C[c] *= keep;
  }
  AddValues(a_N, v_NC, N, C, to.av_C);
  *to.max = max;
  *to.sum = sum;
}

RTPURBO_VECTOR_CLONES
void AddKeys(const float* q_C, const float* k_NC, const float* v_NC,
             std::int64_t N, std::int64_t C, const Partial& to) {
  AddTile(q_C, k_NC, v_NC, N, C, to);
}
RTPURBO_VECTOR_CLONES
void AddKeys(const float* q_C, const BFloat16* k_NC, const BFloat16* v_NC,
             std::int64_t N, std::int64_t C, const Partial& to) {
  AddTile(q_C, k_NC, v_NC, N, C, to);
}

// The rows of one call: row h T + t is row t of head h.
template <typename T>
class Decoder {
 public:
  Decoder(const DecodeArgs<T>& in, float* scratch)
      : in_(in), view_(in.view), scratch_(scratch) {
    heads_of_.resize(static_cast<std::size_t>(view_.G));
    for (std::int64_t h = 0; h < view_.H; ++h) {
      heads_of_[static_cast<std::size_t>(view_.kv_head_H[h])].push_back(h);
    }
    for (std::int64_t row = 0; row < view_.H * view_.T; ++row) {
      runs_.push_back(RunsOfRow(in_, row / view_.T, row % view_.T));
      if (!runs_.back().empty()) {
        num_chunks_ =
            std::max(num_chunks_, CeilDiv(runs_.back().back().end, kChunk));
      }
    }
  }

  void Run(T* o_THC, float* lse_HT) const {
    ParallelFor(view_.G * num_chunks_, 1,
                [&](std::int64_t i, std::int64_t end) {
                  for (; i < end; ++i) {
                    AttendChunk(i / num_chunks_, i % num_chunks_);
                  }
                });
    ParallelFor(view_.H * view_.T, kMergeRows,
                [&](std::int64_t row, std::int64_t end) {
                  for (; row < end; ++row) {
                    Merge(row, o_THC, lse_HT);
                  }
                });
  }

 private:
  Partial partial(std::int64_t row, std::int64_t chunk) const {
    float* at = scratch_ + (row * num_chunks_ + chunk) * (view_.C + 2);
    return {at, at + 1, at + 2};
  }

  void AttendChunk(std::int64_t g, std::int64_t chunk) const {
    for (const std::int64_t h : heads_of_[static_cast<std::size_t>(g)]) {
      for (std::int64_t t = 0; t < view_.T; ++t) {
        AttendRow(h, t, chunk);
      }
    }
  }

  void AttendRow(std::int64_t h, std::int64_t t, std::int64_t chunk) const;
  void Merge(std::int64_t row, T* o_THC, float* lse_HT) const;

  const DecodeArgs<T>& in_;
  const AttentionView& view_;
  float* scratch_;
  std::int64_t num_chunks_ = 0;
  std::vector<std::vector<std::int64_t>> heads_of_;  // query heads by kv head
  std::vector<std::vector<Slots>> runs_;             // by row
};

template <typename T>
void Decoder<T>::AttendRow(std::int64_t h, std::int64_t t,
                           std::int64_t chunk) const {
  const std::int64_t C = view_.C;
  const DecodeHead<T>& head = in_.head(h);
  const Partial to = partial(h * view_.T + t, chunk);
  *to.max = -kInfinity;
  *to.sum = 0;
  std::fill_n(to.av_C, C, 0.0F);
  std::vector<float> q_C(static_cast<std::size_t>(C));
  for (std::size_t c = 0; c < q_C.size(); ++c) {
    q_C[c] = view_.scale *
             static_cast<float>(
                 in_.q_THC[view_.row(h, t) + static_cast<std::int64_t>(c)]);
  }
  const auto& runs = runs_[static_cast<std::size_t>(h * view_.T + t)];
  auto run = std::partition_point(
      runs.begin(), runs.end(),
      [&](const Slots& r) { return r.end <= chunk * kChunk; });
  for (; run != runs.end() && run->begin < (chunk + 1) * kChunk; ++run) {
    const std::int64_t end = std::min(run->end, (chunk + 1) * kChunk);
    for (std::int64_t n = std::max(run->begin, chunk * kChunk); n < end;
         n += kTile) {
      AddKeys(q_C.data(), head.key_NC + n * C, head.value_NC + n * C,
              std::min(kTile, end - n), C, to);
    }
  }
}

template <typename T>
void Decoder<T>::Merge(std::int64_t row, T* o_THC, float* lse_HT) const {
  float max = -kInfinity;
  for (std::int64_t chunk = 0; chunk < num_chunks_; ++chunk) {
    max = std::max(max, *partial(row, chunk).max);
  }
  float sum = 0;
  std::vector<float> av_C(static_cast<std::size_t>(view_.C));
  for (std::int64_t chunk = 0; chunk < num_chunks_; ++chunk) {
    const Partial part = partial(row, chunk);
    if (*part.max == -kInfinity) {
      continue;  // the row sees nothing there
    }
    const float share = std::exp(*part.max - max);
    sum += share * *part.sum;
    for (std::size_t c = 0; c < av_C.size(); ++c) {
      av_C[c] += share * part.av_C[c];
    }
  }
  const bool sees_none = runs_[static_cast<std::size_t>(row)].empty();
  T* o_C = o_THC + view_.row(row / view_.T, row % view_.T);
  for (std::size_t c = 0; c < av_C.size(); ++c) {
    o_C[c] = T(sees_none ? 0.0F : av_C[c] / sum);
  }
  lse_HT[row] = max + std::log(sum);
}

}  // namespace

std::int64_t DecodeScratchSize(const AttentionView& view, std::int64_t slots) {
  return view.H * view.T * CeilDiv(slots, kChunk) * (view.C + 2);
}

template <typename T>
void SparseDecodeFast(const DecodeArgs<T>& in, float* scratch, T* o_THC,
                      float* lse_HT) {
  Decoder<T>(in, scratch).Run(o_THC, lse_HT);
}

template void SparseDecodeFast(const DecodeArgs<float>& in, float* scratch,
                               float* o_THC, float* lse_HT);
template void SparseDecodeFast(const DecodeArgs<BFloat16>& in, float* scratch,
                               BFloat16* o_THC, float* lse_HT);

}  // namespace rtpurbo::kernels::cpu
