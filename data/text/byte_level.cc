#include "data/text/byte_level.h"

#include <array>
#include <cstddef>
#include <cstdint>

#include "data/text/utf8.h"

namespace rtpurbo {
namespace {

constexpr std::uint16_t kFirstSubstitute = 0x100;
constexpr std::size_t kNumCodes = 0x144;

constexpr bool StandsForItself(std::size_t byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte != 0xAD);
}

constexpr std::array<std::uint16_t, 256> MakeCodes() {
  std::array<std::uint16_t, 256> codes{};
  std::uint16_t next = kFirstSubstitute;
  for (std::size_t byte = 0; byte < 256; ++byte) {
    codes[byte] =
        StandsForItself(byte) ? static_cast<std::uint16_t>(byte) : next++;
  }
  return codes;
}
constexpr std::array<std::uint16_t, 256> kCodes = MakeCodes();

constexpr std::array<std::int16_t, kNumCodes> MakeBytes() {
  std::array<std::int16_t, kNumCodes> bytes{};
  for (std::int16_t& byte : bytes) {
    byte = -1;
  }
  for (std::size_t byte = 0; byte < 256; ++byte) {
    bytes[kCodes[byte]] = static_cast<std::int16_t>(byte);
  }
  return bytes;
}
constexpr std::array<std::int16_t, kNumCodes> kBytes = MakeBytes();

}  // namespace

std::string TokenOfBytes(absl::string_view bytes) {
  std::string text;
  for (const char byte : bytes) {
    AppendUtf8(kCodes[static_cast<std::uint8_t>(byte)], &text);
  }
  return text;
}

std::string BytesOfToken(absl::string_view text) {
  std::string bytes;
  for (std::size_t i = 0; i < text.size();) {
    const Utf8Character c = ReadUtf8(text.substr(i));
    if (c.code >= kNumCodes || kBytes[c.code] < 0) {
      return std::string(text);
    }
    bytes.push_back(static_cast<char>(kBytes[c.code]));
    i += c.size;
  }
  return bytes;
}

}  // namespace rtpurbo
