// SPDX-License-Identifier: GPL-2.0
/* The load-time self-test passes what is right, and catches each operation gone wrong. */
#include <cerrno>

#include <gtest/gtest.h>

#include "reference.h"

namespace {

const pav_raid6_impl *scalar()
{
  return pav_raid6_select("scalar");
}

TEST(SelfTest, PassesEveryImplementation)
{
  for (const pav_raid6_impl *impl : reference::usable_impls())
    EXPECT_EQ(pav_raid6_selftest(impl), 0) << impl->name;
}

TEST(SelfTest, CatchesAWrongEncode)
{
  pav_raid6_impl bad = *scalar();
  bad.encode = [](unsigned k, size_t bytes, const void *const *data, void *p, void *q) {
    scalar()->encode(k, bytes, data, p, q);
    static_cast<uint8_t *>(q)[bytes - 1] ^= 1;
  };
  EXPECT_EQ(pav_raid6_selftest(&bad), -EIO);
}

TEST(SelfTest, CatchesAWrongChecksum)
{
  pav_raid6_impl bad = *scalar();
  bad.encode_fused = [](unsigned k, size_t bytes, const void *const *src, void *const *dst, void *p, void *q, uint32_t *crc) {
    scalar()->encode_fused(k, bytes, src, dst, p, q, crc);
    crc[k + 1] ^= 0x80;
  };
  EXPECT_EQ(pav_raid6_selftest(&bad), -EIO);
}

TEST(SelfTest, CatchesAWrongCopy)
{
  pav_raid6_impl bad = *scalar();
  bad.encode_fused = [](unsigned k, size_t bytes, const void *const *src, void *const *dst, void *p, void *q, uint32_t *crc) {
    scalar()->encode_fused(k, bytes, src, dst, p, q, crc);
    static_cast<uint8_t *>(dst[0])[64] ^= 1;
  };
  EXPECT_EQ(pav_raid6_selftest(&bad), -EIO);
}

TEST(SelfTest, CatchesAWrongSum)
{
  pav_raid6_impl bad = *scalar();
  bad.sum = [](unsigned n, size_t bytes, const void *const *data, void *out) { scalar()->sum(n > 1 ? n - 1 : n, bytes, data, out); };
  EXPECT_EQ(pav_raid6_selftest(&bad), -EIO);
}

TEST(SelfTest, CatchesAWrongRepair)
{
  pav_raid6_impl bad = *scalar();
  bad.repair = [](unsigned k, size_t bytes, const pav_raid6_repair *r) { scalar()->repair(k, bytes - 64, r); };
  EXPECT_EQ(pav_raid6_selftest(&bad), -EIO);
}

} // namespace
