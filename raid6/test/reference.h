// SPDX-License-Identifier: GPL-2.0
/*
 * The oracle: the arithmetic of a row byte by byte over logarithm tables, and the
 * checksum bit by bit. It shares no line and no table with what it judges.
 */
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "raid6.h"

namespace reference {

using Bytes = std::vector<uint8_t>;

uint32_t crc32c(std::span<const uint8_t> data, uint32_t seed = 0);

/* Appends P and Q to a row of data cells. */
void append_parity(std::vector<Bytes> &row);

/* A row of k cells of noise, and P and Q. */
std::vector<Bytes> random_row(unsigned k, size_t bytes, uint32_t seed);

/* The implementations this machine can run; never empty. */
std::vector<const pav_raid6_impl *> usable_impls();

/*
 * A cell at an address that is @skew past a multiple of 64, with nothing or with a
 * guarded strip on either side. Without guards the heap block ends where the cell
 * ends, so that AddressSanitizer sees the first byte too many that is read.
 */
class Cell {
public:
  static constexpr size_t guard_bytes = 128;

  Cell(size_t bytes, size_t skew, bool guarded);

  uint8_t *data() { return start_; }
  std::span<uint8_t> span() { return {start_, bytes_}; }
  void assign(std::span<const uint8_t> from);
  void fill(uint8_t value);
  bool equals(std::span<const uint8_t> other) const;
  bool guards_intact() const;

private:
  struct Free {
    void operator()(void *block) const;
  };
  size_t bytes_;
  size_t before_; /* bytes of the block in front of the cell */
  size_t after_;
  std::unique_ptr<uint8_t, Free> block_;
  uint8_t *start_;
};

/* Cells 0..n-1, each at another misalignment if @skewed. */
std::vector<Cell> make_cells(size_t n, size_t bytes, bool skewed, bool guarded);

} // namespace reference
