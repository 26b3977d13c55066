// SPDX-License-Identifier: GPL-2.0
/* Every erasure, alone and in pairs, at every width, with every implementation. */
#include <cerrno>
#include <string>

#include <gtest/gtest.h>

#include "reference.h"

namespace {

using reference::Bytes;
using reference::Cell;

class Recover : public testing::TestWithParam<const pav_raid6_impl *> {
protected:
  /* Loses a and b of a row, one pair after another, and wants the row back. */
  void every_loss(unsigned k, size_t bytes, bool skewed, bool guarded, uint32_t zeroes)
  {
    auto good = reference::random_row(k, bytes, k * 7919 + zeroes);
    auto cells = reference::make_cells(k + 2, bytes, skewed, guarded);
    good.resize(k);
    for (unsigned i = 0; i < k; i++) {
      if ((zeroes >> i & 1) != 0)
        good[i].assign(bytes, 0);
    }
    reference::append_parity(good);
    for (unsigned i = 0; i < k + 2; i++)
      cells[i].assign(good[i]);

    const int n = static_cast<int>(k) + 2;
    for (int a = 0; a < n; a++) {
      for (int b = -1; b < n; b++) {
        if (b >= 0 && b <= a)
          continue;
        std::vector<void *> row;
        for (int i = 0; i < n; i++) {
          const bool lost = i == a || i == b;
          if (lost)
            cells[i].fill(static_cast<uint8_t>(0x5a + a + b));
          row.push_back(!lost && (zeroes >> i & 1) != 0 ? nullptr : cells[i].data());
        }
        ASSERT_EQ(pav_raid6_recover(GetParam(), k, bytes, row.data(), a, b), 0);
        for (int i = 0; i < n; i++) {
          ASSERT_TRUE(cells[i].equals(good[i])) << "k " << k << " bytes " << bytes << " lost " << a << ", " << b << ": cell " << i;
          ASSERT_TRUE(cells[i].guards_intact()) << "k " << k << " bytes " << bytes << " lost " << a << ", " << b << ": cell " << i;
        }
      }
    }
  }
};

INSTANTIATE_TEST_SUITE_P(All, Recover, testing::ValuesIn(reference::usable_impls()),
                         [](const auto &info) { return std::string(info.param->name); });

TEST_P(Recover, EveryPairAtEveryWidth)
{
  for (unsigned k = 1; k <= PAV_RAID6_MAX_DATA; k++) {
    every_loss(k, 1088, false, true, 0);
    if (HasFatalFailure())
      return;
  }
}

TEST_P(Recover, EveryPairUnaligned)
{
  for (unsigned k = 1; k <= PAV_RAID6_MAX_DATA; k++) {
    for (size_t bytes : {64, 192}) {
      every_loss(k, bytes, true, false, 0);
      if (HasFatalFailure())
        return;
    }
  }
}

TEST_P(Recover, EveryPairWithAbsentCells)
{
  for (unsigned k : {1U, 2U, 3U, 6U, 30U}) {
    for (uint32_t zeroes : {0x1U, 0x2U, 0x15555555U, 0x3fffffffU}) {
      every_loss(k, 320, false, true, zeroes & ((1U << k) - 1));
      if (HasFatalFailure())
        return;
    }
  }
}

TEST_P(Recover, LargeCells)
{
  constexpr size_t bytes = (64 << 10) + 320;
  constexpr unsigned k = 16;
  const auto good = reference::random_row(k, bytes, 5);
  auto cells = reference::make_cells(k + 2, bytes, true, true);
  std::vector<void *> row;
  for (unsigned i = 0; i < k + 2; i++) {
    cells[i].assign(good[i]);
    row.push_back(cells[i].data());
  }
  constexpr int losses[][2] = {{0, -1}, {15, -1}, {16, -1}, {17, -1}, {0, 1}, {3, 15}, {4, 16}, {0, 17}, {16, 17}};
  for (const auto [a, b] : losses) {
    cells[a].fill(1);
    if (b >= 0)
      cells[b].fill(2);
    ASSERT_EQ(pav_raid6_recover(GetParam(), k, bytes, row.data(), a, b), 0);
    for (unsigned i = 0; i < k + 2; i++) {
      ASSERT_TRUE(cells[i].equals(good[i])) << "lost " << a << ", " << b << ": cell " << i;
      ASSERT_TRUE(cells[i].guards_intact()) << "lost " << a << ", " << b << ": cell " << i;
    }
  }
}

/* A single loss must not need, read or write the parity it does not use. */
TEST_P(Recover, ParityThatIsNotNeededMayBeAbsent)
{
  constexpr unsigned k = 4;
  constexpr size_t bytes = 576;
  const auto good = reference::random_row(k, bytes, 3);
  for (unsigned lost = 0; lost < k + 2; lost++) {
    auto cells = reference::make_cells(k + 2, bytes, false, true);
    std::vector<void *> row;
    for (unsigned i = 0; i < k + 2; i++) {
      if (i != lost)
        cells[i].assign(good[i]);
      row.push_back(cells[i].data());
    }
    row[lost == k + 1 ? k : k + 1] = nullptr;
    if (lost >= k)
      row[lost] = cells[lost].data();
    ASSERT_EQ(pav_raid6_recover(GetParam(), k, bytes, row.data(), static_cast<int>(lost), -1), 0);
    EXPECT_TRUE(cells[lost].equals(good[lost])) << "lost " << lost;
  }
}

TEST_P(Recover, WrongPairsAndSizesAreRejected)
{
  constexpr int k = 4;
  constexpr size_t bytes = 64;
  const Bytes untouched(bytes, 0xc3);
  auto cells = reference::make_cells(40, bytes, false, true);
  std::vector<void *> row;
  for (Cell &cell : cells)
    row.push_back(cell.data());
  const auto refuses = [&](unsigned width, size_t size, int a, int b) {
    EXPECT_EQ(pav_raid6_recover(GetParam(), width, size, row.data(), a, b), -EINVAL) << width << " " << size << " " << a << " " << b;
  };
  refuses(k, bytes, -1, -1);
  refuses(k, bytes, -1, 2);
  refuses(k, bytes, 2, 2);
  refuses(k, bytes, 3, 1);
  refuses(k, bytes, 0, k + 2);
  refuses(k, bytes, k + 2, -1);
  refuses(k, bytes, k + 1, k + 1);
  refuses(k, bytes, 0, -2);
  refuses(0, bytes, 0, 1);
  refuses(31, bytes, 0, 1);
  for (size_t size : {0, 1, 32, 63, 65, 100})
    refuses(k, size, 0, 1);
  for (Cell &cell : cells)
    EXPECT_TRUE(cell.equals(untouched));
}

} // namespace
