// SPDX-License-Identifier: GPL-2.0
#include "reference.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <new>
#include <random>

namespace reference {
namespace {

constexpr uint8_t guard_value = 0xc3;

struct Logarithms {
  std::array<int, 256> log{};
  std::array<uint8_t, 255> exp{};

  constexpr Logarithms()
  {
    int x = 1;
    for (int i = 0; i < 255; i++) {
      exp[i] = static_cast<uint8_t>(x);
      log[x] = i;
      x *= 2;
      if (x > 255)
        x ^= 0x11d;
    }
  }

  constexpr uint8_t times(uint8_t a, uint8_t b) const
  {
    return a == 0 || b == 0 ? uint8_t{0} : exp[(log[a] + log[b]) % 255];
  }
};

constexpr Logarithms field;

} // namespace

uint32_t crc32c(std::span<const uint8_t> data, uint32_t seed)
{
  uint32_t crc = ~seed;
  for (uint8_t byte : data) {
    for (int bit = 0; bit < 8; bit++, byte >>= 1)
      crc = ((crc ^ byte) & 1) != 0 ? crc >> 1 ^ 0x82f63b78U : crc >> 1;
  }
  return ~crc;
}

void append_parity(std::vector<Bytes> &row)
{
  const size_t k = row.size(), bytes = row.at(0).size();
  Bytes p(bytes), q(bytes);

  for (size_t i = 0; i < k; i++) {
    for (size_t at = 0; at < bytes; at++) {
      p[at] ^= row[i][at];
      q[at] ^= field.times(field.exp[i], row[i][at]);
    }
  }
  row.push_back(std::move(p));
  row.push_back(std::move(q));
}

std::vector<Bytes> random_row(unsigned k, size_t bytes, uint32_t seed)
{
  std::mt19937 noise(seed);
  std::vector<Bytes> row(k, Bytes(bytes));

  for (Bytes &cell : row)
    std::generate(cell.begin(), cell.end(), [&] { return static_cast<uint8_t>(noise()); });
  append_parity(row);
  return row;
}

std::vector<const pav_raid6_impl *> usable_impls()
{
  std::vector<const pav_raid6_impl *> list;
  for (auto *at = pav_raid6_impls; *at != nullptr; at++) {
    if ((*at)->usable())
      list.push_back(*at);
  }
  return list;
}

void Cell::Free::operator()(void *block) const
{
  std::free(block);
}

Cell::Cell(size_t bytes, size_t skew, bool guarded)
    : bytes_(bytes), before_(skew + (guarded ? guard_bytes : 0)), after_(guarded ? guard_bytes : 0)
{
  void *block = nullptr;
  if (posix_memalign(&block, 64, before_ + bytes + after_) != 0)
    throw std::bad_alloc();
  block_.reset(static_cast<uint8_t *>(block));
  start_ = block_.get() + before_;
  std::fill_n(block_.get(), before_ + bytes + after_, guard_value);
}

void Cell::assign(std::span<const uint8_t> from)
{
  std::copy_n(from.begin(), bytes_, start_);
}

void Cell::fill(uint8_t value)
{
  std::fill_n(start_, bytes_, value);
}

bool Cell::equals(std::span<const uint8_t> other) const
{
  return std::equal(start_, start_ + bytes_, other.begin(), other.end());
}

bool Cell::guards_intact() const
{
  const auto is_guard = [](uint8_t byte) { return byte == guard_value; };
  return std::all_of(block_.get(), start_, is_guard) && std::all_of(start_ + bytes_, start_ + bytes_ + after_, is_guard);
}

std::vector<Cell> make_cells(size_t n, size_t bytes, bool skewed, bool guarded)
{
  std::vector<Cell> cells;
  cells.reserve(n);
  for (size_t i = 0; i < n; i++)
    cells.emplace_back(bytes, skewed ? (7 * i + 1) % 64 : 0, guarded);
  return cells;
}

} // namespace reference
