#include "data/digest.h"

#include <openssl/evp.h>

#include <array>
#include <cstring>
#include <memory>

#include "kernels/core/check.h"

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

namespace rtpurbo {

struct Sha256::State {
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context{
      EVP_MD_CTX_new(), &EVP_MD_CTX_free};
};

Sha256::Sha256() : state_(std::make_unique<State>()) {
  CHECK(state_->context != nullptr) << "out of memory";
  CHECK_EQ(EVP_DigestInit_ex(state_->context.get(), EVP_sha256(), nullptr), 1);
}

Sha256::~Sha256() = default;

void Sha256::Update(Bytes bytes) {
  CHECK_EQ(EVP_DigestUpdate(state_->context.get(), bytes.data(), bytes.size()),
           1);
}

std::string Sha256::Finish() {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest = {};
  unsigned int size = 0;
  CHECK_EQ(EVP_DigestFinal_ex(state_->context.get(), digest.data(), &size), 1);
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string hex;
  for (unsigned int i = 0; i < size; ++i) {
    hex += kDigits[digest.at(i) >> 4U];
    hex += kDigits[digest.at(i) & 15U];
  }
  return hex;
}

std::string Sha256Hex(absl::string_view text) {
  Sha256 sha;
  sha.Update(text);
  return sha.Finish();
}

namespace {

// table[k][b]: the remainder of byte b followed by k zero bytes, so that eight
// bytes are eight independent look-ups ("slicing by 8").
using CrcTable = std::array<std::array<std::uint32_t, 256>, 8>;

constexpr CrcTable MakeCrcTable() {
  constexpr std::uint32_t kReflectedPolynomial = 0x82f63b78U;
  CrcTable table = {};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) {
      crc = (crc >> 1U) ^ ((crc & 1U) != 0 ? kReflectedPolynomial : 0U);
    }
    table[0][byte] = crc;
  }
  for (std::size_t k = 1; k < table.size(); ++k) {
    for (std::size_t byte = 0; byte < 256; ++byte) {
      const std::uint32_t before = table[k - 1][byte];
      table[k][byte] = (before >> 8U) ^ table[0][before & 255U];
    }
  }
  return table;
}

constexpr CrcTable kCrcTable = MakeCrcTable();

std::uint32_t AddByte(std::uint32_t state, std::byte byte) {
  return (state >> 8U) ^
         kCrcTable[0][(state ^ std::to_integer<std::uint32_t>(byte)) & 255U];
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) std::uint32_t Crc32cSse42(std::uint32_t crc,
                                                            Bytes bytes) {
  std::uint64_t state = ~crc;
  const std::byte* at = bytes.data();
  const std::byte* const end = at + bytes.size();
  for (; end - at >= 8; at += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, at, sizeof(word));
    state = _mm_crc32_u64(state, word);
  }
  auto narrow = static_cast<std::uint32_t>(state);
  for (; at != end; ++at) {
    narrow = _mm_crc32_u8(narrow, std::to_integer<std::uint8_t>(*at));
  }
  return ~narrow;
}
#endif

}  // namespace

namespace internal {

std::uint32_t Crc32cPortable(std::uint32_t crc, Bytes bytes) {
  std::uint32_t state = ~crc;
  std::size_t i = 0;
  for (; i + 8 <= bytes.size(); i += 8) {
    // The state goes into the first four bytes, lowest first.
    std::uint32_t next = 0;
    for (std::size_t k = 0; k < 8; ++k) {
      const std::uint32_t mixed =
          k < 4 ? (state >> (8U * static_cast<unsigned>(k))) & 255U : 0U;
      next ^= kCrcTable.at(
          7 - k)[mixed ^ std::to_integer<std::uint32_t>(bytes[i + k])];
    }
    state = next;
  }
  for (; i < bytes.size(); ++i) {
    state = AddByte(state, bytes[i]);
  }
  return ~state;
}

}  // namespace internal

std::uint32_t Crc32c(std::uint32_t crc, Bytes bytes) {
#if defined(__x86_64__)
  static const bool has_instruction = __builtin_cpu_supports("sse4.2") != 0;
  if (has_instruction) {
    return Crc32cSse42(crc, bytes);
  }
#endif
  return internal::Crc32cPortable(crc, bytes);
}

}  // namespace rtpurbo
