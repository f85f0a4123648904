#include "data/digest.h"

#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/core/rng.h"

namespace rtpurbo {
namespace {

std::vector<std::byte> RandomBytes(std::size_t size) {
  Rng rng(1, size);
  std::vector<std::byte> bytes(size);
  for (std::byte& byte : bytes) {
    byte = static_cast<std::byte>(rng.Below(256));
  }
  return bytes;
}

// The remainder of a polynomial division, one bit at a time.
std::uint32_t CrcByDefinition(Bytes bytes) {
  std::uint32_t state = 0xffffffffU;
  for (const std::byte byte : bytes) {
    state ^= std::to_integer<std::uint32_t>(byte);
    for (int bit = 0; bit < 8; ++bit) {
      state = (state >> 1U) ^ ((state & 1U) != 0 ? 0x82f63b78U : 0U);
    }
  }
  return ~state;
}

// From FIPS 180-4's examples ("abc", two blocks) and the empty message.
TEST(Sha256Test, GivesThePublishedVectors) {
  EXPECT_EQ(Sha256Hex(""),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(Sha256Hex("abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(
      Sha256Hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
      "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

TEST(Sha256Test, PiecesDoNotMatter) {
  Sha256 sha;
  sha.Update("a");
  sha.Update("");
  sha.Update("bc");
  EXPECT_EQ(sha.Finish(), Sha256Hex("abc"));
}

// From RFC 3720, appendix B.4, and the check value of the CRC catalogues.
TEST(Crc32cTest, GivesThePublishedVectors) {
  std::vector<std::byte> bytes(32);
  EXPECT_EQ(Crc32c(Bytes()), 0U);
  EXPECT_EQ(Crc32c(bytes), 0x8a9136aaU);
  bytes.assign(32, std::byte{0xff});
  EXPECT_EQ(Crc32c(bytes), 0x62a8ab43U);
  for (std::size_t i = 0; i < 32; ++i) {
    bytes[i] = static_cast<std::byte>(i);
  }
  EXPECT_EQ(Crc32c(bytes), 0x46dd794eU);
  EXPECT_EQ(Crc32c(AsBytes("123456789")), 0xe3069283U);
}

TEST(Crc32cTest, InstructionAndTableAgreeWithTheDefinition) {
  for (std::size_t size = 0; size < 70; ++size) {
    const std::vector<std::byte> bytes = RandomBytes(size);
    const std::uint32_t expected = CrcByDefinition(bytes);
    EXPECT_EQ(Crc32c(bytes), expected) << size;
    EXPECT_EQ(internal::Crc32cPortable(0, bytes), expected) << size;
  }
}

TEST(Crc32cTest, ContinuesFromAnyCut) {
  const std::vector<std::byte> bytes = RandomBytes(41);
  const std::uint32_t whole = Crc32c(bytes);
  for (std::size_t cut = 0; cut <= bytes.size(); ++cut) {
    const Bytes front = Bytes(bytes).first(cut);
    const Bytes back = Bytes(bytes).subspan(cut);
    EXPECT_EQ(Crc32c(Crc32c(front), back), whole) << cut;
    EXPECT_EQ(internal::Crc32cPortable(Crc32c(front), back), whole) << cut;
  }
}

TEST(Crc32cTest, SeesZerosTurnIntoOnes) {
  std::vector<std::byte> bytes(4096);
  const std::uint32_t before = Crc32c(bytes);
  bytes[100] = bytes[101] = std::byte{0xff};  // which Fletcher-32 misses
  EXPECT_NE(Crc32c(bytes), before);
}

}  // namespace
}  // namespace rtpurbo
