#include "model/sampling.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "kernels/core/rng.h"
#include "kernels/elementwise.h"
#include "kernels/top_k_kl.h"

namespace rtpurbo {
namespace {

// The stream of a seed that these draws are from.
constexpr std::uint64_t kStream = 0x73616d706c65;  // "sample"

std::int32_t Highest(const ExecContext& ctx, const Tensor& z_V) {
  Tensor value = Tensor::Empty(ctx, DType::kF32, {1, 1});
  Tensor id = Tensor::Empty(ctx, DType::kI32, {1, 1});
  Tensor lse = Tensor::Empty(ctx, DType::kF32, {1});
  kernels::TopK(ctx, z_V.Reshape({1, z_V.size()}), &value, &id, &lse);
  return ToHost<std::int32_t>(ctx, id)[0];
}

std::vector<float> LogitsOnHost(const ExecContext& ctx, const Tensor& z_V) {
  Tensor exact = z_V;
  if (z_V.dtype() != DType::kF32) {
    exact = Tensor::Empty(ctx, DType::kF32, z_V.shape());
    kernels::Cast(ctx, z_V, &exact);
  }
  std::vector<float> logits = ToHost<float>(ctx, exact);
  for (float& z : logits) {
    z = std::isnan(z) ? -std::numeric_limits<float>::infinity() : z;
  }
  return logits;
}

// Draws by u, uniform in [0, 1).
std::int32_t Draw(const std::vector<float>& z_V, const Sampling& sampling,
                  double u) {
  std::vector<std::int32_t> id(z_V.size());
  std::iota(id.begin(), id.end(), 0);
  const auto logit = [&](std::int32_t i) {
    return z_V[static_cast<std::size_t>(i)];
  };
  std::stable_sort(id.begin(), id.end(), [&](std::int32_t a, std::int32_t b) {
    return logit(a) > logit(b);
  });
  // mass[k]: of the k + 1 most probable tokens, relative to the first's.
  std::vector<double> mass(id.size());
  double sum = 0;
  for (std::size_t k = 0; k < id.size(); ++k) {
    sum += logit(id[k]) == logit(id[0])  // also if both are infinite
               ? 1
               : std::exp((static_cast<double>(logit(id[k])) - logit(id[0])) /
                          sampling.temperature);
    mass[k] = sum;
  }
  const auto last = std::lower_bound(mass.begin(), mass.end() - 1,
                                     sampling.top_p * mass.back());
  const auto drawn = std::upper_bound(mass.begin(), last, u * *last);
  return id[static_cast<std::size_t>(drawn - mass.begin())];
}

}  // namespace

std::int32_t ChooseToken(const ExecContext& ctx, const Sampling& sampling,
                         std::int64_t index, const Tensor& z_V) {
  CHECK_LE(0, sampling.temperature);
  CHECK(sampling.top_p > 0 && sampling.top_p <= 1) << sampling.top_p;
  CHECK_LE(1, z_V.size());
  if (sampling.temperature == 0) {
    return Highest(ctx, z_V);
  }
  const std::uint64_t bits =
      RandomBits(sampling.seed, kStream, static_cast<std::uint64_t>(index));
  return Draw(LogitsOnHost(ctx, z_V), sampling,
              static_cast<double>(bits >> 11U) * 0x1p-53);
}

}  // namespace rtpurbo
