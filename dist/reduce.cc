#include "dist/reduce.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <type_traits>

namespace rtpurbo {
namespace {

// Sums of so many elements stay in the first cache.
constexpr std::int64_t kBlock = 1024;

template <ReduceOp op, typename A>
A Combine(A a, A b) {
  if constexpr (op == ReduceOp::kSum && std::is_integral_v<A>) {
    using Unsigned = std::make_unsigned_t<A>;  // signed overflow is undefined
    return static_cast<A>(static_cast<Unsigned>(a) + static_cast<Unsigned>(b));
  } else if constexpr (op == ReduceOp::kSum) {
    return a + b;
  } else {
    bool take = op == ReduceOp::kMax ? b > a : b < a;
    if constexpr (std::is_floating_point_v<A>) {
      take = take || std::isnan(b);  // nothing compares with a NaN in `a`
    }
    return take ? b : a;
  }
}

template <ReduceOp op, typename T, typename Out>
void Reduce(std::span<const std::byte* const> parts, std::int64_t n,
            std::byte* out_bytes) {
  std::array<Accum<T>, kBlock> sum;
  Out* out = reinterpret_cast<Out*>(out_bytes);
  for (std::int64_t begin = 0; begin < n; begin += kBlock) {
    const auto count = static_cast<std::size_t>(std::min(kBlock, n - begin));
    const auto part = [&](std::size_t rank) {
      return reinterpret_cast<const T*>(parts[rank]) + begin;
    };
    std::transform(part(0), part(0) + count, sum.begin(),
                   [](T x) { return static_cast<Accum<T>>(x); });
    for (std::size_t rank = 1; rank < parts.size(); ++rank) {
      const T* in = part(rank);
      for (std::size_t i = 0; i < count; ++i) {
        sum[i] = Combine<op>(sum[i], static_cast<Accum<T>>(in[i]));
      }
    }
    for (std::size_t i = 0; i < count; ++i) {
      out[begin + static_cast<std::int64_t>(i)] = static_cast<Out>(sum[i]);
    }
  }
}

template <typename T, typename Out>
void Reduce(ReduceOp op, std::span<const std::byte* const> parts,
            std::int64_t n, std::byte* out) {
  switch (op) {
    case ReduceOp::kSum:
      return Reduce<ReduceOp::kSum, T, Out>(parts, n, out);
    case ReduceOp::kMax:
      return Reduce<ReduceOp::kMax, T, Out>(parts, n, out);
    case ReduceOp::kMin:
      return Reduce<ReduceOp::kMin, T, Out>(parts, n, out);
  }
}

}  // namespace

void ReduceInOrder(ReduceOp op, DType dtype,
                   std::span<const std::byte* const> parts, std::int64_t n,
                   DType out_dtype, std::byte* out) {
  if (dtype == DType::kI32) {
    CHECK(out_dtype == DType::kI32);
    return Reduce<std::int32_t, std::int32_t>(op, parts, n, out);
  }
  CHECK(out_dtype == dtype || out_dtype == DType::kF32);
  DispatchFloats(dtype, out_dtype, [&]<typename T, typename Out>() {
    if constexpr (!(std::is_same_v<T, float> &&
                    std::is_same_v<Out, BFloat16>)) {
      Reduce<T, Out>(op, parts, n, out);
    }
  });
}

}  // namespace rtpurbo
