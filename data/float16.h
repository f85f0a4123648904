// IEEE 754 half precision as it is stored: 1 sign, 5 exponent and 10 mantissa
// bits. Conversions for weights on disk; nothing computes in it.

#ifndef RTPURBO_DATA_FLOAT16_H_
#define RTPURBO_DATA_FLOAT16_H_

#include <bit>
#include <cstdint>

namespace rtpurbo {

// Exact, subnormals included; NaN stays NaN.
inline float HalfToFloat(std::uint16_t half) {
  const std::uint32_t sign = (half & 0x8000U) << 16U;
  const std::uint32_t magnitude = half & 0x7fffU;
  if (magnitude >= 0x7c00U) {  // infinity, NaN: all exponent bits
    return std::bit_cast<float>(sign | 0x7f800000U |
                                ((magnitude & 0x3ffU) << 13U));
  }
  // Shifted into place, the exponent is 127 - 15 too small. The product puts
  // that right, and turns subnormals into normal numbers; it is exact.
  const auto value = std::bit_cast<float>(magnitude << 13U) *
                     std::bit_cast<float>(0x77800000U);
  return std::bit_cast<float>(sign | std::bit_cast<std::uint32_t>(value));
}

// Rounds to nearest, ties to even: 65520 and above become infinity, subnormals
// are kept. NaN stays NaN.
inline std::uint16_t FloatToHalf(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const auto sign = static_cast<std::uint16_t>((bits >> 16U) & 0x8000U);
  const std::uint32_t magnitude = bits & 0x7fffffffU;
  std::uint32_t half = 0;
  if (magnitude > 0x7f800000U) {
    half = 0x7e00U | ((magnitude >> 13U) & 0x3ffU);
  } else if (magnitude >= 0x477ff000U) {  // 65520: halfway to 2^16
    half = 0x7c00U;
  } else if (magnitude < 0x38800000U) {  // 2^-14: a subnormal or zero
    // Adding 0.5 leaves multiples of 2^-24, the unit of half's subnormals, in
    // the mantissa; the addition rounds as it should.
    const float shifted = std::bit_cast<float>(magnitude) + 0.5F;
    half = std::bit_cast<std::uint32_t>(shifted) - 0x3f000000U;
  } else {
    const std::uint32_t odd = (magnitude >> 13U) & 1U;
    half = (magnitude - 0x38000000U + 0xfffU + odd) >> 13U;
  }
  return static_cast<std::uint16_t>(sign | half);
}

}  // namespace rtpurbo

#endif  // RTPURBO_DATA_FLOAT16_H_
