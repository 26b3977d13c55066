// SPDX-License-Identifier: GPL-2.0
/* Encode and the fused pass: against the reference, against libisal, and bad sizes. */
#include <atomic>
#include <cerrno>
#include <string>
#include <thread>

#include <gtest/gtest.h>
#include <isa-l/raid.h>

#include "reference.h"

namespace {

using reference::Bytes;
using reference::Cell;

std::string impl_name(const testing::TestParamInfo<const pav_raid6_impl *> &info)
{
  return info.param->name;
}

class Encode : public testing::TestWithParam<const pav_raid6_impl *> {
protected:
  const pav_raid6_impl *impl = GetParam();

  /* Encodes the data of @good, a whole row, and compares the row that comes of it. */
  void encodes(const std::vector<reference::Bytes> &good, bool skewed, bool guarded)
  {
    const auto k = static_cast<unsigned>(good.size()) - 2;
    const size_t bytes = good[0].size();
    auto cells = reference::make_cells(k + 2, bytes, skewed, guarded);
    std::vector<const void *> data;
    for (unsigned i = 0; i < k; i++) {
      cells[i].assign(good[i]);
      data.push_back(cells[i].data());
    }
    ASSERT_EQ(pav_raid6_encode(impl, k, bytes, data.data(), cells[k].data(), cells[k + 1].data()), 0);
    for (unsigned i = 0; i < k + 2; i++) {
      ASSERT_TRUE(cells[i].equals(good[i])) << "k " << k << " bytes " << bytes << " cell " << i;
      ASSERT_TRUE(cells[i].guards_intact()) << "k " << k << " bytes " << bytes << " cell " << i;
    }
  }
};

INSTANTIATE_TEST_SUITE_P(All, Encode, testing::ValuesIn(reference::usable_impls()), impl_name);

/* Whole blocks of every implementation, what is left over from them, and less than one. */
constexpr size_t sizes[] = {64, 128, 192, 256, 320, 448, 512, 576, 1024, 1088, 4096, 4160};

TEST_P(Encode, EveryWidthAndSizeMatchesTheReference)
{
  for (unsigned k = 1; k <= PAV_RAID6_MAX_DATA; k++) {
    for (size_t bytes : sizes) {
      const auto good = reference::random_row(k, bytes, k * 131 + static_cast<uint32_t>(bytes));
      for (bool skewed : {false, true})
        for (bool guarded : {false, true})
          ASSERT_NO_FATAL_FAILURE(encodes(good, skewed, guarded));
    }
  }
}

/* Beyond the second-level cache another walk is taken, if P and Q are aligned. */
TEST_P(Encode, LargeCellsMatchTheReference)
{
  struct {
    unsigned k;
    size_t bytes;
  } constexpr shapes[] = {{1, (1 << 20) + 64}, {2, (512 << 10) + 192}, {16, (64 << 10) + 320}, {30, (36 << 10) + 64}, {30, 256 << 10}};
  for (const auto [k, bytes] : shapes) {
    const auto good = reference::random_row(k, bytes, k);
    for (bool skewed : {false, true})
      ASSERT_NO_FATAL_FAILURE(encodes(good, skewed, true));
  }
}

TEST_P(Encode, SameBytesAsLibisal)
{
  constexpr size_t bytes = 4096;
  for (unsigned k = PAV_RAID6_MIN_DATA; k <= PAV_RAID6_MAX_DATA; k++) {
    const auto noise = reference::random_row(k, bytes, k);
    auto cells = reference::make_cells(k + 2, bytes, false, true);
    Cell p(bytes, 0, true), q(bytes, 0, true);
    std::vector<void *> all;
    for (unsigned i = 0; i < k + 2; i++) {
      if (i < k)
        cells[i].assign(noise[i]);
      all.push_back(cells[i].data());
    }
    ASSERT_EQ(pq_gen(static_cast<int>(k + 2), bytes, all.data()), 0);
    ASSERT_EQ(pav_raid6_encode(impl, k, bytes, all.data(), p.data(), q.data()), 0);
    EXPECT_TRUE(p.equals(cells[k].span())) << "k " << k;
    EXPECT_TRUE(q.equals(cells[k + 1].span())) << "k " << k;
  }
}

TEST_P(Encode, NullIsABlockOfZeroes)
{
  constexpr size_t bytes = 576;
  for (unsigned k : {1U, 2U, 7U, 30U}) {
    for (unsigned pattern = 0; pattern < 16; pattern++) {
      auto good = reference::random_row(k, bytes, pattern);
      std::vector<const void *> data;
      good.resize(k);
      for (unsigned i = 0; i < k; i++) {
        const bool absent = (pattern >> i % 4 & 1) != 0;
        if (absent)
          good[i].assign(bytes, 0);
        data.push_back(absent ? nullptr : good[i].data());
      }
      reference::append_parity(good);
      Cell p(bytes, 0, true), q(bytes, 0, true);
      ASSERT_EQ(pav_raid6_encode(impl, k, bytes, data.data(), p.data(), q.data()), 0);
      EXPECT_TRUE(p.equals(good[k])) << "k " << k << " pattern " << pattern;
      EXPECT_TRUE(q.equals(good[k + 1])) << "k " << k << " pattern " << pattern;
    }
  }
}

/* What a column of the fused pass may look like. */
enum Column { copied, in_place, not_copied, zero_filled, absent, columns };

TEST_P(Encode, FusedEveryWidthAndKindOfColumn)
{
  for (unsigned k = 1; k <= PAV_RAID6_MAX_DATA; k++) {
    for (size_t bytes : {64, 192, 576, 4160, 8384}) {
      if (bytes > 4096 && k % 5 != 1) /* more than a tile: widths 1, 6, 11 … */
        continue;
      /* Each kind alone, then two mixtures. */
      for (unsigned mix = 0; mix < columns + 2; mix++) {
        const auto kind = [&](unsigned i) { return static_cast<Column>(mix < columns ? mix : (i * (mix - columns + 1) + k) % columns); };
        auto good = reference::random_row(k, bytes, k + mix);
        auto from = reference::make_cells(k, bytes, true, mix != 0);
        auto to = reference::make_cells(k + 2, bytes, true, mix != 0);
        std::vector<const void *> src;
        std::vector<void *> dst;
        good.resize(k);
        for (unsigned i = 0; i < k; i++) {
          const bool zero = kind(i) == zero_filled || kind(i) == absent;
          if (zero)
            good[i].assign(bytes, 0);
          from[i].assign(good[i]);
          src.push_back(zero ? nullptr : from[i].data());
          dst.push_back(kind(i) == copied || kind(i) == zero_filled ? to[i].data() : kind(i) == in_place ? from[i].data() : nullptr);
        }
        reference::append_parity(good);
        std::vector<uint32_t> crc(k + 3, 0x5eed5eed);
        const bool no_copies = mix == not_copied;
        ASSERT_EQ(pav_raid6_encode_fused(impl, k, bytes, src.data(), no_copies ? nullptr : dst.data(), to[k].data(), to[k + 1].data(), crc.data()), 0);
        for (unsigned i = 0; i < k + 2; i++) {
          const auto where = testing::Message() << "k " << k << " bytes " << bytes << " mix " << mix << " cell " << i;
          ASSERT_EQ(crc[i], reference::crc32c(good[i])) << where;
          ASSERT_TRUE(to[i].guards_intact()) << where;
          if (i >= k || kind(i) == copied || kind(i) == zero_filled) {
            ASSERT_TRUE(to[i].equals(good[i])) << where;
          }
          if (i < k) {
            ASSERT_TRUE(from[i].equals(good[i])) << where;
            ASSERT_TRUE(from[i].guards_intact()) << where;
          }
        }
        ASSERT_EQ(crc[k + 2], 0x5eed5eedU);
      }
    }
  }
}

/* An O_DIRECT buffer may change under us: what was copied must be what was summed up. */
TEST_P(Encode, FusedAgreesWithItselfWhenTheSourceChanges)
{
  constexpr unsigned k = 8;
  constexpr size_t bytes = 4096;
  alignas(64) static std::atomic<uint64_t> source[bytes / 8];
  std::atomic<bool> stop = false;
  std::jthread scribbler([&] {
    for (uint64_t i = 0; !stop.load(std::memory_order_relaxed); i++)
      source[i % (bytes / 8)].store(i * 0x9e3779b97f4a7c15, std::memory_order_relaxed);
  });

  for (int round = 0; round < 500; round++) {
    auto to = reference::make_cells(k + 2, bytes, false, false);
    std::vector<const void *> src(k, source);
    std::vector<void *> dst;
    std::vector<const void *> copy;
    std::vector<uint32_t> crc(k + 2);
    for (unsigned i = 0; i < k; i++) {
      dst.push_back(to[i].data());
      copy.push_back(to[i].data());
    }
    ASSERT_EQ(pav_raid6_encode_fused(impl, k, bytes, src.data(), dst.data(), to[k].data(), to[k + 1].data(), crc.data()), 0);
    Cell p(bytes, 0, false), q(bytes, 0, false);
    ASSERT_EQ(pav_raid6_encode(pav_raid6_select("scalar"), k, bytes, copy.data(), p.data(), q.data()), 0);
    ASSERT_TRUE(p.equals(to[k].span())) << "round " << round;
    ASSERT_TRUE(q.equals(to[k + 1].span())) << "round " << round;
    for (unsigned i = 0; i < k + 2; i++)
      ASSERT_EQ(crc[i], pav_crc32c(0, to[i].data(), bytes)) << "round " << round << " cell " << i;
  }
  stop = true;
}

TEST_P(Encode, OddSizesAreRejectedAndNothingIsWritten)
{
  constexpr size_t room = 4096;
  auto cells = reference::make_cells(34, room, false, true);
  std::vector<const void *> data;
  std::vector<void *> dst;
  for (unsigned i = 0; i < 32; i++) {
    data.push_back(cells[i % 2].data());
    dst.push_back(cells[2 + i].data());
  }
  const Bytes untouched(room, 0xc3);
  Cell p(room, 0, true), q(room, 0, true);
  std::vector<uint32_t> crc(34, 77);
  const auto refuses = [&](unsigned k, size_t bytes) {
    EXPECT_EQ(pav_raid6_encode(impl, k, bytes, data.data(), p.data(), q.data()), -EINVAL) << k << " " << bytes;
    EXPECT_EQ(pav_raid6_encode_fused(impl, k, bytes, data.data(), dst.data(), p.data(), q.data(), crc.data()), -EINVAL) << k << " " << bytes;
  };
  for (size_t bytes : {0, 1, 8, 32, 63, 65, 96, 127, 520, 4095})
    refuses(4, bytes);
  for (unsigned k : {0U, 31U, 32U, ~0U})
    refuses(k, 64);
  EXPECT_TRUE(p.equals(untouched));
  EXPECT_TRUE(q.equals(untouched));
  for (Cell &cell : cells)
    EXPECT_TRUE(cell.equals(untouched));
  EXPECT_EQ(crc, std::vector<uint32_t>(34, 77));
}

TEST(Select, ByNameAndBest)
{
  const pav_raid6_impl *best = nullptr;
  for (auto *at = pav_raid6_impls; *at != nullptr; at++) {
    const pav_raid6_impl *impl = *at;
    const bool usable = impl->usable();
    EXPECT_EQ(pav_raid6_select(impl->name), usable ? impl : nullptr) << impl->name;
    if (usable)
      best = impl;
  }
  EXPECT_EQ(pav_raid6_select(nullptr), best);
  EXPECT_EQ(pav_raid6_select("scalar"), pav_raid6_impls[0]);
  EXPECT_EQ(pav_raid6_select("no such thing"), nullptr);
  EXPECT_EQ(pav_raid6_select(""), nullptr);
}

} // namespace
