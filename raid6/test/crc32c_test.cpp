// SPDX-License-Identifier: GPL-2.0
/* CRC32C, by instruction and portable, against published values and bit by bit. */
#include <algorithm>
#include <numeric>
#include <random>
#include <string_view>

#include <gtest/gtest.h>

#include "reference.h"

/* From impl.h. */
extern "C" uint32_t pav_crc32c_portable(uint32_t seed, const void *buf, size_t len);
extern "C" uint32_t pav_crc32c_zeroes(uint32_t crc, size_t len);

namespace {

using reference::Bytes;

class Crc32c : public testing::TestWithParam<uint32_t (*)(uint32_t, const void *, size_t)> {
protected:
  uint32_t crc(const Bytes &data, uint32_t seed = 0) { return GetParam()(seed, data.data(), data.size()); }
};

INSTANTIATE_TEST_SUITE_P(All, Crc32c, testing::Values(&pav_crc32c, &pav_crc32c_portable),
                         [](const auto &info) { return std::string(info.index == 0 ? "chosen" : "portable"); });

TEST_P(Crc32c, PublishedValues)
{
  constexpr std::string_view digits = "123456789";
  Bytes up(32), down(32);
  std::iota(up.begin(), up.end(), uint8_t{0});
  std::iota(down.rbegin(), down.rend(), uint8_t{0});

  EXPECT_EQ(crc(Bytes(digits.begin(), digits.end())), 0xe3069283U);
  EXPECT_EQ(crc({}), 0U);
  /* RFC 3720, B.4 */
  EXPECT_EQ(crc(Bytes(32, 0x00)), 0x8a9136aaU);
  EXPECT_EQ(crc(Bytes(32, 0xff)), 0x62a8ab43U);
  EXPECT_EQ(crc(up), 0x46dd794eU);
  EXPECT_EQ(crc(down), 0x113fdb5cU);
}

TEST_P(Crc32c, EveryLengthMatchesBitByBit)
{
  std::mt19937 noise(1);
  Bytes data(9000);
  std::generate(data.begin(), data.end(), [&] { return static_cast<uint8_t>(noise()); });

  uint32_t expected = 0;
  for (size_t len = 0; len < data.size(); len++) {
    /* An exact copy on the heap, so that a byte read too many is seen. */
    if (len < 1200 || len % 61 == 0 || (len > 4000 && len < 4200)) {
      ASSERT_EQ(crc(Bytes(data.begin(), data.begin() + static_cast<ptrdiff_t>(len))), expected) << "length " << len;
    }
    expected = reference::crc32c(std::span(data).subspan(len, 1), expected);
  }
}

TEST_P(Crc32c, AnyAlignment)
{
  std::mt19937 noise(2);
  Bytes data(5000);
  std::generate(data.begin(), data.end(), [&] { return static_cast<uint8_t>(noise()); });
  for (size_t skew = 0; skew < 16; skew++) {
    for (size_t len : {1, 15, 64, 1023, 1024, 4096})
      EXPECT_EQ(GetParam()(0, data.data() + skew, len), reference::crc32c(std::span(data).subspan(skew, len))) << skew << " " << len;
  }
}

TEST_P(Crc32c, Chains)
{
  std::mt19937 noise(3);
  Bytes data(8192);
  std::generate(data.begin(), data.end(), [&] { return static_cast<uint8_t>(noise()); });
  const uint32_t whole = crc(data);
  for (size_t cut : {0, 1, 7, 64, 1000, 1008, 4080, 4096, 8191, 8192}) {
    const uint32_t first = GetParam()(0, data.data(), cut);
    EXPECT_EQ(GetParam()(first, data.data() + cut, data.size() - cut), whole) << "cut at " << cut;
  }
}

TEST(Crc32cZeroes, AreZeroes)
{
  for (size_t len : {0, 1, 63, 64, 65, 4096, 4100})
    EXPECT_EQ(~pav_crc32c_zeroes(~0x1234U, len), reference::crc32c(Bytes(len), 0x1234)) << len;
}

} // namespace
