// SPDX-License-Identifier: GPL-2.0
/*
 * GB/s of data (16 cells of so many bytes, whatever the operation writes) for each
 * operation and implementation, beside libisal and beside reading alone.
 *
 * The machine may be noisy. So what counts is processor time, not the clock on the wall;
 * contestants take turns, a few milliseconds each, for many rounds; and the best of its
 * turns is what an implementation can do.
 *
 *	bench_raid6 [FILE.json]
 */
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <exception>
#include <fstream>
#include <functional>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <isa-l/crc.h>
#include <isa-l/raid.h>
#include <nlohmann/json.hpp>

#include "raid6.h"

namespace {

constexpr unsigned data_cells = 16;
constexpr size_t sizes[] = {1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20};
constexpr int rounds = 30;
constexpr double turn_seconds = 0.004;

struct Free {
  void operator()(void *block) const { std::free(block); }
};
using Block = std::unique_ptr<uint8_t, Free>;

/* A row, and a second one to copy to, each cell on pages of its own. */
struct Row {
  std::vector<Block> blocks;
  std::vector<void *> cells;
  std::vector<const void *> data;
  std::vector<void *> copies;

  explicit Row(size_t bytes)
  {
    for (unsigned i = 0; i < 2 * data_cells + 2; i++) {
      void *block = nullptr;
      if (posix_memalign(&block, 4096, bytes) != 0)
        throw std::bad_alloc();
      blocks.emplace_back(static_cast<uint8_t *>(block));
      for (size_t at = 0; at < bytes; at++)
        static_cast<uint8_t *>(block)[at] = static_cast<uint8_t>(at * 31 + i);
      (i < data_cells + 2 ? cells : copies).push_back(block);
    }
    data.assign(cells.begin(), cells.begin() + data_cells);
  }
};

/* Reads all of the block with the widest vectors there are, and does next to nothing. */
template <size_t width> __attribute__((always_inline)) inline void read_by(const uint8_t *at, size_t bytes)
{
  using Vec [[gnu::vector_size(width), gnu::may_alias]] = uint64_t;
  Vec a{}, b{}, c{}, d{};
  for (const uint8_t *end = at + bytes; at != end; at += 4 * width) {
    const Vec *v = reinterpret_cast<const Vec *>(at);
    a |= v[0];
    b |= v[1];
    c |= v[2];
    d |= v[3];
  }
  a |= b | c | d;
  asm volatile("" : : "m"(a));
}

__attribute__((target("avx512f"))) void read_512(const uint8_t *at, size_t bytes)
{
  read_by<64>(at, bytes);
}

__attribute__((target("avx2"))) void read_256(const uint8_t *at, size_t bytes)
{
  read_by<32>(at, bytes);
}

void read_128(const uint8_t *at, size_t bytes)
{
  read_by<16>(at, bytes);
}

auto widest_reader()
{
  if (__builtin_cpu_supports("avx512f"))
    return &read_512;
  return __builtin_cpu_supports("avx2") ? &read_256 : &read_128;
}

struct Contestant {
  std::string impl;
  std::function<void()> work;
  double best_gbps = 0;
};

double processor_seconds()
{
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

/* One turn: GB/s of data. */
double measure(const std::function<void()> &work, size_t bytes)
{
  const size_t batch = std::max<size_t>(1, (256 << 10) / bytes);
  const double start = processor_seconds();
  size_t done = 0;
  double seconds = 0;

  while (seconds < turn_seconds) {
    for (size_t i = 0; i < batch; i++)
      work();
    done += batch;
    seconds = processor_seconds() - start;
  }
  return static_cast<double>(done * bytes) * data_cells / seconds / 1e9;
}

std::vector<Contestant> contestants(const std::string &op, size_t bytes, Row &row)
{
  std::vector<Contestant> list;
  const auto reader = widest_reader();
  static uint32_t crc[data_cells + 2];

  if (op == "crc") {
    list.push_back({"pav", [&row, bytes] {
      for (unsigned i = 0; i < data_cells; i++)
        crc[i] = pav_crc32c(0, row.data[i], bytes);
    }});
  } else {
    for (auto *at = pav_raid6_impls; *at != nullptr; at++) {
      const pav_raid6_impl *impl = *at;
      if (!impl->usable())
        continue;
      if (op == "encode")
        list.push_back({impl->name, [impl, &row, bytes] {
          pav_raid6_encode(impl, data_cells, bytes, row.data.data(), row.cells[data_cells], row.cells[data_cells + 1]);
        }});
      else if (op == "fused")
        list.push_back({impl->name, [impl, &row, bytes] {
          pav_raid6_encode_fused(impl, data_cells, bytes, row.data.data(), row.copies.data(), row.cells[data_cells], row.cells[data_cells + 1], crc);
        }});
      else
        list.push_back({impl->name, [impl, &row, bytes] {
          pav_raid6_recover(impl, data_cells, bytes, row.cells.data(), 3, 11);
        }});
    }
  }
  /* libisal has no P+Q recovery; its encode, and crc by crc, are what there is. */
  if (op == "encode")
    list.push_back({"isal", [&row, bytes] { pq_gen(data_cells + 2, static_cast<int>(bytes), row.cells.data()); }});
  if (op == "crc")
    list.push_back({"isal", [&row, bytes] {
      for (unsigned i = 0; i < data_cells; i++)
        crc[i] = crc32_iscsi(static_cast<unsigned char *>(row.cells[i]), static_cast<int>(bytes), ~0U);
    }});
  if (op == "fused") /* the same in three passes */
    list.push_back({"isal", [&row, bytes] {
      for (unsigned i = 0; i < data_cells; i++)
        std::copy_n(static_cast<const uint8_t *>(row.data[i]), bytes, static_cast<uint8_t *>(row.copies[i]));
      pq_gen(data_cells + 2, static_cast<int>(bytes), row.cells.data());
      for (unsigned i = 0; i < data_cells + 2; i++)
        crc[i] = crc32_iscsi(static_cast<unsigned char *>(row.cells[i]), static_cast<int>(bytes), ~0U);
    }});
  list.push_back({"read", [&row, bytes, reader] {
    for (const void *cell : row.data)
      reader(static_cast<const uint8_t *>(cell), bytes);
  }});
  return list;
}

std::string size_name(size_t bytes)
{
  return bytes < 1 << 20 ? fmt::format("{}K", bytes >> 10) : fmt::format("{}M", bytes >> 20);
}

void run(const char *json_path)
{
  nlohmann::json results = nlohmann::json::array();

  for (const std::string op : {"encode", "fused", "recover2", "crc"}) {
    fmt::print("\n{}, {} data cells, GB/s of data\n{:>12}", op, data_cells, "bytes");
    bool titled = false;
    for (size_t bytes : sizes) {
      Row row(bytes);
      auto list = contestants(op, bytes, row);
      for (int round = 0; round < rounds; round++) {
        for (Contestant &c : list)
          c.best_gbps = std::max(c.best_gbps, measure(c.work, bytes));
      }
      if (!titled) {
        for (const Contestant &c : list)
          fmt::print(" {:>10}", c.impl);
        fmt::print("\n");
        titled = true;
      }
      fmt::print("{:>12}", size_name(bytes));
      for (const Contestant &c : list) {
        fmt::print(" {:>10.1f}", c.best_gbps);
        results.push_back({{"op", op}, {"impl", c.impl}, {"data", data_cells}, {"bytes", bytes}, {"gbps", c.best_gbps}});
      }
      fmt::print("\n");
      std::fflush(stdout);
    }
  }
  if (json_path != nullptr) {
    std::ofstream out(json_path);
    out << results.dump(1) << "\n";
    if (!out.flush())
      throw std::runtime_error(fmt::format("cannot write {}", json_path));
  }
}

} // namespace

int main(int argc, char **argv)
{
  if (argc > 2) {
    fmt::print(stderr, "usage: {} [FILE.json]\n", argv[0]);
    return 2;
  }
  try {
    run(argc == 2 ? argv[1] : nullptr);
  } catch (const std::exception &e) {
    fmt::print(stderr, "bench_raid6: {}\n", e.what());
    return 1;
  }
  return 0;
}
